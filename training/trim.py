"""Make a pack of prepare.py small enough to travel: drop clips and some streams, hold a clip out for validation.

    python3 training/trim.py --pack .train --without pig.mp4,bedroom.mp4 --hold frog.mp4 --thin 2
"""

import argparse
import json
import os


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pack", required=True)
    parser.add_argument("--without", default="", help="files under videos/ to drop, comma separated")
    parser.add_argument("--hold", default="", help="files under videos/ whose clips only validate")
    parser.add_argument("--finished", action="store_true", help="drop clips whose streams an interrupted prepare.py has not written")
    parser.add_argument("--thin", type=int, default=0, help="drop the VP8 x4 stream of every n-th clip that has another")
    args = parser.parse_args()
    path = os.path.join(args.pack, "clips.json")
    with open(path) as file:
        pack = json.load(file)
    without, hold = (set(filter(None, names.split(","))) for names in (args.without, args.hold))
    kept = []
    if args.finished:
        pack["clips"] = [c for c in pack["clips"] if all(os.path.exists(os.path.join(args.pack, p["file"])) for p in c["streams"])]
    for clip in pack["clips"]:
        name = os.path.basename(clip.get("file", ""))
        if name in without:
            for plan in clip["streams"]:
                os.remove(os.path.join(args.pack, plan["file"]))
            continue
        clip["validation"] = clip["validation"] or name in hold
        if args.thin and clip["id"] % args.thin == 0 and not clip["validation"]:
            dropped = [p for p in clip["streams"] if p["scale"] == 4 and p["codec"] == "vp8"]
            for plan in dropped:
                os.remove(os.path.join(args.pack, plan["file"]))
                clip["streams"].remove(plan)
        kept.append(clip)
    for name in without:
        os.remove(os.path.join(args.pack, "videos", name))
    pack["clips"] = kept
    with open(path, "w") as file:
        json.dump(pack, file)
    size = sum(os.path.getsize(os.path.join(folder, f)) for folder, _, files in os.walk(args.pack) for f in files)
    print(f"{len(kept)} clips, {size / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()

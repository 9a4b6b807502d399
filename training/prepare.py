"""Pack the training data: photographs, real clips, clip descriptions and real H.264/VP8 streams of the low-resolution side.

    python3 training/prepare.py --data DIR --ffmpeg FFMPEG --out .train [--clips 220] [--screens 18] [--seed 7]

Only bitstreams of the low-resolution side are stored (a few hundred bytes a frame); the high-resolution side is rendered again
from clips.json by render.py wherever the training runs. Each clip is encoded backwards and then forwards, and only the forward
half is used: the encoder's rate control has settled by then, as in a running call.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import subprocess
from multiprocessing import Pool

import cv2
import numpy as np

import data
import render
import screens
from resampling import resize_matrix

FRAMES = 24
WORDS = (
    "stream frame pixel 1080 live 24:07 camera north 3.14 hello market exit news 60 fps Radio speed 42 km low latency café A1 B52 street"
).split()

# Real clips to train on: file, crop (x, y, w, h), size after the crop, segments. Test clips are not here, and must never be.
VIDEOS = [
    ("train/video/sam2_gallery/01_dog.mp4", (0, 0, 1280, 720), (1280, 720), 6),
    ("train/video/sam2_gallery/02_cups.mp4", (0, 0, 1280, 720), (1280, 720), 6),
    ("train/video/sam2_gallery/03_blocks.mp4", (0, 0, 1280, 720), (1280, 720), 6),
    ("train/video/sam2_gallery/04_coffee.mp4", (0, 0, 1280, 720), (1280, 720), 6),
    ("train/video/mdn_cc0/flower.mp4", (0, 0, 960, 540), (896, 504), 4),
    ("train/video/mdn_cc0/frog.mp4", (0, 0, 720, 480), (720, 480), 4),
    ("train/video/mdn_cc0/pig.mp4", (0, 0, 720, 480), (720, 480), 4),
    ("train/video/mdn_cc0/rabbit.mp4", (0, 0, 720, 480), (720, 480), 3),
    ("webcam/nim_eye_contact/sample_streamable.mp4", (160, 0, 960, 720), (768, 576), 8),
    ("webcam/intel_asl/again.mkv", (0, 0, 640, 480), (480, 360), 2),
    ("webcam/intel_asl/help.mkv", (0, 0, 640, 480), (480, 360), 2),
    ("webcam/intel_asl/night.mkv", (0, 0, 640, 480), (480, 360), 2),
    ("webcam/intel_asl/yes.mkv", (0, 0, 640, 480), (480, 360), 2),
    ("webcam/intel_asl/walk.mkv", (0, 0, 640, 480), (480, 360), 2),
]
VALIDATION_PHOTOS = 6
VALIDATION_SCREENS = 3
# Vertical pixels a frame at which a page scrolls.
SCROLLS = (1, 2, 3, 4, 8, 13, 24)
VALIDATION_VIDEO = ("train/video/sam2_gallery/bedroom.mp4", (0, 0, 960, 540), (896, 504), 2)


def motion(rng: np.random.Generator, x: float, y: float, zoom: float, speed: float, still: bool) -> dict:
    heading = rng.uniform(0, 2 * math.pi)
    shake = 0.0 if still else 1.0
    return {
        "x": x, "y": y, "zoom": zoom, "angle": 0.0,
        "vx": speed * math.cos(heading) * shake, "vy": 0.6 * speed * math.sin(heading) * shake,
        "zoom_rate": float(rng.normal(0, 0.004)) * shake, "spin": float(rng.normal(0, 0.0015)) * shake,
        "sway": [[float(rng.exponential(3.0)) * shake, float(rng.uniform(0.1, 1.2)), float(rng.uniform(0, 6.28))] for _ in "xy"],
    }


def synth_clip(rng: np.random.Generator, number: int, names: list[str], sizes: dict, validation: bool) -> dict:
    width, height = 1280, 720
    photo = names[number % len(names)]
    photo_w, photo_h = sizes[photo]
    zoom = float(rng.uniform(0.85, 1.45) if rng.random() < 0.75 else rng.uniform(1.8, 2.6))
    room_x, room_y = max(0.0, photo_w - width * zoom), max(0.0, photo_h - height * zoom)
    x, y = photo_w / 2 + rng.uniform(-0.5, 0.5) * room_x, photo_h / 2 + rng.uniform(-0.5, 0.5) * room_y
    # Speeds in high-resolution pixels a frame; a quarter of the clips has a fixed camera, as a webcam has.
    camera = motion(rng, float(x), float(y), zoom, float(zoom * rng.exponential(4.0)), bool(rng.random() < 0.25))
    layers = []
    for _ in range(int(rng.choice([0, 1, 2, 3], p=[0.3, 0.35, 0.25, 0.1]))):
        other = names[int(rng.integers(len(names)))]
        other_w, other_h = sizes[other]
        size_x, size_y = int(rng.integers(60, 320)) * 2, int(rng.integers(60, 260)) * 2
        layers.append({
            "photo": other, "x": float(rng.uniform(0.2, 0.8) * other_w), "y": float(rng.uniform(0.2, 0.8) * other_h),
            "zoom": float(rng.uniform(0.85, 2.6)), "width": size_x, "height": size_y, "soft": float(rng.uniform(1, 4)),
            "blob": [[k, float(rng.uniform(0, 0.25 / k)), float(rng.uniform(0, 6.28))] for k in (2, 3, 5)],
            "path": motion(rng, float(rng.uniform(0.1, 0.9) * width), float(rng.uniform(0.1, 0.9) * height), 1.0,
                           float(rng.exponential(5.0)), False),
        })
    texts = []
    if rng.random() < 0.4:
        for _ in range(int(rng.integers(1, 4))):
            size = float(rng.uniform(0.5, 2.2))
            texts.append({
                "lines": [" ".join(rng.choice(WORDS, int(rng.integers(1, 5)))) for _ in range(int(rng.integers(1, 4)))],
                "font": int(rng.integers(0, 8)), "size": size, "leading": 40 * size, "thickness": int(rng.integers(1, 4)),
                "colour": [int(v) for v in rng.integers(0, 256, 3)], "outline": bool(rng.random() < 0.4), "outline_colour": [0, 0, 0],
                "path": motion(rng, float(rng.uniform(0.02, 0.6) * width), float(rng.uniform(0.1, 0.9) * height), 1.0,
                               float(rng.exponential(3.0)), bool(rng.random() < 0.5)),
            })
    return {"kind": "synth", "photo": photo, "width": width, "height": height, "frames": FRAMES, "camera": camera,
            "layers": layers, "texts": texts, "validation": validation}


def screen_clip(rng: np.random.Generator, number: int, photo: str, validation: bool) -> dict:
    """A page that stands still, scrolls by whole pixels or is panned over, at full size or a little larger."""
    width, height = 1280, 720
    kind = ("still", "scroll", "still", "pan")[number % 4]
    zoom = 1.0 if kind != "pan" else float(rng.uniform(0.6, 1.2))
    x, y = width / 2 + float(rng.integers(0, screens.WIDTH - width + 1)), height / 2 + float(rng.integers(0, 200))
    camera = motion(rng, x, y, zoom, float(rng.exponential(3.0)), kind != "pan")
    if kind == "scroll":
        camera["vy"] = float(rng.choice(SCROLLS))
    return {"kind": "synth", "photo": photo, "width": width, "height": height, "frames": FRAMES, "camera": camera,
            "layers": [], "texts": [], "validation": validation}


def stream_plan(rng: np.random.Generator, clip: dict, scale: int, codec: str) -> dict:
    """One compressed rendition: degradation before the encoder and the bit rate, scaled to the picture's area."""
    low, high = (30, 300) if scale == 4 else (90, 800)
    area = (clip["width"] // scale) * (clip["height"] // scale) / ((320 * 180) if scale == 4 else (640 * 360))
    noisy = rng.random() < 0.5
    return {
        "scale": scale, "codec": codec, "kbps": round(float(math.exp(rng.uniform(math.log(low), math.log(high)))) * area, 1),
        "preset": str(rng.choice(["ultrafast", "superfast", "veryfast"])),
        "blur": float(rng.uniform(0.3, 0.55 * scale)) if rng.random() < 0.4 else 0.0,
        "kernel": str(rng.choice(["bicubic", "area", "linear", "cubic"], p=[0.55, 0.25, 0.1, 0.1])),
        "noise": float(rng.exponential(2.5)) if noisy else 0.0, "noise_luma": float(rng.exponential(1.5)) if noisy else 0.0,
        "seed": int(rng.integers(1 << 31)),
    }


def degrade(luma: np.ndarray, chroma: np.ndarray, plan: dict) -> tuple[np.ndarray, np.ndarray]:
    """High-resolution I420 -> low-resolution I420 as a camera would deliver it: soft focus, resize, sensor noise."""
    scale, rng = plan["scale"], np.random.default_rng(plan["seed"])
    interpolation = {"area": cv2.INTER_AREA, "linear": cv2.INTER_LINEAR, "cubic": cv2.INTER_CUBIC}

    def shrink(plane: np.ndarray, sigma: float) -> np.ndarray:
        plane = plane.astype(np.float32)
        if sigma > 0:
            plane = cv2.GaussianBlur(plane, (0, 0), sigma)
        height, width = plane.shape[0] // scale, plane.shape[1] // scale
        if plan["kernel"] == "bicubic":
            return matrix(plane.shape[0], height) @ plane @ matrix(plane.shape[1], width).T
        return cv2.resize(plane, (width, height), interpolation=interpolation[plan["kernel"]])

    y = np.stack([shrink(p, plan["blur"]) for p in luma])
    uv = np.stack([[shrink(p, plan["blur"] / 2) for p in pair] for pair in chroma])
    if plan["noise"] or plan["noise_luma"]:
        strength = plan["noise"] + plan["noise_luma"] * np.sqrt(np.clip(y, 0, 255) / 64)
        y = y + rng.standard_normal(y.shape, dtype=np.float32) * strength
        uv = uv + rng.standard_normal(uv.shape, dtype=np.float32) * plan["noise"] * 0.5
    return (np.clip(np.rint(v), 0, 255).astype(np.uint8) for v in (y, uv))


MATRICES: dict = {}


def matrix(source: int, target: int) -> np.ndarray:
    if (source, target) not in MATRICES:
        MATRICES[source, target] = resize_matrix(source, target)
    return MATRICES[source, target]


def encode(luma: np.ndarray, chroma: np.ndarray, plan: dict, ffmpeg: str, path: str) -> None:
    order = list(range(len(luma) - 1, -1, -1)) + list(range(len(luma)))
    raw = b"".join(luma[t].tobytes() + chroma[t].tobytes() for t in order)
    rate = f"{plan['kbps']}k"
    common = [ffmpeg, "-y", "-v", "error", "-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", f"{luma.shape[2]}x{luma.shape[1]}",
              "-r", "30", "-i", "-", "-threads", "1", "-b:v", rate, "-maxrate", rate, "-bufsize", f"{plan['kbps'] / 2}k"]
    if plan["codec"] == "h264":
        codec = ["-c:v", "libx264", "-preset", plan["preset"], "-tune", "zerolatency", "-profile:v", "baseline", "-g", "3000"]
    else:
        codec = ["-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8", "-lag-in-frames", "0", "-error-resilient", "1",
                 "-qmin", "2", "-qmax", "60", "-g", "3000"]
    # Under its name only once it is whole: trim.py --finished drops the clips that an interrupted run left out.
    unfinished = os.path.join(os.path.dirname(path), "new-" + os.path.basename(path))
    subprocess.run([*common, *codec, unfinished], input=raw, check=True)
    os.rename(unfinished, path)


def work(job: tuple) -> int:
    clip, out, ffmpeg = job
    luma, chroma = render.render(clip, out, render.PhotoCache(os.path.join(out, "photos")))
    size = 0
    for plan in clip["streams"]:
        path = os.path.join(out, plan["file"])
        small_luma, small_chroma = degrade(luma, chroma, plan)
        encode(small_luma, small_chroma, plan, ffmpeg, path)
        size += os.path.getsize(path)
    return size


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder with train/photos, train/video, webcam")
    parser.add_argument("--ffmpeg", required=True)
    parser.add_argument("--out", default=".train")
    parser.add_argument("--clips", type=int, default=220)
    parser.add_argument("--screens", type=int, default=0, help=f"pictures of screens, the last {VALIDATION_SCREENS} of them to validate")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--quality", type=int, default=84, help="WebP quality of the photographs; 0: the files as they are")
    parser.add_argument("--processes", type=int, default=2)
    args = parser.parse_args()
    for name in ("photos", "videos", "streams"):
        os.makedirs(os.path.join(args.out, name), exist_ok=True)

    names, sizes = [], {}
    for name in sorted(os.listdir(os.path.join(args.data, "train/photos"))):
        source = os.path.join(args.data, "train/photos", name)
        image = cv2.imread(source)
        stored = os.path.splitext(name)[0] + ".webp" if args.quality else name
        if args.quality:
            cv2.imwrite(os.path.join(args.out, "photos", stored), image, [cv2.IMWRITE_WEBP_QUALITY, args.quality])
        else:
            shutil.copyfile(source, os.path.join(args.out, "photos", stored))
        names.append(stored)
        sizes[stored] = (image.shape[1], image.shape[0])
    rng = np.random.default_rng(args.seed)
    names = [names[i] for i in rng.permutation(len(names))]
    held, used = names[:VALIDATION_PHOTOS], names[VALIDATION_PHOTOS:]

    clips = [synth_clip(rng, i, used, sizes, False) for i in range(args.clips)]
    clips += [synth_clip(rng, i, held, sizes, True) for i in range(len(held))]
    for entry, validation in [*((v, False) for v in VIDEOS), (VALIDATION_VIDEO, True)]:
        file, crop, (width, height), segments = entry
        stored = os.path.join("videos", os.path.basename(file))
        shutil.copyfile(os.path.join(args.data, file), os.path.join(args.out, stored))
        total = int(cv2.VideoCapture(os.path.join(args.out, stored)).get(cv2.CAP_PROP_FRAME_COUNT)) - 1
        for s in range(segments):
            start = round(s * max(0, total - FRAMES) / max(1, segments - 1))
            clips.append({"kind": "video", "file": stored, "start": start, "crop": list(crop), "width": width, "height": height,
                          "frames": FRAMES, "validation": validation})
    for number in range(args.screens):
        name = f"screen-{number:02d}.webp"
        lossless = [cv2.IMWRITE_WEBP_QUALITY, 101]
        cv2.imwrite(os.path.join(args.out, "photos", name), screens.draw(number, os.path.dirname(os.path.dirname(__file__))), lossless)
        clips.append(screen_clip(rng, number, name, number >= args.screens - VALIDATION_SCREENS))
    for number, clip in enumerate(clips):
        clip["id"] = number
        clip["streams"] = [stream_plan(rng, clip, 4, "h264"), stream_plan(rng, clip, 4, "vp8")]
        if number % 3 == 0:
            clip["streams"].append(stream_plan(rng, clip, 2, "h264" if number % 2 else "vp8"))
        for plan in clip["streams"]:
            plan["file"] = f"streams/{number:03d}_x{plan['scale']}.{'mp4' if plan['codec'] == 'h264' else 'webm'}"
    with open(os.path.join(args.out, "clips.json"), "w") as file:
        json.dump({"seed": args.seed, "frames": FRAMES, "clips": clips}, file)
    with Pool(args.processes) as pool:
        done = 0
        for i, size in enumerate(pool.imap_unordered(work, [(c, args.out, args.ffmpeg) for c in data.in_order(clips)])):
            done += size
            if i % 20 == 19:
                print(f"{i + 1} of {len(clips)} clips, streams {done / 1e6:.1f} MB", flush=True)
    print(f"{len(clips)} clips of {FRAMES} frames; streams {done / 1e6:.1f} MB")


if __name__ == "__main__":
    main()

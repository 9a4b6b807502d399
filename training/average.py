"""The mean of several checkpoints of one network (rounds of one run lie in one basin, so their mean is a network as good or better).

    python3 training/average.py --out nano.pt R2/nano-skip.pt R3/nano-skip.pt
"""

from __future__ import annotations

import argparse

import torch

from model import load_checkpoint


def average(checkpoints: list[dict]) -> dict:
    """Checkpoints of train.py, of the same configuration -> one with the mean weights and the largest number of steps."""
    configs = [checkpoint["config"] for checkpoint in checkpoints]
    if any(config != configs[0] for config in configs):
        raise SystemExit(f"only checkpoints of one configuration can be averaged, these are of {', '.join(c['name'] for c in configs)}")
    weights = {
        name: sum(checkpoint["weights"][name].float() for checkpoint in checkpoints) / len(checkpoints)
        for name in checkpoints[0]["weights"]
    }
    return {"config": configs[0], "weights": weights, "steps": max(checkpoint["steps"] for checkpoint in checkpoints)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True)
    parser.add_argument("checkpoints", nargs="+")
    args = parser.parse_args()
    torch.save(average([load_checkpoint(path) for path in args.checkpoints]), args.out)


if __name__ == "__main__":
    main()

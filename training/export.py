"""Checkpoint -> models/<name>/<name>.onnx and manifest.json, with frames to check the result against PyTorch.

    python3 training/export.py --weights OUT/nano.pt --models models --data-note "..." [--check DIR]

--weights also takes a shipped ONNX: the same integers in the graph as it is written now, what its manifest says of its making kept.
--check writes raw uint8 planes of a few frames (even and odd sizes) and what PyTorch makes of them; `npx tsx
bench/quality/check-export.ts --models models --check DIR` compares onnxruntime's output with them.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess

import numpy as np
import onnx
import torch

import evaluate
import from_onnx
import model as modules
import onnx_graph

ARCHITECTURE = (
    "frame-recurrent: luma folded 2x2, chroma, the previous frame's luma and part of its last features -> {layers} 3x3 convolutions of "
    "{channels} channels{skip} (uint8 activations, 7-bit weights, ReLU as saturation) -> residual over bicubic for luma and chroma"
)
# `--model auto` takes these for their scale; the overload ladder goes on with these (server/models/manifest.ts).
AUTO = ("nano", "nano-x2")
FALLBACKS = {"nano": ["mini", "nano-x2"], "mini": ["nano-x2"]}


def load(path: str) -> tuple[modules.Network, dict, list[dict] | None]:
    """The network, what is known of its training, and its integers when they are given."""
    if path.endswith(".onnx"):
        graph = onnx.load(path)
        with open(os.path.join(os.path.dirname(path), "manifest.json")) as stored:
            shipped = json.load(stored)
        return from_onnx.recover(graph, shipped["name"]).eval(), shipped["training"], from_onnx.layers_of(graph.graph)
    checkpoint = modules.load_checkpoint(path)
    net = modules.Network(modules.Config(**checkpoint["config"]))
    net.load_state_dict(checkpoint["weights"])
    return net.eval(), {"steps": checkpoint["steps"]}, None


def manifest(net: modules.Network, file: str, data: bytes, args, training: dict) -> dict:
    config, s = net.config, net.config.scale
    half = ["ceil(H/2)", "ceil(W/2)"]
    state = []
    if config.state:
        channels = config.luma_in + config.state
        state = [{"input": "hidden", "output": "hidden_out", "type": "float32" if args.float else "uint8", "channels": channels, "divisor": 2, "initial": "zeros"}]
    if args.steady:
        shown = {"input": "shown", "output": "shown_out", "type": "uint8", "channels": config.luma_out, "divisor": 2, "initial": "zeros"}
        state.append({**shown, "steady": args.steady})
    parameters = sum(p.numel() for p in net.parameters())
    return {
        "name": config.name,
        "label": f"{config.name.removesuffix(f'-x{s}')} x{s}",
        "kind": "onnx",
        "file": file,
        "scale": s,
        "auto": config.name in AUTO,
        "fallbacks": FALLBACKS.get(config.name, []),
        "layout": "yuv420p",
        "valueRange": [0, 255],
        "inputs": {
            "luma": {"name": "luma", "type": "uint8", "shape": [1, 1, "H", "W"]},
            "chroma": {"name": "chroma", "type": "uint8", "shape": [1, 2, *half]},
        },
        "outputs": {
            "luma": {"name": "upscaled_luma", "type": "uint8", "shape": [1, 1, f"{s}*H", f"{s}*W"]},
            "chroma": {"name": "upscaled_chroma", "type": "uint8", "shape": [1, 2, f"ceil({s}*H/2)", f"ceil({s}*W/2)"]},
        },
        "recurrentState": state,
        "architecture": ARCHITECTURE.format(
            layers=config.layers,
            channels=config.channels,
            skip=f", an identity around every {config.skip} after the first" if config.skip else "",
        ),
        "parameters": parameters,
        "budgetMsPerFrame": {"source": args.budget_source, "ms": args.budget_ms},
        "licence": "Apache-2.0",
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "training": training,
    }


def write_check(net: modules.Network, folder: str, steady: str) -> None:
    os.makedirs(folder, exist_ok=True)
    random = np.random.default_rng(3)
    cases = []
    for width, height in ((64, 36), (51, 33)):
        half = ((height + 1) // 2, (width + 1) // 2)
        frames = []
        ys, xs = np.mgrid[0:height, 0:width]
        for t in range(3):
            luma = 128 + 90 * np.sin((xs + 2 * t) / 3.1) * np.cos(ys / 4.3) + random.normal(0, 6, (height, width))
            chroma = 128 + 40 * np.sin(np.arange(2 * half[0] * half[1]).reshape(2, *half) / 9 + t)
            frames.append(tuple(np.clip(np.rint(v), 0, 255).astype(np.uint8) for v in (luma, chroma)))
        case = {"width": width, "height": height, "frames": len(frames)}
        file = f"{net.config.name}_{width}x{height}"
        expected = evaluate.upscale(net, frames, steady)
        with open(os.path.join(folder, file + ".in"), "wb") as out:
            out.write(b"".join(y.tobytes() + uv.tobytes() for y, uv in frames))
        with open(os.path.join(folder, file + ".out"), "wb") as out:
            out.write(b"".join(y.tobytes() + uv.tobytes() for y, uv in expected))
        cases.append({**case, "file": file})
    with open(os.path.join(folder, net.config.name + ".json"), "w") as out:
        json.dump({"model": net.config.name, "scale": net.config.scale, "cases": cases}, out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", required=True)
    parser.add_argument("--models", default="models")
    parser.add_argument("--name", help="name to ship under; default: the configuration's")
    parser.add_argument("--check")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--budget-ms", type=float, default=20.0)
    parser.add_argument("--budget-source", default="320x180")
    parser.add_argument("--steady", choices=onnx_graph.STEADY, default="", help="how luma goes by what it was in the frame before")
    parser.add_argument("--float", action="store_true", help="fp32 without any rounding, to compare int8 with; not for shipping")
    parser.add_argument("--data-note", default="see training/README.md")
    args = parser.parse_args()
    net, known, layers = load(args.weights)
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True).stdout.strip()
    training = {"seed": args.seed, "steps": 0, "commit": commit, "data": args.data_note, **known}
    if args.name:
        net.config.name = args.name
    model = onnx_graph.build(net, integer=not args.float, steady=args.steady, layers=layers)
    folder = os.path.join(args.models, net.config.name)
    os.makedirs(folder, exist_ok=True)
    file = net.config.name + ".onnx"
    onnx.save(model, os.path.join(folder, file))
    with open(os.path.join(folder, file), "rb") as stored:
        data = stored.read()
    with open(os.path.join(folder, "manifest.json"), "w") as out:
        json.dump(manifest(net, file, data, args, training), out, indent=2)
        out.write("\n")
    if args.check:
        write_check(net, args.check, args.steady)
    print(f"{folder}/{file}: {len(data)} bytes, {training['steps']} steps")


if __name__ == "__main__":
    main()

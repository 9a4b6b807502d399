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

import checkpoints
import evaluate
import midi_graph
import model as modules
import onnx_graph
from midi import Midi

ARCHITECTURE = (
    "frame-recurrent: luma folded 2x2, chroma, the previous frame's luma and part of its last features -> {layers} 3x3 convolutions of "
    "{channels} channels{skip} (uint8 activations, 7-bit weights, ReLU as saturation) -> residual over bicubic for luma and chroma"
)
MIDI_ARCHITECTURE = (
    "frame-recurrent, for GPUs: luma, chroma, the previous frame's luma and its last features -> a 3x3 convolution and {blocks} "
    "residual blocks of two 3x3 convolutions with {channels} channels (half precision, ReLU between the two) -> residual over bicubic "
    "for luma and chroma"
)
# `--model auto` takes these for their scale; the overload ladder goes on with these (server/models/manifest.ts).
AUTO = ("nano", "nano-x2")
# On a GPU it takes these for their scale: none until midi is better than nano in every row of bench:quality.
AUTO_ON_GPU = ()
FALLBACKS = {"midi": ["nano", "mini", "nano-x2"], "nano": ["mini", "nano-x2"], "mini": ["nano-x2"]}


def state_of(name: str, kind: str, channels: int, divisor: int) -> dict:
    return {"input": name, "output": name + "_out", "type": kind, "channels": channels, "divisor": divisor, "initial": "zeros"}


def interface(net: modules.Network | Midi, args) -> dict:
    """Tensors of the graph, and what the network is."""
    config, s = net.config, net.config.scale
    chroma_out = [f"ceil({s}*H/2)", f"ceil({s}*W/2)"]
    if isinstance(net, Midi):
        kind = "float32" if args.float else "float16"
        states = [("hidden", config.channels), ("before", 1)] + ([("shown", config.luma_out)] if args.steady else [])
        state = [state_of(name, kind, channels, 1) for name, channels in states]
        packed = {"type": "int32", "packed": 4}
        return {
            "outputs": {
                "luma": {"name": "upscaled_luma", **packed, "shape": [1, 1, f"{s}*H", f"ceil({s}*W/4)"]},
                "chroma": {"name": "upscaled_chroma", **packed, "shape": [1, 2, chroma_out[0], f"ceil({chroma_out[1]}/4)"]},
            },
            "recurrentState": [{**one, "steady": args.steady} if one["input"] == "shown" else one for one in state],
            "architecture": MIDI_ARCHITECTURE.format(blocks=config.blocks, channels=config.channels),
            "productsPerFrame": {"source": "320x180", "products": round(config.products(320, 180))},
        }
    state = []
    if config.state:
        channels = config.luma_in + config.state
        state = [state_of("hidden", "float32" if args.float else "uint8", channels, 2)]
    if args.steady:
        state.append({**state_of("shown", "uint8", config.luma_out, 2), "steady": args.steady})
    skip = f", an identity around every {config.skip} after the first" if config.skip else ""
    return {
        "outputs": {
            "luma": {"name": "upscaled_luma", "type": "uint8", "shape": [1, 1, f"{s}*H", f"{s}*W"]},
            "chroma": {"name": "upscaled_chroma", "type": "uint8", "shape": [1, 2, *chroma_out]},
        },
        "recurrentState": state,
        "architecture": ARCHITECTURE.format(layers=config.layers, channels=config.channels, skip=skip),
    }


def manifest(net: modules.Network | Midi, file: str, data: bytes, args, training: dict) -> dict:
    config, s = net.config, net.config.scale
    half = ["ceil(H/2)", "ceil(W/2)"]
    parameters = sum(p.numel() for p in net.parameters())
    return {
        "name": config.name,
        "label": f"{config.name.removesuffix(f'-x{s}')} x{s}",
        "kind": "onnx",
        "file": file,
        "scale": s,
        "auto": config.name in AUTO,
        **({"gpu": config.name in AUTO_ON_GPU} if isinstance(net, Midi) else {}),
        "fallbacks": FALLBACKS.get(config.name, []),
        "layout": "yuv420p",
        "valueRange": [0, 255],
        "inputs": {
            "luma": {"name": "luma", "type": "uint8", "shape": [1, 1, "H", "W"]},
            "chroma": {"name": "chroma", "type": "uint8", "shape": [1, 2, *half]},
        },
        **interface(net, args),
        "parameters": parameters,
        "budgetMsPerFrame": {"source": args.budget_source, "ms": args.budget_ms},
        "licence": "Apache-2.0",
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "training": training,
    }


def write_check(net: modules.Network | Midi, folder: str, steady: str) -> None:
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
    parser.add_argument("--steady", choices=onnx_graph.STEADY, default="", help="how luma's rounding follows its value in the frame before")
    parser.add_argument("--float", action="store_true", help="fp32 without any rounding, to compare int8 with; not for shipping")
    parser.add_argument("--data-note", default="see training/README.md")
    args = parser.parse_args()
    net, known, layers = checkpoints.load(args.weights)
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True).stdout.strip()
    training = {"seed": args.seed, "steps": 0, "commit": commit, "data": args.data_note, **known}
    if args.name:
        net.config.name = args.name
    if isinstance(net, Midi):
        model = midi_graph.build(net, args.steady, single=args.float)
    else:
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

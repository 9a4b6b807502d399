"""A shipped integer ONNX -> a checkpoint that train.py --resume, evaluate.py and export.py take.

    python3 training/from_onnx.py --model models/nano/nano.onnx --name nano-skip --out .train/start [--check]

The weights that training held in floating point are gone; what comes back is what the integers stand for: int8 times its channel's
scale, which export.py rounds to the same integers again (--check compares every one). Training goes on from there as well as from
the original, since its forward pass rounded them just so.
"""

from __future__ import annotations

import argparse
import json
import os

import numpy as np
import onnx
import torch
from onnx import numpy_helper

import model as modules
import onnx_graph
from midi import PLANES, Midi, MidiConfig


def layers_of(graph: onnx.GraphProto) -> list[dict]:
    """QLinearConv nodes in order: int8 weights, float64 scales, int32 bias, and whether an identity joins what they give."""
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    joined = {node.input[3] for node in graph.node if node.op_type == "QLinearAdd"}
    return [
        {"weight": stored[node.input[3]], "scale": stored[node.input[4]].astype(np.float64), "bias": stored[node.input[8]],
         "joined": node.output[0] in joined}
        for node in graph.node if node.op_type == "QLinearConv"
    ]


def configuration(name: str, graph: onnx.GraphProto, layers: list[dict]) -> modules.Config:
    """What build() made the graph from. Only networks that fold luma by 2 are ever exported, without `rep` branches."""
    body = layers[:-1]
    channels, inputs = body[0]["weight"].shape[:2]
    joins = [index for index, layer in enumerate(body) if layer["joined"]]
    # Folded by 2, luma comes out as (2s)^2 channels and chroma as 2 s^2: six times s^2.
    scale = round((layers[-1]["weight"].shape[0] / 6) ** 0.5)
    recurrent = any(value.name == "hidden" for value in graph.input)
    state = inputs - 4 - 2 - 4 if recurrent else 0
    return modules.Config(name, scale, channels, len(body), state, skip=joins[0] if joins else 0)


def recover(model: onnx.ModelProto, name: str) -> modules.Network:
    layers = layers_of(model.graph)
    net = modules.Network(configuration(name, model.graph, layers))
    with torch.no_grad():
        for index, (layer, mine) in enumerate(zip(layers, [*net.body, net.head])):
            # The head's scale was written in grey levels; see onnx_graph.integer_layers.
            scale = layer["scale"] / (255 * modules.RESIDUAL_GAIN) if index == len(net.body) else layer["scale"]
            mine.weight.copy_(torch.from_numpy(layer["weight"] * scale[:, None, None, None]))
            mine.bias.copy_(torch.from_numpy(layer["bias"] * (scale / 255)))
    return net


def is_midi(model: onnx.ModelProto) -> bool:
    return any(tensor.name == "entered_weight" for tensor in model.graph.initializer)


def recover_midi(model: onnx.ModelProto, name: str) -> Midi:
    """A network of midi_graph.py, in the half precision it is stored in."""
    stored = {tensor.name: torch.from_numpy(numpy_helper.to_array(tensor).astype(np.float32)) for tensor in model.graph.initializer}
    first, head = stored["entered_weight"], stored["residual_half_weight"]
    blocks = sum(tensor.endswith("a_weight") for tensor in stored)
    scale = round((head.shape[0] / 1.5) ** 0.5)
    net = Midi(MidiConfig(name, scale, first.shape[0], blocks))
    gain = 255 * modules.RESIDUAL_GAIN
    body = [torch.stack([stored[f"convolution_{i}a_weight"], stored[f"convolution_{i}b_weight"]]) for i in range(blocks)]
    net.load_state_dict({
        "planes": first[:, :PLANES], "memory": first[:, PLANES:], "start": stored["entered_bias"],
        "body": torch.stack(body), "bias": torch.stack([stored[f"convolution_{i}a_bias"] for i in range(blocks)]),
        "head": head / gain, "head_bias": stored["residual_half_bias"] / gain,
    })
    return net


def differences(net: modules.Network, model: onnx.ModelProto) -> dict:
    """How many weights and biases, and by how much at most scales, an export of `net` would differ from `model`."""
    counts = {"weights": 0, "biases": 0, "scale": 0.0}
    for mine, stored in zip(onnx_graph.integer_layers(net), layers_of(model.graph)):
        counts["weights"] += int((mine["weight"] != stored["weight"]).sum())
        counts["biases"] += int((mine["bias"] != stored["bias"]).sum())
        counts["scale"] = max(counts["scale"], float(np.abs(mine["scale"] / stored["scale"] - 1).max()))
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="a .onnx of export.py, beside its manifest.json")
    parser.add_argument("--name", required=True, help="of the configuration in trainer.py: nano-skip, mini-skip, nano-x2, midi")
    parser.add_argument("--out", required=True, help="folder; gets <name>.pt")
    parser.add_argument("--check", action="store_true", help="compare the integers an export would have with the shipped ones")
    args = parser.parse_args()
    model = onnx.load(args.model)
    net = recover_midi(model, args.name) if is_midi(model) else recover(model, args.name)
    with open(os.path.join(os.path.dirname(args.model), "manifest.json")) as file:
        steps = json.load(file)["training"]["steps"]
    os.makedirs(args.out, exist_ok=True)
    path = os.path.join(args.out, args.name + ".pt")
    torch.save({"config": net.config.to_dict(), "weights": dict(net.state_dict()), "steps": steps}, path)
    print(f"{path}: {net.config}")
    if args.check and not is_midi(model):
        found = differences(net, model)
        print(f"{found['weights']} weights and {found['biases']} biases differ; scales by {found['scale']:.1e} at most")
        if found["weights"] or found["biases"]:
            raise SystemExit("the recovered network is not the shipped one")


if __name__ == "__main__":
    main()

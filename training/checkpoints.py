"""Networks by their configuration, and back from a checkpoint of train.py or a shipped ONNX."""

from __future__ import annotations

import json
import os

import onnx

import from_onnx
import model as modules
from midi import Midi, MidiConfig
from model import Config, Network


def build(config: Config | MidiConfig) -> Network | Midi:
    return Midi(config) if isinstance(config, MidiConfig) else Network(config)


def restore(checkpoint: dict) -> Network | Midi:
    config = checkpoint["config"]
    net = build(MidiConfig(**config) if config.get("kind") == "midi" else Config(**config))
    net.load_state_dict(checkpoint["weights"])
    return net


def load(path: str) -> tuple[Network | Midi, dict, list[dict] | None]:
    """The network, what is known of its training, and its integers when they are given (a shipped ONNX of 8-bit weights)."""
    if not path.endswith(".onnx"):
        checkpoint = modules.load_checkpoint(path)
        return restore(checkpoint).eval(), {"steps": checkpoint["steps"]}, None
    graph = onnx.load(path)
    with open(os.path.join(os.path.dirname(path), "manifest.json")) as stored:
        shipped = json.load(stored)
    if from_onnx.is_midi(graph):
        return from_onnx.recover_midi(graph, shipped["name"]).eval(), shipped["training"], None
    return from_onnx.recover(graph, shipped["name"]).eval(), shipped["training"], from_onnx.layers_of(graph.graph)

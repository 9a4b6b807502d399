#!/usr/bin/env python3
"""Cuts the golden of the Wan2.1 decoder (10 MB) down to what the repository can hold.

cut_full_golden.py MODEL EXPECTED OUT

MODEL     model.safetensors that `models import` made of a folder with the golden's Wan2.1_VAE.pth
EXPECTED  expected.safetensors of the golden: the official code's outputs
OUT       testdata/golden/full-cut.safetensors

Kept: conv2 and the first 16 output channels of decoder.conv1 (BF16, as stored), and of the official `conv1.1` those channels in rows
and columns 0..7. The latents are those of the case `micro`. native/test/wan_decoder_test.cpp reads it.
"""

import json
import struct
import sys

import numpy as np

CHANNELS, SIDE = 16, 8
TYPES = {"BF16": np.uint16, "F32": np.float32}
PREFIX = "wan."


def read(path: str) -> dict[str, tuple[str, np.ndarray]]:
    with open(path, "rb") as file:
        data = file.read()
    (length,) = struct.unpack("<Q", data[:8])
    tensors = {}
    for name, entry in json.loads(data[8:8 + length]).items():
        if name == "__metadata__" or entry["dtype"] not in TYPES:
            continue
        begin, end = (8 + length + offset for offset in entry["data_offsets"])
        values = np.frombuffer(data[begin:end], TYPES[entry["dtype"]]).reshape(entry["shape"])
        tensors[name] = (entry["dtype"], values)
    return tensors


def write(path: str, tensors: dict[str, tuple[str, np.ndarray]]) -> None:
    header, body = {}, b""
    for name, (dtype, values) in tensors.items():
        piece = np.ascontiguousarray(values).tobytes()
        header[name] = {"dtype": dtype, "shape": values.shape, "data_offsets": [len(body), len(body) + len(piece)]}
        body += piece
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + body)


def main(model: str, expected: str, out: str) -> None:
    weights, outputs = read(model), read(expected)
    cut = {}
    for name in ("conv2.weight", "conv2.bias", "decoder.conv1.weight", "decoder.conv1.bias"):
        dtype, values = weights[PREFIX + name]
        cut[name] = (dtype, values[:CHANNELS])
    dtype, values = outputs["conv1.1"]
    cut["conv1.1"] = (dtype, values[:, :CHANNELS, :, :SIDE, :SIDE])
    write(out, cut)


main(*sys.argv[1:])

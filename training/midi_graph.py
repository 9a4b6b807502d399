"""Writes a trained midi network as an ONNX graph for WebGPU: half precision between I420 planes in bytes.

Inputs  luma (1,1,H,W), chroma (1,2,ceil(H/2),ceil(W/2)) uint8; hidden (1,C,H,W), before (1,1,H,W), shown (1,s*s,H,W) in half
precision, zeros at first. Outputs upscaled_luma (1,1,sH,ceil(sW/4)) and upscaled_chroma (1,2,ceil(sH/2),ceil(ceil(sW/2)/4)) int32,
four samples in each, the first in the lowest byte, rows filled up to a multiple of four; hidden_out, before_out, shown_out.

WebGPU has no tensors of bytes: packed, a frame comes back as the bytes that the caller reads, in a quarter of float's traffic. States are
outputs that the caller leaves on the device. `shown` is the luma of the frame before, before the pixel shuffle: luma is rounded to
the one of its two neighbouring levels that is nearer to it (docs/decisions/0006).
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper

import model as modules
from midi import Midi
from onnx_graph import Writer

STEADY = ("", "toward")


class HalfWriter(Writer):
    """Adds what this graph's nodes share. `half` is the type of the network's tensors."""

    def __init__(self, half: int) -> None:
        super().__init__()
        self.half, self.numpy = half, {TensorProto.FLOAT16: np.float16, TensorProto.FLOAT: np.float32}[half]

    def cast(self, x: str, to: int, name: str) -> str:
        return self.add("Cast", [x], name, to=to)

    def convolution(self, x: str, name: str, weight, bias=None) -> str:
        inputs = [x, self.constant(name + "_weight", weight.detach().numpy(), self.numpy)]
        if bias is not None:
            inputs.append(self.constant(name + "_bias", bias.detach().numpy(), self.numpy))
        return self.add("Conv", inputs, name, kernel_shape=[3, 3], pads=[1, 1, 1, 1])


def planes_in(w: HalfWriter) -> list[str]:
    """Bytes -> luma and chroma of the frame's size in [0, 1], and both in grey levels for the bicubic base."""
    w.add("Shape", ["luma"], "luma_shape")
    w.add("Gather", ["luma_shape", w.ints(2, 3)], "size", axis=0)
    w.constant("unit", 1 / 255, np.float32)
    found = []
    for plane in ("luma", "chroma"):
        w.cast(plane, TensorProto.FLOAT, plane + "_levels")
        w.add("Mul", [plane + "_levels", "unit"], plane + "_unit")
        found.append(w.cast(plane + "_unit", w.half, plane + "_in"))
    # Chroma has half the size, rounded up: an odd frame ends in the middle of a repeated sample.
    scales = w.constant("twice", [1, 1, 2, 2], np.float32)
    doubled = dict(mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor")
    w.add("Resize", [found[1], "", scales], "chroma_doubled", **doubled)
    w.add("Slice", ["chroma_doubled", w.ints(0, 0), "size", w.ints(2, 3)], "chroma_wide")
    return [found[0], "chroma_wide"]


def network(w: HalfWriter, net: Midi) -> str:
    """-> the residual in grey levels, float."""
    weights = net.state_dict()
    planes = planes_in(w)
    w.add("Identity", [planes[0]], "before_out")
    x = w.add("Concat", [*planes, "before", "hidden"], "joined", axis=1)
    first = np.concatenate([weights["planes"].numpy(), weights["memory"].numpy()], 1)
    x = w.convolution(x, "entered", modules.torch.from_numpy(first), weights["start"])
    for index in range(net.config.blocks):
        y = w.convolution(x, f"convolution_{index}a", weights["body"][index, 0], weights["bias"][index])
        y = w.add("Relu", [y], f"rectified_{index}")
        y = w.convolution(y, f"convolution_{index}b", weights["body"][index, 1])
        x = w.add("Add", [x, y], f"features_{index}")
    w.add("Clip", [x, w.constant("least", -1, w.numpy), w.constant("most", 1, w.numpy)], "hidden_out")
    gain = 255 * modules.RESIDUAL_GAIN
    w.convolution(x, "residual_half", weights["head"] * gain, weights["head_bias"] * gain)
    return w.cast("residual_half", TensorProto.FLOAT, "residual")


def base(w: HalfWriter, plane: str, planes: int, scale: int) -> str:
    """Bicubic of `planes` planes in grey levels, as channels for a pixel shuffle."""
    one = modules.base_filter(1, scale)
    both = np.zeros((planes * scale * scale, planes, 5, 5), np.float32)
    for index in range(planes):
        both[index * scale * scale : (index + 1) * scale * scale, index : index + 1] = one
    w.add("Pad", [plane + "_levels", w.ints(0, 0, 2, 2, 0, 0, 2, 2)], plane + "_bordered", mode="edge")
    return w.add("Conv", [plane + "_bordered", w.constant(plane + "_bicubic", both, np.float32)], plane + "_base", kernel_shape=[5, 5])


def plane_out(w: HalfWriter, name: str, levels: str) -> None:
    """Whole levels (1, planes, h, w), float -> upscaled_<name>: four samples an int32."""
    w.add("Shape", [levels], name + "_out_shape")
    w.add("Gather", [name + "_out_shape", w.ints(3)], name + "_width", axis=0)
    w.add("Add", [name + "_width", w.ints(3)], name + "_width_up")
    w.add("Div", [name + "_width_up", w.ints(4)], name + "_words")
    w.add("Mul", [name + "_words", w.ints(4)], name + "_padded_width")
    w.add("Sub", [name + "_padded_width", name + "_width"], name + "_fill")
    w.add("Concat", [w.ints(0, 0, 0, 0, 0, 0, 0), name + "_fill"], name + "_fills", axis=0)
    w.add("Pad", [levels, name + "_fills"], name + "_filled")
    # Pairs are joined as floats, which hold 16 bits, and the two halves as integers: WebGPU's ReduceSum adds integers as floats.
    end, parts = w.ints(2**31 - 1), []
    for place in range(4):
        parts.append(w.add("Slice", [name + "_filled", w.ints(place), end, w.ints(3), w.ints(4)], f"{name}_sample_{place}"))
    halves = []
    for half, (low, high) in enumerate((parts[:2], parts[2:])):
        w.add("Mul", [high, w.constant("byte", 1 << 8, np.float32)], f"{name}_high_{half}")
        w.add("Add", [low, f"{name}_high_{half}"], f"{name}_pair_{half}")
        halves.append(w.cast(f"{name}_pair_{half}", TensorProto.INT32, f"{name}_half_{half}"))
    w.add("Mul", [halves[1], w.constant("half_word", 1 << 16, np.int32)], name + "_upper_half")
    w.add("Add", [halves[0], name + "_upper_half"], "upscaled_" + name)


def rounded(w: HalfWriter, name: str, levels: str, steady: str) -> str:
    """Grey levels -> whole ones, 0..255, still as channels for the pixel shuffle."""
    if steady:
        lower = w.add("Floor", [levels], name + "_lower")
        upper = w.add("Add", [lower, w.constant("one", 1, np.float32)], name + "_upper")
        w.cast("shown", TensorProto.FLOAT, "shown_levels")
        w.add("Max", ["shown_levels", lower], name + "_raised")
        levels = w.add("Min", [name + "_raised", upper], name + "_chosen")
    else:
        w.add("Add", [levels, w.constant("half", 0.5, np.float32)], name + "_up")
        levels = w.add("Floor", [name + "_up"], name + "_chosen")
    limits = [w.constant("black", 0, np.float32), w.constant("white", 255, np.float32)]
    return w.add("Clip", [levels, *limits], name + "_clipped")


def build(net: Midi, steady: str = "toward", single: bool = False) -> onnx.ModelProto:
    """`single`: single precision throughout, for devices without half precision and for comparison."""
    half = TensorProto.FLOAT if single else TensorProto.FLOAT16
    config, s, w = net.config, net.config.scale, HalfWriter(half)
    network(w, net)
    for name, planes, begin, end, block in (("luma", 1, 0, config.luma_out, s),
                                            ("chroma", 2, config.luma_out, config.luma_out + config.chroma_out, s // 2)):
        part = w.add("Slice", ["residual", w.ints(begin), w.ints(end), w.ints(1)], name + "_residual")
        if name == "luma":
            levels = w.add("Add", [base(w, name, planes, s), part], name + "_sum")
            levels = rounded(w, name, levels, steady)
            if steady:
                w.cast(levels, half, "shown_out")
            whole = w.add("DepthToSpace", [levels], name + "_whole", blocksize=s, mode="CRD") if s > 1 else levels
        else:
            # Chroma's base lies on its own, half as large grid: both meet at the result's size.
            w.add("DepthToSpace", [base(w, name, planes, s)], name + "_base_whole", blocksize=s, mode="CRD")
            shuffled = w.add("DepthToSpace", [part], name + "_residual_whole", blocksize=block, mode="CRD") if block > 1 else part
            w.add("Shape", [shuffled], name + "_shape")
            w.add("Gather", [name + "_shape", w.ints(2, 3)], name + "_size", axis=0)
            w.add("Slice", [name + "_base_whole", w.ints(0, 0), name + "_size", w.ints(2, 3)], name + "_base_cut")
            levels = w.add("Add", [name + "_base_cut", shuffled], name + "_sum")
            whole = rounded(w, name, levels, "")
        plane_out(w, name, whole)

    def value(name: str, *shape, kind=TensorProto.UINT8):
        return helper.make_tensor_value_info(name, kind, [1, *shape])

    inputs = [value("luma", 1, "height", "width"), value("chroma", 2, "half_height", "half_width")]
    outputs = [value("upscaled_luma", 1, "height_out", "words_out", kind=TensorProto.INT32),
               value("upscaled_chroma", 2, "half_height_out", "half_words_out", kind=TensorProto.INT32)]
    states = [("hidden", config.channels), ("before", 1)] + ([("shown", config.luma_out)] if steady else [])
    for name, channels in states:
        inputs.append(value(name, channels, "height", "width", kind=half))
        outputs.append(value(name + "_out", channels, "height", "width", kind=half))
    graph = helper.make_graph(w.nodes, config.name, inputs, outputs, list(w.initializers.values()))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], producer_name="FlashVSR Live training")
    model.ir_version = 8
    onnx.checker.check_model(model)
    return model

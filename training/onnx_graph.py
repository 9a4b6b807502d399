"""Writes a trained network as an ONNX graph of integer convolutions on I420 planes.

Inputs  luma (1,1,H,W), chroma (1,2,ceil(H/2),ceil(W/2)), hidden (1,u*u+S,ceil(H/2),ceil(W/2)), all uint8; hidden starts as zeros.
With `steady` also shown (1,(u*s)^2,ceil(H/2),ceil(W/2)): the luma of the frame before, folded; zeros at first.
Outputs upscaled_luma (1,1,sH,sW), upscaled_chroma (1,2,ceil(sH/2),ceil(sW/2)), hidden_out (as hidden), shown_out, all uint8.
H and W are free, odd sizes too. The graph is written by hand because exporters fall back to floating point around the parts that
matter here: everything between the planes is uint8 (a quarter of the memory traffic), and ReLU is the saturation of QLinearConv.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import model as modules

# What luma's rounding to 8 bits does with what it was in the frame before: nothing; round to the one of the two neighbouring levels
# that is nearer to it; or keep it while the new value is less than a level away (three times the time, docs/decisions/0006).
STEADY = ("", "toward", "hold")
ACTIVATION_SCALE = np.float32(1 / 255)


class Writer:
    def __init__(self) -> None:
        self.nodes: list = []
        self.initializers: dict = {}

    def constant(self, name: str, value, dtype) -> str:
        if name not in self.initializers:
            self.initializers[name] = numpy_helper.from_array(np.asarray(value, dtype), name)
        return name

    def ints(self, *values: int) -> str:
        return self.constant("ints_" + "_".join(str(v).replace("-", "m") for v in values), values, np.int64)

    def add(self, kind: str, inputs: list[str], output: str, domain: str = "", **attributes) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, domain=domain, **attributes))
        return output

    def quantised_convolution(self, x: str, name: str, layer: dict, scale: str, zero: str) -> str:
        """`layer`: int8 weights (O, I, 3, 3), their scales (O), int32 bias (O)."""
        self.constant(name + "_weight", layer["weight"], np.int8)
        self.constant(name + "_weight_scale", layer["scale"], np.float32)
        self.constant(name + "_weight_zero", np.zeros(len(layer["scale"])), np.int8)
        self.constant(name + "_bias", layer["bias"], np.int32)
        weight = [name + "_weight", name + "_weight_scale", name + "_weight_zero"]
        inputs = [x, "activation_scale", "zero", *weight, scale, zero, name + "_bias"]
        return self.add("QLinearConv", inputs, name, kernel_shape=[3, 3], pads=[1, 1, 1, 1])


def integer_layers(net: modules.Network) -> list[dict]:
    """Weights as int8 in [-63, 63] with per-channel scales, biases in units of scale / 255; the head's in grey levels."""
    layers = []
    for index, layer in enumerate([*net.body, net.head]):
        weight = layer.folded().detach()
        scale = layer.scales(weight)
        numbers = np.rint((weight / scale).numpy()).astype(np.int8)
        scale = scale.flatten().numpy().astype(np.float64)
        bias = np.rint(layer.bias.detach().numpy() / (scale / 255)).astype(np.int32)
        if index == len(net.body):
            scale = scale * 255 * modules.RESIDUAL_GAIN
        layers.append({"weight": numbers, "scale": scale, "bias": bias})
    return layers


def sizes(w: Writer) -> None:
    """Shape arithmetic: even folded size, the borders to replicate, and the final sizes are computed in the graph."""
    w.add("Shape", ["luma"], "luma_shape")
    w.add("Gather", ["luma_shape", w.ints(2, 3)], "size", axis=0)  # H, W
    w.add("Add", ["size", w.ints(1)], "size_up")
    w.add("Div", ["size_up", w.ints(2)], "half")
    w.add("Mul", ["half", w.ints(2)], "even")
    w.add("Sub", ["even", "size"], "odd")
    w.add("Add", ["odd", w.ints(2)], "border_end")
    w.add("Concat", [w.ints(0, 0, 2, 2), w.ints(0, 0), "border_end"], "borders", axis=0)
    w.add("Add", ["half", w.ints(2)], "padded_half")
    w.add("Concat", [w.ints(1, 4), "padded_half"], "folded_shape", axis=0)


def fold(w: Writer) -> None:
    """luma_padded (1, 1, 2R, 2C) -> luma_bordered (1, 4, R, C), one channel for each place in a 2x2 block.

    Rows first and columns then, because onnxruntime moves one axis at a time by whole rows or by a small vectorised transposition,
    and everything else sample by sample: DepthToSpace and one transposition of six axes took twice as long (1.2 ms of nano's frame).
    """
    w.add("Reshape", ["luma_padded", w.ints(1, -1, 2, 0)], "luma_row_pairs")
    w.add("Transpose", ["luma_row_pairs"], "luma_rows", perm=[0, 2, 1, 3])
    w.add("Reshape", ["luma_rows", w.ints(2, -1, 2)], "luma_column_pairs")
    w.add("Transpose", ["luma_column_pairs"], "luma_phases", perm=[0, 2, 1])
    w.add("Reshape", ["luma_phases", "folded_shape"], "luma_bordered")


def unfold(w: Writer, x: str, name: str, planes: int, block: int) -> str:
    """(1, planes * block * block, h, w) -> (1, planes, block * h, block * w), columns first and rows then; see `fold`."""
    w.add("Reshape", [x, w.ints(planes * block, block, 0, 0)], name + "_blocks")
    w.add("Transpose", [name + "_blocks"], name + "_columns", perm=[0, 2, 3, 1])
    w.add("Reshape", [name + "_columns", w.ints(0, 0, 1, -1)], name + "_joined")
    w.add("Reshape", [name + "_joined", w.ints(planes, block, -1, 0)], name + "_rows_in")
    w.add("Transpose", [name + "_rows_in"], name + "_rows_out", perm=[0, 2, 1, 3])
    return w.add("Reshape", [name + "_rows_out", w.ints(1, planes, -1, 0)], name + "_whole")


def network(w: Writer, config: modules.Config, layers: list[dict]) -> None:
    planes = ["luma_folded", "chroma"] + (["hidden"] if config.state else [])
    x = w.add("Concat", planes, "planes", axis=1)
    saved = ""
    for i, layer in enumerate(layers[:-1]):
        joins = config.skip and i and i % config.skip == 0
        if joins:
            y = w.quantised_convolution(x, f"convolution_{i}", layer, "signed_scale", "middle")
            inputs = [saved, "activation_scale", "zero", y, "signed_scale", "middle", "activation_scale", "zero"]
            x = w.add("QLinearAdd", inputs, f"features_{i}", domain="com.microsoft")
        else:
            x = w.quantised_convolution(x, f"convolution_{i}", layer, "activation_scale", "zero")
        if config.skip and i % config.skip == 0:
            saved = x
    if config.state:
        w.add("Slice", [x, w.ints(0), w.ints(config.state), w.ints(1)], "features_kept")
        w.add("Concat", ["luma_folded", "features_kept"], "hidden_out", axis=1)
    w.quantised_convolution(x, "residual", layers[-1], "residual_step", "middle")


def float_network(w: Writer, net: modules.Network) -> None:
    """The same network without any rounding, in fp32: what int8 is compared with. Never shipped; `hidden` is float here."""
    config = net.config
    w.constant("unit", 0.0, np.float32)
    w.constant("level", 255.0, np.float32)
    planes = []
    for plane in ("luma_folded", "chroma"):
        w.add("Cast", [plane], plane + "_levels_in", to=TensorProto.FLOAT)
        planes.append(w.add("Div", [plane + "_levels_in", "level"], plane + "_unit"))
    x = w.add("Concat", planes + (["hidden"] if config.state else []), "planes", axis=1)
    saved = ""

    def convolution(x: str, name: str, layer: modules.Convolution, gain: float) -> str:
        weight = w.constant(name + "_weight", layer.folded().detach().numpy() * gain, np.float32)
        bias = w.constant(name + "_bias", layer.bias.detach().numpy() * gain, np.float32)
        return w.add("Conv", [x, weight, bias], name, kernel_shape=[3, 3], pads=[1, 1, 1, 1])

    for i, layer in enumerate(net.body):
        x = convolution(x, f"convolution_{i}", layer, 1)
        if config.skip and i and i % config.skip == 0:
            x = w.add("Add", [x, saved], f"sum_{i}")
        x = w.add("Clip", [x, "unit", "one"], f"features_{i}")
        if config.skip and i % config.skip == 0:
            saved = x
    if config.state:
        w.add("Slice", [x, w.ints(0), w.ints(config.state), w.ints(1)], "features_kept")
        w.add("Concat", ["luma_folded_unit", "features_kept"], "hidden_out", axis=1)
    convolution(x, "residual", net.head, 255 * modules.RESIDUAL_GAIN)


def planes_out(w: Writer, name: str, base: str, begin: int, end: int, block: int, crop: str, integer: bool, steady: str) -> None:
    """Residual channels [begin, end) + bicubic base -> uint8 -> pixel shuffle -> crop to the exact size.

    `steady` (STEADY) chooses luma's rounding by its value in the frame before (state `shown`): what is still in the scene is then still in
    the picture, where plain rounding would toggle it without end.
    """
    levels = name + "_residual_levels"
    w.add("Slice", ["residual", w.ints(begin), w.ints(end), w.ints(1)], name + "_residual" if integer else levels)
    if integer:
        w.add("DequantizeLinear", [name + "_residual", "residual_step", "middle"], levels)
    w.add("Add", [levels, base], name + "_levels")
    levels = name + "_levels"
    if steady == "toward":
        # The base is half a level lower: the lower of the two neighbours, and by another zero point the upper one.
        lower = w.add("QuantizeLinear", [levels, "one", "zero"], name + "_lower")
        upper = w.add("QuantizeLinear", [levels, "one", w.constant("next", 1, np.uint8)], name + "_upper")
        w.add("Max", ["shown", lower], "shown_raised")
        rounded = w.add("Min", ["shown_raised", upper], "shown_out")
    else:
        rounded = w.add("QuantizeLinear", [levels, "one", "zero"], name + "_rounded")
    if steady == "hold":
        w.add("DequantizeLinear", ["shown", "one", "zero"], "shown_levels")
        w.add("Sub", [levels, "shown_levels"], "shown_change")
        w.add("Abs", ["shown_change"], "shown_distance")
        w.add("Less", ["shown_distance", "one"], "shown_stays")
        rounded = w.add("Where", ["shown_stays", "shown", rounded], "shown_out")
    unfold(w, rounded, name, (end - begin) // (block * block), block)
    w.add("Slice", [name + "_whole", w.ints(0, 0), crop, w.ints(2, 3)], "upscaled_" + name)


def build(net: modules.Network, integer: bool = True, steady: str = "", layers: list[dict] | None = None) -> onnx.ModelProto:
    """`layers`: the integers of a graph that exists, bit by bit, instead of what `net` rounds to."""
    config = net.config
    if config.unshuffle != 2:
        raise ValueError(f"{config.name}: only networks that fold luma by 2 are exported (unshuffle is {config.unshuffle})")
    s, w = config.scale, Writer()
    w.constant("activation_scale", ACTIVATION_SCALE, np.float32)
    if config.skip:
        w.constant("signed_scale", 1 / 128, np.float32)
    w.constant("one", 1.0, np.float32)
    w.constant("residual_step", modules.RESIDUAL_STEP, np.float32)
    w.constant("zero", 0, np.uint8)
    w.constant("middle", 128, np.uint8)
    sizes(w)
    w.add("Pad", ["luma", "borders"], "luma_padded", mode="edge")
    fold(w)
    w.add("Slice", ["luma_bordered", w.ints(1, 1), w.ints(-1, -1), w.ints(2, 3)], "luma_folded")
    network(w, config, layers or integer_layers(net)) if integer else float_network(w, net)

    w.add("Cast", ["luma_bordered"], "luma_float", to=TensorProto.FLOAT)
    w.constant("luma_bicubic", modules.base_filter(2, s), np.float32)
    shift = [w.constant("luma_shift", np.full(config.luma_out, -0.5), np.float32)] if steady == "toward" else []
    w.add("Conv", ["luma_float", "luma_bicubic", *shift], "luma_base", kernel_shape=[3, 3])
    w.add("Cast", ["chroma"], "chroma_float", to=TensorProto.FLOAT)
    w.add("Pad", ["chroma_float", w.ints(0, 0, 2, 2, 0, 0, 2, 2)], "chroma_padded", mode="edge")
    one = modules.base_filter(1, s)
    both = np.zeros((2 * s * s, 2, 5, 5), np.float32)
    both[: s * s, :1], both[s * s :, 1:] = one, one
    w.constant("chroma_bicubic", both, np.float32)
    w.add("Conv", ["chroma_padded", "chroma_bicubic"], "chroma_base", kernel_shape=[5, 5])

    w.add("Mul", ["size", w.ints(s)], "luma_size_out")
    w.add("Add", ["luma_size_out", w.ints(1)], "luma_size_up")
    w.add("Div", ["luma_size_up", w.ints(2)], "chroma_size_out")
    planes_out(w, "luma", "luma_base", 0, config.luma_out, 2 * s, "luma_size_out", integer, steady)
    planes_out(w, "chroma", "chroma_base", config.luma_out, config.luma_out + config.chroma_out, s, "chroma_size_out", integer, "")

    def value(name: str, *shape, kind=TensorProto.UINT8):
        return helper.make_tensor_value_info(name, kind, [1, *shape])

    state = TensorProto.UINT8 if integer else TensorProto.FLOAT

    held = config.luma_in + config.state
    inputs = [value("luma", 1, "height", "width"), value("chroma", 2, "half_height", "half_width")]
    outputs = [value("upscaled_luma", 1, "height_out", "width_out"), value("upscaled_chroma", 2, "half_height_out", "half_width_out")]
    if config.state:
        inputs.append(value("hidden", held, "half_height", "half_width", kind=state))
        outputs.append(value("hidden_out", held, "half_height", "half_width", kind=state))
    if steady:
        inputs.append(value("shown", config.luma_out, "half_height", "half_width"))
        outputs.append(value("shown_out", config.luma_out, "half_height", "half_width"))
    graph = helper.make_graph(w.nodes, config.name, inputs, outputs, list(w.initializers.values()))
    opsets = [helper.make_opsetid("", 17)] + ([helper.make_opsetid("com.microsoft", 1)] if config.skip else [])
    model = helper.make_model(graph, opset_imports=opsets, producer_name="FlashVSR Live training")
    model.ir_version = 8
    onnx.checker.check_model(model) if not config.skip else None
    return model

"""The recurrent super-resolution network on I420 planes, trained as the integer network it will run as.

One frame goes in as planes at `unshuffle`-reduced size: luma is folded space-to-depth (u*u channels), chroma already has half
size, the previous frame's luma and `state` channels of the previous frame's last features come along (RLSP, Fuoli et al. 2019,
without look-ahead). Plain 3x3 convolutions follow; every activation is clamped to [0, 1] and held in 8 bits (so ReLU is free: it
is the saturation of the integer convolution), weights are 7-bit per output channel (no overflow of pmaddubsw on processors
without VNNI). The last convolution gives the residual over bicubic in half grey levels, luma and chroma at once, as channels
for a pixel shuffle. `quantise` blends between float (0) and integer behaviour (1) without recompiling anything.

Shapes, for a frame of H x W and u = 2: planes (N, 4 + 2 [+ 4 + S], H/2, W/2) -> residual (N, (u*s)^2 + 2*(u*s/2)^2, H/2, W/2).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

from resampling import cubic_kernel

LEVELS = 255.0
WEIGHT_LIMIT = 63.0  # 7 bits: two u8*s8 products fit 16 bits on processors without VNNI
# The residual is a tenth of the head's convolution, so the head's weights are as large as the others and one learning rate fits all.
RESIDUAL_GAIN = 0.1
# The residual's 8-bit steps, in grey levels: -64..63.5. (Whole levels, beside the rounding of the sum, made 7 % more flicker.)
RESIDUAL_STEP = 0.5


@dataclass
class Config:
    name: str
    scale: int = 4
    channels: int = 96
    layers: int = 8
    # 0: a single-frame model. Inputs come to a multiple of four: onnxruntime's fastest integer convolution takes them so (58 took
    # 3 ms of nano's frame longer than 60).
    state: int = 50
    unshuffle: int = 2
    skip: int = 0  # an identity around every `skip` convolutions after the first; 0: none
    rep: bool = False  # train with a linear branch beside each convolution, folded in weight space

    @property
    def luma_in(self) -> int:
        return self.unshuffle**2

    @property
    def inputs(self) -> int:
        recurrent = self.luma_in + self.state if self.state else 0
        return self.luma_in + 2 + recurrent

    @property
    def luma_out(self) -> int:
        return (self.unshuffle * self.scale) ** 2

    @property
    def chroma_out(self) -> int:
        return 2 * (self.unshuffle * self.scale // 2) ** 2

    def to_dict(self) -> dict:
        return asdict(self)


def clamp_quantise(x: torch.Tensor, bias: torch.Tensor, quantise: torch.Tensor, slope: torch.Tensor) -> torch.Tensor:
    z = x + bias
    y = torch.clamp(z, 0.0, 1.0) + slope * torch.clamp(z, max=0.0)
    return y + (torch.round(y * LEVELS) * (1.0 / LEVELS) - y) * quantise


def clamp_gradient(grad: torch.Tensor, y: torch.Tensor, slope: torch.Tensor) -> torch.Tensor:
    return torch.where(y >= 1.0, torch.zeros_like(grad), torch.where(y <= 0.0, grad * slope, grad))


class Activation(torch.autograd.Function):
    """Bias, clamp to [0, 1] and rounding to 1/255, straight through inside the clamp.

    `slope` is what values below 0 keep: training starts as a leaky network and ends at 0. (Started at 0, these networks die within
    a few hundred steps: with a bicubic base, the quickest way to less error is to switch all features off.)
    """

    forward_kernel = staticmethod(clamp_quantise)
    backward_kernel = staticmethod(clamp_gradient)

    @staticmethod
    def forward(ctx, x, bias, quantise, slope):
        slope = slope.to(x.dtype)
        y = Activation.forward_kernel(x, bias.to(x.dtype).view(1, -1, 1, 1), quantise.to(x.dtype), slope)
        ctx.save_for_backward(y, slope)
        return y

    @staticmethod
    def backward(ctx, grad):
        y, slope = ctx.saved_tensors
        grad = Activation.backward_kernel(grad, y, slope)
        return grad, grad.sum((0, 2, 3), dtype=torch.float32), None, None


def join_quantise(x: torch.Tensor, bias: torch.Tensor, saved: torch.Tensor, quantise: torch.Tensor, slope: torch.Tensor) -> torch.Tensor:
    """Exported as a signed 8-bit convolution output (steps of 1/128) and QLinearAdd, whose saturation is the clamp."""
    z = x + bias
    z = z + (torch.clamp(torch.round(z * 128), -128, 127) * (1 / 128) - z) * quantise
    return clamp_quantise(saved, z, quantise, slope)


class Join(torch.autograd.Function):
    """An Activation of a convolution's output and an identity: as one kernel, because a dozen small ones took a fifth of a step."""

    forward_kernel = staticmethod(join_quantise)

    @staticmethod
    def forward(ctx, x, bias, saved, quantise, slope):
        slope = slope.to(x.dtype)
        y = Join.forward_kernel(x, bias.to(x.dtype).view(1, -1, 1, 1), saved, quantise.to(x.dtype), slope)
        ctx.save_for_backward(y, slope)
        return y

    @staticmethod
    def backward(ctx, grad):
        grad, bias, _, _ = Activation.backward(ctx, grad)
        return grad, bias, grad, None, None


def straight_through(x: torch.Tensor, rounded: torch.Tensor, quantise: torch.Tensor) -> torch.Tensor:
    return x + (rounded - x).detach() * quantise


class Convolution(nn.Module):
    def __init__(self, inputs: int, outputs: int, gain: float, rep: bool):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, 3, 3) * gain * (2.0 / (9 * inputs)) ** 0.5)
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.rep = rep
        if rep:
            self.wide = nn.Parameter(torch.randn(2 * outputs, inputs, 3, 3) * (1.0 / (9 * inputs)) ** 0.5)
            self.narrow = nn.Parameter(torch.randn(outputs, 2 * outputs) * 0.1 * (1.0 / (2 * outputs)) ** 0.5)

    def folded(self) -> torch.Tensor:
        if not self.rep:
            return self.weight
        return self.weight + (self.narrow @ self.wide.flatten(1)).view_as(self.weight)

    def scales(self, weight: torch.Tensor) -> torch.Tensor:
        return weight.detach().abs().amax((1, 2, 3), keepdim=True).clamp_min(1e-6) / WEIGHT_LIMIT

    def quantised(self, quantise: torch.Tensor) -> torch.Tensor:
        weight = self.folded()
        scale = self.scales(weight)
        return straight_through(weight, torch.round(weight / scale) * scale, quantise)


def load_checkpoint(path: str, device="cpu") -> dict:
    """A file of train.py, average.py or from_onnx.py: nothing but dictionaries, numbers, strings and tensors (PyTorch 1.13 and later)."""
    return torch.load(path, map_location=device, weights_only=True)


class Network(nn.Module):
    def __init__(self, config: Config):
        super().__init__()
        self.config = config
        self.slope = torch.zeros(())  # a plain attribute: the trainer moves it to its device and lowers it
        widths = [config.inputs] + [config.channels] * config.layers
        # A convolution whose output joins an identity starts small.
        gains = [0.3 if config.skip and i and i % config.skip == 0 else 1.0 for i in range(config.layers)]
        self.body = nn.ModuleList(
            Convolution(a, b, gain, config.rep) for a, b, gain in zip(widths, widths[1:], gains)
        )
        self.whiten()
        self.head = Convolution(config.channels, config.luma_out + config.chroma_out, 0.1, config.rep)

    @torch.no_grad()
    def whiten(self) -> None:
        """Start the first filters blind to brightness and strong on detail, which is what the residual is made of.

        Pixels are mostly brightness (0.1..0.9) and little detail (0.05); features that begin as brightness are noise to the
        residual, and training would only learn to switch them off.
        """
        luma, weight = self.config.luma_in, self.body[0].weight
        groups = [(0, luma, 5.0), (luma, luma + 2, 2.0)]
        if self.config.state:
            groups += [(luma + 2, 2 * luma + 2, 3.0), (2 * luma + 2, weight.shape[1], 0.5)]
        for begin, end, gain in groups:
            part = weight[:, begin:end]
            if gain > 1:
                part -= part.mean((1, 2, 3), keepdim=True)
            part *= gain

    def weights(self, quantise: torch.Tensor, dtype: torch.dtype) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Quantised weights, computed once for all frames of a training clip."""
        layers = [*self.body, self.head]
        fmt = torch.channels_last
        return [(layer.quantised(quantise).to(dtype).contiguous(memory_format=fmt), layer.bias) for layer in layers]

    def step(self, weights, luma, chroma, previous, hidden, quantise):
        """luma (N, u*u, h, w), chroma (N, 2, h, w) in [0, 1] -> residual in units of 1.0 (= 255 levels), new hidden state."""
        planes = [luma, chroma] if not self.config.state else [luma, chroma, previous, hidden]
        x = torch.cat(planes, 1).contiguous(memory_format=torch.channels_last)
        saved = None
        for i, (weight, bias) in enumerate(weights[:-1]):
            y = F.conv2d(x, weight, None, padding=1)
            if self.config.skip and i and i % self.config.skip == 0:
                x = Join.apply(y, bias, saved, quantise, self.slope)
            else:
                x = Activation.apply(y, bias, quantise, self.slope)
            if self.config.skip and i % self.config.skip == 0:
                saved = x
        weight, bias = weights[-1]
        residual = F.conv2d(x, weight, bias.to(x.dtype), padding=1) * RESIDUAL_GAIN
        step = RESIDUAL_STEP / LEVELS
        rounded = torch.clamp(torch.round(residual / step), -128, 127) * step
        return straight_through(residual, rounded, quantise), x[:, : self.config.state]

    def forward(self, luma, chroma, quantise, dtype):
        """A clip: luma (N, T, u*u, h, w), chroma (N, T, 2, h, w) -> residuals (N, T, C, h, w)."""
        n, frames, _, h, w = luma.shape
        weights = self.weights(quantise, dtype)
        luma, chroma = luma.to(dtype), chroma.to(dtype)
        hidden = torch.zeros(n, self.config.state, h, w, dtype=dtype, device=luma.device)
        previous = torch.zeros_like(luma[:, 0])
        out = []
        for t in range(frames):
            residual, hidden = self.step(weights, luma[:, t], chroma[:, t], previous, hidden, quantise)
            previous = luma[:, t]
            out.append(residual)
        return torch.stack(out, 1)


def base_filter(unshuffle: int, scale: int) -> np.ndarray:
    """Bicubic x`scale` as a convolution between folded planes: ((u*s)^2, u^2, k, k), k = 3 for u = 2 and 5 for u = 1.

    Row-major pixel-shuffle order on both sides. The planes must be padded with k // 2 folded pixels of replicated border.
    """
    u, r = unshuffle, unshuffle * scale
    reach = 1 if u == 2 else 2
    size = 2 * reach + 1
    line = np.zeros((r, u, size))  # output phase, input phase, tap
    for p in range(r):
        centre = (p + 0.5) / scale - 0.5
        for tap in range(-2, u + 2):
            line[p, tap % u, tap // u + reach] += cubic_kernel(np.array(tap - centre))
    full = np.einsum("pat,qbs->pqabts", line, line)
    return full.reshape(r * r, u * u, size, size).astype(np.float32)


def unshuffle_planes(x: torch.Tensor, factor: int) -> torch.Tensor:
    """(..., 1, H, W) -> (..., factor^2, H/factor, W/factor), row-major phases."""
    if factor == 1:
        return x
    lead = x.shape[:-3]
    return F.pixel_unshuffle(x.reshape(-1, *x.shape[-3:]), factor).reshape(*lead, factor * factor, x.shape[-2] // factor, -1)

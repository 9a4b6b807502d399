"""The recurrent network for GPUs: plain 3x3 convolutions at the input's own resolution, floating point, half precision safe.

One frame goes in as luma, chroma (repeated 2x2) and the frame before's luma; the frame before's features join them in the first
convolution. Residual blocks follow: x + B(relu(A(x))). The next frame gets the features clamped to [-1, 1], so that nothing can grow
over thousands of frames; the last convolution gives the residual over bicubic, luma and chroma at once, as channels for a pixel shuffle.

Shapes: luma (N, 1, H, W), chroma (N, 2, H, W), hidden (N, C, H, W) -> residual (N, s^2 + 2*(s/2)^2, H, W). Channels come in 64s
because WebGPU's convolution works on tiles of 32 of them.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
import torch.nn as nn
import torch.nn.functional as F

from model import RESIDUAL_GAIN

PLANES = 4  # luma, two of chroma, the luma before


@dataclass
class MidiConfig:
    name: str
    scale: int = 4
    channels: int = 64
    blocks: int = 6
    kind: str = "midi"  # how a checkpoint says which network it is of

    unshuffle = 1
    luma_in = 1

    @property
    def state(self) -> int:
        return self.channels

    @property
    def luma_out(self) -> int:
        return self.scale**2

    @property
    def chroma_out(self) -> int:
        return 2 * (self.scale // 2) ** 2

    def to_dict(self) -> dict:
        return asdict(self)

    def products(self, width: int, height: int) -> float:
        """Multiplications of a frame."""
        c = self.channels
        return 9.0 * width * height * (c * (PLANES + c) + 2 * self.blocks * c * c + c * (self.luma_out + self.chroma_out))


def rectify(x: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    return torch.relu(x + bias)


def rectify_gradient(grad: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return torch.where(y > 0, grad, torch.zeros_like(grad))


class Rectify(torch.autograd.Function):
    """Bias and ReLU as one kernel each way."""

    forward_kernel = staticmethod(rectify)
    backward_kernel = staticmethod(rectify_gradient)

    @staticmethod
    def forward(ctx, x, bias):
        y = Rectify.forward_kernel(x, bias.to(x.dtype).view(1, -1, 1, 1))
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, grad):
        (y,) = ctx.saved_tensors
        grad = Rectify.backward_kernel(grad, y)
        return grad, grad.sum((0, 2, 3), dtype=torch.float32)


class Midi(nn.Module):
    """`weights`, `step` and `forward` as model.Network has them; `quantise` is ignored: nothing is rounded."""

    def __init__(self, config: MidiConfig):
        super().__init__()
        self.config = config
        c, b = config.channels, config.blocks
        fan = (2.0 / (9 * c)) ** 0.5
        self.planes = nn.Parameter(torch.randn(c, PLANES, 3, 3) * (1.0 / (9 * PLANES)) ** 0.5)
        self.memory = nn.Parameter(torch.randn(c, c, 3, 3) * 0.3 * fan)
        self.start = nn.Parameter(torch.zeros(c))
        # One tensor for all blocks, (blocks, 2, out, in, 3, 3): the optimiser orthogonalises their updates in one product.
        self.body = nn.Parameter(torch.randn(b, 2, c, c, 3, 3) * fan * torch.tensor([1.0, 0.3]).view(1, 2, 1, 1, 1, 1))
        self.bias = nn.Parameter(torch.zeros(b, c))
        self.head = nn.Parameter(torch.randn(config.luma_out + config.chroma_out, c, 3, 3) * 0.1 * fan)
        self.head_bias = nn.Parameter(torch.zeros(config.luma_out + config.chroma_out))
        self.whiten()

    @torch.no_grad()
    def whiten(self) -> None:
        """Start blind to brightness and strong on detail; see model.Network.whiten."""
        for begin, end, gain in ((0, 1, 5.0), (1, 3, 2.0), (3, 4, 3.0)):
            part = self.planes[:, begin:end]
            part -= part.mean((1, 2, 3), keepdim=True)
            part *= gain

    def weights(self, quantise: torch.Tensor | None, dtype: torch.dtype) -> dict:
        """Weights in `dtype`, converted once for all frames of a clip."""

        def convert(w: torch.Tensor) -> torch.Tensor:
            return w.to(dtype).contiguous(memory_format=torch.channels_last)

        body = [(convert(a), convert(b), bias) for (a, b), bias in zip(self.body.unbind(0), self.bias.unbind(0))]
        return {"planes": convert(self.planes), "memory": convert(self.memory), "start": self.start.to(dtype), "body": body,
                "head": convert(self.head), "head_bias": self.head_bias.to(dtype)}

    def trunk(self, weights: dict, entered: torch.Tensor, hidden: torch.Tensor | None) -> torch.Tensor:
        """`entered`: the planes' part of the first convolution."""
        x = entered if hidden is None else entered + F.conv2d(hidden, weights["memory"], None, padding=1)
        for a, b, bias in weights["body"]:
            x = x + F.conv2d(Rectify.apply(F.conv2d(x, a, None, padding=1), bias), b, None, padding=1)
        return x

    def residual(self, weights: dict, features: torch.Tensor) -> torch.Tensor:
        return F.conv2d(features, weights["head"], weights["head_bias"], padding=1) * RESIDUAL_GAIN

    def enter(self, weights: dict, planes: torch.Tensor) -> torch.Tensor:
        planes = planes.contiguous(memory_format=torch.channels_last)
        return F.conv2d(planes, weights["planes"], weights["start"], padding=1)

    def step(self, weights, luma, chroma, previous, hidden, quantise):
        """One frame: luma and previous (N, 1, H, W), chroma (N, 2, H, W) in [0, 1] -> residual in units of 1.0, new hidden state."""
        features = self.trunk(weights, self.enter(weights, torch.cat([luma, chroma, previous], 1)), hidden)
        return self.residual(weights, features), features.clamp(-1, 1)

    def forward(self, luma, chroma, quantise, dtype):
        """A clip: luma (N, T, 1, H, W), chroma (N, T, 2, H, W) -> residuals (N, T, C, H, W).

        What does not depend on the state, the first convolution's part on planes and the last convolution, runs for all frames at once.
        """
        n, frames, _, h, w = luma.shape
        weights = self.weights(quantise, dtype)
        luma, chroma = luma.to(dtype).transpose(0, 1), chroma.to(dtype).transpose(0, 1)
        previous = torch.cat([torch.zeros_like(luma[:1]), luma[:-1]])
        planes = torch.cat([luma, chroma, previous], 2).reshape(frames * n, PLANES, h, w)
        hidden, kept = None, []
        for entered in self.enter(weights, planes).split(n):
            features = self.trunk(weights, entered, hidden)
            hidden = features.clamp(-1, 1)
            kept.append(features)
        joined = torch.cat(kept).contiguous(memory_format=torch.channels_last)
        return self.residual(weights, joined).view(frames, n, -1, h, w).transpose(0, 1)

"""What the networks read and should give, and the loss between that and what they do give."""

from __future__ import annotations

import torch
import torch.nn.functional as F

import data
import model as modules
from model import Config

# Mean residual (of 1.0) at which a crop counts half as much as a flat one. At 0.008 (rounds 1 and 2) textured crops counted a third of
# smooth ones: +2.3 dB on soft photographs but only +1.0 on Vid4, and x2 at low bit rates fell behind bicubic.
WEIGHT_FLOOR = 0.05
# Luma's Charbonnier bends at 2.5 grey levels while training starts; see luma_bend for how it ends.
BEND = 0.01
TYPICAL_ERROR = 0.03


def bicubic_up(planes: torch.Tensor, scale: int) -> torch.Tensor:
    """(..., H, W) in [0, 1] -> (..., sH, sW), Keys' cubic, replicated border."""
    weights = torch.from_numpy(modules.base_filter(1, scale)).to(planes.device)
    flat = planes.reshape(-1, 1, *planes.shape[-2:])
    up = F.pixel_shuffle(F.conv2d(F.pad(flat, (2, 2, 2, 2), mode="replicate"), weights), scale)
    return up.reshape(*planes.shape[:-2], *up.shape[-2:])


def fold(config: Config, luma: torch.Tensor, chroma: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Planes in [0, 1] (N, T, H, W), (N, T, 2, H/2, W/2) -> network inputs."""
    folded = modules.unshuffle_planes(luma.unsqueeze(2), config.unshuffle)
    if config.unshuffle == 1:
        chroma = chroma.repeat_interleave(2, -1).repeat_interleave(2, -2)
    return folded, chroma


class Example:
    """What the networks of one (scale, unshuffle) read: folded inputs and the residual over bicubic they should give."""

    def __init__(self, config: Config, batch: data.Batch, dtype: torch.dtype, weight_floor: float):
        self.config, self.batch, self.dtype, self.weight_floor, self.ready = config, batch, dtype, weight_floor, False

    def update(self) -> None:
        b, factor = self.batch, self.config.unshuffle * self.config.scale
        with torch.no_grad():
            luma, chroma = b.luma.float() / 255, b.chroma.float() / 255
            y = (b.hr_luma.float() / 255 - bicubic_up(luma, b.scale)).unsqueeze(2)
            uv = b.hr_chroma.float() / 255 - bicubic_up(chroma, b.scale)
            target = torch.cat([modules.unshuffle_planes(y, factor), self.fold_chroma(uv, factor // 2)], 2)
            # Hard crops (30 kbit/s) would drown the others: each counts relative to how far bicubic is off, as decibels do.
            weight = 1 / (target.abs().mean((1, 2, 3, 4), keepdim=True) + self.weight_floor)
            values = (*(p.to(self.dtype) for p in fold(self.config, luma, chroma)), target, weight / weight.mean(), b.compressed)
            if self.ready:
                for mine, new in zip((self.luma, self.chroma, self.target, self.weight, self.compressed), values):
                    mine.copy_(new)
            else:
                self.luma, self.chroma, self.target, self.weight, self.compressed = (v.clone() for v in values)
                self.ready = True

    @staticmethod
    def fold_chroma(planes: torch.Tensor, factor: int) -> torch.Tensor:
        n, t, _, h, w = planes.shape
        return F.pixel_unshuffle(planes.reshape(n * t, 2, h, w), factor).reshape(n, t, -1, h // factor, w // factor)


def luma_bend(progress: float, begin: float, end: float) -> float:
    """Where the luma loss bends at `progress`: BEND until `begin`, then geometrically to `end` at three quarters of what is left.

    Decibels are squared error. Absolute error trains steadily from the start but gives medians, squared error gives means: the
    last part of training moves from the one to the other.
    """
    part = min(1.0, max(0.0, (progress - begin) / max(1e-6, 0.75 * (1 - begin))))
    return BEND * (end / BEND) ** part


def luma_gain(bend: float) -> float:
    """Keeps luma's gradient at a typical error as large as it was at BEND, so that the other terms keep their share."""
    return ((TYPICAL_ERROR**2 + bend**2) / (TYPICAL_ERROR**2 + BEND**2)) ** 0.5


class Objective:
    """Charbonnier on luma, on chroma and on the error's change from frame to frame (flicker).

    Luma bends at 2.5 grey levels: nearly squared error below, so that small residuals are not drawn to zero. Chroma's errors and
    flicker are about one level and less, so they bend earlier: with luma's bend the networks ended below bicubic in both.
    `bend` and `gain` are on the device, because the step that reads them is recorded once.
    """

    def __init__(self, config: Config, example: Example, args, device: torch.device):
        self.config, self.example, self.args = config, example, args
        self.bend, self.gain = torch.full((), BEND, device=device), torch.ones((), device=device)

    def schedule(self, progress: float) -> None:
        bend = luma_bend(progress, self.args.bend_from, self.args.bend_end)
        self.bend.fill_(bend)
        self.gain.fill_(luma_gain(bend))

    def charbonnier(self, x: torch.Tensor, bend) -> torch.Tensor:
        return (torch.sqrt(x * x + bend * bend) * self.example.weight).mean()

    def __call__(self, residual: torch.Tensor) -> torch.Tensor:
        args, example = self.args, self.example
        difference = residual.float() - example.target
        luma, chroma = difference.split([self.config.luma_out, self.config.chroma_out], 2)
        loss = self.gain * self.charbonnier(luma, self.bend) + args.colour * self.charbonnier(chroma, 0.002)
        change = (luma[:, 1:] - luma[:, :-1]) * (args.flicker + (args.flicker_compressed - args.flicker) * example.compressed)
        loss = loss + self.charbonnier(change, 0.0004)
        if args.gradient:
            n, t = luma.shape[:2]
            error = F.pixel_shuffle(luma.reshape(n * t, *luma.shape[2:]), self.config.unshuffle * self.config.scale)
            error = error.reshape(n, t, *error.shape[1:])
            across, down = error[..., 1:] - error[..., :-1], error[..., 1:, :] - error[..., :-1, :]
            loss = loss + args.gradient * (self.charbonnier(across, BEND) + self.charbonnier(down, BEND))
        return loss

"""Decibels on luma of what training never sees: validation clips of the pack, and sharp pans over the photographs held out."""

from __future__ import annotations

import torch
import torch.nn.functional as F

import data
import model as modules
from midi import Midi
from model import Network
from objective import bicubic_up, fold
from pans import Pans


class PlainKernels:
    """Without compiled kernels and algorithm searches, which every new size of picture would start again."""

    def __enter__(self) -> None:
        functions = (modules.Activation, modules.Join)
        self.saved = [(f, f.forward_kernel) for f in functions], torch.backends.cudnn.benchmark
        modules.Activation.forward_kernel = staticmethod(modules.clamp_quantise)
        modules.Join.forward_kernel = staticmethod(modules.join_quantise)
        torch.backends.cudnn.benchmark = False

    def __exit__(self, *_) -> None:
        for function, kernel in self.saved[0]:
            function.forward_kernel = staticmethod(kernel)
        torch.backends.cudnn.benchmark = self.saved[1]


def decibels(picture: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """(T, H, W) in [0, 1] -> (T): rounded to 8 bits, without a border of 4."""
    picture = torch.clamp(torch.round(picture * 255), 0, 255) / 255
    return -10 * torch.log10(((picture - truth)[:, 4:-4, 4:-4] ** 2).mean((1, 2)).clamp_min(1e-9))


def upscale(net: Network | Midi, luma: torch.Tensor, chroma: torch.Tensor, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """A clip's uint8 or float planes in grey levels, (T, H, W) and (T, 2, H/2, W/2) -> upscaled luma and its bicubic base in [0, 1]."""
    config, one = net.config, torch.ones((), device=luma.device)
    luma, chroma = luma[None].float() / 255, chroma[None].float() / 255
    residual = net(*(p.to(dtype) for p in fold(config, luma, chroma)), one, dtype)[0, :, : config.luma_out]
    base = bicubic_up(luma, config.scale)[0]
    return base + F.pixel_shuffle(residual.float(), config.unshuffle * config.scale)[:, 0], base


@torch.no_grad()
def sharp(net: Network | Midi, pans: Pans, dtype: torch.dtype) -> dict:
    """Mean over pans of the held-out photographs and screens, all frames from the first on, as Vid4 is scored."""
    scores: dict = {}
    with PlainKernels():
        for name, (low, low_chroma, high, _) in pans.examination(net.config.scale):
            up, base = upscale(net, low, low_chroma, dtype)
            for kind, picture in ((name, up), (name + "-bicubic", base)):
                scores.setdefault(kind, []).append(float(decibels(picture, high / 255).mean()))
    return {name: round(sum(values) / len(values), 3) for name, values in scores.items()}


@torch.no_grad()
def clips(net: Network | Midi, pool: data.Pool, dtype: torch.dtype) -> dict:
    """Frames 4.. of every validation clip: clean and compressed input, pictures of screens apart, with bicubic beside them."""
    sums: dict = {}
    scale = net.config.scale
    with PlainKernels():
        for clip in pool.validation:
            for index, (luma, chroma) in enumerate(clip.renditions[scale]):
                kind = "clean" if index == 0 else "compressed"
                if clip.description.get("photo", "").startswith("screen"):
                    kind = "screen" if index == 0 else "screen-compressed"
                # Crop to what the network's folding divides.
                h, w = luma.shape[1] // 2 * 2, luma.shape[2] // 2 * 2
                pictures = upscale(net, luma[:, :h, :w], chroma[..., : h // 2, : w // 2], dtype)
                truth = clip.luma[:, : h * scale, : w * scale].float() / 255
                for name, picture in zip((kind, kind + "-bicubic"), pictures):
                    sums.setdefault(name, []).append(float(decibels(picture[4:], truth[4:]).mean()))
    return {name: round(sum(values) / len(values), 3) for name, values in sums.items()}

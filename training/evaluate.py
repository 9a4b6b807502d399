"""Reference inference in PyTorch, and PSNR on luma for a folder of PNG clips.

    python3 training/evaluate.py --weights OUT/nano.pt --data DIR    (DIR/test/vid4/<clip>/*.png)

Once for each way of rounding (export.py --steady). Scores agree with bench:quality's: luma of truth, bicubic and ours rounded to
8 bits, all frames from the first on.

The full comparison (SSIM, perceptual distance, flicker, compressed input, other models, run time) is `npm run bench:quality`.
"""

from __future__ import annotations

import argparse
import os

import cv2
import numpy as np
import torch
import torch.nn.functional as F

import checkpoints
import model as modules
import onnx_graph
from midi import Midi
from resampling import resize_matrix

Planes = tuple  # (luma (H, W), chroma (2, ceil(H/2), ceil(W/2))), uint8


def replicate(plane: torch.Tensor, right: int, bottom: int) -> torch.Tensor:
    return F.pad(plane[None, None], (0, right, 0, bottom), mode="replicate")[0, 0]


def bicubic(plane: torch.Tensor, scale: int) -> torch.Tensor:
    weights = torch.from_numpy(modules.base_filter(1, scale))
    return F.pixel_shuffle(F.conv2d(F.pad(plane[None, None], (2, 2, 2, 2), mode="replicate"), weights), scale)[0, 0]


@torch.no_grad()
def upscale(net: modules.Network | Midi, frames: list[Planes], steady: str = "") -> list[Planes]:
    """Frames of one clip, in order -> upscaled frames, with the integer behaviour of the exported graph (onnx_graph.planes_out)."""
    s, u, one = net.config.scale, net.config.unshuffle, torch.ones(())
    weights = net.weights(one, torch.float32)
    hidden = previous = shown = None
    out = []
    for y, uv in frames:
        height, width = y.shape
        luma, chroma = torch.from_numpy(y).float(), torch.from_numpy(uv).float()
        even = replicate(luma, width % u, height % u)
        folded = modules.unshuffle_planes(even[None, None] / 255, u)
        planes = chroma[None] / 255
        if u == 1:
            planes = planes.repeat_interleave(2, -1).repeat_interleave(2, -2)[..., :height, :width]
        if previous is None:
            previous = torch.zeros_like(folded)
            hidden = torch.zeros(1, net.config.state, *folded.shape[-2:])
        residual, hidden = net.step(weights, folded, planes, previous, hidden, one)
        previous = folded
        residual = residual * 255
        up = F.pixel_shuffle(residual[:, : net.config.luma_out], u * s)[0, 0] + bicubic(even, s)
        colour = F.pixel_shuffle(residual[:, net.config.luma_out :], u * s // 2)[0]
        colour = colour + torch.stack([bicubic(p, s) for p in chroma])[:, : colour.shape[1], : colour.shape[2]]
        before = torch.zeros_like(up) if shown is None else shown
        if steady == "toward":
            lower = torch.round(up - 0.5)
            up = torch.minimum(torch.maximum(before, lower), lower + 1)
        elif steady == "hold":
            up = torch.where((up - before).abs() < 1, before, torch.round(up))
        up = shown = torch.clamp(torch.round(up), 0, 255)
        up = up[: s * height, : s * width]
        colour = colour[:, : (s * height + 1) // 2, : (s * width + 1) // 2]
        out.append(tuple(torch.clamp(torch.round(p), 0, 255).to(torch.uint8).numpy() for p in (up, colour)))
    return out


def rgb_to_planes(rgb: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """RGB (H, W, 3) in 0..255, any type -> float luma, 2x2-averaged chroma: BT.601 limited range, as MATLAB's rgb2ycbcr."""
    r, g, b = (rgb[..., i].astype(np.float64) for i in range(3))
    y = 16 + (65.481 * r + 128.553 * g + 24.966 * b) / 255
    u = 128 + (-37.797 * r - 74.203 * g + 112.0 * b) / 255
    v = 128 + (112.0 * r - 93.786 * g - 18.214 * b) / 255
    pad = ((0, y.shape[0] % 2), (0, y.shape[1] % 2))
    half = [np.pad(p, pad, mode="edge").reshape((p.shape[0] + 1) // 2, 2, -1, 2).mean((1, 3)) for p in (u, v)]
    return y, np.stack(half)


def psnr(a: np.ndarray, b: np.ndarray, border: int) -> float:
    inside = np.s_[border:-border, border:-border]
    return -10 * np.log10(np.mean((a[inside].astype(np.float64) - b[inside].astype(np.float64)) ** 2) / 255**2)


def line(name: str, scores) -> str:
    ways = ", ".join(f"{score:.3f} {way or 'plain'}" for score, way in zip(scores[1:], onnx_graph.STEADY))
    return f"{name:10s} bicubic {scores[0]:.3f} dB; {ways}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", required=True)
    parser.add_argument("--data", required=True)
    args = parser.parse_args()
    net, _, _ = checkpoints.load(args.weights)
    s, root = net.config.scale, os.path.join(args.data, "test/vid4")
    averages = []
    for clip in sorted(os.listdir(root)):
        truths, frames, bases = [], [], []
        for name in sorted(os.listdir(os.path.join(root, clip))):
            rgb = cv2.imread(os.path.join(root, clip, name))[..., ::-1]
            rgb = rgb[: rgb.shape[0] // s * s, : rgb.shape[1] // s * s].astype(np.float32)
            rows, columns = resize_matrix(rgb.shape[0], rgb.shape[0] // s), resize_matrix(rgb.shape[1], rgb.shape[1] // s)
            small = np.stack([rows @ rgb[..., i] @ columns.T for i in range(3)], -1)
            small = np.clip(np.rint(small), 0, 255)
            truths.append(np.rint(rgb_to_planes(rgb)[0]))
            exact = rgb_to_planes(small)
            frames.append(tuple(np.rint(p).astype(np.uint8) for p in exact))
            bases.append(np.clip(np.rint(bicubic(torch.from_numpy(exact[0]).float(), s).numpy()), 0, 255))
        scores = [np.mean([psnr(b, t, s) for b, t in zip(bases, truths)])]
        for steady in onnx_graph.STEADY:
            result = upscale(net, frames, steady)
            scores.append(np.mean([psnr(r[0], t, s) for r, t in zip(result, truths)]))
        averages.append(scores)
        print(line(clip, scores), flush=True)
    print(line("mean", np.mean(averages, 0)))


if __name__ == "__main__":
    main()

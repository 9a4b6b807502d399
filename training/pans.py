"""Training crops as sharp as a photograph is: whole-pixel camera movement over a level of it, nothing interpolated.

photographs.py turns and zooms freely, so it has to interpolate, which takes the finest detail from the target: a network that learns
from it gives softer pictures than the test clips have. Here the high-resolution side is cut from the level as it is (each level is
the photograph shrunk once by antialiased bicubic), moving by whole pixels: quarters of the input's pixels for x4. A second
photograph may pass in front, so that what appears from behind an edge is seen in training.
"""

from __future__ import annotations

import functools
import math

import numpy as np
import torch
import torch.nn.functional as F

from photographs import CELL, MARGIN, Photograph, Photographs

# Share of each level (1, 0.71, 0.5, 0.35 of the photograph). The smaller ones have the most detail a pixel, as the test clips do.
LEVEL_SHARES = np.array([0.2, 0.25, 0.33, 0.22])
MASK_SIZE, MASKS = 512, 48


def path(random: np.random.Generator, frames: int, pace: float) -> np.ndarray:
    """(frames, 2) whole-pixel offsets x, y around the middle frame: steady drift, sway, and the shake of a hand."""
    times = np.arange(frames) - frames / 2
    speed, heading = random.exponential(pace), random.uniform(0, 2 * math.pi)
    drift = np.stack([speed * math.cos(heading) * times, 0.7 * speed * math.sin(heading) * times], -1)
    sway = np.stack([random.exponential(1.5) * np.sin(random.uniform(0.1, 1.5) * times + random.uniform(0, 6.28)) for _ in "xy"], -1)
    shake = np.cumsum(random.normal(0, 0.5, (frames, 2)), 0) if random.random() < 0.4 else 0.0
    return np.rint(drift + sway + shake).astype(np.int64)


@functools.lru_cache(maxsize=1)
def masks(device: torch.device) -> torch.Tensor:
    """(MASKS, 1, MASK_SIZE, MASK_SIZE) soft-edged blobs in the middle of nothing, as bytes; the same in every run."""
    random = np.random.default_rng(5)
    ys, xs = (np.mgrid[0:MASK_SIZE, 0:MASK_SIZE] - MASK_SIZE / 2).astype(np.float32)
    distance, angle = np.hypot(xs, ys), np.arctan2(ys, xs)
    made = []
    for _ in range(MASKS):
        size = random.uniform(16, 110)
        waves = [random.uniform(0, 0.5 / k) * np.sin(k * angle + random.uniform(0, 6.28)) for k in (1, 2, 3, 5)]
        radius = size * (1 + sum(waves))
        made.append(np.clip((radius - distance) / random.uniform(0.7, 2.5) + 0.5, 0, 1))
    return torch.from_numpy(np.rint(np.stack(made)[:, None] * 255).astype(np.uint8)).to(device)


class Pans:
    def __init__(self, photographs: Photographs):
        self.photographs, self.device = photographs, photographs.device

    def cut(self, planes: torch.Tensor, tops, lefts, size: int) -> torch.Tensor:
        """Windows of (C, H, W), one a frame, with replicated borders -> (T, C, size, size), float."""
        height, width = planes.shape[-2:]
        line = torch.arange(size, device=self.device)
        corner = torch.from_numpy(np.stack([tops, lefts])).to(self.device)
        rows = (corner[0, :, None] + line).clamp(0, height - 1)
        columns = (corner[1, :, None] + line).clamp(0, width - 1)
        return planes[:, rows[:, :, None], columns[:, None, :]].transpose(0, 1).float()

    @staticmethod
    def level(random: np.random.Generator, photo: Photograph, size: int) -> tuple[float, torch.Tensor]:
        """One of the levels that have room for a view and 16 pixels of movement."""
        fit = [min(planes.shape[-2:]) >= size + 16 for _, planes in photo.levels]
        shares = LEVEL_SHARES * fit if any(fit) else np.array([1.0, 0, 0, 0])
        return photo.levels[int(random.choice(len(shares), p=shares / shares.sum()))]

    @staticmethod
    def centre(random: np.random.Generator, photo: Photograph, scale: float) -> tuple[float, float]:
        """A place of the level, drawn by gradient energy."""
        cell = int(np.searchsorted(photo.cumulative, random.random() * photo.cumulative[-1]))
        row, column = divmod(min(cell, photo.cumulative.size - 1), photo.columns)
        return (column + random.random()) * CELL * scale, (row + random.random()) * CELL * scale

    def window(self, random: np.random.Generator, size: int, offsets: np.ndarray) -> torch.Tensor:
        """(T, 3, size, size) of a random photograph under a camera that moves by `offsets`, inside the picture where it fits."""
        photo = self.photographs.photographs[int(random.integers(len(self.photographs.photographs)))]
        scale, planes = self.level(random, photo, size)
        x, y = self.centre(random, photo, scale)
        corners = []
        for middle, moves, room in ((y, offsets[:, 1], planes.shape[-2] - size), (x, offsets[:, 0], planes.shape[-1] - size)):
            first = int(np.clip(round(middle - size / 2), min(-moves.min(), room), max(0, room - moves.max())))
            corners.append(first + moves)
        return self.cut(planes[0], *corners, size)

    def draw(self, random: np.random.Generator, scale: int, crop: int, frames: int) -> tuple[torch.Tensor, ...]:
        """As Photographs.draw."""
        size = (crop + 2 * MARGIN) * scale
        still = np.zeros((frames, 2), np.int64)
        camera = still if random.random() < 0.25 else path(random, frames, 2.5)
        view = self.window(random, size, camera)
        if random.random() < 0.4:
            # The front photograph's texture moves with its mask: both windows go the opposite way of the thing itself.
            thing = -path(random, frames, 2.5)
            place = np.array([random.integers(size), random.integers(size)])
            corners = MASK_SIZE // 2 - place + thing
            mask = self.cut(masks(self.device)[int(random.integers(MASKS))], corners[:, 1], corners[:, 0], size) / 255
            view = torch.round(torch.lerp(view, self.window(random, size, thing), mask))
        return self.finish(view, scale)

    def finish(self, view: torch.Tensor, scale: int) -> tuple[torch.Tensor, ...]:
        """(T, 3, s, s) -> both sides' planes, without the margin."""
        luma, chroma = view[:, 0], torch.round(F.avg_pool2d(view[:, 1:], 2))
        low, low_chroma = self.photographs.shrink(luma, scale), self.photographs.shrink(chroma, scale)
        m, n = MARGIN, MARGIN * scale
        return (low[:, m:-m, m:-m], low_chroma[..., m // 2 : -m // 2, m // 2 : -m // 2],
                luma[:, n:-n, n:-n], chroma[..., n // 2 : -n // 2, n // 2 : -n // 2])

    def examination(self, scale: int, frames: int = 12, size: int = 320) -> list[tuple[str, tuple[torch.Tensor, ...]]]:
        """Fixed clips for validation: the middle of every photograph, whole and at half size, panned at several speeds.

        Named `sharp`, those of screens `page` (whole size only)."""
        clips = []
        times = np.arange(frames)
        for number, photo in enumerate(self.photographs.photographs):
            for index in (0,) if photo.screen else (0, 2):
                planes = photo.levels[index][1]
                speed_x, speed_y = [(1, 0), (2, 1), (-1, 2), (3, -1), (0, 0), (-2, -3)][(number + index) % 6]
                whole = size + 2 * MARGIN * scale
                top, left = (planes.shape[-2] - whole) // 2, (planes.shape[-1] - whole) // 2
                view = self.cut(planes[0], top + speed_y * (times - frames // 2), left + speed_x * (times - frames // 2), whole)
                clips.append(("page" if photo.screen else "sharp", self.finish(view, scale)))
        return clips

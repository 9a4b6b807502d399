"""Clean training crops straight from photographs, rendered on the training device for every batch.

A virtual camera moves over a photograph (drift, sway, zoom, rotation); its view is the high-resolution side, antialiased bicubic
shrinking gives the low-resolution side, as in the literature. Views between 0.9 and 3.2 photograph pixels a pixel: from soft
backgrounds to more detail a pixel than any camera delivers, which is where recurrence has most to win.
"""

from __future__ import annotations

import json
import math
import os
from multiprocessing.pool import ThreadPool

import cv2
import numpy as np
import torch
import torch.nn.functional as F

from resampling import resize_matrix

MARGIN = 4  # low-resolution pixels rendered around a crop, so that shrinking sees no border
CELL = 64  # photograph pixels; views are centred by the gradient energy of such cells


class Photograph:
    """One photograph as full-size Y, U, V planes, at 1, 0.71, 0.5 and 0.35 of its size; uint8 on the device."""

    def __init__(self, bgr: np.ndarray, device: torch.device, screen: bool = False):
        self.screen = screen
        luma = cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY).astype(np.float32)
        energy = np.abs(np.diff(luma, axis=0))[:, 1:] + np.abs(np.diff(luma, axis=1))[1:]
        rows, columns = energy.shape[0] // CELL, energy.shape[1] // CELL
        cells = energy[: rows * CELL, : columns * CELL].reshape(rows, CELL, columns, CELL).mean((1, 3)) + 0.5
        self.columns, self.cumulative = columns, np.cumsum(cells.ravel())
        b, g, r = (torch.from_numpy(np.ascontiguousarray(bgr[..., i])).to(device).float() for i in range(3))
        y = 16 + (65.481 * r + 128.553 * g + 24.966 * b) / 255
        u = 128 + (-37.797 * r - 74.203 * g + 112.0 * b) / 255
        v = 128 + (112.0 * r - 93.786 * g - 18.214 * b) / 255
        full = torch.stack([y, u, v])[None]
        self.levels = []
        for power in range(4):
            scale = 2 ** (-power / 2)
            size = [round(n * scale) for n in full.shape[-2:]]
            level = full if not power else F.interpolate(full, size, mode="bicubic", antialias=True, align_corners=False)
            self.levels.append((scale, torch.clamp(torch.round(level), 0, 255).to(torch.uint8)))


class Photographs:
    """All photographs of a pack that no validation clip uses; with `held` the others."""

    def __init__(self, folder: str, device: torch.device, limit: int = 0, held: bool = False):
        with open(os.path.join(folder, "clips.json")) as file:
            kept = {c["photo"] for c in json.load(file)["clips"] if c["validation"] and c["kind"] == "synth"}
        names = [name for name in sorted(os.listdir(os.path.join(folder, "photos"))) if (name in kept) == held]
        names = names[:limit] if limit else names
        with ThreadPool(min(16, os.cpu_count() or 1)) as pool:
            pictures = pool.map(lambda name: cv2.imread(os.path.join(folder, "photos", name), cv2.IMREAD_COLOR), names)
        self.device = device
        self.photographs = [Photograph(picture, device, name.startswith("screen")) for name, picture in zip(names, pictures)]
        self.matrices: dict = {}

    def shrink(self, planes: torch.Tensor, scale: int) -> torch.Tensor:
        size = planes.shape[-1]
        if (size, scale) not in self.matrices:
            self.matrices[size, scale] = torch.from_numpy(resize_matrix(size, size // scale)).to(self.device)
        matrix = self.matrices[size, scale]
        return torch.clamp(torch.round(matrix @ planes @ matrix.T), 0, 255)

    @staticmethod
    def span(centres: np.ndarray, half: float, size: int) -> tuple[int, int]:
        first = int(np.clip(math.floor(centres.min() - half), 0, size - 16))
        return first, int(np.clip(math.ceil(centres.max() + half), first + 16, size))

    def draw(self, random: np.random.Generator, scale: int, crop: int, frames: int) -> tuple[torch.Tensor, ...]:
        """-> luma (T, c, c), chroma (T, 2, c/2, c/2), high-resolution luma (T, sc, sc), chroma (T, 2, sc/2, sc/2); float grey levels."""
        photo = self.photographs[int(random.integers(len(self.photographs)))]
        size = (crop + 2 * MARGIN) * scale
        room = min(photo.levels[0][1].shape[-2:]) / size
        zoom = math.exp(random.uniform(math.log(0.9), math.log(max(0.95, min(3.2, 0.9 * room)))))
        level_scale, planes = next((level for level in reversed(photo.levels) if level[0] * zoom >= 0.84), photo.levels[0])
        cell = int(np.searchsorted(photo.cumulative, random.random() * photo.cumulative[-1]))
        row, column = divmod(min(cell, photo.cumulative.size - 1), photo.columns)
        height, width = photo.levels[0][1].shape[-2:]
        reach = zoom * size / 2
        x = float(np.clip((column + random.random()) * CELL, min(reach, width / 2), max(width - reach, width / 2)))
        y = float(np.clip((row + random.random()) * CELL, min(reach, height / 2), max(height - reach, height / 2)))
        # Still views are what a fixed camera shows: there the output must come to rest (8-bit states can cycle without end).
        still = random.random() < 0.35
        speed, heading = (0.0 if still else random.exponential(2.5)), random.uniform(0, 2 * math.pi)
        times = np.arange(frames)
        sway = [0 if still else random.exponential(1.5) * np.sin(random.uniform(0.1, 1.5) * times + random.uniform(0, 6.28)) for _ in "xy"]
        xs = (x + zoom * (speed * math.cos(heading) * (times - frames / 2) + sway[0])) * level_scale
        ys = (y + zoom * (0.7 * speed * math.sin(heading) * (times - frames / 2) + sway[1])) * level_scale
        zooms = zoom * level_scale * np.exp((0 if still else random.normal(0, 0.004)) * times)
        angles = (0 if still else random.normal(0, 0.002)) * times
        # Only the part of the photograph that is looked at becomes floats.
        half = (zooms * (np.abs(np.cos(angles)) + np.abs(np.sin(angles)))).max() * size / 2 + 4
        left, right = self.span(xs, half, planes.shape[-1])
        top, bottom = self.span(ys, half, planes.shape[-2])
        part = planes[..., top:bottom, left:right].float()
        # affine_grid's units: -1..1 across the part, centres of pixels at half steps.
        w, h = part.shape[-1], part.shape[-2]
        cos, sin = zooms * np.cos(angles) * size, zooms * np.sin(angles) * size
        theta = np.stack([np.stack([cos / w, -sin / w, (xs - left) * 2 / w - 1], -1),
                          np.stack([sin / h, cos / h, (ys - top) * 2 / h - 1], -1)], 1)
        theta = torch.from_numpy(theta.astype(np.float32)).to(self.device)
        grid = F.affine_grid(theta, [frames, 3, size, size], align_corners=False)
        view = F.grid_sample(part.expand(frames, -1, -1, -1), grid, mode="bicubic", padding_mode="reflection", align_corners=False)
        view = torch.clamp(torch.round(view), 0, 255)
        luma = view[:, 0]
        chroma = torch.round(F.avg_pool2d(view[:, 1:], 2))
        low, low_chroma = self.shrink(luma, scale), self.shrink(chroma, scale)
        m, n = MARGIN, MARGIN * scale
        return (low[:, m:-m, m:-m], low_chroma[..., m // 2 : -m // 2, m // 2 : -m // 2],
                luma[:, n:-n, n:-n], chroma[..., n // 2 : -n // 2, n // 2 : -n // 2])

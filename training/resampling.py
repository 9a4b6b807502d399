"""Bicubic resampling as matrices, in numpy alone."""

from __future__ import annotations

import math

import numpy as np


def cubic_kernel(x: np.ndarray) -> np.ndarray:
    """Keys' cubic with a = -0.5, the one of MATLAB's imresize."""
    x = np.abs(x)
    near = 1.5 * x**3 - 2.5 * x**2 + 1
    far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))


def resize_matrix(source: int, target: int, antialias: bool = True) -> np.ndarray:
    """(target, source) weights of a bicubic resize with mirrored borders (MATLAB's imresize: antialiased when shrinking)."""
    scale = target / source
    stretch = min(scale, 1.0) if antialias else 1.0
    support = 2.0 / stretch
    weights = np.zeros((target, source), np.float64)
    for i in range(target):
        centre = (i + 0.5) / scale - 0.5
        first = math.floor(centre - support) + 1
        taps = np.arange(first, math.ceil(centre + support))
        values = cubic_kernel((taps - centre) * stretch)
        values /= values.sum()
        for tap, value in zip(taps, values):
            mirrored = tap
            while mirrored < 0 or mirrored >= source:
                mirrored = -1 - mirrored if mirrored < 0 else 2 * source - 1 - mirrored
            weights[i, mirrored] += value
    return weights.astype(np.float32)

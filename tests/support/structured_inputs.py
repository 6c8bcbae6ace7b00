"""Inputs with structure: gradients, shapes, stripes, each at several levels of noise.

Uniform noise alone drives networks into one corner of their output; these spread over it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

NOISE_LEVELS = (0.0, 0.03, 0.1, 0.3)


def structured_images(count: int, shape: tuple[int, int, int], seed: int = 0) -> Array:
    """float64 images [count, H, W, C] in 0 … 1."""
    rng = np.random.default_rng(seed)
    height, width, channels = shape
    rows, columns = np.mgrid[0:height, 0:width] / np.array([height, width])[:, None, None]
    images = np.empty((count, *shape))
    for index in range(count):
        base, ink = rng.uniform(0, 1, (2, channels))
        image = np.broadcast_to(base, shape).copy()
        kind = index % 4
        if kind == 0:
            angle = rng.uniform(0, 2 * np.pi)
            ramp = (np.cos(angle) * rows + np.sin(angle) * columns)[..., None]
            image = image + (ink - base) * (ramp - ramp.min()) / max(np.ptp(ramp), 1e-9)
        elif kind == 1:
            for _ in range(int(rng.integers(1, 5))):
                cy, cx, radius = rng.uniform(0, 1), rng.uniform(0, 1), rng.uniform(0.05, 0.4)
                image[(rows - cy) ** 2 + (columns - cx) ** 2 < radius**2] = rng.uniform(0, 1, channels)
        elif kind == 2:
            for _ in range(int(rng.integers(1, 5))):
                top, left = rng.uniform(0, 0.8, 2)
                inside = (rows >= top) & (rows < top + rng.uniform(0.1, 0.5)) & (columns >= left)
                image[inside & (columns < left + rng.uniform(0.1, 0.5))] = rng.uniform(0, 1, channels)
        else:
            stripes = np.sin(2 * np.pi * rng.uniform(1, 8) * (rows * rng.uniform() + columns * rng.uniform()))
            image = image + (ink - base) * (stripes[..., None] > 0)
        noise = NOISE_LEVELS[(index // 4) % len(NOISE_LEVELS)]
        images[index] = np.clip(image + rng.normal(0, 1, shape) * noise, 0, 1)
    return images


def structured_vectors(count: int, shape: tuple[int, ...], seed: int = 0) -> Array:
    """float64 [count, *shape] in 0 … 1: sums of a few smooth waves at several levels, with noise."""
    rng = np.random.default_rng(seed)
    size = int(np.prod(shape))
    at = np.linspace(0, 1, size)
    rows = []
    for index in range(count):
        waves = sum(
            rng.normal() * np.sin(2 * np.pi * (rng.uniform(0, 12) * at + rng.uniform())) for _ in range(4)
        )
        noise = NOISE_LEVELS[index % len(NOISE_LEVELS)] * rng.normal(size=size)
        rows.append(np.clip(0.5 + rng.uniform(0.05, 0.3) * waves + noise, 0, 1))
    return np.array(rows).reshape(count, *shape)


def as_int8(unit: Array) -> Array:
    """0 … 1 over the whole range of int8."""
    return np.clip(np.rint(unit * 255 - 128), -128, 127).astype(np.int8)

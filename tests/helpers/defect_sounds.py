"""Sounds that defects are put into, and what one detector finds in them."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from segue.scoring.analysis import Analysis
from segue.scoring.detectors import DETECTORS
from segue.scoring.report import Defect

RATE = 24_000
AT = 2.5


def rms(x: np.ndarray) -> float:
    return float(np.sqrt(np.square(x, dtype=np.float64).mean()))


def faded(x: np.ndarray, rate: int = RATE) -> np.ndarray:
    y = np.array(np.atleast_2d(x), dtype=np.float32)
    n, m = rate // 30, rate // 3
    y[:, :n] *= np.hanning(2 * n)[:n].astype(np.float32)
    y[:, -m:] *= np.hanning(2 * m)[m:].astype(np.float32)
    return y


@lru_cache(maxsize=1)
def chord() -> np.ndarray:
    """Six seconds of a held chord over a little noise: nothing in it that could hide a click or a hum."""
    t, rng = np.arange(6 * RATE) / RATE, np.random.default_rng(9)
    wave = sum(np.sin(2 * np.pi * f * t) for f in (220.0, 277.18, 329.63))
    return faded(0.1 * wave + 0.001 * rng.standard_normal((2, t.size)))


def found(x: np.ndarray, kind: str, rate: int = RATE) -> list[Defect]:
    (detector,) = [d for d in DETECTORS if d.__name__ == kind]
    return list(detector(Analysis(x, rate)))

"""Loudness over time: the two series that a meter shows, momentary and short-term. Draws nothing and judges nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .loudness import SUB_BLOCK_S, sub_block_powers
from .samples import Array, as_samples

MOMENTARY_S, SHORT_TERM_S = 0.4, 3.0


@dataclass(frozen=True, eq=False)
class LoudnessSeries:
    """`momentary` and `short_term` in LUFS, −inf for digital silence, NaN where a window holds NaN or Inf; and the
    middle of each window, in seconds. Empty for a sound shorter than one window."""

    momentary_s: Array
    momentary: Array
    short_term_s: Array
    short_term: Array


def loudness_series(samples: Any, rate_hz: int) -> LoudnessSeries:
    """Loudness of `[C, T]` in windows of 0.4 s and 3 s, every 0.1 s, not gated (EBU Tech 3341, 2.2: momentary and
    short-term), K-weighted and summed over channels as ITU-R BS.1770-4, Annex 1. A meter shows a window's figure
    at the window's end; here the time is its middle, so that a curve lies under the sound it is about.

    Raises ValueError for what is no sound and below about 3.4 kHz.

    >>> t = np.arange(4 * 48_000) / 48_000
    >>> tone = 10 ** (-23 / 20) * np.sin(2 * np.pi * 1000 * t)
    >>> series = loudness_series(np.stack([tone, tone]), 48_000)
    >>> series.momentary.size, series.short_term.size, round(float(series.short_term[0]), 1), float(series.momentary_s[0])
    (37, 11, -23.0, 0.2)
    """
    x = as_samples(samples, rate_hz)
    broken = ~np.isfinite(x).all(axis=0)
    powers = sub_block_powers(np.where(broken, np.float32(0), x) if broken.any() else x, rate_hz)
    if broken.any():
        blocks = (np.flatnonzero(broken) / (SUB_BLOCK_S * rate_hz) + 1e-9).astype(np.int64)
        powers[np.unique(blocks[blocks < powers.size])] = np.nan
    return LoudnessSeries(*_windowed(powers, MOMENTARY_S), *_windowed(powers, SHORT_TERM_S))


def _windowed(powers: Array, window_s: float) -> tuple[Array, Array]:
    """Middles of the windows and their loudness."""
    width = round(window_s / SUB_BLOCK_S)
    if powers.size < width:
        return np.zeros(0), np.zeros(0)
    means = np.lib.stride_tricks.sliding_window_view(powers, width).mean(axis=1)
    with np.errstate(divide="ignore"):
        lufs = -0.691 + 10 * np.log10(means)
    return np.arange(means.size) * SUB_BLOCK_S + window_s / 2, lufs

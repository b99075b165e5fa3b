"""Clipped and saturated samples, at full scale or at any level below it (after a gain).

A clipped crest is flat *and has corners*: the wave comes in steeply, stands still for a few samples, and
leaves steeply. The crest of an unclipped wave, however low its pitch, starts and ends its nearly flat part
gently. That is what is looked at, so neither full scale nor the gain matters. Knows no severity.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .samples import Array, as_samples

_STEP = 1 << 22  # samples at a time
_LONG_RUN = 8


@dataclass(frozen=True)
class FlatTops:
    """Half-open sample ranges of flat crests in any channel, in order; `share` is their part of all samples,
    0 … 1."""

    runs: tuple[tuple[int, int], ...]
    share: float


def _channel_runs(x: Array, flat: float, shortest: int, corner: float, quietest: float) -> Array:
    """Runs `[N, 3]` (start, end, level) in one channel: |Δ| ≤ `flat` over at least `shortest` samples, |x| ≥
    `quietest`, and within three samples on either side the wave has moved inwards by at least `corner`."""
    d = np.diff(x)
    still = np.abs(d) <= flat
    edges = np.flatnonzero(np.diff(np.concatenate(([False], still, [False])).astype(np.int8)))
    first, last = edges[::2], edges[1::2]  # sample first … last inclusive stand still
    keep = (
        (last - first + 1 >= shortest) & (np.abs(x[first]) >= quietest) & (first >= 3) & (last < x.size - 3)
    )
    first, last = first[keep], last[keep]
    sign = np.sign(x[first])
    into = sign * (x[first] - x[first - 3])
    out = sign * (x[last] - x[last + 3])
    near = np.minimum(sign * (x[first] - x[first - 1]), sign * (x[last] - x[last + 1]))
    keep = (into >= corner) & (out >= corner) & (near > flat)
    return np.stack((first[keep], last[keep] + 1, np.abs(x[first[keep]])), axis=1).astype(np.float64)


def _believed(runs: Array, flat: float) -> Array:
    """Runs that are long, or that stand at the level of another: chance makes short ones, but never at one
    level."""
    if not len(runs):
        return runs
    order = np.argsort(runs[:, 2], kind="stable")
    steps = np.diff(runs[order, 2], prepend=-np.inf, append=np.inf)
    alone = np.empty(len(runs), dtype=bool)
    alone[order] = np.minimum(steps[:-1], steps[1:]) > 4 * flat
    return runs[~alone | (runs[:, 1] - runs[:, 0] >= _LONG_RUN)]


def flat_tops(
    samples: Any, rate_hz: int, *, tolerance: float = 6e-5, shortest: int = 3, corner: float = 40.0
) -> FlatTops:
    """Clipped crests of `[C, T]`.

    `tolerance`: how much a crest may move from sample to sample and still be flat, as a part of the channel's
    peak (2⁻¹⁴: below 16-bit noise). `corner`: how many times that (and at least four quantisation steps) the
    wave must fall within three samples on both sides. A run under eight samples counts only with another at
    the same level. The defaults find hard clipping; `saturation` loosens them for clipping that went through
    a filter, a codec or a resampler afterwards.

    >>> t = np.arange(48_000) / 48_000
    >>> sine = np.sin(2 * np.pi * 440 * t)[None]
    >>> flat_tops(sine, 48_000).share, flat_tops(sine.clip(-0.7, 0.7) * 0.5, 48_000).share > 0.4
    (0.0, True)
    """
    x = as_samples(samples, rate_hz)
    runs: list[Array] = []
    total = 0
    for channel in x:
        peak = float(max(-channel.min(), channel.max()))
        if peak == 0.0 or channel.size < 8:
            continue
        flat = tolerance * peak
        own: list[Array] = []
        for start in range(0, channel.size, _STEP):
            part = channel[start : start + _STEP + 64]
            least = max(corner * flat, 4 * _quantum(part))
            found = _channel_runs(part, flat, shortest, least, 0.1 * peak)
            own.append(found + np.array([start, start, 0.0]))
        kept = _believed(np.concatenate(own), flat)
        total += int((kept[:, 1] - kept[:, 0]).sum())
        runs.append(kept[:, :2].astype(np.int64))
    every = np.concatenate(runs) if runs else np.zeros((0, 2), dtype=np.int64)
    every = every[np.argsort(every[:, 0], kind="stable")]
    return FlatTops(tuple((int(a), int(b)) for a, b in every), total / x.size)


def saturation(samples: Any, rate_hz: int) -> FlatTops:
    """Like `flat_tops`, for crests that are no longer exactly flat: at least six samples within 0.2 % of the
    peak of one another, and a fall of ten times that on either side (after FACTS' |x| > −1 dB and |Δ| <
    0.001, made gain-free)."""
    return flat_tops(samples, rate_hz, tolerance=2e-3, shortest=6, corner=10.0)


def _quantum(x: Array) -> float:
    """Smallest step between neighbouring samples that is not 0: the quantisation step of coarse material."""
    d = np.abs(np.diff(x))
    steps = d[d > 0]
    return float(steps.min()) if steps.size else 0.0

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

_NEAR_CEILING = 0.9
_NEVER = 1 << 62
_FEWEST_CRESTS, _FEWEST_UPPER = 200, 40
_LEAST_SHARE, _MOST_CURVATURE = 0.008, 0.4
_CEILINGS_A_SECOND = 5  # a clipped passage may lie beside a louder one that is not
_SAME_CEILING_S = 0.5


@dataclass(frozen=True)
class FlatTops:
    """Half-open sample ranges of flat crests in any channel, in order; `share` is their part of all samples,
    0 … 1."""

    runs: tuple[tuple[int, int], ...]
    share: float


def _ceilings(x: Array, block: int) -> tuple[Array, Array]:
    """Highest value upwards and downwards in each block of `block` samples, `[N]` each."""
    starts = np.arange(0, x.size, block)
    return np.maximum.reduceat(x, starts), -np.minimum.reduceat(x, starts)


def _channel_runs(x: Array, rate_hz: int, flat: float, shortest: int, corner: float) -> Array:
    """Runs `[N, 4]` (start, end, level, whether it is a clear one) in one channel: |Δ| ≤ `flat` over at least `shortest`
    samples, further in just before and after. Clear: within 10 % of the highest value of that fifth of a second on that side,
    and within three samples before and after the wave has moved inwards by at least `corner`."""
    still = np.flatnonzero(np.abs(np.diff(x)) <= flat)
    ends = np.flatnonzero(np.diff(still) > 1)
    first, last = still[np.append(0, ends + 1)[: still.size]], still[np.append(ends, -1)[: still.size]] + 1  # inclusive
    keep = (last - first + 1 >= shortest) & (first >= 3) & (last < x.size - 3)
    first, last = first[keep], last[keep]
    sign = np.sign(x[first])
    keep = np.minimum(sign * (x[first] - x[first - 1]), sign * (x[last] - x[last + 1])) > flat
    first, last, sign = first[keep], last[keep], sign[keep]
    block = max(rate_hz // _CEILINGS_A_SECOND, 1)
    up, down = _ceilings(x, block)
    second = first // block
    high = np.abs(x[first]) >= _NEAR_CEILING * np.where(sign > 0, up[second], down[second])
    steep = (sign * (x[first] - x[first - 3]) >= corner) & (sign * (x[last] - x[last + 3]) >= corner)
    return np.stack((first, last + 1, np.abs(x[first]), high & steep), axis=1).astype(np.float64)


def _believed(runs: Array, flat: float, alike: int, long: int, reach: int) -> Array:
    """Of the clear runs those with at least `alike` others at their level (within 4·`flat`), and with none needed, those of
    `long` samples: chance makes short flat crests, but not at one level. And of the others those at the very level of a
    believed one not `reach` samples away: beside what is louder, or on a gentle crest, the same ceiling is less clear."""
    clear = runs[:, 3] > 0
    if not clear.any():
        return runs[clear]
    of_clear = runs[clear]
    level = np.sort(of_clear[:, 2])
    near = 4 * flat
    others = np.searchsorted(level, of_clear[:, 2] + near, "right") - np.searchsorted(level, of_clear[:, 2] - near) - 1
    sure = of_clear[(others >= alike) | (of_clear[:, 1] - of_clear[:, 0] >= long)]
    if not len(sure):
        return sure
    rest = runs[~clear]
    k = np.searchsorted(sure[:, 0], rest[:, 0])
    joins = np.zeros(len(rest), dtype=bool)
    for beside in (np.maximum(k - 1, 0), np.minimum(k, len(sure) - 1)):
        joins |= (np.abs(sure[beside, 0] - rest[:, 0]) < reach) & (np.abs(sure[beside, 2] - rest[:, 2]) <= flat)
    every = np.concatenate((sure, rest[joins]))
    return every[np.argsort(every[:, 0], kind="stable")]


def flat_tops(
    samples: Any,
    rate_hz: int,
    *,
    tolerance: float = 6e-5,
    shortest: int = 3,
    corner: float = 40.0,
    alike: int = 2,
    long: int = 8,
) -> FlatTops:
    """Clipped crests of `[C, T]`.

    `tolerance`: how much a crest may move from sample to sample and still be flat, as a part of the channel's
    peak (2⁻¹⁴: below 16-bit noise). `corner`: how many times that (and at least eight quantisation steps) the
    wave must fall within three samples on both sides. `alike`: how many others must stand at the same level
    for a run of under `long` samples to count. The defaults find hard clipping; `saturation` loosens them. Of the share,
    0 … 1, lower is better.

    >>> t = np.arange(48_000) / 48_000
    >>> sine = np.sin(2 * np.pi * 440 * t)[None]
    >>> flat_tops(sine, 48_000).share, flat_tops(sine.clip(-0.7, 0.7) * 0.5, 48_000).share > 0.4
    (0.0, True)
    """
    x = as_samples(samples, rate_hz)
    runs: list[Array] = []
    step = 60 * rate_hz
    for channel in x:
        peak = float(max(-channel.min(), channel.max()))
        flat = tolerance * peak
        own: list[Array] = []
        for start in range(0, channel.size if peak > 0 else 0, step):
            part = channel[start : start + step + 64]
            if part.size < 8:
                continue
            least = max(corner * flat, 8 * _quantum(part, max(rate_hz // _CEILINGS_A_SECOND, 1)))
            own.append(_channel_runs(part, rate_hz, flat, shortest, least) + np.array([start, start, 0.0, 0.0]))
        if own:
            reach = int(_SAME_CEILING_S * rate_hz)
            runs.append(_believed(np.concatenate(own), flat, alike, long, reach)[:, :2].astype(np.int64))
    every = np.concatenate(runs) if runs else np.zeros((0, 2), dtype=np.int64)
    every = every[np.argsort(every[:, 0], kind="stable")]
    total = int((every[:, 1] - every[:, 0]).sum())
    return FlatTops(tuple((int(a), int(b)) for a, b in every), total / x.size)


def saturation(samples: Any, rate_hz: int) -> FlatTops:
    """Like `flat_tops` of `[C, T]`, for clipping that went through a filter, a codec or a resampler afterwards: crests of
    at least six samples, each within 0.2 % of the peak of the next, with a fall of ten times that on either
    side, and five others at the same level (Essentia's SaturationDetector has |x| > −1 dB and |Δ| < 0.001; here no
    gain matters).

    >>> tone = np.sin(2 * np.pi * 440 * np.arange(48_000) / 48_000).clip(-0.7, 0.7)  # |sin| is above 0.7 half of the time
    >>> uneven = (tone + np.random.default_rng(0).uniform(-5e-4, 5e-4, 48_000))[None]
    >>> flat_tops(uneven, 48_000).share, round(saturation(uneven, 48_000).share, 1)
    (0.0, 0.5)
    """
    return flat_tops(samples, rate_hz, tolerance=2e-3, shortest=6, corner=10.0, alike=5, long=_NEVER)


@dataclass(frozen=True)
class RoundedTops:
    """Crests pressed together under a ceiling. `share`, 0 … 1: how many of all crests reach the upper tenth; `curvature`: how
    sharply those bend, against those of middling height; `start`, `end`: the first and the last of them, in samples."""

    share: float
    curvature: float
    start: int
    end: int


def _rounded(y: Array) -> RoundedTops | None:
    """Of the upward crests of one channel; None where there are too few to tell."""
    at = np.flatnonzero((y[1:-1] >= y[:-2]) & (y[1:-1] > y[2:]) & (y[1:-1] > 0)) + 1
    if at.size < _FEWEST_CRESTS:
        return None
    height = y[at]
    bend = (2 * height - y[at - 1] - y[at + 1]) / height
    highest = max(3, at.size // 2_000)  # so many may be a click's
    ceiling = float(np.partition(height, -highest)[-highest])
    upper, middle = height > 0.9 * ceiling, (height > 0.35 * ceiling) & (height <= 0.7 * ceiling)
    if upper.sum() < _FEWEST_UPPER or middle.sum() < 2 * _FEWEST_UPPER:
        return None
    usual = float(np.median(bend[middle]))
    if usual <= 0:
        return None
    reached = at[upper]
    return RoundedTops(float(upper.mean()), float(np.median(bend[upper])) / usual, int(reached[0]), int(reached[-1]) + 1)


def rounded_tops(samples: Any, rate_hz: int) -> RoundedTops | None:
    """What a soft limiting curve leaves of `[C, T]`, where both sides of a channel show it: many crests just under a ceiling,
    bent far less than lower ones. A curve y = f(x) multiplies the second derivative at a crest by f′, which falls towards
    the ceiling (for f = tanh it is 1 − y²: 0.7 at half of it, 0.1 at 95 %); a gain that changes slowly, a limiter's, leaves
    it alone, and so does a loud passage. Where most crests are those of noise up to half the rate, whose neighbouring samples
    lie far apart, little can be told.

    >>> from scipy.signal import lfilter
    >>> x = lfilter([1], [1, -0.95], np.random.default_rng(0).standard_normal((1, 48_000)))
    >>> rounded_tops(x, 48_000) is None, rounded_tops(np.tanh(x), 48_000).curvature < 0.3
    (True, True)
    """
    worst: RoundedTops | None = None
    for channel in as_samples(samples, rate_hz):
        sides = [one for side in (channel, -channel) if (one := _rounded(side)) is not None]
        if len(sides) == 2 and all(one.share > _LEAST_SHARE and one.curvature < _MOST_CURVATURE for one in sides):
            start, end = min(one.start for one in sides), max(one.end for one in sides)
            share, curvature = (float(np.mean(values)) for values in zip(*((o.share, o.curvature) for o in sides), strict=True))
            if worst is None or share > worst.share:
                worst = RoundedTops(share, curvature, start, end)
    return worst


def _quantum(x: Array, block: int) -> float:
    """Smallest step between neighbouring samples that is not 0, in each block of so many, the median over blocks: the
    quantisation step of coarse material, some of which may have been faded in finer ones."""
    moves = np.abs(np.diff(x))
    least = np.minimum.reduceat(np.where(moves > 0, moves, np.inf), np.arange(0, moves.size, block))
    least = least[np.isfinite(least)]
    return float(np.median(least)) if least.size else 0.0

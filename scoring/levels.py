"""Levels in the time domain: peaks, true peak, crest factor, DC, and where samples are not numbers.

Knows nothing of loudness or spectra.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from scipy.signal import firwin

from .samples import Array, as_samples, decibel, power, spans

HIGHEST = 1e15  # linear; what is beyond is no sound but a number gone wrong
_HALF_TAPS = 12  # input samples each side that an interpolated sample looks at
_BLOCK = 256  # samples judged together
_TOGETHER = 64  # blocks interpolated at a time, the most hopeful first
_STRETCH = 1 << 18  # samples looked at before the next; a whole number of blocks


def non_finite_spans(samples: Array) -> list[tuple[int, int]]:
    """Half-open sample ranges of `[C, T]` where any channel is NaN, infinite, or beyond ±10¹⁵ (300 dB over full scale),
    where single precision can no longer hold a power.

    >>> x = np.zeros((2, 6))
    >>> x[1, 2:4] = np.nan
    >>> non_finite_spans(x)
    [(2, 4)]
    """
    if max(-float(np.min(samples)), float(np.max(samples))) <= HIGHEST:  # false for NaN, too
        return []
    return spans(np.asarray(~(np.abs(samples) <= HIGHEST).all(axis=0)))


def sample_peak(samples: Any, rate_hz: int) -> float:
    """Largest |x| of `[C, T]`, linear, 0 … (raw samples may exceed 1). Neither way is better: a gain changes it.

    >>> sample_peak(np.array([[0.5, -1.25, 0.0]]), 48_000)
    1.25
    """
    x = as_samples(samples, rate_hz)
    return float(max(-np.min(x), np.max(x)))


@lru_cache(maxsize=4)
def _interpolator(factor: int) -> Array:
    """`[2·_HALF_TAPS, factor − 1]`: columns give the samples between two given ones (Kaiser-windowed
    sinc)."""
    n = 2 * _HALF_TAPS * factor + 1
    h = firwin(n, 1 / factor, window=("kaiser", 8.0), scale=False) * factor
    h[_HALF_TAPS * factor] = 1.0  # the given samples themselves stay
    columns = [h[p::factor][: 2 * _HALF_TAPS] for p in range(1, factor)]
    # y at k + p/factor = Σ_j x[k − _HALF_TAPS + 1 + j] · h[p + factor·(2·_HALF_TAPS − 1 − j)]
    return np.stack([c[::-1] for c in columns], axis=1).astype(np.float32)


@lru_cache(maxsize=4)
def _mirrored(factor: int) -> list[tuple[Array, Array]]:
    """The interpolator's phases up to the middle between two samples as sums and differences of mirrored taps, `[_HALF_TAPS]`
    each (differences are 0 for the middle). The phases beyond it are these mirrored: only the sign of the differences turns."""
    taps = _interpolator(factor)
    return [((c + c[::-1])[:_HALF_TAPS] / 2, (c - c[::-1])[:_HALF_TAPS] / 2) for c in taps.T[: (factor + 1) // 2]]


@lru_cache(maxsize=4)
def _reach(factor: int) -> tuple[float, float, float]:
    """How far a value between two samples can lie above what is around it: (a, b, c) with |y| ≤ a·max|x| and
    |y| ≤ c·max|x| + b·max|x₋ − 2x + x₊|, the maxima over the samples the interpolator sees.

    The first is ‖h‖₁. For the second, h is the straight line between the two samples plus a rest; the rest is
    the second difference of some q (its sum and first moment, all but nothing, are c − 1), and b is ‖q‖₁.
    """
    a = b = c = 0.0
    middle = _HALF_TAPS - 1
    for phase, taps in enumerate(_interpolator(factor).T.astype(np.float64), start=1):
        rest = taps.copy()
        rest[middle : middle + 2] -= (1 - phase / factor, phase / factor)
        total, moment = rest.sum(), rest @ (np.arange(rest.size) - middle)
        rest[middle : middle + 2] -= (total - moment, moment)
        q = np.cumsum(np.cumsum(rest))
        a, b = max(a, float(np.abs(taps).sum())), max(b, float(np.abs(q).sum()))
        c = max(c, 1 + abs(total - moment) + abs(moment))
    return a, b, c


def _peak_between(windows: Array, factor: int) -> float:
    """Largest |value| between the samples of `[N, _BLOCK + taps − 1]`; tap by tap, without BLAS, so that
    neither speed nor the last digit depends on threads. Two phases that mirror each other are even ± odd part, so the larger
    magnitude is |even| + |odd|."""
    shape = (len(windows), _BLOCK)
    pair, product = np.empty(shape, np.float32), np.empty(shape, np.float32)
    phases = [(even, odd if odd.any() else None, np.zeros((2, *shape), np.float32)) for even, odd in _mirrored(factor)]
    for j in range(_HALF_TAPS):
        left, right = windows[:, j : j + _BLOCK], windows[:, 2 * _HALF_TAPS - 1 - j :][:, :_BLOCK]
        np.add(left, right, out=pair)
        for even, _, total in phases:
            total[0] += np.multiply(pair, even[j], out=product)
        np.subtract(left, right, out=pair)
        for _, odd, total in phases:
            if odd is not None:
                total[1] += np.multiply(pair, odd[j], out=product)
    return max(float((np.abs(total[0], out=total[0]) + np.abs(total[1], out=total[1])).max()) for _, _, total in phases)


def _highest(x: Array) -> Array:
    """Largest |x| of each row."""
    return np.maximum(x.max(axis=-1), -x.min(axis=-1))


def _ceilings(windows: Array, sizes: Array, best: float, factor: int) -> Array:
    """What no interpolated value in each of `windows` `[N, _BLOCK + taps − 1]` can exceed; `sizes` `[N]` are
    their largest |x|. The second, closer bound is looked for only where the first is above `best`."""
    plain, curved, line = _reach(factor)
    bound = sizes * plain
    for first in range(0, len(windows), 256):
        rows = first + np.flatnonzero(bound[first : first + 256] > best)
        if rows.size:
            bend = np.diff(windows[rows], n=2, axis=1)
            # 1e-6 of the size: three values rounded to float32 may hide that much
            closer = (line + 1e-6) * sizes[rows] + curved * _highest(bend)
            bound[rows] = np.minimum(bound[rows], closer)
    return bound


def _stretch_peak(part: Array, best: float, factor: int) -> float:
    """Largest magnitude between the samples of `part` `[n·_BLOCK + taps]`, or `best` where that is larger; the
    first and last half of the taps are neighbours only."""
    span = 2 * _HALF_TAPS
    if float(_highest(part)) * _reach(factor)[0] <= best:
        return best
    count = (part.size - span) // _BLOCK
    windows = np.lib.stride_tricks.sliding_window_view(part, _BLOCK + span - 1)[::_BLOCK][:count]
    blocks = _highest(part[: count * _BLOCK].reshape(count, _BLOCK))
    after = _highest(part[count * _BLOCK :])
    sizes = np.maximum(blocks, np.append(blocks[1:], after))  # the next block covers the right margin
    bounds = _ceilings(windows, sizes, best, factor)
    order = np.argsort(-bounds, kind="stable")
    for first in range(0, count, _TOGETHER):
        chosen = order[first : first + _TOGETHER]
        chosen = chosen[bounds[chosen] > best]
        if not chosen.size:
            break
        best = max(best, _peak_between(windows[chosen], factor))
    return best


class PeakMeter:
    """Sample peak and true peak of a sound that comes in pieces: `add` each `[C, n]` in order, then `true_peak()`.

    Where the pieces are cut changes nothing. `sample_peak` is linear and may be raised beforehand to a peak known
    already, which saves work.
    """

    def __init__(self, channels: int, rate_hz: int) -> None:
        self.sample_peak = self._best = 0.0
        self._factor = 4 if rate_hz < 96_000 else 2 if rate_hz < 192_000 else 1
        self._rest: Array = np.zeros((channels, _HALF_TAPS), dtype=np.float32)  # silence before the sound

    def add(self, samples: Array) -> None:
        """Samples `[C, n]` that follow those given before."""
        if samples.shape[1]:
            self.sample_peak = max(self.sample_peak, float(_highest(samples.reshape(-1))))
        self._best = max(self._best, self.sample_peak)
        if self._factor == 1:
            return
        need, start = _STRETCH + 2 * _HALF_TAPS, 0
        while self._rest.shape[1] + samples.shape[1] - start >= need:
            taken = need - self._rest.shape[1]
            self._look(np.concatenate((self._rest, samples[:, start : start + taken]), axis=1))
            start += taken - 2 * _HALF_TAPS
            if start >= 0:
                self._rest = samples[:, start:start]
            else:  # the margin reaches back before this piece
                self._rest, start = np.concatenate((self._rest, samples[:, :taken]), axis=1)[:, _STRETCH:], taken
        self._rest = np.concatenate((self._rest, samples[:, start:]), axis=1)

    def _look(self, part: Array) -> None:
        for channel in part:
            self._best = _stretch_peak(channel, self._best, self._factor)

    def true_peak(self) -> float:
        """Largest magnitude so far, linear, with silence after the last sample."""
        if self._factor > 1 and self._best > 0:
            rest = self._rest.shape[1] - _HALF_TAPS
            self._look(np.pad(self._rest, ((0, 0), (0, _HALF_TAPS + (-rest) % _BLOCK))))
        return self._best


def true_peak(samples: Any, rate_hz: int) -> float:
    """Largest magnitude of the reconstructed waveform, linear (BS.1770-4, Annex 2: oversampled 4× below 96
    kHz, 2× below 192 kHz). 20·log10 of it is dBTP. At least the sample peak. Of `[C, T]`, 0 …; neither way is
    better.

    Only where it can matter is anything interpolated: in a block whose samples are small, or nearly in a
    straight line, no value between them can be the peak (`_reach`), so leaving it out changes nothing.

    >>> t = np.arange(4800)
    >>> quarter = 0.5 * np.sin(np.pi / 2 * t + np.pi / 4)  # no sample meets a crest (EBU Tech 3341, case 16)
    >>> quarter *= np.minimum(1.0, np.minimum(t, t[::-1]) / 480)
    >>> round(20 * float(np.log10(true_peak(quarter[None], 48_000))), 1)
    -6.0
    """
    x = as_samples(samples, rate_hz)
    meter = PeakMeter(x.shape[0], rate_hz)
    meter.sample_peak = sample_peak(x, rate_hz)
    meter.add(x)
    return meter.true_peak()


def crest_db(samples: Any, rate_hz: int) -> float | None:
    """Peak over RMS (the crest factor) in dB, over all channels of `[C, T]` together; ≥ 0. Neither way is
    better: there is a good band (`profiles`). None for digital silence.

    >>> round(crest_db(np.sin(2 * np.pi * 1000 * np.arange(48_000) / 48_000)[None], 48_000), 2)
    3.01
    """
    x = as_samples(samples, rate_hz)
    mean_square = power(x)
    return decibel(sample_peak(x, rate_hz) ** 2 / mean_square) if mean_square > 0 else None


def dc_offset(samples: Any, rate_hz: int) -> float:
    """Mean of the channel of `[C, T]` whose arithmetic mean lies furthest from 0, in full scales, −1 … 1 for audio within ±1;
    0 is best.

    >>> dc_offset(np.array([[0.1, 0.2], [-0.5, -0.25]]), 48_000)
    -0.375
    """
    means = np.atleast_1d(np.mean(as_samples(samples, rate_hz), axis=1, dtype=np.float64))
    return float(means[np.argmax(np.abs(means))])

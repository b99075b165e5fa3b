"""Levels in the time domain: peaks, true peak, crest factor, DC, and where samples are not numbers.

Knows nothing of loudness or spectra.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from scipy.signal import firwin

from .samples import Array, as_samples, decibel, power, spans

_HALF_TAPS = 12  # input samples each side that an interpolated sample looks at
_BLOCK = 256


def non_finite_spans(samples: Array) -> list[tuple[int, int]]:
    """Half-open sample ranges where any channel is NaN or infinite."""
    if np.isfinite(np.sum(samples, dtype=np.float64)):
        return []
    return spans(np.asarray(~np.isfinite(samples).all(axis=0)))


def sample_peak(samples: Any, rate_hz: int) -> float:
    """Largest |x|, linear, 0 … (raw samples may exceed 1)."""
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


def _peak_between(windows: Array, kernel: Array) -> float:
    """Largest |value| between the samples of `[N, _BLOCK + taps − 1]`; tap by tap, without BLAS, so that
    neither speed nor the last digit depends on threads."""
    best = 0.0
    for phase in kernel.T:
        total = np.zeros((len(windows), _BLOCK), dtype=np.float32)
        for j, tap in enumerate(phase):
            total += tap * windows[:, j : j + _BLOCK]
        best = max(best, float(total.max()), -float(total.min()))
    return best


def true_peak(samples: Any, rate_hz: int) -> float:
    """Largest magnitude of the reconstructed waveform, linear (BS.1770-4, Annex 2: oversampled 4× below 96
    kHz, 2× below 192 kHz). 20·log10 of it is dBTP. At least the sample peak.

    Only where it can matter is anything interpolated: a block whose samples stay below best / ‖h‖₁ can't hold
    the peak, so leaving it out changes nothing.

    >>> t = np.arange(4800)
    >>> quarter = 0.5 * np.sin(np.pi / 2 * t + np.pi / 4)  # no sample meets a crest (EBU Tech 3341, case 16)
    >>> quarter *= np.minimum(1.0, np.minimum(t, t[::-1]) / 480)
    >>> round(20 * float(np.log10(true_peak(quarter[None], 48_000))), 1)
    -6.0
    """
    x = as_samples(samples, rate_hz)
    best = sample_peak(x, rate_hz)
    factor = 4 if rate_hz < 96_000 else 2 if rate_hz < 192_000 else 1
    if factor == 1 or best == 0.0:
        return best
    kernel = _interpolator(factor)
    reach = float(np.abs(kernel).sum(axis=0).max())
    span = 2 * _HALF_TAPS
    for channel in x:
        padded = np.pad(channel, (_HALF_TAPS, _HALF_TAPS + (-channel.size) % _BLOCK))
        count = padded[span:].size // _BLOCK
        size = np.abs(padded)
        inner = size[: count * _BLOCK].reshape(count, _BLOCK).max(axis=1)
        tail = np.concatenate((inner[1:], [size[count * _BLOCK :].max()]))  # the block after covers the right margin
        ceiling = np.maximum(inner, tail) * reach
        order = np.argsort(-ceiling, kind="stable")
        windows = np.lib.stride_tricks.sliding_window_view(padded, _BLOCK + span - 1)[::_BLOCK][:count]
        for first in range(0, count, 64):
            chosen = order[first : first + 64]
            chosen = chosen[ceiling[chosen] > best]
            if not chosen.size:
                break
            best = max(best, _peak_between(windows[chosen], kernel))
    return best


def crest_db(samples: Any, rate_hz: int) -> float | None:
    """Peak over RMS in dB, over all channels together; ≥ 0. None for digital silence.

    >>> round(crest_db(np.sin(2 * np.pi * 1000 * np.arange(48_000) / 48_000)[None], 48_000), 2)
    3.01
    """
    x = as_samples(samples, rate_hz)
    mean_square = power(x)
    return decibel(sample_peak(x, rate_hz) ** 2 / mean_square) if mean_square > 0 else None


def dc_offset(samples: Any, rate_hz: int) -> float:
    """Mean of the channel whose mean lies furthest from 0, in full scales, −1 … 1 for audio within ±1."""
    means = np.atleast_1d(np.mean(as_samples(samples, rate_hz), axis=1, dtype=np.float64))
    return float(means[np.argmax(np.abs(means))])

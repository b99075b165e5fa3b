"""What two channels do to each other: correlation, width, and what is lost in mono.

With more than two channels the first two (left and right in every usual order) are looked at. Knows no
spectra.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from .samples import Array, as_samples, decibel

SEVERE, MILD = -0.7, -0.3
NO_MONO_DB = 100.0  # a loss beyond this is stated as this


def _moments(pair: Array) -> tuple[float, float, float]:
    """Variances of left and right and their covariance, in float64."""
    left, right = (c.astype(np.float64) - np.mean(c, dtype=np.float64) for c in pair)
    return float(left @ left) / left.size, float(right @ right) / left.size, float(left @ right) / left.size


def correlation(samples: Any, rate_hz: int) -> float | None:
    """Pearson correlation of left and right, −1 … 1. None for one channel or when either is silent."""
    x = as_samples(samples, rate_hz)
    if x.shape[0] < 2:
        return None
    ll, rr, lr = _moments(x[:2])
    if ll <= 1e-20 or rr <= 1e-20:
        return None
    return float(np.clip(lr / np.sqrt(ll * rr), -1.0, 1.0))


def phase_status(value: float) -> Literal["good", "mild", "severe"]:
    """The band a correlation lies in: below −0.7 severe, −0.7 … −0.3 mild, above good."""
    return "severe" if value < SEVERE else "mild" if value <= MILD else "good"


def width(samples: Any, rate_hz: int) -> float | None:
    """RMS of the side (L−R)/2 over RMS of the mid (L+R)/2: 0 for mono, 1 for unrelated channels of equal
    level.

    None for one channel, silence, or when there is no mid at all (one channel inverted).
    """
    x = as_samples(samples, rate_hz)
    if x.shape[0] < 2:
        return None
    ll, rr, lr = _moments(x[:2])
    mid, side = (ll + rr + 2 * lr) / 4, max(ll + rr - 2 * lr, 0.0) / 4
    return float(np.sqrt(side / mid)) if mid > 1e-10 * (ll + rr) and mid > 1e-20 else None


def mono_loss_db(samples: Any, rate_hz: int) -> float | None:
    """How much power (L+R)/2 has less than the channels have on average, dB: 0 for equal channels, 3.01 for
    unrelated ones, 100 (the cap) for inverted ones. Above 3 is worth a warning, above 6 a fault. None for one
    channel or silence.
    """
    x = as_samples(samples, rate_hz)
    if x.shape[0] < 2:
        return None
    ll, rr, lr = _moments(x[:2])
    if ll + rr <= 1e-20:
        return None
    mono = max((ll + rr + 2 * lr) / 4, 0.0)
    return min(NO_MONO_DB, max(0.0, -decibel(mono / ((ll + rr) / 2))))


def windowed_correlation(samples: Array, rate_hz: int, window_s: float = 0.5) -> tuple[Array, Array]:
    """Correlation and mean square (of the pair) in windows of `window_s`, each `[N]`; NaN where a channel is
    silent."""
    step = max(int(window_s * rate_hz), 1)
    values, powers = [], []
    for start in range(0, samples.shape[1], step):
        part = samples[:2, start : start + step]
        if part.shape[1] < max(step // 4, 2):
            continue
        ll, rr, lr = _moments(part)
        values.append(lr / np.sqrt(ll * rr) if ll > 1e-20 and rr > 1e-20 else np.nan)
        powers.append((ll + rr) / 2)
    return np.array(values), np.array(powers)

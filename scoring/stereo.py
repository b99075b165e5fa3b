"""What two channels do to each other: correlation, width, and what is lost in mono.

With more than two channels the first two (left and right in every usual order) are looked at. Knows no
spectra.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from .samples import Array, as_samples, decibel

SEVERE, MILD = -0.7, -0.3
NO_MONO_DB = 100.0  # a loss beyond this is stated as this
_NOTHING = 1e-20


@dataclass(frozen=True)
class Moments:
    """Variances of left and right and their covariance."""

    left: float
    right: float
    both: float

    @property
    def mid(self) -> float:
        """Variance of (L+R)/2."""
        return max((self.left + self.right + 2 * self.both) / 4, 0.0)

    @property
    def side(self) -> float:
        """Variance of (L−R)/2."""
        return max((self.left + self.right - 2 * self.both) / 4, 0.0)

    @property
    def correlation(self) -> float | None:
        """Pearson's, −1 … 1; None when either side is silent."""
        if self.left <= _NOTHING or self.right <= _NOTHING:
            return None
        return float(np.clip(self.both / np.sqrt(self.left * self.right), -1.0, 1.0))


def from_sums(sums: Array) -> Moments:
    """From (count, ΣL, ΣR, ΣL², ΣR², ΣLR): means of products less products of means. A constant's variance is
    rounding, not signal, and is 0 here.

    >>> from_sums(np.array([4, 0, 0, 4, 4, -4]))  # L = 1 −1 1 −1, R = −1 1 −1 1
    Moments(left=1.0, right=1.0, both=-1.0)
    """
    n, left, right, ll, rr, lr = (float(v) for v in sums)
    variances = (ll / n - (left / n) ** 2, rr / n - (right / n) ** 2)
    kept = [v if v > 1e-12 * e / n else 0.0 for v, e in zip(variances, (ll, rr), strict=True)]
    return Moments(kept[0], kept[1], lr / n - left * right / n**2 if all(kept) else 0.0)


def window_length(rate_hz: int, window_s: float = 0.5) -> int:
    """Samples in a window of `moments`, of `window_s` seconds; at least 1.

    >>> window_length(48_000)
    24000
    """
    return max(int(window_s * rate_hz), 1)


def window_sums(x: Array, step: int) -> Iterator[Array]:
    """(count, ΣL, ΣR, ΣL², ΣR², ΣLR) of every `step` samples of `[C, T]`, C ≥ 2, and of the rest; what `from_sums`
    takes, also when several are added.

    >>> [sums.tolist() for sums in window_sums(np.array([[1, 2, 3], [1, 0, -1]]), 2)]
    [[2.0, 3.0, 1.0, 5.0, 1.0, 1.0], [1.0, 3.0, -1.0, 9.0, 1.0, -3.0]]
    """
    for start in range(0, x.shape[1], step):
        left, right = x[:2, start : start + step].astype(np.float64)
        squares = [np.einsum("i,i->", a, b) for a, b in ((left, left), (right, right), (left, right))]
        yield np.array([left.size, left.sum(), right.sum(), *squares])


def long_enough(sums: Array, step: int) -> bool:
    """Whether a window counts: at least a quarter of the others' length.

    >>> long_enough(np.array([6_000, 0, 0, 0, 0, 0]), 24_000), long_enough(np.array([5_999, 0, 0, 0, 0, 0]), 24_000)
    (True, False)
    """
    return bool(sums[0] >= max(step // 4, 2))


def moments(samples: Any, rate_hz: int, window_s: float = 0.5) -> tuple[Moments | None, list[Moments]]:
    """Moments of the first two channels of `[C, T]`, over all of it and in windows of `window_s` (a last one
    shorter than a quarter of that is left out of the list). (None, []) for one channel. Accumulated in
    float64, without BLAS, so that the figures do not depend on the number of threads.

    >>> moments(np.array([[1.0, -1, 1, -1], [1.0, 1, -1, -1]]), 48_000)[0]
    Moments(left=1.0, right=1.0, both=0.0)
    """
    x = as_samples(samples, rate_hz)
    if x.shape[0] < 2:
        return None, []
    step = window_length(rate_hz, window_s)
    sums, windows = np.zeros(6), []
    for part in window_sums(x, step):
        sums += part
        if long_enough(part, step):
            windows.append(from_sums(part))
    return from_sums(sums), windows


def correlation(samples: Any, rate_hz: int, *, pair: Moments | None = None) -> float | None:
    """Pearson correlation of left and right of `[C, T]`, −1 … 1; neither way is better, below −0.3 is a fault. None
    for one channel or when either is silent.

    `pair` are moments taken before; then the samples are not looked at (so in all of this module).

    >>> x = np.random.default_rng(0).standard_normal(48_000)
    >>> round(correlation(np.stack([x, -x]), 48_000), 6)
    -1.0
    """
    pair = pair or moments(samples, rate_hz)[0]
    return pair.correlation if pair else None


def phase_status(value: float) -> Literal["good", "mild", "severe"]:
    """The band a correlation lies in: below −0.7 severe, −0.7 … −0.3 mild, above good.

    >>> phase_status(-0.8), phase_status(-0.5), phase_status(0.2)
    ('severe', 'mild', 'good')
    """
    return "severe" if value < SEVERE else "mild" if value <= MILD else "good"


def width(samples: Any, rate_hz: int, *, pair: Moments | None = None) -> float | None:
    """RMS of the side (L−R)/2 over RMS of the mid (L+R)/2: 0 for mono, 1 for unrelated channels of equal
    level, unbounded above; neither way is better.

    None for one channel, silence, or when there is no mid at all (one channel inverted).

    >>> left, right = np.array([1.0, -1, 1, -1]), np.array([1.0, 1, -1, -1])  # unrelated
    >>> width(np.stack((left, right)), 48_000), width(np.stack((left, left)), 48_000), width(np.stack((left, -left)), 48_000)
    (1.0, 0.0, None)
    """
    pair = pair or moments(samples, rate_hz)[0]
    if pair is None or pair.mid <= max(_NOTHING, 1e-10 * (pair.left + pair.right)):
        return None
    return float(np.sqrt(pair.side / pair.mid))


def mono_loss_db(samples: Any, rate_hz: int, *, pair: Moments | None = None) -> float | None:
    """How much power (L+R)/2 has less than the channels have on average, dB: 0 for equal channels, 3.01 for
    unrelated ones, 100 (the cap) for inverted ones. Lower is better: above 3 is worth a warning, above 6 a fault. None for one
    channel or silence.

    >>> left, right = np.array([1.0, -1, 1, -1]), np.array([1.0, 1, -1, -1])  # unrelated
    >>> [round(mono_loss_db(np.stack((left, other)), 48_000), 2) for other in (left, right, -left)]
    [0.0, 3.01, 100.0]
    """
    pair = pair or moments(samples, rate_hz)[0]
    if pair is None or pair.left + pair.right <= _NOTHING:
        return None
    return min(NO_MONO_DB, max(0.0, -decibel(pair.mid / ((pair.left + pair.right) / 2))))

"""What a picture of a sound is made of: power over time and logarithmic frequency, outlines of the waveform, and how alike
left and right are at each frequency. Numbers only; `plot` and the report's page draw them.

Non-finite samples count as zero here; whoever draws says where they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.fft import rfft
from scipy.signal import get_window

from .samples import Array, as_samples

FLOOR_DB, CEILING_DB = -110.0, -10.0  # one scale for every picture, so that they can be compared
LOWEST_HZ = 30.0
_WINDOW_S = 0.085  # 4096 samples at 48 kHz: lines of a bass note stand apart, drum strokes still show
_BLOCK = 64
_HEARD_DB = -70.0  # bands below this, relative to the strongest, have no stereo image worth a number


@dataclass(frozen=True, eq=False)
class TimeFrequency:
    """`db` `[rows, columns]`: power in dB, 0 for a full-scale sine on a bin (down to −1.4 between two), channels
    averaged; row 0 is the lowest frequency.
    `edges_hz` `[rows + 1]`, logarithmic; column k covers k/columns of `duration_s`. `correlation` `[bands]` of the
    first two channels in third octaves around `bands_hz`, −1 … 1, NaN where there is nothing to hear; None for
    one channel."""

    db: Array
    edges_hz: Array
    duration_s: float
    bands_hz: Array
    correlation: Array | None


def time_frequency(samples: Any, rate_hz: int, *, columns: int = 900, rows: int = 256) -> TimeFrequency:
    """Power of `[C, T]` over time and logarithmic frequency from 30 Hz (a hundredth of the band at low rates) to half
    the rate; periodic Hann of 85 ms. A column is the mean of its frames, so that no length is skipped over; memory
    does not grow with the length. Raises ValueError as `as_samples` does.

    >>> t = np.arange(48_000) / 48_000
    >>> picture = time_frequency(np.sin(2 * np.pi * 1000 * t)[None], 48_000, columns=50, rows=60)
    >>> row = int(np.argmax(picture.db[:, 25]))
    >>> bool(picture.edges_hz[row] <= 1000 <= picture.edges_hz[row + 1]), round(float(picture.db[row, 25]), 1)
    (True, -0.6)
    """
    x = as_samples(samples, rate_hz)
    size = 1 << max(5, round(np.log2(_WINDOW_S * rate_hz)))
    frames = max(1, round(x.shape[1] / (size / 2) / columns)) * columns  # at least half overlapped, whole columns
    starts = np.round(np.linspace(-size / 2, x.shape[1] - size / 2, frames, endpoint=False)).astype(np.int64)
    starts += max(1, x.shape[1] // frames) // 2
    window = get_window("hann", size).astype(np.float32)
    sums = np.zeros((columns, size // 2 + 1))
    cross = np.zeros((3, size // 2 + 1))
    per_column = frames // columns
    for first in range(0, frames, _BLOCK):
        chosen = starts[first : first + _BLOCK]
        spectra = rfft(_frames(x, chosen, size) * window, axis=-1)
        power = np.square(spectra.real) + np.square(spectra.imag)
        np.add.at(sums, (first + np.arange(chosen.size)) // per_column, power.mean(axis=0))
        if x.shape[0] > 1:
            both = (spectra[0].real * spectra[1].real + spectra[0].imag * spectra[1].imag).sum(axis=0)
            cross += np.stack([power[0].sum(axis=0), power[1].sum(axis=0), both])
    frequencies = np.arange(size // 2 + 1) * (rate_hz / size)
    lowest = min(LOWEST_HZ, rate_hz / 200)
    edges = np.geomspace(lowest, rate_hz / 2, rows + 1)
    full_scale = (float(window.sum()) / 2) ** 2
    rows_power = _on_rows(sums / (per_column * full_scale), frequencies, edges)
    bands, correlation = _by_third_octave(cross, frequencies, lowest)
    return TimeFrequency(
        db=10 * np.log10(np.maximum(rows_power.T, 10 ** (FLOOR_DB / 10 - 2))), edges_hz=edges,
        duration_s=x.shape[1] / rate_hz, bands_hz=bands, correlation=correlation if x.shape[0] > 1 else None,
    )  # fmt: skip


def _frames(x: Array, starts: npt.NDArray[np.integer[Any]], size: int) -> Array:
    """`[C, n, size]`, zeros beyond both ends; what is not finite is zero."""
    low, high = int(starts[0]), int(starts[-1]) + size
    part = x[:, max(low, 0) : min(high, x.shape[1])]
    if not np.isfinite(part).all():
        part = np.nan_to_num(part, nan=0.0, posinf=0.0, neginf=0.0)
    part = np.pad(part, ((0, 0), (max(-low, 0), max(high - x.shape[1], 0))))
    return np.lib.stride_tricks.sliding_window_view(part, size, axis=1)[:, starts - low]


def _on_rows(power: Array, frequencies: Array, edges: Array) -> Array:
    """`[columns, bins]` -> `[columns, rows]`: the strongest bin of a row, between bins (at low frequencies) interpolated.
    The strongest and not the mean, so that a line is as bright at 10 kHz as at 100 Hz."""
    centres = np.sqrt(edges[:-1] * edges[1:])
    step = frequencies[1]
    place = centres / step
    left = np.clip(np.floor(place).astype(np.int64), 0, power.shape[1] - 2)
    share = np.clip(place - left, 0.0, 1.0)
    found = power[:, left] * (1 - share) + power[:, left + 1] * share
    first = np.ceil(edges[:-1] / step).astype(np.int64)
    last = np.minimum(np.ceil(edges[1:] / step).astype(np.int64), power.shape[1])
    for row in np.flatnonzero(last > first):
        found[:, row] = power[:, first[row] : last[row]].max(axis=1)
    return found


def _by_third_octave(cross: Array, frequencies: Array, lowest: float) -> tuple[Array, Array]:
    """Centres, and Re(S_lr) over √(S_ll·S_rr) in each band."""
    count = max(1, int(3 * np.log2(frequencies[-1] / lowest)))
    edges = lowest * 2 ** (np.arange(count + 1) / 3)
    index = np.digitize(frequencies, edges) - 1
    inside = (index >= 0) & (index < count)
    ll, rr, lr = (np.bincount(index[inside], weights=part[inside], minlength=count) for part in cross)
    strength = np.sqrt(ll * rr)
    heard = strength > max(float(strength.max()) * 10 ** (_HEARD_DB / 10), 1e-20)
    value = np.full(count, np.nan)
    value[heard] = np.clip(lr[heard] / strength[heard], -1.0, 1.0)
    return np.sqrt(edges[:-1] * edges[1:]), value


def outline(samples: Any, rate_hz: int, columns: int = 1200) -> Array:
    """Lowest and highest sample of `[C, T]` in each of at most `columns` equal parts, `[C, 2, columns]`; NaN for a part
    without a finite sample.

    >>> outline(np.array([[0.0, 1.0, -1.0, 0.5]]), 48_000, 2).tolist()
    [[[0.0, -1.0], [1.0, 0.5]]]
    """
    x = as_samples(samples, rate_hz)
    starts = np.linspace(0, x.shape[1], min(columns, x.shape[1]), endpoint=False).astype(np.int64)
    if np.isfinite(x).all():
        return np.stack([np.minimum.reduceat(x, starts, axis=1), np.maximum.reduceat(x, starts, axis=1)], axis=1)
    finite = np.isfinite(x)
    low = np.minimum.reduceat(np.where(finite, x, np.float32(np.inf)), starts, axis=1)
    high = np.maximum.reduceat(np.where(finite, x, np.float32(-np.inf)), starts, axis=1)
    none = low > high
    low[none], high[none] = np.nan, np.nan
    return np.stack([low, high], axis=1)

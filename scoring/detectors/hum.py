"""Mains hum: a steady family of lines on 50 or 60 Hz."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view
from scipy.fft import rfft
from scipy.signal import firwin, get_window, upfirdn

from ..analysis import Analysis
from ..report import Defect
from ..samples import Array, merged
from .found import found

_TOP_HZ = 700.0
_WINDOW_S, _SHORTEST_S = 8.0, 3.0
_MAINS_HZ, _OFF_HZ, _STEP_HZ = (50.0, 60.0), 0.25, 0.025
_HARMONICS = 10
_ABOVE_DB, _FEWEST = 8.0, 4
_STEADY_S, _STEADY = 1.0, 0.3  # in most windows of a second a line has at least this part of its power, and not over the inverse
_ELSEWHERE_HZ = (-7.0, -6.0, -5.0, -4.0, -3.0, -2.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0)
_MORE = 1.0  # times the fourth best of other families: what comes in time with a beat has lines everywhere
_WEAKEST = 10**-4.5  # of the strongest line: below it lies what the window leaks
_BESIDE = (4, 12)  # bins on either side: beyond the main lobe of what stands still, within that of what does not
_LEAST_DB, _WORST_DB = -66.0, -26.0


def _slow(x: Array, rate_hz: int) -> tuple[Array, float]:
    """`[C, T]` decimated to what holds 700 Hz, and its rate."""
    factor = max(int(rate_hz // (3.2 * _TOP_HZ)), 1)
    if factor == 1:
        return x, float(rate_hz)
    taps = firwin(12 * factor + 1, 0.8 / factor).astype(np.float32)
    return np.stack([upfirdn(taps, channel, down=factor) for channel in x]), rate_hz / factor


def line_heights_db(power: Array, width_hz: float, base_hz: Array) -> tuple[Array, Array]:
    """For each base `[B]` and harmonic: how far the power at that line (`[F]`, bins of `width_hz`) lies above the mean of
    its surroundings, dB `[B, K]`, and the power there `[B, K]`. A line that stands still over the window is narrow; one
    that is played is not."""
    k = np.arange(1, _HARMONICS + 1)
    bins = np.round(base_hz[:, None] * k / width_hz).astype(int)
    peak = np.max([power[bins + j] for j in (-1, 0, 1)], axis=0)
    reach = np.arange(_BESIDE[0], _BESIDE[1] + 1)
    below = power[bins[..., None] - reach].mean(axis=-1)
    above = power[bins[..., None] + reach].mean(axis=-1)
    return 10 * np.log10((peak + 1e-25) / (np.maximum(below, above) + 1e-25)), peak


def _steady(x: Array, rate: float, hz: Array, power: Array) -> npt.NDArray[np.bool_]:
    """Which of the lines at `hz` with mean square `power` are there all the time: in windows of 1 s, their 25 % quantile is
    not below 0.3 of it, nor their 75 % quantile above 3.3 times."""
    size, hop = int(_STEADY_S * rate), int(_STEADY_S * rate / 4)
    window = get_window("hann", size)
    kernel = (window * np.exp(-2j * np.pi * hz[:, None] * np.arange(size) / rate)).T
    views = sliding_window_view(x, size, axis=1)[:, ::hop]
    found = np.square(np.abs(views @ kernel)).mean(axis=0) * (2.0 / float(window.sum()) ** 2)
    low, high = np.quantile(found, [0.25, 0.75], axis=0)
    return np.asarray((low > _STEADY * power) & (high < power / _STEADY))


def _scores(heights: Array) -> Array:
    return np.asarray(np.where(heights > _ABOVE_DB, np.minimum(heights, 30.0), 0.0).sum(axis=1))


def _of_window(x: Array, rate: float) -> tuple[float, float, int] | None:
    """(base in Hz, mean square of all its lines, their number) of one window `[C, T]`, or None."""
    size = x.shape[1]
    window = get_window("hann", size)
    power = np.square(np.abs(rfft(x * window, axis=1))).mean(axis=0) * (2.0 / float(window.sum()) ** 2)
    best: tuple[float, float, int] | None = None
    most = 0.0
    near = np.arange(-_OFF_HZ, _OFF_HZ + 1e-9, _STEP_HZ)
    for mains in _MAINS_HZ:
        elsewhere = sorted(float(_scores(line_heights_db(power, rate / size, mains + d + near)[0]).max()) for d in _ELSEWHERE_HZ)
        bases = mains + near
        heights, levels = line_heights_db(power, rate / size, bases)
        score = _scores(heights)
        i = int(np.argmax(score))
        if score[i] <= max(most, _FEWEST * _ABOVE_DB, _MORE * elsewhere[-4]):
            continue
        stands = (heights[i] > _ABOVE_DB) & (levels[i] > _WEAKEST * levels[i].max())
        if not stands.any():
            continue
        lines = bases[i] * (1 + np.flatnonzero(stands))
        stands[stands] = _steady(x, rate, lines, levels[i][stands])
        if stands.sum() >= _FEWEST and stands[:3].any():
            most = float(score[i])
            best = float(bases[i]), float(levels[i][stands].sum()), int(stands.sum())
    return best


def hum(a: Analysis) -> Iterator[Defect]:
    """`hum`: at least four of the first ten harmonics of 50 or 60 Hz (within 0.25 Hz; no note of the scale has several
    there), one of them among the first three, as lines so narrow that they must stand still over 8 s and as strong in every
    second of it, which bass notes are not. Severity by their level together
    after −18 LUFS: −66 dB is 0.05, −26 dB is 1. Needs 3 s of sound; the place is good to 4 s."""
    if a.duration_s < _SHORTEST_S or a.rate_hz < 2_000 or a.silent:
        return
    x, rate = _slow(a.samples, a.rate_hz)
    size = min(int(_WINDOW_S * rate), x.shape[1])
    starts = sorted({*range(0, x.shape[1] - size + 1, size // 2), x.shape[1] - size})
    each = {start: one for start in starts if (one := _of_window(x[:, start : start + size], rate)) is not None}
    for first, last in merged([(start, start + size) for start in each], 1):
        inside = [one for start, one in each.items() if first <= start < last]
        level = 10 * np.log10(float(np.median([one[1] for one in inside]))) + 20 * np.log10(a.gain)
        if level > _LEAST_DB:
            span = (int(first * a.rate_hz / rate), min(int(last * a.rate_hz / rate) + 1, a.samples.shape[1]))
            severity = 0.05 + 0.95 * (level - _LEAST_DB) / (_WORST_DB - _LEAST_DB)
            yield found("hum", severity, span, a, base_hz=round(inside[0][0], 2), harmonics=max(one[2] for one in inside),
                        level_db=round(float(level), 1))  # fmt: skip

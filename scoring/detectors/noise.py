"""Noise that does not belong: a steady floor, and bursts that begin and end at once."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.fft import rfft
from scipy.ndimage import median_filter
from scipy.signal import get_window

from ..analysis import Analysis
from ..report import Defect
from ..samples import Array
from .found import MOST_SPANS, found

_LOWEST_HZ, _BAND_HZ = 1_500.0, 1_500.0
_FRAME_S = 1 / 47
_MOST_FRAMES = 3_000
_EDGE_SPREAD_DB, _FLATNESS = 2.5, 0.45
_SHARE = 0.5
_LEAST_DB, _WORST_DB = -58.0, -25.0


def _quiet_bands(a: Analysis) -> tuple[Array, Array, Array] | None:
    """For each band of 1.5 kHz above 1.5 kHz: power at the 7 % quantile over time (mean square of the sound in the band),
    how far the 2 % and 12 % quantiles lie apart in dB, and the flatness of its spectrum in those quiet frames. Silence before
    and after the sound is left out, which would hide its noise."""
    x, rate_hz = a.samples, a.rate_hz
    size = max(int(_FRAME_S * rate_hz) // 2 * 2, 64)
    hop = max(size, x.shape[1] // _MOST_FRAMES)
    ends = [span for span in a.silences if span[0] == 0 or span[1] == x.shape[1]]
    begins = np.arange(0, x.shape[1] - size + 1, hop)
    for first, end in ends:
        begins = begins[(begins + size <= first) | (begins >= end)]
    if begins.size * hop < 48 * size:
        return None
    window = get_window("hann", size).astype(np.float32)
    spectra = rfft(sliding_window_view(x, size, axis=1)[:, begins] * window, axis=-1)
    power = (np.square(spectra.real) + np.square(spectra.imag)).mean(axis=0) * (2.0 / (size * float(np.square(window).sum())))
    width = rate_hz / size
    edges = np.arange(_LOWEST_HZ, min(20_000.0, 0.46 * rate_hz) - _BAND_HZ + 1, _BAND_HZ)
    if not len(edges):
        return None
    levels, spreads, flats = [], [], []
    for low in edges:
        band = power[:, int(low / width) : int((low + _BAND_HZ) / width)] + 1e-20
        total = band.sum(axis=1)
        first, middle, last = np.quantile(total, [0.02, 0.07, 0.12])
        quiet = band[total <= last]
        levels.append(middle)
        spreads.append(10 * np.log10(last / first))
        flats.append(float(np.median(np.exp(np.log(quiet).mean(axis=1)) / quiet.mean(axis=1))))
    return np.array(levels), np.array(spreads), np.array(flats)


def noise(a: Analysis) -> Iterator[Defect]:
    """`noise`: a floor above 1.5 kHz below which the sound never falls: in at least half of the bands the quietest moments
    are alike to 2.5 dB (the lower edge of what music does is ragged) and flat over frequency, as only noise is. Severity by
    its level after −18 LUFS: −58 dBFS is 0.05, −25 dBFS is 1.

    >>> x = 0.1 * np.random.default_rng(0).standard_normal((1, 48_000))  # nothing but noise, at −18 LUFS after the gain
    >>> [(d.type, d.start_s, d.end_s, d.severity) for d in noise(Analysis(x, 24_000))]
    [('noise', 0.0, 2.0, 1.0)]
    >>> list(noise(Analysis(x * np.abs(np.sin(np.pi * 2 * np.arange(48_000) / 24_000)), 24_000)))  # it falls below any floor
    []
    """
    if a.rate_hz < 8_000 or a.silent:
        return
    bands = _quiet_bands(a)
    if bands is None:
        return
    levels, spreads, flats = bands
    heard = levels > 1e-3 * np.median(levels)
    noisy = heard & (spreads < _EDGE_SPREAD_DB) & (flats > _FLATNESS)
    if not heard.any() or noisy.sum() < _SHARE * heard.sum():
        return
    level = 10 * np.log10(float(levels[noisy].sum()) + 1e-20) + 20 * np.log10(a.gain)
    if level > _LEAST_DB:
        severity = 0.05 + 0.95 * (level - _LEAST_DB) / (_WORST_DB - _LEAST_DB)
        yield found("noise", severity, (0, a.samples.shape[1]), a, level_db=round(float(level), 1), bands=int(noisy.sum()),
                    spread_db=round(float(np.median(spreads[noisy])), 2))  # fmt: skip


_STEP_S, _SHORTEST_S, _LONGEST_S = 0.002, 0.024, 0.6
_BEGIN_DB, _END_DB, _STAYS_DB, _EVEN_DB, _SPREAD_DB = 4.0, 5.0, 5.5, 3.0, 3.0
_LEAST_BURST_DB, _NO_BURST_DB, _WORST_BURST_DB = -42.0, -52.0, -10.0
_BURST_FLATNESS = 0.5  # of white noise e^−γ = 0.56, 0.04 less or more by chance in the shortest
_BURST_BANDS, _BURST_RANGE = 6, (0.3, 0.9)  # of half the rate
_MOMENT_S, _FLOOR = 0.005, 0.3
_TILT_DB, _HUMPS_DB, _RISE_DB, _BEFORE_S = 7.0, 4.2, 4.0, 0.03


def _second_difference(x: Array, step: int) -> Array:
    """Mean square of the second difference, channels averaged, in frames of `step`."""
    d = np.square(x[:, 2:] - 2 * x[:, 1:-1] + x[:, :-2]).mean(axis=0)
    count = d.size // step
    return d[: count * step].reshape(count, step).mean(axis=1).astype(np.float64)


def _plateaus(level: Array) -> list[tuple[int, int, float]]:
    """(first frame, last, height in dB) of stretches of `level` (dB) that rise by `_BEGIN_DB` and fall by `_END_DB` within two
    frames; between, their floor stays even, whatever else sounds over it."""
    out: list[tuple[int, int, float]] = []
    near = 5
    shortest, longest = int(_SHORTEST_S / _STEP_S), int(_LONGEST_S / _STEP_S)
    if level.size <= shortest + near:
        return out
    smooth = median_filter(level, 3)
    rise = level[2:] - level[:-2]
    rises = np.flatnonzero((rise > _BEGIN_DB) & (rise >= np.maximum(np.roll(rise, 1), np.roll(rise, -1)))) + 1
    rises = rises[(rises >= near) & (rises + 1 + shortest <= level.size)]
    if not rises.size:
        return out
    grounds = np.median(sliding_window_view(level, near)[rises - near], axis=1)
    plateaus = np.median(sliding_window_view(level, shortest)[rises + 1], axis=1)
    steps = plateaus - grounds > _BEGIN_DB
    for k, ground, plateau in zip(rises[steps], grounds[steps], plateaus[steps], strict=True):
        first = k + 1 if level[k + 1] > plateau - _STAYS_DB else k + 2  # the frame in which it begins may be half empty
        stays = smooth[first + 1 : first + 1 + longest] > plateau - _STAYS_DB
        length = 1 + int(np.argmin(stays)) if not stays.all() else 0
        if length < shortest:
            continue
        last = first + length
        inside = level[first:last]
        after = level[last + 1 : last + 1 + near]
        third = max(len(inside) // 3, 2)
        begin, end = float(np.median(inside[:third])), float(np.median(inside[-third - 1 : -1]))
        even = abs(begin - end) < _EVEN_DB and float(np.median(inside) - np.quantile(inside[:-1], 0.1)) < _SPREAD_DB
        falls = bool(after.size) and end - float(np.median(after)) > _END_DB
        if even and falls:
            out.append((int(first), int(last), float(plateau - max(ground, float(np.median(after))))))
    return out


def _floor_db(x: Array, rate_hz: int) -> Array | None:
    """The level below which `[C, T]` falls in 30 % of its moments of 5 ms and of the lines of its spectrum, in six equal bands
    between 0.3 and 0.9 of half the rate, dB: a floor of noise, and little of the voice, the partials or the strokes above it.
    None where it is shorter than a moment."""
    size = int(_MOMENT_S * rate_hz)
    if x.shape[1] < size:
        return None
    moments = sliding_window_view(x, size, axis=1)[:, :: size // 2]
    power = np.square(np.abs(rfft(moments * get_window("hann", size).astype(np.float32), axis=-1))).mean(axis=0) + 1e-20
    edges = (np.linspace(*_BURST_RANGE, _BURST_BANDS + 1) * power.shape[1]).astype(int)
    return 10 * np.log10([np.quantile(power[:, a:b], _FLOOR) for a, b in itertools.pairwise(edges)])


def _is_noise(x: Array, rate_hz: int, first: int, last: int) -> bool:
    """Whether the samples `first` … `last` of `[C, T]` are, but for a tilt, as flat as white noise in the upper half of their
    spectrum (lines, a drum and a fricative are not), on a floor of little tilt and no humps, higher than that on either side."""
    part = x[:, first:last]
    power = np.square(np.abs(rfft(part * get_window("hann", part.shape[1]).astype(np.float32), axis=1))).mean(axis=0) + 1e-20
    upper = np.log(power[int(0.45 * power.size) : int(0.9 * power.size)])
    lines = np.arange(upper.size)
    upper -= np.polyval(np.polyfit(lines, upper, 1), lines)
    if np.exp(upper.mean()) <= _BURST_FLATNESS * np.exp(upper).mean():
        return False
    beside = int(_BEFORE_S * rate_hz)
    past = last + int(_STEP_S * rate_hz)  # the frame in which it ends is half full
    around = (x[:, max(0, first - beside) : first], x[:, past : past + beside])
    floor, before, after = (_floor_db(y, rate_hz) for y in (part, *around))
    if floor is None or before is None or after is None:
        return False
    k = np.arange(_BURST_BANDS)
    humps = floor - np.polyval(np.polyfit(k, floor, 1), k)
    flat = np.ptp(floor) < _TILT_DB and np.ptp(humps) < _HUMPS_DB
    return bool(flat and min(np.median(floor - before), np.median(floor - after)) > _RISE_DB)


def noise_burst(a: Analysis) -> Iterator[Defect]:
    """`noise_burst`: 24 to 600 ms of flat noise that begins at once, stays even and ends at once (in the second difference;
    a snare or a hi-hat decays), whatever sounds on through it. Severity by its level after −18 LUFS: −52 dBFS would be 0.05,
    −10 dBFS is 1; below −42 dBFS none is reported, as of clicks.

    >>> x = 0.2 * np.sin(2 * np.pi * 440 * np.arange(48_000) / 24_000)[None]  # about −18 LUFS
    >>> x[0, 24_000:26_400] += 0.1 * np.random.default_rng(0).standard_normal(2_400)  # −20 dBFS: 0.05 + 0.95·32/42
    >>> [(d.type, round(d.start_s, 2), round(d.end_s, 2), round(d.severity, 1)) for d in noise_burst(Analysis(x, 24_000))]
    [('noise_burst', 1.0, 1.1, 0.8)]
    """
    step = int(_STEP_S * a.rate_hz)
    if a.rate_hz < 8_000 or a.silent or a.samples.shape[1] < 50 * step:
        return
    level = 10 * np.log10(_second_difference(a.samples, step) + 1e-18)
    done, told = -1, 0
    for first, last, height in _plateaus(level):
        # white noise of variance σ² has a second difference of variance 6σ²
        size = float(np.mean(level[first:last])) - 7.8 + 20 * float(np.log10(a.gain))
        if first <= done or size <= _LEAST_BURST_DB or not _is_noise(a.samples, a.rate_hz, first * step, last * step):
            continue
        severity = 0.05 + 0.95 * (size - _NO_BURST_DB) / (_WORST_BURST_DB - _NO_BURST_DB)
        yield found("noise_burst", severity, (first * step, min(last * step, a.samples.shape[1])), a,
                    level_db=round(size, 1), above_beside_db=round(height, 1))  # fmt: skip
        done, told = last, told + 1
        if told == MOST_SPANS:
            return

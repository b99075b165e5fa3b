"""Mirror images: what a missing or weak filter leaves about half of a lower sample rate."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d

from ..analysis import Analysis
from ..report import Defect
from ..samples import Array
from ..spectra import frame_energies, stft_blocks
from .found import found

_RATES_HZ = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100)
_MOST_FRAMES = 64
_WIDTH_HZ = 3_000.0
_DETAIL_HZ = 150.0
_NEAREST_HZ = 40.0  # the transition of a filter may lie here
_DEEPEST = 1e-9  # of a frame's strongest bin; below lie the window's side lobes and rounding
_ALIKE, _AHEAD = 0.30, 0.15
_FAINT_DB, _WORST_DB = -60.0, -6.0


def mirror_points(rate_hz: int) -> list[float]:
    """Frequencies about which a conversion of rates may have mirrored: half of every usual lower rate, and of `rate_hz`
    over 2, 3, 4, 6 and 8."""
    rates = {*map(float, _RATES_HZ), *(rate_hz / n for n in (2, 3, 4, 6, 8))}
    return sorted(r / 2 for r in rates if 3_000 <= r < 0.97 * rate_hz)


def _levels(a: Analysis) -> tuple[Array, float]:
    """Level in dB `[n, F]` of up to 64 loud frames spread over the sound, and the width of a bin in Hz."""
    n_fft = 1 << int(np.ceil(np.log2(a.rate_hz / 15)))
    energies = frame_energies(a.samples, n_fft, n_fft)
    loud = np.flatnonzero(energies > energies.max() * 1e-3)
    chosen: NDArray[np.intp] = loud[np.unique(np.linspace(0, loud.size - 1, min(_MOST_FRAMES, loud.size)).astype(int))]
    power = np.concatenate([np.square(np.abs(z)).mean(axis=0) for z in stft_blocks(a.samples, chosen, n_fft, n_fft)])
    return 10 * np.log10(np.maximum(power, _DEEPEST * power.max(axis=1, keepdims=True)) + 1e-30), a.rate_hz / n_fft


def _alike(detail: Array, bin_hz: float, about_hz: float, width_hz: float) -> float:
    """Correlation of what lies below a frequency with what lies above it, mirrored, over all frames; −1 … 1."""
    away = np.arange(round(_NEAREST_HZ / bin_hz), int(width_hz / bin_hz))
    middle = 2 * about_hz / bin_hz
    low = np.round(about_hz / bin_hz - away).astype(int)
    high = middle - low
    at = np.floor(high).astype(int)
    part = (high - at).astype(detail.dtype)
    below, above = detail[:, low], detail[:, at] * (1 - part) + detail[:, at + 1] * part
    size = float(np.sqrt(np.square(below).sum() * np.square(above).sum()))
    return float((below * above).sum()) / size if size > 0 else 0.0


def aliasing(a: Analysis) -> Iterator[Defect]:
    """`aliasing`: the fine structure above a frequency at which rates are converted repeats that below it in mirror image,
    frame by frame, and about no frequency near it (which a row of harmonics would). An image 60 dB under what it mirrors
    is severity 0.1, 6 dB is 1. Images that replace what they mirror (a file decimated without a filter) can't be seen
    this way."""
    if a.duration_s < 0.5 or a.rate_hz < 8_000 or a.silent:
        return
    level, bin_hz = _levels(a)
    if len(level) < 8:
        return
    detail = level - uniform_filter1d(level, 2 * round(_DETAIL_HZ / bin_hz) + 1, axis=1, mode="nearest")
    best: tuple[float, float, float] | None = None
    for point in mirror_points(a.rate_hz):
        width = min(_WIDTH_HZ, 0.6 * point, a.rate_hz / 2 - point - 4 * bin_hz)
        if width < 300:
            continue
        alike = _alike(detail, bin_hz, point, width)
        if alike < _ALIKE:
            continue
        room = min(900.0, point - width - 2 * bin_hz, a.rate_hz / 2 - point - width - 2 * bin_hz)
        shifts = [s * side for s in np.arange(60.0, max(room, 61.0), 35.0) for side in (-1, 1)]
        beside = [_alike(detail, bin_hz, point + s, width) for s in shifts if point + s + width < a.rate_hz / 2 - bin_hz]
        near = max(beside, default=0.0)
        if alike - near > _AHEAD:
            # an image too faint to be seen about the first point may still mirror others about its multiples
            roots = [p for p in mirror_points(a.rate_hz) if abs(point / p - round(point / p)) < 1e-6]
            image = min(_image_db(level, bin_hz, p, min(width, 0.6 * p)) for p in roots)
            best = (alike, point, image + 20 * np.log10(alike))
            break  # the lowest: images mirror one another about its multiples
    if best:
        alike, point, image_db = best
        severity = 0.1 + 0.9 * (image_db - _FAINT_DB) / (_WORST_DB - _FAINT_DB)
        yield found(
            "aliasing", max(severity, 0.05), (0, a.samples.shape[1]), a,
            about_hz=round(point, 1), image_db=round(image_db, 1), alike=round(alike, 2),
        )  # fmt: skip


def _image_db(level: Array, bin_hz: float, about_hz: float, width_hz: float) -> float:
    """Mean level above a frequency over that below it, dB."""
    middle, away = about_hz / bin_hz, width_hz / bin_hz
    above = level[:, int(middle + _NEAREST_HZ / bin_hz) : int(middle + away)]
    below = level[:, int(middle - away) : int(middle - _NEAREST_HZ / bin_hz)]
    return float(above.mean() - below.mean())

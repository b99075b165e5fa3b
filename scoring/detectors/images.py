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
_LOWEST_POINT_HZ = 1_500.0
_MOST_FRAMES = 64
_WIDTH_HZ = 3_000.0
_DETAIL_HZ = 150.0
_NEAREST_HZ = 40.0  # the transition of a filter may lie here
_DEEPEST = 1e-9  # of a frame's strongest bin; below lie the window's side lobes and rounding
_ALIKE, _AHEAD, _PLAIN = 0.30, 0.15, 0.9
_FAINT_DB, _WORST_DB, _NONE_DB = -60.0, -6.0, -120.0
_PEAK_DB, _STRONG_DB = 6.0, 30.0
_HEARD_DB = -65.0  # under the frame's strongest bin: fainter is not heard beside it


def _mirror_points(rate_hz: int) -> list[float]:
    """Frequencies about which a conversion of rates may have mirrored: half of every usual lower rate, and of `rate_hz`
    over 2, 3, 4, 6 and 8."""
    rates = {*map(float, _RATES_HZ), *(rate_hz / n for n in (2, 3, 4, 6, 8))}
    return sorted(r / 2 for r in rates if 2 * _LOWEST_POINT_HZ <= r < 0.97 * rate_hz)


def _levels(a: Analysis) -> tuple[Array, float]:
    """Level in dB `[n, F]` of up to 64 loud frames spread over the sound, and the width of a bin in Hz."""
    n_fft = 1 << int(np.ceil(np.log2(a.rate_hz / 15)))
    energies = frame_energies(a.samples, n_fft, n_fft)
    loud = np.flatnonzero(energies > energies.max() * 1e-3)
    chosen: NDArray[np.intp] = loud[np.unique(np.linspace(0, loud.size - 1, min(_MOST_FRAMES, loud.size)).astype(int))]
    power = np.concatenate([np.square(np.abs(z)).mean(axis=0) for z in stft_blocks(a.samples, chosen, n_fft, n_fft)])
    return 10 * np.log10(np.maximum(power, _DEEPEST * power.max(axis=1, keepdims=True)) + 1e-30), a.rate_hz / n_fft


def _mirrored(x: Array, bin_hz: float, about_hz: float, width_hz: float) -> tuple[Array, Array]:
    """What lies below a frequency and, bin by bin, what lies as far above it, of `[n, F]`."""
    away = np.arange(round(_NEAREST_HZ / bin_hz), int(width_hz / bin_hz))
    low = np.round(about_hz / bin_hz - away).astype(int)
    high = 2 * about_hz / bin_hz - low
    at = np.floor(high).astype(int)
    part = (high - at).astype(x.dtype)
    return x[:, low], x[:, at] * (1 - part) + x[:, at + 1] * part


def _alike(detail: Array, bin_hz: float, about_hz: float, width_hz: float) -> float:
    """Correlation of what lies below a frequency with what lies above it, mirrored, over all frames; −1 … 1."""
    below, above = _mirrored(detail, bin_hz, about_hz, width_hz)
    size = float(np.sqrt(np.square(below).sum() * np.square(above).sum()))
    return float((below * above).sum()) / size if size > 0 else 0.0


def aliasing(a: Analysis) -> Iterator[Defect]:
    """`aliasing`: the fine structure above a frequency at which rates are converted repeats that below it in mirror image,
    frame by frame, and about no frequency near it (which a row of harmonics would). An image 60 dB under what it mirrors
    is severity 0.1, 6 dB is 1; one 65 dB under the strongest partial of the sound, or fainter, is 0.05. Images that replace
    what they mirror (a file decimated without a filter) can't be seen this way.

    >>> noise = np.random.default_rng(0).standard_normal(12_000)
    >>> x = 0.1 * np.stack((noise, np.zeros(12_000)), axis=1).reshape(1, -1)  # zeros put between, and no filter
    >>> [(d.type, d.start_s, d.end_s, d.severity, d.evidence["about_hz"]) for d in aliasing(Analysis(x, 24_000))]
    [('aliasing', 0.0, 1.0, 1.0, 6000.0)]
    >>> list(aliasing(Analysis(0.1 * noise[None], 12_000)))
    []
    """
    if a.duration_s < 0.5 or a.rate_hz < 8_000 or a.silent:
        return
    level, bin_hz = _levels(a)
    if len(level) < 8:
        return
    detail = level - uniform_filter1d(level, 2 * round(_DETAIL_HZ / bin_hz) + 1, axis=1, mode="nearest")
    best: tuple[float, float, float, float] | None = None
    mirrored: list[tuple[float, float, float, float]] = []
    for point in _mirror_points(a.rate_hz):
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
            mirrored.append((alike, point, *_first_image_db(level, detail, bin_hz, point, width)))
            if mirrored[-1][2] > _NONE_DB:
                best = mirrored[-1]
                break  # the lowest: images mirror one another about its multiples
    if best is None and any(alike > _PLAIN for alike, *_ in mirrored):
        best = mirrored[0]  # most are too faint to be measured; an image of theirs tells of them
    if best:  # one without a level is alike by something else: most of what it would mirror has nothing in its place
        alike, point, image_db, heard_db = best
        severity = 0.1 + 0.9 * (image_db - _FAINT_DB) / (_WORST_DB - _FAINT_DB) if heard_db > _HEARD_DB else 0.0
        yield found(
            "aliasing", max(severity, 0.05), (0, a.samples.shape[1]), a,
            about_hz=round(point, 1), image_db=round(image_db, 1), alike=round(alike, 2),
        )  # fmt: skip


def _strongest_below_db(level: Array, bin_hz: float, about_hz: float, width_hz: float) -> float:
    """Strongest bin below a frequency over the frame's strongest, dB, the median over frames."""
    below = level[:, int((about_hz - width_hz) / bin_hz) : int(about_hz / bin_hz)]
    return float(np.median(below.max(axis=1) - level.max(axis=1)))


def _first_image_db(level: Array, detail: Array, bin_hz: float, point_hz: float, width_hz: float) -> tuple[float, float]:
    """Level of the images about a frequency over what they mirror, near it or over all the sound below it, whichever is more,
    and over the sound's strongest bin, dB. Where images mirror one another there, and the sound itself a whole part of it
    lower: of those about that."""
    top = (level.shape[1] - 4) * bin_hz
    parts = [point_hz / n for n in (4, 3, 2) if point_hz / n >= _LOWEST_POINT_HZ]
    first = next((hz for hz in parts if _alike(detail, bin_hz, hz, min(0.95 * hz, top - hz)) >= _ALIKE), point_hz)
    widths = (min(width_hz, 0.6 * first), min(0.95 * first, top - first))
    images = [_image_db(level, detail, bin_hz, first, width) for width in widths]
    heard = [db + _strongest_below_db(level, bin_hz, first, width) for db, width in zip(images, widths, strict=True)]
    return max(images), max(heard)


def _image_db(level: Array, detail: Array, bin_hz: float, about_hz: float, width_hz: float) -> float:
    """Level of the mirror images over what they mirror, dB: the median over the peaks below the frequency, those within
    30 dB of the frame's strongest there. Which peaks count does not depend on the images."""
    below, above = _mirrored(level, bin_hz, about_hz, width_hz)
    standing, _ = _mirrored(detail, bin_hz, about_hz, width_hz)
    peaks = (standing > _PEAK_DB) & (below > below.max(axis=1, keepdims=True) - _STRONG_DB)
    if not peaks.any():
        return _NONE_DB
    bottom = level.min(axis=1, keepdims=True) + 1.0  # nothing is known of what lies deeper
    return float(np.median(np.where(above > bottom, above - below, _NONE_DB)[peaks]))

"""Mains hum: a steady family of lines on 50 or 60 Hz.

Hum goes on with one phase while everything else comes and goes, so each line is looked for where the sound around it is
quiet: the least-squares estimate of a sinusoid in noise whose power changes over time weighs each moment by one over that
power (Kay, "Fundamentals of Statistical Signal Processing: Estimation Theory", 1993, ch. 4). How much of the weighted power
the line explains is its coherence; −n·ln(1 − coherence) over n independent moments is the evidence for it, which in noise is
exponentially distributed with mean 1 (the likelihood ratio of a sinusoid of unknown phase).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view
from scipy.fft import fft
from scipy.ndimage import maximum_filter1d, uniform_filter1d
from scipy.signal import firwin, get_window

from ..analysis import Analysis
from ..report import Defect
from ..samples import Array, merged
from .found import found

_TOP_HZ, _BIN_HZ = 700.0, 5.0
_BANDS_HZ = np.arange(20.0, _TOP_HZ + 21.0, _BIN_HZ)
_FRAME_S, _HOP_S = 0.2, 0.05  # short enough to look between notes
_INDEPENDENT = 0.375  # frames of 0.2 s every 0.05 s: this part of them says something of its own
_WINDOW_S, _SHORTEST_S = 8.0, 3.0
_QUIETEST = 0.1  # part of the time that always counts fully, so that no single moment decides
_FFT = 1024
_REACH = round(_BIN_HZ / 2 * _HOP_S * _FFT) + 1  # half the way to the next band, and one more for the widest line
_MAINS_HZ, _OFF_HZ, _STEP_HZ = (50.0, 60.0), 0.1, 0.0125
_BESIDE_HZ, _OWN_HZ = 13.0, 0.3  # what a line must stand out of lies within the first of it, and not within the second
_FAR = round(_BESIDE_HZ * _HOP_S * _FFT)
_HARMONICS = np.arange(1, 11)
_MOST, _LEAST_LINE, _FEWEST = 25.0, 3.0, 3
_LEAST_EXCESS, _CLEAR, _CLEAR_LINES = 12.0, 2.5, 2  # of all together, and of each of two: one alone is a note
_VERY_CLEAR = 8.0  # of each of two: then two are enough; of each of three, wherever they are
_RARE_AMONG, _RARE_LINE, _RARE_LINES = 6, 2.0, 14.0  # the first, evidence of each, of all together,
_RARE, _RARE_DB, _ALIKE = 13.0, -49.0, 0.7  # how rare they are, how loud, and how rare others as far from each may be
_LEAST_DB, _WORST_DB = -66.0, -26.0


@dataclass(frozen=True)
class _Hum:
    """`base_hz`, mean square of its lines after the sound's gain of 1, and how many they are."""

    base_hz: float
    power: float
    lines: int


def _slow(x: Array, rate_hz: int) -> tuple[Array, float]:
    """`[C, T]` decimated to what holds 700 Hz, and its rate. A low-pass over 12 of its samples, on blocks of
    `factor` samples that one product weighs by all of its parts: only what is kept is computed."""
    factor = max(int(rate_hz // (3.2 * _TOP_HZ)), 1)
    if factor == 1:
        return x, float(rate_hz)
    taps = firwin(12 * factor + 1, 0.8 / factor).astype(np.float32)  # symmetric: which way round does not matter
    parts = np.pad(taps, (0, factor - 1)).reshape(13, factor).T
    size = -(-x.shape[1] // factor) + 12  # with what the low-pass leaves after the end
    blocks = np.zeros((x.shape[0], size + 12, factor), np.float32)
    blocks.reshape(x.shape[0], -1)[:, 12 * factor :][:, : x.shape[1]] = x
    weighed = blocks @ parts
    return sum((weighed[:, k : k + size, k] for k in range(1, 13)), start=weighed[:, :size, 0]), rate_hz / factor


@lru_cache(maxsize=4)
def _kernel(rate: float) -> Array:
    """`[size, 2F]`: what weighs a frame's samples to real and imaginary part of every band, each band's two side by side."""
    size = int(_FRAME_S * rate)
    window = get_window("hann", size)
    turn = np.exp(-2j * np.pi * np.arange(size)[:, None] / rate * _BANDS_HZ)
    return (window[:, None] * turn * (2 / window.sum())).astype(np.complex64).view(np.float32)


def _moments(x: Array, rate: float) -> npt.NDArray[np.complexfloating]:
    """Complex amplitude of `[C, T]` in bands every 5 Hz and frames every 0.05 s, `[C, N, F]`, with the phase of a sinusoid
    at the band's centre taken out."""
    kernel = _kernel(rate)
    starts = np.round(np.arange(0, (x.shape[1] - len(kernel)) / rate, _HOP_S) * rate).astype(np.int64)
    frames = sliding_window_view(x, len(kernel), axis=1)[:, starts]
    found = frames.astype(np.float32, copy=False) @ kernel  # real times complex, without complex frames
    first, step = np.exp(-2j * np.pi * (starts / rate) * np.array([[_BANDS_HZ[0]], [_BIN_HZ]]))
    turns = np.repeat(step[:, None], _BANDS_HZ.size, axis=1)  # from band to band
    turns[:, 0] = first
    return np.asarray(found.view(np.complex64) * np.cumprod(turns, axis=1).astype(np.complex64))


def _coherence(z: npt.NDArray[np.complexfloating]) -> tuple[Array, Array, Array]:
    """Of moments `[C, N, F]`: the share, 0 … 1, of the weighted power that a sinusoid explains at each offset of −`_REACH` …
    `_REACH` steps from the band's centre `[2·_REACH + 1, F]`; its squared amplitude there; how many independent moments
    that rests on `[F]`."""
    power = (np.square(z.real) + np.square(z.imag)).mean(axis=0).astype(np.float64)
    around = uniform_filter1d(uniform_filter1d(power, 3, axis=1), 3, axis=0)
    total = power.sum(axis=1)
    heard = total > 1e-9 * total.mean()
    weight = heard[:, None] / np.maximum(around, np.quantile(around[heard], _QUIETEST, axis=0) + 1e-30)
    turned = fft((weight * z).astype(np.complex64), _FFT, axis=1)
    turned = np.concatenate((turned[:, -_REACH:], turned[:, : _REACH + 1]), axis=1)  # what lies further is the next band's
    sums = (np.square(turned.real) + np.square(turned.imag)).mean(axis=0)
    all_weight = weight.sum(axis=0)
    share = sums / (all_weight * (weight * power).sum(axis=0) + 1e-30)
    return share, sums / np.square(all_weight), _INDEPENDENT * np.square(all_weight) / np.square(weight).sum(axis=0)


def _places(base_hz: Array) -> npt.NDArray[np.int64]:
    """Where the harmonics of each base lie in a flat table `[2·_REACH + 1, F]`, `[B, K]`."""
    hz = base_hz[:, None] * _HARMONICS
    band = np.clip(np.round((hz - _BANDS_HZ[0]) / _BIN_HZ).astype(np.int64), 0, _BANDS_HZ.size - 1)
    offset = np.round((hz - _BANDS_HZ[band]) * _HOP_S * _FFT).astype(np.int64)
    return np.asarray((offset + _REACH) * _BANDS_HZ.size + band)


@lru_cache(maxsize=2)
def _families(mains: float) -> tuple[Array, npt.NDArray[np.int64]]:
    """Bases that a hum of the mains may have `[B]`, and where their lines lie `[B, K]`."""
    bases = mains + np.arange(-_OFF_HZ, _OFF_HZ + 1e-9, _STEP_HZ)
    return bases, _places(bases)


def _around(evidence: Array, base_hz: float) -> list[Array]:
    """The evidence within 13 Hz of each harmonic of a base, which lies in the middle."""
    each = round(_BIN_HZ * _HOP_S * _FFT)  # steps from band to band
    along = evidence[_REACH - each // 2 : _REACH - each // 2 + each].T.reshape(-1)
    at = [round((k * base_hz - _BANDS_HZ[0]) * _HOP_S * _FFT) + each // 2 for k in _HARMONICS]
    return [along[k - _FAR : k + _FAR + 1] for k in at]


def _sides(around: Array, k: int) -> tuple[Array, Array]:
    """What of it lies below and above the harmonic `k`, without any hum of its mains."""
    near = round((_OFF_HZ * k + _OWN_HZ) * _HOP_S * _FFT)
    return around[: _FAR - near], around[_FAR + near :]


def _is_clear(lines: Array, excess: Array) -> bool:
    """Whether lines with this evidence `[K]`, which exceeds by so much the highest beside them on the side on which that is
    lower (what lies on one side alone is a note), are a hum."""
    stands, very_clear = lines > _LEAST_LINE, int((excess > _VERY_CLEAR).sum())
    enough = stands.sum() >= _FEWEST or (stands.sum() >= _CLEAR_LINES and very_clear >= _CLEAR_LINES)
    low = bool(stands[:3].any()) or very_clear >= _FEWEST
    return bool(enough and low and excess.sum() > _LEAST_EXCESS and (excess > _CLEAR).sum() >= _CLEAR_LINES)


def _rarity(lines: Array, around: list[Array]) -> tuple[float, npt.NDArray[np.bool_]]:
    """How rare it is beside them that lines are as sure as these, all together, as −ln of the shares, and which they are: two and
    more of the first six, one of the first three well above noise, together as sure as must be; else 0. It says more than the
    highest beside them where a beat has lines of its own in between, each as sure as any. They may be those of a beat themselves:
    then others like them lie as far from each, and it is 0 too."""
    used = (lines > _RARE_LINE) & (np.arange(lines.size) < _RARE_AMONG)
    if used.sum() < _CLEAR_LINES or not (lines[:3] > _LEAST_LINE).any() or lines[used].sum() < _RARE_LINES:
        return 0.0, used
    own, others = 0.0, np.zeros(2 * _FAR + 1)
    for i in np.flatnonzero(used):
        beside = np.sort(np.concatenate(_sides(around[i], int(_HARMONICS[i]))))
        rare = -np.log((1 + beside.size - np.searchsorted(beside, (*around[i], lines[i]))) / (1 + beside.size))
        own += float(rare[-1])
        others += maximum_filter1d(np.where(around[i] > _RARE_LINE, rare[:-1], 0.0), 3)
    apart = np.concatenate(_sides(others, _RARE_AMONG))
    return (own if apart.max() < _ALIKE * own else 0.0), used


def _of_window(z: npt.NDArray[np.complexfloating], gain: float) -> _Hum | None:
    """The hum of one window of moments, or None."""
    share, power, moments = _coherence(z)
    share = np.minimum(maximum_filter1d(share, 3, axis=0), 1 - 1e-6)
    evidence = np.minimum(-moments * np.log1p(-share), _MOST)
    best: _Hum | None = None
    most = -1.0
    for mains in _MAINS_HZ:
        bases, own = _families(mains)
        lines = evidence.take(own)
        i = int(np.argmax(lines.sum(axis=1)))
        if i in (0, bases.size - 1):  # what fits best at the edge of what grids keep to fits better beyond it
            continue
        around = _around(evidence, float(bases[i]))
        sides = [_sides(part, k) for part, k in zip(around, _HARMONICS.tolist(), strict=True)]
        excess = np.maximum(lines[i] - [min(below.max(), above.max()) for below, above in sides], 0)
        powers = power.take(own[i]) / 2
        counted = lines[i] > _LEAST_LINE
        if not _is_clear(lines[i], excess):
            rarity, counted = _rarity(lines[i], around)
            if rarity <= _RARE or powers[counted].sum() * gain**2 < 10 ** (_RARE_DB / 10):
                continue
        if excess.sum() > most:
            most = float(excess.sum())
            best = _Hum(float(bases[i]), float(powers[counted].sum()), int(counted.sum()))
    return best


def hum(a: Analysis) -> Iterator[Defect]:
    """`hum`: at least three of the first ten harmonics of 50 or 60 Hz (within 0.1 Hz, which grids keep and no note of the
    scale lies in), or two whose evidence is clear (8 each), one of them among the first three or three clear, as lines that
    stand in the quietest moments of 8 s with one phase, and stand out of what lies within 13 Hz on one side of them at least:
    what is played again and again has lines at every multiple of its rate, one as good as the next, and one line that does is
    a note, so two must. Or two of the first six (evidence 2 each, 14 together) as sure as what lies beside them hardly ever
    is, and not faint (see `_rarity`; −49 dB). Severity by their level together after −18 LUFS: −66 dB is 0.05, −26 dB is 1.
    Needs 3 s of sound; the place is good to 4 s.

    >>> t = np.arange(32_000) / 8_000
    >>> x = 0.02 * np.random.default_rng(0).standard_normal(32_000)
    >>> hummed = x + 0.02 * sum(np.sin(2 * np.pi * f * t) for f in (50, 100, 150))  # about as loud as the rest
    >>> [(d.type, d.start_s, d.end_s, d.severity > 0.7) for d in hum(Analysis(hummed[None], 8_000))]
    [('hum', 0.0, 4.0, True)]
    >>> list(hum(Analysis(x[None], 8_000)))
    []
    """
    if a.duration_s < _SHORTEST_S or a.rate_hz < 2_000 or a.silent:
        return
    z = _moments(*_slow(a.samples, a.rate_hz))
    size = min(round(_WINDOW_S / _HOP_S), z.shape[1])
    starts = sorted({*range(0, z.shape[1] - size + 1, size // 2), z.shape[1] - size})
    each = {start: one for start in starts if (one := _of_window(z[:, start : start + size], a.gain)) is not None}
    frame = _FRAME_S - _HOP_S
    for first, last in merged([(start, start + size) for start in each], 1):
        inside = [one for start, one in each.items() if first <= start < last]
        level = 10 * np.log10(float(np.median([one.power for one in inside]))) + 20 * np.log10(a.gain)
        if level > _LEAST_DB:
            span = (int(first * _HOP_S * a.rate_hz), min(int((last * _HOP_S + frame) * a.rate_hz), a.samples.shape[1]))
            severity = 0.05 + 0.95 * (level - _LEAST_DB) / (_WORST_DB - _LEAST_DB)
            yield found("hum", severity, span, a, base_hz=round(inside[0].base_hz, 2), harmonics=max(one.lines for one in inside),
                        level_db=round(float(level), 1))  # fmt: skip

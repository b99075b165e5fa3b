"""Key, tempo and drift of tempo, estimated from shared measurements, each with how sure it is.

Estimates of what is heard, for comparing with what was asked. Knows no thresholds of quality.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft
from scipy.ndimage import uniform_filter1d

from .samples import Array
from .spectra import HOP, Spectra

# How often a scale degree is used in a passage of the mode: the Kostka-Payne corpus in Temperley, Music and Probability,
# MIT Press 2007, fig. 6.4.
_MAJOR = (0.748, 0.060, 0.488, 0.082, 0.670, 0.460, 0.096, 0.715, 0.104, 0.366, 0.057, 0.400)
_MINOR = (0.712, 0.084, 0.474, 0.618, 0.049, 0.460, 0.105, 0.747, 0.404, 0.067, 0.133, 0.330)
_MAJOR_SCALE = (0, 2, 4, 5, 7, 9, 11)
_MINOR_SCALE = (0, 2, 3, 5, 7, 8, 10)

SLOWEST_BPM, FASTEST_BPM = 50.0, 210.0
LEVELS = (0.5, 1.0, 2.0)  # metrical levels at which a tempo may be heard
_SEGMENT_S = 24.0
_SHORTEST_S = 5.0
_LOWEST_FRAMES = 30.0  # a second; onsets can't be placed with fewer
_PULSES = np.arange(1, 5)


@dataclass(frozen=True, eq=False)
class Keys:
    """`fit` `[24]`: correlation of the profile with each key (C … B major, then minor), −1 … 1; `classes` `[12]`: share of
    each pitch class, C first."""

    fit: Array
    classes: Array

    def of(self, key: tuple[int, bool]) -> float:
        """The fit of a key as `parse_keyscale` gives it."""
        return float(self.fit[key[0] + 12 * key[1]])

    @property
    def best(self) -> tuple[int, bool]:
        at = int(self.fit.argmax())
        return at % 12, at >= 12

    def fifths_from(self, key: tuple[int, bool]) -> float:
        """How far the pitches lie from the key's scale on the circle of fifths, 0 … 6 steps, not whole: the angle of the
        profile's fifth Fourier coefficient, which transposing by a fifth turns by 30° (Amiot, Music Through Fourier
        Space, 2016, ch. 6: "diatonicity")."""
        scale = np.zeros(12)
        scale[[(key[0] + degree) % 12 for degree in (_MINOR_SCALE if key[1] else _MAJOR_SCALE)]] = 1
        turn = np.exp(-2j * np.pi * 5 * np.arange(12) / 12)
        return abs(float(np.angle((self.classes @ turn) / (scale @ turn)))) * 6 / np.pi


def keys(chroma: Array) -> Keys | None:
    """How well each major and minor key fits a chroma table `[N, 12]` (A first, amplitudes): the correlation of the
    summed profile with that of each key (the method of Krumhansl, Cognitive Foundations of Musical Pitch, 1990, ch. 4,
    with Temperley's profiles). Loud frames count by the square root of their amplitude. None where nothing has a pitch.

    >>> notes = np.zeros((1, 12))
    >>> notes[0, [3, 5, 7, 8, 10, 0, 2]] = (9, 4, 6, 4, 7, 3, 2)  # C D E F G A B, the C and the G most
    >>> keys(notes).best
    (0, False)
    """
    loud = chroma.sum(axis=1)
    used = loud > 0
    if not used.any():
        return None
    total = np.roll((chroma[used] / np.sqrt(loud[used])[:, None]).sum(axis=0), -3).astype(np.float64)
    spread = total - total.mean()
    size = float(np.sqrt(spread @ spread))
    if size <= 1e-9 * total.sum():
        return None
    fit = []
    for profile in (_MAJOR, _MINOR):
        p = np.asarray(profile) - np.mean(profile)
        p /= np.sqrt(p @ p)
        fit += [float(np.roll(p, tonic) @ spread) / size for tonic in range(12)]
    return Keys(np.array(fit), total / total.sum())


@dataclass(frozen=True, eq=False)
class Pulse:
    """Onset strength of one stretch of sound: `onsets` `[n]`, `frames_hz`, and where it lies in seconds."""

    onsets: Array
    frames_hz: float
    start_s: float
    end_s: float

    def agreement(self, bpm: Array, drift: float = 0.0) -> Array:
        """How strongly onsets repeat at each tempo: mean autocorrelation at one to four beats, about 0 where they do not,
        at most 1. With `drift` time is bent first, so that a tempo that changes by that ratio (linearly, from −drift/2 to
        +drift/2 about its mean) becomes steady."""
        o = self.onsets
        if drift:
            u = np.linspace(0, 1, o.size)
            place = np.cumsum(1 + drift * (u - 0.5))
            place = (place - place[0]) / (place[-1] - place[0])
            o = np.interp(np.linspace(0, 1, o.size), place, o)
        o = o - o.mean()
        size = next_fast_len(2 * o.size, real=True)
        a = irfft(np.square(np.abs(rfft(o, size))), size)[: o.size]
        if a[0] <= 0:
            return np.zeros(np.shape(bpm))
        a *= o.size / (a[0] * np.maximum(o.size - np.arange(o.size), o.size / 4))
        lag = _PULSES[:, None] * (60 / np.atleast_1d(bpm) * self.frames_hz)
        heard = lag < 0.75 * o.size
        value = np.interp(lag, np.arange(o.size), a) * heard
        return np.where(heard.sum(axis=0) >= 2, value.sum(axis=0) / np.maximum(heard.sum(axis=0), 1), 0.0)

    def at(self, bpm: float) -> float:
        """Agreement with a tempo at any metrical level (half, double), ±2 %."""
        near = bpm * np.multiply.outer(np.array(LEVELS), 1 + 0.005 * np.arange(-4, 5)).reshape(-1)
        return float(self.agreement(near).max())


TEMPI = np.exp(np.arange(np.log(SLOWEST_BPM), np.log(FASTEST_BPM), 0.005))


def pulses(s: Spectra) -> list[Pulse]:
    """Stretches of about 24 s (at least 5 s) of onset strength: spectral flux (`Spectra.flux`), its slow part taken
    off, smoothed over about 50 ms. Empty for short sounds and rates under 16 kHz.

    >>> x = 1e-4 * np.random.default_rng(0).standard_normal(8 * 24_000)
    >>> x.reshape(16, 12_000)[:, :480] *= 1_000  # 20 ms every half second
    >>> one, = pulses(Spectra.of(x[None], 24_000))
    >>> float(one.start_s), round(one.end_s), one.at(120) > 0.8, one.at(140) < 0.2
    (0.0, 8, True, True)
    """
    hz = s.rate_hz / HOP
    duration = s.flux.size / hz
    if duration < _SHORTEST_S or hz < _LOWEST_FRAMES:
        return []
    o = np.maximum(s.flux - uniform_filter1d(s.flux, max(3, int(0.2 * hz))), 0)
    bell = np.hanning(int(0.05 * hz) + 3)
    o = np.convolve(o, bell / bell.sum(), "same")
    count = max(1, round(duration / _SEGMENT_S))
    edges = np.linspace(0, o.size, count + 1).astype(int)
    return [Pulse(o[a:b], hz, a / hz, b / hz) for a, b in pairwise(edges)]


def tempo(pulse: Pulse) -> tuple[float, float]:
    """The tempo at which onsets repeat most, in beats a minute (50 … 210, at whatever metrical level), and how much they
    do (see `Pulse.agreement`).

    >>> beats = np.arange(800) / 50 * 90 / 60  # 16 s at 50 frames a second, 90 beats a minute
    >>> bpm, agreed = tempo(Pulse(np.maximum(np.cos(2 * np.pi * beats), 0) ** 8, 50.0, 0.0, 16.0))
    >>> round(bpm), agreed > 0.9
    (90, True)
    """
    fit = pulse.agreement(TEMPI)
    best = int(fit.argmax())
    return float(TEMPI[best]), float(fit[best])


DRIFTS = np.linspace(-0.4, 0.4, 41)


def tempo_drift(pulse: Pulse) -> tuple[float, float, float]:
    """Change of tempo over the stretch as a ratio (−0.4 … 0.4; above 0 it gets faster), the agreement with that change,
    and without any.

    >>> t = np.arange(800) / 50
    >>> beats = 1.5 * (t + 0.1 * (t**2 / 16 - t))  # from 81 to 99 a minute: 20 % of the mean
    >>> drift, agreed, still = tempo_drift(Pulse(np.maximum(np.cos(2 * np.pi * beats), 0) ** 8, 50.0, 0.0, 16.0))
    >>> round(drift, 1), agreed > still + 0.2
    (0.2, True)
    """
    fits = np.array([float(pulse.agreement(TEMPI, float(d)).max()) for d in DRIFTS])
    at, middle = int(fits.argmax()), DRIFTS.size // 2
    shift = 0.0
    if 0 < at < DRIFTS.size - 1:
        bend = fits[at - 1] - 2 * fits[at] + fits[at + 1]
        shift = float(0.5 * (fits[at - 1] - fits[at + 1]) / bend) if bend < 0 else 0.0
    return float(DRIFTS[at] + shift * (DRIFTS[1] - DRIFTS[0])), float(fits[at]), float(fits[middle])

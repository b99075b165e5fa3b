"""Key, tempo and drift of tempo, each with how sure it is.

Estimates of what is heard, for comparing with what was asked. Knows no thresholds of quality.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft
from scipy.ndimage import uniform_filter1d

from .onset_agreement import HOP_S, onset_envelope
from .samples import Array, as_samples

# How often a scale degree is used in a passage of the mode: the Kostka-Payne corpus in Temperley, Music and Probability,
# MIT Press 2007, fig. 6.4.
_MAJOR = (0.748, 0.060, 0.488, 0.082, 0.670, 0.460, 0.096, 0.715, 0.104, 0.366, 0.057, 0.400)
_MINOR = (0.712, 0.084, 0.474, 0.618, 0.049, 0.460, 0.105, 0.747, 0.404, 0.067, 0.133, 0.330)
_MAJOR_SCALE = (0, 2, 4, 5, 7, 9, 11)
_MINOR_SCALE = (0, 2, 3, 5, 7, 8, 10)
_RAISED = (9, 11)  # degrees of the melodic and the harmonic minor

SLOWEST_BPM, FASTEST_BPM = 50.0, 210.0
LEVELS = (0.5, 1.0, 2.0)  # metrical levels at which a tempo may be heard
_SEGMENT_S = 24.0
_SHORTEST_S = 5.0
_ENOUGH_HZ = 22_050  # of a rate: higher ones say nothing more of onsets
_AROUND_S, _SMOOTH_S = 0.2, 0.05
_ONSET = 0.3  # the least that begins anywhere in a stretch: a soft chord has 2.5, a word 20, beating tones 0.07
_PULSES = np.arange(1, 5)
_SUB_BEATS = 0.4  # weight of half beats in a metre


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

    def outside(self, key: tuple[int, bool]) -> float:
        """Share of what is heard that is no degree of the key, 0 … 1; a minor key has its raised sixth and seventh too."""
        degrees = (*_MINOR_SCALE, *_RAISED) if key[1] else _MAJOR_SCALE
        return 1.0 - float(self.classes[[(key[0] + degree) % 12 for degree in degrees]].sum())

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


def _autocorrelation(o: Array) -> Array:
    """Of `[n]` about its mean, `[n]`: 1 at lag 0, each lag by the number of products in it, but by a quarter of n at least."""
    o = o - o.mean()
    size = next_fast_len(2 * o.size, real=True)
    a: Array = irfft(np.square(np.abs(rfft(o, size))), size)[: o.size]
    return a * (o.size / (a[0] * np.maximum(o.size - np.arange(o.size), o.size / 4))) if a[0] > 0 else np.zeros(o.size)


@dataclass(frozen=True, eq=False)
class Pulse:
    """Onset strength of one stretch of sound: `onsets` `[n]`, `frames_hz`, and where it lies in seconds."""

    onsets: Array
    frames_hz: float
    start_s: float
    end_s: float

    @cached_property
    def _repeats(self) -> Array:
        return _autocorrelation(self.onsets)

    def agreement(self, bpm: Array, drift: float = 0.0) -> Array:
        """How strongly onsets repeat at each tempo: mean autocorrelation at one to four beats, about 0 where they do not,
        at most 1. With `drift` time is bent first, so that a tempo that changes by that ratio (linearly, from −drift/2 to
        +drift/2 about its mean) becomes steady."""
        n = self.onsets.size
        a = self._repeats
        if drift:
            u = np.linspace(0, 1, n)
            place = np.cumsum(1 + drift * (u - 0.5))
            a = _autocorrelation(np.interp(u, (place - place[0]) / (place[-1] - place[0]), self.onsets))
        lag = _PULSES[:, None] * (60 / np.atleast_1d(bpm) * self.frames_hz)
        heard = lag < 0.75 * n
        value = np.interp(lag, np.arange(n), a) * heard
        return np.where(heard.sum(axis=0) >= 2, value.sum(axis=0) / np.maximum(heard.sum(axis=0), 1), 0.0)

    def metre(self, bpm: Array) -> Array:
        """Agreement with each tempo and, by two parts in five, with its half beats. Two and a half beats are a whole number of
        half beats too, so that a tempo at four fifths of the true one, halved, agrees with most music; its half beats do not."""
        return (1 - _SUB_BEATS) * self.agreement(bpm) + _SUB_BEATS * self.agreement(2 * np.asarray(bpm))

    def at(self, bpm: float) -> float:
        """`metre` of a tempo at any metrical level (half, double), ±2 %."""
        near = bpm * np.multiply.outer(np.array(LEVELS), 1 + 0.005 * np.arange(-4, 5)).reshape(-1)
        return float(self.metre(near).max())


TEMPI = np.exp(np.arange(np.log(SLOWEST_BPM), np.log(FASTEST_BPM), 0.005))


def pulses(samples: Any, rate_hz: int) -> list[Pulse]:
    """Stretches of about 24 s (at least 5 s) of onset strength: `onset_envelope` (of the means of neighbouring samples where
    the rate is high), its slow part taken off, smoothed over about 50 ms. Empty for short sounds; a stretch in which nothing
    begins is left out.

    >>> x = 1e-4 * np.random.default_rng(0).standard_normal(8 * 24_000)
    >>> x.reshape(16, 12_000)[:, :480] *= 1_000  # 20 ms every half second
    >>> one, = pulses(x[None], 24_000)
    >>> float(one.start_s), round(one.end_s), one.at(120) > 0.7, one.at(140) < 0.2
    (0.0, 8, True, True)
    """
    x = as_samples(samples, rate_hz)
    if x.shape[1] < _SHORTEST_S * rate_hz:
        return []
    together = max(1, rate_hz // _ENOUGH_HZ)
    whole = x.shape[1] // together * together
    if together > 1:  # slice by slice: a mean over so short an axis takes thirty times as long
        x = np.add.reduce([x[:, k:whole:together] for k in range(together)]) / np.float32(together)
    envelope = onset_envelope(x, rate_hz // together)
    hz = 1 / HOP_S
    o = np.maximum(envelope - uniform_filter1d(envelope, int(_AROUND_S * hz) + 1), 0)
    bell = np.hanning(int(_SMOOTH_S * hz) + 2)
    o = np.convolve(o, bell / bell.sum(), "same")
    count = max(1, round(o.size / hz / _SEGMENT_S))
    edges = np.linspace(0, o.size, count + 1).astype(int)
    return [Pulse(o[a:b], hz, a / hz, b / hz) for a, b in pairwise(edges) if o[a:b].max() >= _ONSET]


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

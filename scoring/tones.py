"""One long transform for everything that asks about pitch: what is steady, and which pitches sound when.

Frames of about a third of a second, twice overlapped; only active ones (within 50 dB of the loudest) count.
Peaks of the spectrum are kept as a pitch profile in steps of ten cents, frame by frame, so that tuning and key can
be read from one table whose size does not depend on how many partials there are. Channels are joined by their
power. Knows no thresholds of quality.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view
from scipy.ndimage import uniform_filter1d

from .samples import Array, as_samples
from .spectra import frame_energies, joint_power, ranked, stft_blocks

STEPS = 120  # of ten cents
FRAME_S = 0.25  # at least; the power of two above it
LOWEST_HZ, HIGHEST_HZ = 70.0, 1_600.0
_ACTIVE_DB = -50.0
_BLOCK = 48  # frames whose quiet fifth is taken together
_STEP = 8  # frames transformed at a time: they stay in the processor's own memory
_AROUND_HZ = 100.0  # a partial must stand out of this much to either side
_PEAK_DB = 9.0
_FAINT_DB = -50.0  # under the strongest partial of the frame
_REST_QUANTILE = 0.2
_EPS = 1e-20

NARROW_HZ = (1_200.0, 10_000.0)
_NARROW_STEPS = 48  # an octave
_NARROW = 1 / 30  # octaves to either side
_WEAKEST = 0.2  # of a narrow band's bins: partials are lines, and leave these alone

THIRDS_HZ = 31.25 * 2 ** (np.arange(29) / 3)
SLOPE_DB = 5.0  # an octave, downwards: what the average spectrum of music falls by


@dataclass(frozen=True, eq=False)
class Tones:
    """Of `[C, T]`: `frequencies` `[F]` in Hz; `power` `[F]` mean of the active frames; `typical_db` `[F]` mean over time
    of the level; `steady_db` `[F]` how far each bin stands out of its surroundings (±100 Hz, dB) in at least four
    frames of five; `pitches` `[N, 120]` amplitude by pitch class in steps of ten cents (0 is A) of the active frames;
    `times_s` `[N]` their centres; `narrow_hz` `[B]` frequencies from 1.2 to 10 kHz in steps of 1/48 octave and `narrow_db`
    `[n, B]` how far the weakest fifth of the bins within ±1/30 octave lies above the same of a third of an octave to either
    side (their median), in every second frame, dB (frames overlap by half)."""

    rate_hz: int
    frequencies: Array
    power: Array
    typical_db: Array
    steady_db: Array
    pitches: npt.NDArray[np.float32]
    times_s: Array
    narrow_hz: Array
    narrow_db: Array

    @property
    def chroma(self) -> Array:
        """`[N, 12]`: the pitch classes A, A♯ … of each frame, after taking off the common deviation from A440."""
        cents, _ = tuning(self.pitches.sum(axis=0))
        return _classes(self.pitches, cents)

    @classmethod
    def of(cls, samples: Any, rate_hz: int) -> Tones:
        """Measure `[C, T]`. Raises ValueError as `as_samples` does."""
        x = as_samples(samples, rate_hz)
        n_fft = 1 << int(np.ceil(np.log2(FRAME_S * rate_hz)))
        hop = n_fft // 2
        energies = frame_energies(x, n_fft, hop)
        top = float(energies.max())
        chosen = np.flatnonzero(energies > top * 10 ** (_ACTIVE_DB / 10)) if top > 0 else np.zeros(0, dtype=np.intp)
        found = _Found(rate_hz, n_fft)
        for block in stft_blocks(x, chosen, n_fft, hop, _STEP):
            found.add(joint_power(block))
        return found.tones(chosen)


class _Found:
    """What is added up over power spectra `[≤ _STEP, F]`, in order. `_level` and `_standing` `[_BLOCK, F]` hold the frames of
    one block, and are used again for the next."""

    def __init__(self, rate_hz: int, n_fft: int) -> None:
        bins = n_fft // 2 + 1
        self._rate_hz, self._n_fft = rate_hz, n_fft
        self._bin_hz = rate_hz / n_fft
        self._around = 2 * round(_AROUND_HZ / self._bin_hz) + 1
        self._narrow_hz = _narrow_bands(rate_hz)
        self._power, self._typical = np.zeros(bins), np.zeros(bins)
        self._level, self._standing = np.empty((_BLOCK, bins), np.float32), np.empty((_BLOCK, bins), np.float32)
        self._held = 0
        self._steady: list[Array] = []
        self._pitches = [np.zeros((0, STEPS), np.float32)]
        self._narrow = [np.zeros((0, self._narrow_hz.size), np.float32)]

    def add(self, p: Array) -> None:
        self._power += p.sum(axis=0, dtype=np.float64)
        here = slice(self._held, self._held + len(p))
        level, standing = self._level[here], self._standing[here]
        np.log10(p + np.float32(1e-10) * p.mean(axis=1, keepdims=True) + np.float32(_EPS), out=level)
        level *= np.float32(10)
        self._typical += level.sum(axis=0, dtype=np.float64)
        uniform_filter1d(level, self._around, axis=1, mode="nearest", output=standing)
        np.subtract(level, standing, out=standing)
        self._pitches.append(_pitches(level, standing, self._bin_hz))
        self._held = here.stop
        if self._held == _BLOCK:
            self._close()

    def _close(self) -> None:
        level, standing = self._level[: self._held], self._standing[: self._held]
        if self._held >= _BLOCK // 4 or not self._steady:
            k = int(_REST_QUANTILE * (self._held - 1))
            self._steady.append(np.concatenate([ranked(standing[:, f : f + 512], k) for f in range(0, standing.shape[1], 512)]))
        self._narrow.append(_narrow(level[::2], self._narrow_hz, self._bin_hz))
        self._held = 0

    def tones(self, frames: npt.NDArray[np.intp]) -> Tones:
        """Of the numbers of the frames that were added."""
        if self._held:
            self._close()
        n = max(int(frames.size), 1)
        return Tones(
            rate_hz=self._rate_hz,
            frequencies=np.arange(self._power.size) * self._bin_hz,
            power=self._power / n,
            typical_db=self._typical / n,
            steady_db=np.median(self._steady, axis=0) if self._steady else np.zeros(self._power.size),
            pitches=np.concatenate(self._pitches),
            times_s=(frames * (self._n_fft // 2) + self._n_fft / 2) / self._rate_hz,
            narrow_hz=self._narrow_hz,
            narrow_db=np.concatenate(self._narrow),
        )


def _narrow_bands(rate_hz: int) -> Array:
    """Centres of the narrow bands below 0.45 of the rate, Hz; none for rates too low to have one."""
    octaves = np.log2(min(NARROW_HZ[1], 0.45 * rate_hz) / NARROW_HZ[0])
    return NARROW_HZ[0] * 2 ** (np.arange(int(_NARROW_STEPS * octaves) + 1 if octaves > 0 else 0) / _NARROW_STEPS)


def _narrow(level: Array, hz: Array, bin_hz: float) -> npt.NDArray[np.float32]:
    """`Tones.narrow_db` of a few frames' level `[n, F]`."""
    out = np.zeros((len(level), hz.size), np.float32)
    if not hz.size:
        return out
    low, high = (np.round(hz * 2 ** (side * _NARROW) / bin_hz).astype(int) for side in (-1, 1))
    for k, (a, b) in enumerate(zip(low, high + 1, strict=True)):
        out[:, k] = np.sort(level[:, a:b], axis=1)[:, int(_WEAKEST * (b - a - 1))]  # so few are sorted sooner than partitioned
    reach = _NARROW_STEPS // 3
    beside = sliding_window_view(np.pad(out, ((0, 0), (reach, reach)), mode="edge"), 2 * reach + 1, axis=1)
    return np.asarray(out - np.partition(beside, reach, axis=2)[:, :, reach])


def _pitches(level: Array, standing: Array, bin_hz: float) -> npt.NDArray[np.float32]:
    """Peaks of each frame's level `[n, F]` in dB, interpolated by a parabola, as amplitude by pitch class."""
    first = max(int(np.ceil(LOWEST_HZ / bin_hz)), 1)
    last = min(int(HIGHEST_HZ / bin_hz), level.shape[1] - 2)
    out = np.zeros((len(level), STEPS), np.float32)
    if last <= first:
        return out
    mid, low, high = level[:, first:last], level[:, first - 1 : last - 1], level[:, first + 1 : last + 1]
    loud = mid > mid.max(axis=1, keepdims=True) + _FAINT_DB
    row, column = np.nonzero((mid > low) & (mid >= high) & (standing[:, first:last] > _PEAK_DB) & loud)
    a, b, c = low[row, column], mid[row, column], high[row, column]
    shift = 0.5 * (a - c) / np.minimum(a - 2 * b + c, -1e-6)
    place = STEPS * np.log2((column + first + shift) * bin_hz / 440.0)
    amplitude = 10 ** (b / 20)
    lower = np.floor(place)
    share = place - lower
    at = lower.astype(np.intp)
    flat = out.reshape(-1)
    for step, weight in ((at % STEPS, amplitude * (1 - share)), ((at + 1) % STEPS, amplitude * share)):
        flat += np.bincount(row * STEPS + step, weights=weight, minlength=flat.size).astype(np.float32)
    return out


def tuning(profile: Array) -> tuple[float, float]:
    """Common deviation from the equal-tempered A440 grid in cents, −50 … 50, and how much the partials agree on it,
    0 (spread evenly) … 1 (all alike): the circular mean of a profile `[120]` over the semitone (as Dressler and
    Streich, "Tuning Frequency Estimation Using Circular Statistics", ISMIR 2007).

    >>> tuning(np.eye(120)[42])  # one partial 420 cents above an A
    (20.0, 1.0)
    """
    total = float(profile.sum())
    if total <= 0:
        return 0.0, 0.0
    turn = np.exp(2j * np.pi * np.arange(STEPS) / 10)
    mean = complex(profile @ turn) / total
    return round(float(np.angle(mean)) * 50 / np.pi, 6), round(abs(mean), 6)


def _classes(pitches: Array, cents: float) -> Array:
    """Pitch classes `[N, 12]` (0 is A) of a table `[N, 120]` whose grid lies `cents` off A440; a partial counts for the
    class it is nearest to, fully within 25 cents, falling to nothing at 50."""
    distance = (np.arange(STEPS)[:, None] * 10 - cents - np.arange(12) * 100 + 600) % 1200 - 600
    return pitches @ np.clip((50 - np.abs(distance)) / 25, 0, 1).astype(np.float32)


def third_octaves(t: Tones) -> tuple[Array, Array]:
    """Level in dB of each third-octave band `[29]` from 31 Hz: of the mean power, and of the lower quartile of the mean
    level (what lies between the partials), both per hertz and with the reference curve taken off. The curve falls by 5 dB an
    octave, what the average spectrum of popular recordings does between 100 Hz and 4 kHz (Pestana et al., "Spectral
    Characteristics of Popular Commercial Recordings 1950-2010", AES 135th Convention, 2013). NaN where there is no bin.

    >>> noise = np.random.default_rng(0).standard_normal((1, 48_000))  # white: over the curve by 5 dB more each octave
    >>> mean, between = third_octaves(Tones.of(noise, 24_000))
    >>> THIRDS_HZ[[9, 21]].tolist(), round(float(mean[21] - mean[9]), -1)  # four octaves apart
    ([250.0, 4000.0], 20.0)
    """
    edges = np.searchsorted(t.frequencies, THIRDS_HZ[:, None] * 2.0 ** np.array([-1 / 6, 1 / 6]))
    mean, between = np.full(THIRDS_HZ.size, np.nan), np.full(THIRDS_HZ.size, np.nan)
    for k, (low, high) in enumerate(edges):
        if high > low and THIRDS_HZ[k] * 2 ** (1 / 6) < 0.46 * t.rate_hz:
            mean[k] = 10 * np.log10(float(t.power[low:high].mean()) + 1e-20)
            between[k] = np.quantile(t.typical_db[low:high], 0.25)
    curve = -SLOPE_DB * np.log2(THIRDS_HZ / 250.0)
    return mean - curve, between - curve

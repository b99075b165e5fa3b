"""Loudness after ITU-R BS.1770-4 and EBU R 128: momentary and short-term over time, integrated, range.

The K-weighting is the standard's own (BS.1770-4, Annex 1, Tables 1 and 2, given at 48 kHz), carried to any
other rate by undoing the bilinear transform and doing it again there, pre-warped at each section's own
corner; at 48 kHz it is the table to the last digit. Channel weights by Annex 1, Table 3, for the usual
channel orders. `PowerMeter` takes the sound in pieces of any length; all figures follow from its sums. Knows
nothing of quality.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.signal import sosfilt

from .samples import Array, as_samples

SUB_BLOCKS_PER_S = 100  # sums over 10 ms serve every window: gating blocks start every tenth, the meters at each
MOMENTARY, SHORT_TERM, STEP = 40, 300, 10  # sub-blocks: 0.4 s, 3 s, and 0.1 s between gating blocks
ABSOLUTE_GATE_LUFS = -70.0

_SHELF = ((1.53512485958697, -2.69169618940638, 1.19839281085285), (1.0, -1.69065929318241, 0.73248077421585))
_HIGH_PASS = ((1.0, -2.0, 1.0), (1.0, -1.99004745483398, 0.99007225036621))


def _to_analog(c: tuple[float, float, float]) -> Array:
    """Coefficients in z⁻¹ -> in p (z⁻¹ = (1−p)/(1+p)), highest power first, times (1+p)²."""
    c0, c1, c2 = c
    return np.array([c0 - c1 + c2, 2 * (c0 - c2), c0 + c1 + c2])


def _to_digital(q: Array) -> Array:
    """The reverse, up to a common factor that numerator and denominator share."""
    q2, q1, q0 = q
    return np.array([q2 + q1 + q0, 2 * (q0 - q2), q2 - q1 + q0])


@lru_cache(maxsize=16)
def k_weighting(rate_hz: int) -> Array:
    """Second-order sections `[2, 6]` of the K-weighting at `rate_hz` (BS.1770-4, Annex 1, Figures 3 and 4).

    >>> [round(float(v), 6) for v in k_weighting(48_000)[0, :3]]
    [1.535125, -2.691696, 1.198393]
    """
    sections = []
    for numerator, denominator in (_SHELF, _HIGH_PASS):
        b, a = _to_analog(numerator), _to_analog(denominator)
        corner = np.sqrt(a[2] / a[0])  # a(p) = a₀·(p² + p·k/Q + k²), k = tan(π·f/48000)
        f = np.arctan(corner) / np.pi * 48_000
        if f >= 0.5 * rate_hz:
            raise ValueError(f"loudness has no meaning at {rate_hz} Hz: its weighting turns at {f:.0f} Hz; resample up")
        stretch = corner / np.tan(np.pi * f / rate_hz)
        powers = stretch ** np.array([2, 1, 0])
        b, a = _to_digital(b * powers), _to_digital(a * powers)
        sections.append(np.concatenate((b, a)) / a[0])
    return np.stack(sections)


def channel_weights(channels: int) -> Array:
    """Weights by BS.1770-4, Table 3: 1.41 for loudspeakers 60–120° to the side, 0 for the low-frequency
    channel, else 1.

    Orders taken: 4 = L R Ls Rs; 5 = L R C Ls Rs; 6 = L R C LFE Ls Rs; 8 = L R C LFE Lb Rb Ls Rs (as WAVE has
    them).

    >>> channel_weights(6).tolist()  # L R C LFE Ls Rs
    [1.0, 1.0, 1.0, 0.0, 1.41, 1.41]
    """
    known = {
        4: [1, 1, 1.41, 1.41],
        5: [1, 1, 1, 1.41, 1.41],
        6: [1, 1, 1, 0, 1.41, 1.41],
        8: [1, 1, 1, 0, 1, 1, 1.41, 1.41],
    }
    return np.array(known.get(channels, [1.0] * channels), dtype=np.float64)


class PowerMeter:
    """Weighted mean squares of a sound that comes in pieces: `add` each `[C, n]` in order, then `powers()`.

    The filter's state goes along, so where the pieces are cut changes nothing but the last digit. Memory: 800
    bytes a second of sound.
    """

    def __init__(self, channels: int, rate_hz: int) -> None:
        self._sos = k_weighting(rate_hz)
        self._pairs, self._rate = (channels + 1) // 2, rate_hz
        self._type = np.complex128 if channels > 1 else np.float64
        self._weights = np.pad(channel_weights(channels), (0, channels % 2 if channels > 1 else 0)).reshape(self._pairs, -1)
        self._state = np.zeros((self._sos.shape[0], self._pairs, 2), self._type)
        self._rest = np.zeros((self._pairs, 0), self._type)  # weighted samples of a second not yet whole
        self._found: list[Array] = []

    def _paired(self, samples: Array) -> npt.NDArray[Any]:
        """Two channels each as real and imaginary part of one signal `[P, n]`: a real filter leaves them apart, to the last
        digit, and takes less time over it. One channel stays real."""
        pairs = np.zeros((self._pairs, samples.shape[1]), self._type)
        pairs.real = samples[::2]
        if len(samples) > 1:
            pairs.imag[: len(samples) // 2] = samples[1::2]
        return pairs

    def add(self, samples: Array) -> None:
        """Samples `[C, n]` that follow those given before."""
        step = self._rate  # a second holds a whole number of sub-blocks at any whole rate
        start = 0
        while start < samples.shape[1]:
            stop = min(start + step - self._rest.shape[1], samples.shape[1])
            part, self._state = sosfilt(self._sos, self._paired(samples[:, start:stop]), axis=-1, zi=self._state)
            # what is left of a sound after seconds of silence would be denormal, and a hundred times as slow
            numbers = self._state.view(np.float64)
            numbers[np.abs(numbers) < 1e-30] = 0.0
            self._rest = np.concatenate((self._rest, part), axis=1) if self._rest.size else part
            if self._rest.shape[1] == step:
                self._found.append(self._powers(self._rest))
                self._rest = self._rest[:, :0]
            start = stop

    def _powers(self, pairs: npt.NDArray[Any]) -> Array:
        """Mean squares `[n]` of the whole sub-blocks in up to one second of weighted samples `[P, n]`."""
        size, per = pairs.shape[1], self._rate // SUB_BLOCKS_PER_S
        part = np.ascontiguousarray(pairs).view(np.float64).reshape(self._pairs, size, self._weights.shape[1])
        if per * SUB_BLOCKS_PER_S == self._rate:
            if not (count := size // per):
                return np.zeros(0)
            blocks = part[:, : count * per].reshape(self._pairs, count, per, self._weights.shape[1])
            return np.einsum("pc,pnkc,pnkc->n", self._weights, blocks, blocks) / per
        edges = np.floor(np.arange(SUB_BLOCKS_PER_S + 1) * (self._rate / SUB_BLOCKS_PER_S) + 0.5).astype(np.int64)
        edges = edges[edges <= size]
        if edges.size < 2:
            return np.zeros(0)
        energy = np.einsum("pc,ptc,ptc->t", self._weights, part, part)[: edges[-1]]
        return np.asarray(np.add.reduceat(energy, edges[:-1]) / np.diff(edges))

    def powers(self) -> Array:
        """Weighted mean square, summed over channels, of every whole 10 ms so far, `[N]`."""
        return np.concatenate([*self._found, self._powers(self._rest)])


def sub_block_powers(samples: Any, rate_hz: int) -> Array:
    """Weighted mean-square sum over channels of `[C, T]` in every whole 10 ms, `[N]` (full scale squared, 0 …):
    BS.1770-4, Annex 1, eq. 1 and 2.

    >>> tone = 0.1 * np.sin(2 * np.pi * 997 * np.arange(48_000) / 48_000)[None]  # the weighting adds 0.691 dB at 997 Hz
    >>> powers = sub_block_powers(tone, 48_000)
    >>> powers.size, round(float(10 * np.log10(powers[20:].mean())) - 0.691, 2)  # a mean square of 0.1²/2 is −23.01 dB
    (100, -23.01)
    """
    x = as_samples(samples, rate_hz)
    meter = PowerMeter(x.shape[0], rate_hz)
    meter.add(x)
    return meter.powers()


def _windows(powers: Array, width: int, step: int = 1) -> Array:
    """Means over `width` sub-blocks, one starting at every `step`-th, `[(N − width) // step + 1]`. Summed afresh
    for each (no running sum), so a loud place leaves no rounding behind in quiet ones."""
    if powers.size < width:
        return np.zeros(0)
    tens = np.convolve(powers, np.ones(STEP), "valid")[::step]
    if step == STEP:
        return np.convolve(tens, np.ones(width // STEP), "valid") / width
    views = np.lib.stride_tricks.sliding_window_view(tens, width - STEP + 1)[:, ::STEP]
    return np.asarray(views.sum(axis=1) / width)


def _lufs(powers: npt.ArrayLike) -> Array:
    with np.errstate(divide="ignore"):
        return -0.691 + 10 * np.log10(np.asarray(powers, dtype=np.float64))


@dataclass(frozen=True)
class Loudness:
    """`integrated` LUFS, `range` LU, highest `momentary` (0.4 s) and `short_term` (3 s) LUFS.

    A field is None where it does not exist: too short a signal, or nothing above −70 LUFS.
    """

    integrated: float | None
    momentary_max: float | None
    short_term_max: float | None
    range: float | None


@dataclass(frozen=True, eq=False)
class LoudnessSeries:
    """What a meter shows over time: LUFS (−inf for digital silence), and the seconds at which each window ends.

    `momentary` `[M]` over 0.4 s, first at 0.4 s; `short_term` `[S]` over 3 s, first at 3 s; empty for sounds
    shorter than that.
    """

    momentary_s: Array
    momentary: Array
    short_term_s: Array
    short_term: Array


def _gated(block_powers: Array, relative_lu: float) -> Array:
    """Blocks that pass −70 LUFS and then `relative_lu` under the mean of those."""
    kept = block_powers[_lufs(block_powers) > ABSOLUTE_GATE_LUFS]
    return kept[_lufs(kept) > _lufs(np.mean(kept)) + relative_lu] if kept.size else kept


def _highest(block_powers: Array) -> float | None:
    top = float(_lufs(np.max(block_powers))) if block_powers.size else -np.inf
    return top if top > ABSOLUTE_GATE_LUFS else None


def loudness_of(powers: Array) -> Loudness:
    """All figures of `loudness`, LUFS and LU, by the same standards, from the sums `[N]` that
    `sub_block_powers` or a `PowerMeter` gives.

    >>> found = loudness_of(np.full(400, 0.01))  # four seconds of one level: 10·log10(0.01) − 0.691
    >>> round(found.integrated, 3), round(found.short_term_max, 3), round(found.range, 3)
    (-20.691, -20.691, 0.0)
    """
    gated = _gated(_windows(powers, MOMENTARY, STEP), -10.0)
    spread = _gated(_windows(powers, SHORT_TERM, STEP), -20.0)
    low, high = np.percentile(_lufs(spread), (10, 95)) if spread.size else (0.0, 0.0)
    return Loudness(
        integrated=float(_lufs(np.mean(gated))) if gated.size else None,
        momentary_max=_highest(_windows(powers, MOMENTARY)),
        short_term_max=_highest(_windows(powers, SHORT_TERM)),
        range=float(high - low) if spread.size else None,
    )


def loudness(samples: Any, rate_hz: int) -> Loudness:
    """Loudness of `[C, T]`: integrated by BS.1770-4 Annex 1 (0.4 s blocks, 75 % overlap, gates −70 LUFS and
    −10 LU); highest momentary and short-term by EBU Tech 3341, a window at every 10 ms (a tone of 0.4 s reads
    right wherever it starts: cases 10 and 13); range by EBU Tech 3342 (3 s blocks every 0.1 s, gates −70 LUFS
    and −20 LU, 10th to 95th percentile). LUFS, in principle unbounded, in practice −70 to about +5;
    neither way is better. Raises ValueError below about 3.4 kHz.

    >>> t = np.arange(20 * 48_000) / 48_000
    >>> tone = 10 ** (-23 / 20) * np.sin(2 * np.pi * 1000 * t)
    >>> round(loudness(np.stack([tone, tone]), 48_000).integrated, 1)
    -23.0
    """
    return loudness_of(sub_block_powers(samples, rate_hz))


def series_of(powers: Array, every_s: float = 0.1) -> LoudnessSeries:
    """The series of `loudness_series`, LUFS every `every_s` seconds, from the sums `[N]` of `sub_block_powers`. Raises
    ValueError for a step under 10 ms.

    >>> series = series_of(np.full(400, 0.01))  # four seconds: 37 windows of 0.4 s, 11 of 3 s
    >>> series.momentary.size, series.short_term.size, float(series.momentary_s[0]), round(float(series.momentary[0]), 3)
    (37, 11, 0.4, -20.691)
    """
    step = round(every_s * SUB_BLOCKS_PER_S)
    if step < 1:
        raise ValueError(f"a loudness every {every_s} s: the sums are over 10 ms; give 0.01 s or more (meters show 0.1)")
    values = [_lufs(_windows(powers, width)[::step]) for width in (MOMENTARY, SHORT_TERM)]
    ends = [
        (width + step * np.arange(v.size)) / SUB_BLOCKS_PER_S
        for v, width in zip(values, (MOMENTARY, SHORT_TERM), strict=True)
    ]
    return LoudnessSeries(ends[0], values[0], ends[1], values[1])


def loudness_series(samples: Any, rate_hz: int, *, every_s: float = 0.1) -> LoudnessSeries:
    """Momentary and short-term loudness of `[C, T]` over time (EBU Tech 3341, ungated), a value every `every_s`
    (a multiple of 10 ms). Raises ValueError below about 3.4 kHz and for a step under 10 ms.

    >>> x = 0.1 * np.sin(2 * np.pi * 1000 * np.arange(4 * 24_000) / 24_000)
    >>> s = loudness_series(x[None], 24_000)
    >>> s.momentary.size, s.short_term.size, round(float(s.momentary_s[-1]), 2), round(float(s.short_term[0]), 1)
    (37, 11, 4.0, -23.0)
    """
    return series_of(sub_block_powers(samples, rate_hz), every_s)

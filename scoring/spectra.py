"""One short-time Fourier transform for everything that asks about frequency.

`Spectra.of` goes over the sound once, in blocks, and keeps sums; memory does not grow with length beyond a
few numbers a frame. Only *active* frames count (within 60 dB of the loudest), so that silence around a sound
changes none of its spectral figures. Channels are joined by their power, so phase between them can't hide
anything. Knows no thresholds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.fft import rfft
from scipy.ndimage import percentile_filter
from scipy.signal import get_window

from .samples import Array, as_samples

N_FFT = 2048
HOP = 512
ACTIVE_DB = -60.0
_BLOCK = 256  # frames whose quiet tenth is taken together
_STEP = 64  # frames transformed at a time: they stay in the processor's own memory
_FLOOR_QUANTILE = 0.10
_FLOOR_BIAS = 6.0  # mean over 10 % quantile of noise power: 9.5 for one channel, 3.8 for two independent ones


def frame_energies(x: Array, n_fft: int = N_FFT, hop: int = HOP) -> Array:
    """Mean square of every frame of `[C, T]`, `[N]`, 0 …, channels averaged; frame k covers samples k·hop … k·hop + n_fft.
    Whole frames only (a cut inside a frame would smear over all frequencies), except for a sound shorter than
    one.

    >>> frame_energies(np.full((1, 4_096), 0.5)).tolist()  # frames begin at 0, 512, 1024, 1536 and 2048
    [0.25, 0.25, 0.25, 0.25, 0.25]
    """
    per_hop = n_fft // hop
    count = 1 + max(0, x.shape[1] - n_fft) // hop
    sums = np.zeros(count - 1 + per_hop, dtype=np.float64)
    whole = min(x.shape[1] // hop, sums.size)
    step = max((1 << 15) // hop, 1)
    for first in range(0, whole, step):
        part = x[:, first * hop : min(first + step, whole) * hop].astype(np.float64).reshape(x.shape[0], -1, hop)
        sums[first : first + part.shape[1]] = np.einsum("cnk,cnk->n", part, part)
    if whole < sums.size:
        sums[whole] = np.square(x[:, whole * hop : (whole + 1) * hop].astype(np.float64)).sum()
    windows = np.lib.stride_tricks.sliding_window_view(sums, per_hop).sum(axis=1)
    return windows / (n_fft * x.shape[0])


def stft_blocks(
    x: Array, frames: npt.NDArray[np.intp], n_fft: int = N_FFT, hop: int = HOP, block: int = _BLOCK
) -> Iterator[npt.NDArray[np.complex64]]:
    """Spectra `[C, n, n_fft/2 + 1]` of the given frames of `[C, T]`, `block` of them at a time; periodic Hann, no
    centring, zeros after the end.

    >>> x = 0.5 * np.sin(2 * np.pi * 1_500 * np.arange(4_096) / 48_000)[None]  # in the middle of bin 64, of 48000/2048 Hz
    >>> z = next(stft_blocks(x, np.arange(2)))
    >>> z.shape, int(np.abs(z[0, 0]).argmax()), round(float(np.abs(z[0, 0, 64])))  # half of 0.5 · the window's sum, 1024
    ((1, 2, 1025), 64, 256)
    """
    window = get_window("hann", n_fft).astype(np.float32)
    last = int(frames[-1]) * hop + n_fft if frames.size else n_fft
    if last > x.shape[1]:
        x = np.pad(x, ((0, 0), (0, last - x.shape[1])))
    views = np.lib.stride_tricks.sliding_window_view(x, n_fft, axis=1)
    windowed = np.empty((x.shape[0], min(block, frames.size), n_fft), np.float32)
    for first in range(0, frames.size, block):
        chosen = frames[first : first + block]
        low, high = int(chosen[0]), int(chosen[-1])
        together = high - low + 1 == chosen.size  # neighbours need no copy before the window
        part = views[:, low * hop : high * hop + 1 : hop] if together else views[:, chosen * hop]
        yield rfft(np.multiply(part, window, out=windowed[:, : chosen.size]), axis=-1)


@dataclass(frozen=True, eq=False)
class Spectra:
    """What one pass of the transform found; `F` = n_fft/2 + 1 bins, sums over active frames only.

    `magnitude` `[F]`: magnitudes summed over time (the basis of the roll-off); `power` `[F]`: mean power;
    `floor` `[F]`: what lies there steadily, smoothed over frequency, so tonal lines are not in it (an
    estimate of noise, good to a few dB); `flatness`: mean over frames of geometric by arithmetic mean;
    `energies` `[N]` of all frames, and which of them are `active` `[N]`.
    """

    rate_hz: int
    frequencies: Array
    magnitude: Array
    power: Array
    floor: Array
    flatness: float | None
    energies: Array
    active: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, samples: Any, rate_hz: int, loudest: float | None = None) -> Spectra:
        """Spectra of `[C, T]`, Hann 2048, hop 512. `loudest` is the mean square of the loudest frame where that
        lies elsewhere (`[C, T]` is a part of something longer)."""
        return cls.of_parts(samples, rate_hz, (), loudest)[0]

    @classmethod
    def of_parts(cls, samples: Any, rate_hz: int, cuts: Sequence[int], loudest: float | None = None) -> list[Spectra]:
        """The same of each part of the frames by itself, from one pass: part k begins with frame `cuts[k − 1]`, the first with
        frame 0. `cuts` rise and lie inside the frames."""
        x = as_samples(samples, rate_hz)
        energies = frame_energies(x)
        top = float(energies.max()) if loudest is None else loudest
        active = energies > top * 10 ** (ACTIVE_DB / 10) if top > 0 else np.zeros(energies.size, dtype=bool)
        parts: list[Spectra] = []
        for first, end in pairwise((0, *cuts, energies.size)):
            chosen = first + np.flatnonzero(active[first:end])
            sums = _Sums()
            for block in stft_blocks(x, chosen, block=_STEP):
                sums.add(block)
            parts.append(
                cls(
                    rate_hz=rate_hz,
                    frequencies=np.arange(sums.power.size) * (rate_hz / N_FFT),
                    magnitude=sums.magnitude,
                    power=sums.mean_power,
                    floor=sums.floor(),
                    flatness=sums.flatness / sums.heard if sums.heard else None,
                    energies=energies[first:end],
                    active=active[first:end],
                )
            )
        return parts

    @classmethod
    def joined(cls, parts: Sequence[Spectra]) -> Spectra:
        """Of a sound from those of its parts in turn, each made with the `loudest` of all. Sums, means and whatever
        is there per frame are as if made at once; `floor` is the median of the parts' floors (those of at least a
        quarter of the longest), where at once it is that of shorter stretches. Raises ValueError for none."""
        if not parts:
            raise ValueError("no spectra to join; give those of at least one part")
        counts = np.array([np.count_nonzero(p.active) for p in parts])
        share = counts / max(int(counts.sum()), 1)
        heard = [p for p, n in zip(parts, counts, strict=True) if n >= max(counts.max() // 4, 1)] or parts[:1]
        mean_power = np.sum([p.power * s for p, s in zip(parts, share, strict=True)], axis=0)
        flat = [(p.flatness, s) for p, s in zip(parts, share, strict=True) if p.flatness is not None]
        weight = sum(s for _, s in flat)
        values: dict[str, Any] = {}
        for field in fields(cls):
            own = [getattr(p, field.name) for p in parts]
            if isinstance(own[0], np.ndarray) and own[0].shape == parts[0].energies.shape:
                values[field.name] = np.concatenate(own)
        return replace(
            parts[0],
            magnitude=np.sum([p.magnitude for p in parts], axis=0),
            power=mean_power,
            floor=np.minimum(np.median([p.floor for p in heard], axis=0), mean_power),
            flatness=sum(v * s for v, s in flat) / weight if weight else None,
            **values,
        )

    def without_floor(self, least: float) -> Array:
        """Mean power `[F]` with three times the steady floor taken off, but at least `least` of it left in
        every bin: what hiss can't fill. (Three: the estimate may be low, and music loses next to nothing by
        it.)"""
        return np.maximum(self.power - 3.0 * self.floor, least * self.power)

    @property
    def silent(self) -> bool:
        return not bool(self.power.any())


class _Sums:
    """What is added up over the blocks of spectra `[C, n, F]` of one part: `magnitude`, `power`, `flatness` of the `heard`
    frames, and the quiet tenth of every 256 frames. `_group` `[256, F]` holds their power, and is used again for the next."""

    def __init__(self) -> None:
        bins = N_FFT // 2 + 1
        self.magnitude, self.power = np.zeros(bins), np.zeros(bins)
        self.flatness, self.heard, self.frames = 0.0, 0, 0
        self._group, self._held = np.empty((_BLOCK, bins), np.float32), 0
        self._floors: list[Array] = []

    def add(self, block: npt.NDArray[np.complex64]) -> None:
        """Count a block's power, channels averaged."""
        if self._held == _BLOCK:
            self._floors.append(_quantile(self._group))
            self._held = 0
        p = joint_power(block, self._group[self._held : self._held + block.shape[1]])
        self._held += len(p)
        self.frames += len(p)
        self.magnitude += np.sqrt(p).sum(axis=0)
        self.power += p.sum(axis=0)
        each = _flatness(p)
        self.flatness, self.heard = self.flatness + float(each.sum(dtype=np.float64)), self.heard + each.size

    @property
    def mean_power(self) -> Array:
        return self.power / max(self.frames, 1)

    def floor(self) -> Array:
        """`Spectra.floor`: the median of the quiet tenths, that of a last short stretch only where it is not too short."""
        floors = list(self._floors)
        if self._held >= _BLOCK // 4 or (self._held and not floors):
            floors.append(_quantile(self._group[: self._held]))
        if not floors:
            return np.zeros(self.power.size)
        smooth = percentile_filter(np.median(floors, axis=0), 25, 61, mode="nearest")
        return np.minimum(smooth * _FLOOR_BIAS, self.mean_power)


def joint_power(block: npt.NDArray[np.complex64], out: Array | None = None) -> Array:
    """Power `[n, F]` of spectra `[C, n, F]`, averaged over channels; in `out`, where given.

    >>> joint_power(np.array([[[3 + 4j]], [[1j]]], np.complex64)).tolist()  # of 25 and 1
    [[13.0]]
    """
    total = np.square(block[0].real, out=out)
    square = np.square(block[0].imag)
    total += square
    for channel in block[1:]:
        total += np.square(channel.real, out=square)
        total += np.square(channel.imag, out=square)
    if len(block) > 1:
        total *= np.float32(1 / len(block))
    return total


def _flatness(p: Array) -> Array:
    """Geometric over arithmetic mean of each row that has any power; bins below −100 dB of the row's mean
    raised to that."""
    mean = p.mean(axis=1)
    heard = mean > 0
    if not heard.all():
        p, mean = p[heard], mean[heard]
    level = np.maximum(p, np.float32(1e-10) * mean[:, None])
    return np.asarray(np.exp(np.log(level, out=level).mean(axis=1)) / mean)


def _quantile(group: Array) -> Array:
    """Lower quantile over time of each bin `[F]` of `[n, F]`."""
    k = int(_FLOOR_QUANTILE * (len(group) - 1))
    return np.concatenate([ranked(group[:, f : f + 256], k) for f in range(0, group.shape[1], 256)]).astype(np.float64)


def ranked(frames: Array, k: int) -> Array:
    """The k-th smallest (from 0) of the values over time `[n, F]` of each bin, `[F]`.

    >>> ranked(np.array([[3.0, 1.0], [1.0, 5.0], [2.0, 9.0]]), 1).tolist()
    [2.0, 5.0]
    """
    over_time = frames.T.copy()  # partitioned along memory
    over_time.partition(k, axis=1)
    return over_time[:, k].copy()

"""What is known of a whole sound that was never in memory at once: `FirstPass` adds up, `WholeFile` holds it.

`FirstPass` takes the sound piece by piece and keeps sums; all it says is as if measured at once. `WholeFile` is an
`Analysis` whose properties are given instead of measured. Memory: under 1 kB a second of sound, whatever its rate. Knows
no file format and no defect.
"""

from __future__ import annotations

import numpy as np

from . import levels, stereo
from .analysis import LOWEST_LOUDNESS_HZ, Analysis
from .clipping import FlatTops
from .expected import NOTHING, Expected
from .loudness import PowerMeter
from .samples import Array, merged, power
from .spectra import HOP, N_FFT, Spectra, frame_energies

_MOST_BAD_SPANS = 10_000
_PIECE_WINDOWS = 8


def piece_length(rate_hz: int) -> int:
    """Samples a piece: a whole number of the windows in which left and right are compared, about four seconds.

    >>> piece_length(48_000)  # eight windows of half a second
    192000
    """
    return _PIECE_WINDOWS * stereo.window_length(rate_hz)


class FirstPass:
    """Peaks, loudness, power, offset, left against right, and the loudest frame of pieces `[C, piece_length]` (the
    last may be shorter), added in order. Stops measuring at the first piece with NaN or Inf, and notes where they
    are."""

    def __init__(self, channels: int, rate_hz: int) -> None:
        self.channels, self.rate_hz, self.size = channels, rate_hz, 0
        self.non_finite: list[tuple[int, int]] = []
        self.peaks = levels.PeakMeter(channels, rate_hz)
        self.meter = PowerMeter(channels, rate_hz) if rate_hz >= LOWEST_LOUDNESS_HZ else None
        self.loudest_frame = 0.0
        self.windows: list[stereo.Moments] = []
        self._pair = np.zeros(6)
        self._squares = 0.0
        self._sums = np.zeros(channels)
        self._rest = np.zeros((channels, 0), dtype=np.float32)

    def add(self, piece: Array) -> None:
        """The next piece `[C, n]`, float32."""
        bad = levels.non_finite_spans(piece)
        if bad and len(self.non_finite) < _MOST_BAD_SPANS:
            self.non_finite = merged([*self.non_finite, *((a + self.size, b + self.size) for a, b in bad)], 1)
        self.size += piece.shape[1]
        if self.non_finite:
            return
        self.peaks.add(piece)
        if self.meter is not None:
            self.meter.add(piece)
        self._squares += power(piece) * piece.size
        self._sums += piece.sum(axis=1, dtype=np.float64)
        self._rest = np.concatenate((self._rest, piece), axis=1)
        if self._rest.shape[1] >= N_FFT:
            frames = frame_energies(self._rest)
            self.loudest_frame = max(self.loudest_frame, float(frames.max()))
            self._rest = self._rest[:, frames.size * HOP :]
        if self.channels > 1:
            step = stereo.window_length(self.rate_hz)
            for sums in stereo.window_sums(piece, step):
                self._pair += sums
                if stereo.long_enough(sums, step):
                    self.windows.append(stereo.from_sums(sums))

    @property
    def power(self) -> float:
        """Mean square over all samples."""
        return self._squares / max(self.size * self.channels, 1)

    @property
    def dc_offset(self) -> float:
        """Mean of the channel whose mean lies furthest from 0."""
        means = self._sums / max(self.size, 1)
        return float(means[np.argmax(np.abs(means))])

    @property
    def moments(self) -> tuple[stereo.Moments | None, list[stereo.Moments]]:
        """As `stereo.moments`."""
        return (stereo.from_sums(self._pair), self.windows) if self.channels > 1 else (None, [])


class WholeFile(Analysis):
    """An `Analysis` of a sound that is not in memory. `samples` has its shape and takes no room, but holds zeros: only
    the properties count, and those that `FirstPass` and the sections gave are set."""

    def __init__(self, first: FirstPass, expected: Expected = NOTHING) -> None:
        self.samples = np.broadcast_to(np.zeros((), dtype=np.float32), (first.channels, first.size))
        self.rate_hz, self.expected = first.rate_hz, expected
        self.non_finite = first.non_finite
        self.power = first.power
        self.weighted_powers = first.meter.powers() if first.meter is not None else None
        self.sample_peak, self.true_peak = first.peaks.sample_peak, first.peaks.true_peak()
        self.dc_offset, self.moments = first.dc_offset, first.moments

    def complete(
        self, spectra: list[Spectra], silences: list[tuple[int, int]], broken_off: list[int], gaps: list[tuple[int, int]],
        clipped: float,
    ) -> None:  # fmt: skip
        """What the sections found: a transform of each, silences (and where they begin broken off) and gaps as ranges of the
        whole, and the share of clipped samples."""
        self.spectra = Spectra.joined(spectra)
        self.broken_off = sorted(set(broken_off))
        self.silences, self.gaps = merged(sorted(silences), 1), merged(sorted(gaps), 1)
        self.flat_tops = FlatTops((), clipped)


class Section(Analysis):
    """A part of a longer sound, judged at the whole's gain, against its loudest frame and against what was asked of it.

    `core` are the first and last sample (half-open) of the section proper, multiples of a hop where the sound goes on beyond;
    `core_spectra` are those of its frames, which add up to the whole's."""

    def __init__(self, samples: Array, whole: WholeFile, loudest_frame: float, core: tuple[int, int]) -> None:
        super().__init__(samples, whole.rate_hz, whole.expected)
        self.loudness, self.gain = whole.loudness, whole.gain
        frames = 1 + max(0, self.samples.shape[1] - N_FFT) // HOP
        first, end = core[0] // HOP, frames if core[1] == self.samples.shape[1] else core[1] // HOP
        cuts = [c for c in (first, end) if 0 < c < frames]
        parts = Spectra.of_parts(self.samples, self.rate_hz, cuts, loudest_frame)
        self.core_spectra = parts[1] if first else parts[0]
        self.spectra = Spectra.joined(parts)

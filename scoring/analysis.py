"""One sound, measured once: what every metric and every detector may look at, each made when first asked for.

`Analysis` is what makes one transform, one loudness pass and one gain serve all. A new detector takes an
`Analysis` and adds nothing to it; a new shared measurement becomes a property here. Knows no points and no
thresholds of quality.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from . import clipping, levels, musical, silence, spectrum, stereo, tonal
from .expected import NOTHING, Expected
from .loudness import Loudness, LoudnessSeries, loudness_of, series_of, sub_block_powers
from .samples import Array, as_samples, decibel, power
from .spectra import Spectra
from .stereo import Moments
from .tones import Tones, third_octaves

TARGET_LUFS = -18.0  # level-dependent thresholds are applied as if the sound had this loudness
SILENT_LUFS = -70.0
SHORTEST_S = 0.01
MOST_GAIN = 1e30  # denormal samples would ask for more than single precision holds
LOWEST_LOUDNESS_HZ = 3_500


class Analysis:
    """`samples` as numpy float32 `[C, T]` and everything measured of them; `expected` is what is known of
    them beforehand. Raises ValueError as `as_samples` does."""

    def __init__(self, samples: Any, rate_hz: int, expected: Expected = NOTHING) -> None:
        self.samples: Array = as_samples(samples, rate_hz)
        self.rate_hz = int(rate_hz)
        self.expected = expected

    @property
    def duration_s(self) -> float:
        return self.samples.shape[1] / self.rate_hz

    @cached_property
    def non_finite(self) -> list[tuple[int, int]]:
        """Sample ranges that hold NaN or Inf; while there are any, nothing else can be measured."""
        return levels.non_finite_spans(self.samples)

    @cached_property
    def power(self) -> float:
        return power(self.samples)

    @cached_property
    def silent(self) -> bool:
        """Nothing at or above −70 LUFS (for sounds too short for that, −70 dBFS RMS)."""
        if self.loudness is not None and self.duration_s >= 0.4:
            return self.loudness.integrated is None
        return self.power <= 10 ** (SILENT_LUFS / 10)

    @cached_property
    def weighted_powers(self) -> Array | None:
        """K-weighted power in every 10 ms `[N]`, what all loudness follows from; None at rates too low for the
        weighting to exist."""
        return sub_block_powers(self.samples, self.rate_hz) if self.rate_hz >= LOWEST_LOUDNESS_HZ else None

    @cached_property
    def loudness(self) -> Loudness | None:
        """None at rates too low for the weighting to exist."""
        return loudness_of(self.weighted_powers) if self.weighted_powers is not None else None

    @cached_property
    def loudness_series(self) -> LoudnessSeries | None:
        """Momentary and short-term loudness every 0.1 s; None where there is no loudness."""
        return series_of(self.weighted_powers) if self.weighted_powers is not None else None

    @cached_property
    def sample_peak(self) -> float:
        return levels.sample_peak(self.samples, self.rate_hz)

    @cached_property
    def true_peak(self) -> float:
        return levels.true_peak(self.samples, self.rate_hz)

    @property
    def crest_db(self) -> float | None:
        """None for digital silence."""
        return decibel(self.sample_peak**2 / self.power) if self.power > 0 else None

    @cached_property
    def thd_percent(self) -> float | None:
        return tonal.thd_percent(self.samples, self.rate_hz)

    @cached_property
    def gain(self) -> float:
        """What brings the sound to −18 LUFS (by RMS where loudness does not exist); 1 for silence."""
        if self.loudness is not None and self.loudness.integrated is not None:
            return float(10 ** ((TARGET_LUFS - self.loudness.integrated) / 20))
        return min(float(10 ** (TARGET_LUFS / 20) / np.sqrt(self.power)), MOST_GAIN) if self.power > 0 else 1.0

    @cached_property
    def spectra(self) -> Spectra:
        return Spectra.of(self.samples, self.rate_hz)

    @cached_property
    def tones(self) -> Tones:
        return Tones.of(self.samples, self.rate_hz)

    @cached_property
    def balance(self) -> tuple[Array, Array]:
        """Third-octave levels over the reference curve: of the power, and of what lies between partials."""
        return third_octaves(self.tones)

    @cached_property
    def pulses(self) -> list[musical.Pulse]:
        return musical.pulses(self.samples, self.rate_hz)

    @cached_property
    def bandwidth_hz(self) -> float | None:
        return spectrum.bandwidth_hz(self.samples, self.rate_hz, spectra=self.spectra)

    @cached_property
    def flat_tops(self) -> clipping.FlatTops:
        return clipping.flat_tops(self.samples, self.rate_hz)

    @cached_property
    def saturation(self) -> clipping.FlatTops:
        return clipping.saturation(self.samples, self.rate_hz)

    @cached_property
    def silences(self) -> list[tuple[int, int]]:
        """Silences of 0.1 s and more, as sample ranges."""
        return silence.silences(self.samples, self.rate_hz, self.gain)

    @cached_property
    def broken_off(self) -> list[int]:
        """The first samples of those silences into which no sound dies away."""
        return silence.broken_off(self.samples, self.rate_hz, self.silences, self.gain)

    @property
    def silence_fraction(self) -> float:
        """Their share of the time, 0 … 1; 1 for digital silence."""
        if self.power == 0:
            return 1.0
        return sum(end - start for start, end in self.silences) / self.samples.shape[1]

    @cached_property
    def gaps(self) -> list[tuple[int, int]]:
        return silence.gaps(self.samples, self.rate_hz, self.gain)

    @cached_property
    def moments(self) -> tuple[Moments | None, list[Moments]]:
        """Of the first two channels: over everything, and in windows of half a second."""
        return stereo.moments(self.samples, self.rate_hz)

    @cached_property
    def dc_offset(self) -> float:
        return levels.dc_offset(self.samples, self.rate_hz)

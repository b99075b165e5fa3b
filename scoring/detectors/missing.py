"""What is not there: drop-outs, silence, the upper band."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..analysis import Analysis
from ..report import Defect
from ..samples import Array
from ..silence import is_gating
from ..spectra import Spectra
from .found import MOST_SPANS, found

_LONGEST_REST_S, _LONGEST_END = 3.0, 1 / 5
_LOWEST_EDGE_HZ, _HIGHEST_EDGE_HZ = 1_800.0, 16_000.0
_BELOW, _ABOVE, _BEYOND = (-1 / 6, 0.0), (1 / 12, 1 / 4), (1 / 12, 1.0)  # octaves from an edge
_JUST_BELOW, _JUST_ABOVE, _NEAR = (-1 / 16, 0.0), (1 / 24, 5 / 48), 1 / 12
_FARTHEST = 1 / 2  # octaves from where a fall begins to its steepest place
_EDGE_DB = 6.0
_STEEP_DB, _DEEP_DB = 11.0, 30.0
_SHARP_DB = 16.0  # in a tenth of an octave: a filter's edge; the treble of a piano or a flute slopes into its noise
_STEEP_TO_HISS_DB, _STEADY_DB = 14.0, 3.0  # noise in one channel lies 2 dB above its own floor, which is estimated for two


def gap(a: Analysis) -> Iterator[Defect]:
    """`gap`: a drop-out; 10 ms is severity 0.4, 250 ms and more is 1. Where the gaps of the whole sound are those of a gate,
    none is reported.

    >>> x = 0.1 * np.random.default_rng(0).standard_normal((1, 96_000)).astype(np.float32)
    >>> x[:, 48_000:52_800] = 0.0  # a tenth of a second at one second: 0.4 + 0.6·ln 10 / ln 25
    >>> [(d.type, d.start_s, d.end_s, round(d.severity, 2)) for d in gap(Analysis(x, 48_000))]
    [('gap', 1.0, 1.1, 0.83)]
    """
    if is_gating(a.gaps):
        return
    for s, e in a.gaps[:MOST_SPANS]:
        length = (e - s) / a.rate_hz
        yield found("gap", 0.4 + 0.6 * np.log(length / 0.01) / np.log(25.0), (s, e), a, length_s=round(length, 4))


def silence(a: Analysis) -> Iterator[Defect]:
    """`silence`: half a second and more of nothing; severity is its share of the sound. What a sound dies away into is a rest
    while it lasts less than three seconds, and the room after the last note while it is no fifth of the sound either.

    >>> x = 0.1 * np.random.default_rng(0).standard_normal((1, 96_000)).astype(np.float32)
    >>> x[:, 72_000:] = 0.0  # the last of four quarters
    >>> [(d.type, d.start_s, d.end_s, d.severity, d.evidence["place"]) for d in silence(Analysis(x, 48_000))]
    [('silence', 1.5, 2.0, 0.25, 'end')]
    """
    whole = a.samples.shape[1]
    rest = _LONGEST_REST_S * a.rate_hz
    longest = {"start": 0.0, "inside": rest, "end": min(rest, _LONGEST_END * whole)}
    for s, e in [(s, e) for s, e in a.silences if e - s >= 0.5 * a.rate_hz][:MOST_SPANS]:
        place = "start" if s == 0 else "end" if e == whole else "inside"
        if e - s >= longest[place] or any(s <= first < e for first in a.broken_off):
            yield found("silence", (e - s) / whole, (s, e), a, place=place)


def _mean(values: Array, f: Array, edges: Array, octaves: tuple[float, float]) -> Array:
    """Mean of a spectrum `[F]` between two distances from each of the edges, in octaves."""
    running = np.concatenate(([0.0], np.cumsum(values)))
    low, high = (np.searchsorted(f, edges * 2**away) for away in octaves)
    return np.asarray((running[high] - running[low]) / np.maximum(high - low, 1))


@dataclass(frozen=True)
class _Fall:
    """A fall of the level. `edge_hz`: where 6 dB of it are done, from where on it is steep (11 dB from the sixth of an octave
    below a frequency to the one above). Where it is steepest: how far it falls there (`fall_db`), within a tenth of an octave
    (`sharp_db`), and down to all of the octave above (`depth_db`), and how far that octave lies above its own steady part
    (`alive_db`; under 3 where there is nothing but steady noise)."""

    edge_hz: float
    fall_db: float
    sharp_db: float
    depth_db: float
    alive_db: float

    @property
    def is_cut(self) -> bool:
        """Whether a filter did it: nothing of the sound goes on beyond, or it ends at once in steady noise."""
        if self.depth_db >= _DEEP_DB:
            return self.fall_db >= _STEEP_DB
        return self.fall_db >= _STEEP_TO_HISS_DB and self.sharp_db >= _SHARP_DB and self.alive_db <= _STEADY_DB


def _steepest(s: Spectra, begins_hz: float, ends_hz: float) -> _Fall:
    """The fall of the level between two frequencies."""
    f, least = s.frequencies, float(s.power.max()) * 1e-13
    level, floor = (10 * np.log10(np.maximum(power, least)) for power in (s.power, s.floor))
    edges = f[(f >= begins_hz) & (f <= ends_hz)]
    below = _mean(level, f, edges, _BELOW)
    falls = below - _mean(level, f, edges, _ABOVE)
    first, k = int((falls >= _STEEP_DB).argmax()), int(falls.argmax())
    done = np.flatnonzero((level >= below[first] - _EDGE_DB) & (f <= edges[first] * 2 ** _ABOVE[1]))[-1]
    beyond, alive = (float(_mean(values, f, edges[k : k + 1], _BEYOND)[0]) for values in (level, level - floor))
    near = f[(f >= edges[k] * 2**-_NEAR) & (f <= edges[k] * 2**_NEAR)]
    sharp = float((_mean(level, f, near, _JUST_BELOW) - _mean(level, f, near, _JUST_ABOVE)).max())
    return _Fall(float(f[done]), float(falls[k]), sharp, float(below[k]) - beyond, alive)


def bandwidth_cut(a: Analysis) -> Iterator[Defect]:
    """`bandwidth_cut`: a cliff between 1.8 and 16 kHz (or 0.42 of the rate: a quarter of an octave above it is looked at) that
    falls by 11 dB and more from the sixth of an octave below it to the one above, and beyond which nothing of the sound is
    left: the octave there lies 30 dB lower, or (14 dB and more, and 16 within a tenth of an octave) is steady noise, as where
    hiss was laid over a cut. Above a voice's highest formant something goes on (it falls by up to 26 dB), and the treble of an
    instrument that fades into a recording's noise slopes. 16 kHz is severity 0.1, 3 kHz is 1.

    >>> z = np.fft.rfft(0.1 * np.random.default_rng(0).standard_normal(48_000))
    >>> z[8_000:] = 0.0  # one second at 48 kHz: nothing from 8 kHz up; 0.1 + 0.9/log2(16/3)
    >>> [(d.type, d.start_s, d.end_s, round(d.severity, 1)) for d in bandwidth_cut(Analysis(np.fft.irfft(z)[None], 48_000))]
    [('bandwidth_cut', 0.0, 1.0, 0.5)]
    """
    begins = a.bandwidth_hz
    highest = a.rate_hz / 2 * 2 ** -_ABOVE[1]
    if begins is None or not _LOWEST_EDGE_HZ <= begins < min(_HIGHEST_EDGE_HZ, highest):
        return
    fall = _steepest(a.spectra, begins, min(begins * 2**_FARTHEST, highest))
    if fall.edge_hz >= _HIGHEST_EDGE_HZ or not fall.is_cut:
        return
    severity = 0.1 + 0.9 * np.log2(_HIGHEST_EDGE_HZ / fall.edge_hz) / np.log2(_HIGHEST_EDGE_HZ / 3_000)
    yield found("bandwidth_cut", severity, (0, a.samples.shape[1]), a, edge_hz=round(fall.edge_hz),
                fall_db=round(fall.fall_db, 1))  # fmt: skip

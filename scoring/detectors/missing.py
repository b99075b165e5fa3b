"""What is not there: drop-outs, silence, the upper band."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..analysis import Analysis
from ..report import Defect
from ..silence import is_gating
from .found import MOST_SPANS, found

_LOWEST_EDGE_HZ = 1_800.0
_STEEP_DB = 11.0


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
    """`silence`: half a second and more of nothing; severity is its share of the sound.

    >>> x = 0.1 * np.random.default_rng(0).standard_normal((1, 96_000)).astype(np.float32)
    >>> x[:, 72_000:] = 0.0  # the last of four quarters
    >>> [(d.type, d.start_s, d.end_s, d.severity, d.evidence["place"]) for d in silence(Analysis(x, 48_000))]
    [('silence', 1.5, 2.0, 0.25, 'end')]
    """
    whole = a.samples.shape[1]
    for s, e in [(s, e) for s, e in a.silences if e - s >= 0.5 * a.rate_hz][:MOST_SPANS]:
        place = "start" if s == 0 else "end" if e == whole else "inside"
        yield found("silence", (e - s) / whole, (s, e), a, place=place)


def bandwidth_cut(a: Analysis) -> Iterator[Defect]:
    """`bandwidth_cut`: a cliff between 1.8 and 16 kHz (or nine tenths of half the rate) that falls by 11 dB and more from the
    sixth of an octave below it to the one above (what instruments leave off by themselves is lower or gentler); 16 kHz is
    severity 0.1, 3 kHz is 1.

    >>> z = np.fft.rfft(0.1 * np.random.default_rng(0).standard_normal(48_000))
    >>> z[8_000:] = 0.0  # one second at 48 kHz: nothing from 8 kHz up; 0.1 + 0.9/log2(16/3)
    >>> [(d.type, d.start_s, d.end_s, round(d.severity, 1)) for d in bandwidth_cut(Analysis(np.fft.irfft(z)[None], 48_000))]
    [('bandwidth_cut', 0.0, 1.0, 0.5)]
    """
    edge = a.bandwidth_hz
    if edge is None or not _LOWEST_EDGE_HZ <= edge < min(16_000.0, 0.45 * a.rate_hz):
        return
    s = a.spectra
    level = 10 * np.log10(np.maximum(s.power, float(s.power.max()) * 1e-13))
    below, above = (
        float(level[(s.frequencies >= edge * 2**low) & (s.frequencies < edge * 2**high)].mean())
        for low, high in ((-1 / 6, 0), (1 / 12, 1 / 4))
    )
    if below - above < _STEEP_DB:
        return
    severity = 0.1 + 0.9 * np.log2(16_000 / edge) / np.log2(16_000 / 3_000)
    yield found("bandwidth_cut", severity, (0, a.samples.shape[1]), a, edge_hz=round(edge), fall_db=round(below - above, 1))

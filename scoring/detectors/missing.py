"""What is not there: drop-outs, silence, the upper band."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..analysis import Analysis
from ..report import Defect
from .found import MOST_SPANS, found


def gap(a: Analysis) -> Iterator[Defect]:
    """`gap`: a drop-out; 10 ms is severity 0.4, 250 ms and more is 1."""
    for s, e in a.gaps[:MOST_SPANS]:
        length = (e - s) / a.rate_hz
        yield found("gap", 0.4 + 0.6 * np.log(length / 0.01) / np.log(25.0), (s, e), a, length_s=round(length, 4))


def silence(a: Analysis) -> Iterator[Defect]:
    """`silence`: half a second and more of nothing; severity is its share of the sound."""
    whole = a.samples.shape[1]
    for s, e in [(s, e) for s, e in a.silences if e - s >= 0.5 * a.rate_hz][:MOST_SPANS]:
        place = "start" if s == 0 else "end" if e == whole else "inside"
        yield found("silence", (e - s) / whole, (s, e), a, place=place)


def bandwidth_cut(a: Analysis) -> Iterator[Defect]:
    """`bandwidth_cut`: a cliff below 16 kHz (or nine tenths of half the rate); 16 kHz is severity 0.1, 3 kHz
    is 1."""
    edge = a.bandwidth_hz
    if edge is None or edge >= min(16_000.0, 0.45 * a.rate_hz):
        return
    severity = 0.1 + 0.9 * np.log2(16_000 / edge) / np.log2(16_000 / 3_000)
    yield found("bandwidth_cut", severity, (0, a.samples.shape[1]), a, edge_hz=round(edge))

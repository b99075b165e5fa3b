"""Faults with a place: each detector takes an `Analysis` and gives `Defect`s, severity in [0, 1], times in
seconds.

`DETECTORS` is all of them; a new one is a function added there (and its points in `profiles`, if it is to
cost any). Knows nothing of the overall score.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from .analysis import Analysis
from .clipping import FlatTops
from .report import Defect
from .samples import merged, spans
from .stereo import MILD, phase_status

Detector = Callable[[Analysis], Iterator[Defect]]

_NEAR_S = 0.1  # clipped crests closer than this are one defect
_MOST_SPANS = 200  # a report stays readable; further spans are joined into the last


def _defect(kind: str, severity: float, span: tuple[int, int], a: Analysis, **evidence: float | int | str) -> Defect:
    return Defect(
        type=kind,
        severity=round(float(np.clip(severity, 0.0, 1.0)), 4),
        start_s=round(span[0] / a.rate_hz, 6),
        end_s=round(span[1] / a.rate_hz, 6),
        evidence=dict(evidence),
    )


def not_a_number(a: Analysis) -> Iterator[Defect]:
    """`nan`: samples that are NaN or infinite; always severity 1."""
    for span in merged(a.non_finite, int(_NEAR_S * a.rate_hz))[:_MOST_SPANS]:
        yield _defect("nan", 1.0, span, a)


def _flat(kind: str, found: FlatTops, a: Analysis) -> Iterator[Defect]:
    """Crests near one another as one defect. Severity by the share of flat samples in the span (taken as at
    least 0.1 s long): 0.05 % is 0.3, 5 % is 1, logarithmic between."""
    if not found.runs:
        return
    ranges = merged(found.runs, int(_NEAR_S * a.rate_hz))
    if len(ranges) > _MOST_SPANS:
        ranges = [*ranges[: _MOST_SPANS - 1], (ranges[_MOST_SPANS - 1][0], ranges[-1][1])]
    starts = np.array([r[0] for r in found.runs])
    lengths = np.concatenate(([0], np.cumsum([r[1] - r[0] for r in found.runs])))
    for start, end in ranges:
        low, high = np.searchsorted(starts, [start, end])
        flat = int(lengths[high] - lengths[low])
        share = flat / max(end - start, 0.1 * a.rate_hz) / a.samples.shape[0]
        severity = 0.3 + 0.7 * np.log10(max(share, 1e-9) / 5e-4) / 2
        yield _defect(kind, max(severity, 0.05), (start, end), a, flat_samples=flat, crests=int(high - low))


def clipping(a: Analysis) -> Iterator[Defect]:
    """`clipping`: flat crests with corners, at any level."""
    yield from _flat("clipping", a.flat_tops, a)


def saturation(a: Analysis) -> Iterator[Defect]:
    """`saturation`: crests nearly flat (clipped and then filtered), where they are not already called
    clipped."""
    hard = a.flat_tops.runs
    if hard:
        marked = np.zeros(a.samples.shape[1] + 1, dtype=np.int32)
        for s, e in merged(hard, int(_NEAR_S * a.rate_hz)):
            marked[s:e] = 1
        soft = tuple(r for r in a.saturation.runs if not marked[r[0] : r[1]].any())
    else:
        soft = a.saturation.runs
    yield from _flat("saturation", FlatTops(soft, 0.0), a)


def dc_offset(a: Analysis) -> Iterator[Defect]:
    """`dc_offset`: a mean above 5 % of the RMS (and above −80 dBFS); 50 % is severity 1."""
    offset = abs(a.dc_offset)
    part = offset / np.sqrt(a.power) if a.power > 0 else 0.0
    if part > 0.05 and offset > 1e-4 and a.duration_s >= 0.5:
        yield _defect("dc_offset", 0.2 + 0.8 * (part - 0.05) / 0.45, (0, a.samples.shape[1]), a, offset=a.dc_offset)


def phase_cancellation(a: Analysis) -> Iterator[Defect]:
    """`phase_cancellation`: half-second windows (not more than 40 dB below the loudest) whose correlation is
    in the mild or severe band; −0.3 is severity 0.25, −0.7 is 0.75, −1 is 1."""
    windows = a.moments[1]
    powers = np.array([m.left + m.right for m in windows])
    values = np.array([np.nan if m.correlation is None else m.correlation for m in windows])
    bad = (powers > 1e-4 * powers.max(initial=0.0)) & (np.nan_to_num(values) < MILD)
    step = int(0.5 * a.rate_hz)
    for first, last in spans(bad):
        worst = float(values[first:last].mean())
        severity = float(np.interp(-worst, [0.3, 0.7, 1.0], [0.25, 0.75, 1.0]))
        span = (first * step, min(last * step, a.samples.shape[1]))
        yield _defect("phase_cancellation", severity, span, a, correlation=round(worst, 3), band=phase_status(worst))


def gap(a: Analysis) -> Iterator[Defect]:
    """`gap`: a drop-out; 10 ms is severity 0.4, 250 ms and more is 1."""
    for s, e in a.gaps[:_MOST_SPANS]:
        length = (e - s) / a.rate_hz
        yield _defect("gap", 0.4 + 0.6 * np.log(length / 0.01) / np.log(25.0), (s, e), a, length_s=round(length, 4))


def silence(a: Analysis) -> Iterator[Defect]:
    """`silence`: half a second and more of nothing; severity is its share of the sound."""
    whole = a.samples.shape[1]
    for s, e in [(s, e) for s, e in a.silences if e - s >= 0.5 * a.rate_hz][:_MOST_SPANS]:
        place = "start" if s == 0 else "end" if e == whole else "inside"
        yield _defect("silence", (e - s) / whole, (s, e), a, place=place)


def bandwidth_cut(a: Analysis) -> Iterator[Defect]:
    """`bandwidth_cut`: a cliff below 16 kHz (or nine tenths of half the rate); 16 kHz is severity 0.1, 3 kHz
    is 1."""
    edge = a.bandwidth_hz
    if edge is None or edge >= min(16_000.0, 0.45 * a.rate_hz):
        return
    severity = 0.1 + 0.9 * np.log2(16_000 / edge) / np.log2(16_000 / 3_000)
    yield _defect("bandwidth_cut", severity, (0, a.samples.shape[1]), a, edge_hz=round(edge))


DETECTORS: Sequence[Detector] = (
    clipping,
    saturation,
    dc_offset,
    phase_cancellation,
    gap,
    silence,
    bandwidth_cut,
)


def detect(a: Analysis, detectors: Sequence[Detector] = DETECTORS) -> tuple[Defect, ...]:
    """All defects, by time and then by type. Where samples are not numbers, those alone are reported."""
    if a.non_finite:
        return tuple(not_a_number(a))
    found = [d for detector in detectors for d in detector(a)]
    return tuple(sorted(found, key=lambda d: (d.start_s, d.type, d.end_s)))

"""Faults of single samples and of level: not numbers, flat crests, an offset."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..analysis import Analysis
from ..clipping import FlatTops, rounded_tops
from ..report import Defect
from ..samples import merged
from .found import MOST_SPANS, found

_NEAR_S = 0.1  # clipped crests closer than this are one defect


def not_a_number(a: Analysis) -> Iterator[Defect]:
    """`nan`: samples that are NaN or infinite; always severity 1.

    >>> x = np.zeros((1, 48_000))
    >>> x[0, 24_000:24_048] = np.inf
    >>> [(d.type, d.start_s, d.end_s, d.severity) for d in not_a_number(Analysis(x, 48_000))]
    [('nan', 0.5, 0.501, 1.0)]
    """
    for span in merged(a.non_finite, int(_NEAR_S * a.rate_hz))[:MOST_SPANS]:
        yield found("nan", 1.0, span, a)


def _flat(kind: str, tops: FlatTops, a: Analysis) -> Iterator[Defect]:
    """Crests near one another as one defect. Severity by the share of flat samples in its densest tenth of a second: 0.05 % is
    0.3, 30 % is 1, logarithmic between."""
    if not tops.runs:
        return
    ranges = merged(tops.runs, int(_NEAR_S * a.rate_hz))
    if len(ranges) > MOST_SPANS:
        ranges = [*ranges[: MOST_SPANS - 1], (ranges[MOST_SPANS - 1][0], ranges[-1][1])]
    window = _NEAR_S * a.rate_hz
    starts = np.array([r[0] for r in tops.runs])
    lengths = np.concatenate(([0], np.cumsum([r[1] - r[0] for r in tops.runs])))
    for start, end in ranges:
        low, high = np.searchsorted(starts, [start, end])
        flat = int(lengths[high] - lengths[low])
        until = np.searchsorted(starts, starts[low:high] + window)
        share = float(np.max(lengths[until] - lengths[low:high])) / window / a.samples.shape[0]
        severity = 0.3 + 0.7 * np.log10(max(share, 1e-9) / 5e-4) / np.log10(600)
        yield found(kind, max(severity, 0.05), (start, end), a, flat_samples=flat, crests=int(high - low))


def clipping(a: Analysis) -> Iterator[Defect]:
    """`clipping`: flat crests with corners, at any level.

    >>> x = 0.5 * np.sin(2 * np.pi * 440 * np.arange(48_000) / 48_000)
    >>> x[19_200:28_800] = x[19_200:28_800].clip(-0.35, 0.35)  # a fifth of a second; half of its samples are flat
    >>> [(d.type, round(d.start_s, 2), round(d.end_s, 2), d.severity) for d in clipping(Analysis(x[None], 48_000))]
    [('clipping', 0.4, 0.6, 1.0)]
    """
    yield from _flat("clipping", a.flat_tops, a)


def saturation(a: Analysis) -> Iterator[Defect]:
    """`saturation`: crests rounded under a ceiling by a soft curve; the share of crests in its upper tenth is the severity: 1 %
    is 0.4, 50 % is 1. Without that, crests nearly flat (clipped and then filtered), where they are not already called
    clipped.

    >>> rng = np.random.default_rng(0)
    >>> x = np.convolve(rng.standard_normal(48_000), 0.95 ** np.arange(100), "same")[None]
    >>> [(d.type, round(d.start_s, 1), round(d.end_s, 1), d.severity > 0.4) for d in saturation(Analysis(np.tanh(x), 48_000))]
    [('saturation', 0.0, 1.0, True)]
    >>> list(saturation(Analysis(x, 48_000)))
    []
    """
    rounded = None if a.silent else rounded_tops(a.samples, a.rate_hz)
    if rounded is not None:
        severity = 0.4 + 0.6 * np.log10(rounded.share / 0.01) / np.log10(50.0)
        yield found("saturation", severity, (rounded.start, rounded.end), a, crests_at_ceiling=round(rounded.share, 4),
                    relative_curvature=round(rounded.curvature, 3))  # fmt: skip
        return
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
    """`dc_offset`: a mean above 5 % of the RMS (and above −80 dBFS); 50 % is severity 1.

    >>> x = 0.1 * np.sin(2 * np.pi * 440 * np.arange(48_000) / 48_000)[None]
    >>> [(d.type, d.start_s, d.end_s, d.severity) for d in dc_offset(Analysis(x + 0.05, 48_000))]  # 58 % of the RMS
    [('dc_offset', 0.0, 1.0, 1.0)]
    """
    offset = abs(a.dc_offset)
    part = offset / np.sqrt(a.power) if a.power > 0 else 0.0
    if part > 0.05 and offset > 1e-4 and a.duration_s >= 0.5:
        yield found("dc_offset", 0.2 + 0.8 * (part - 0.05) / 0.45, (0, a.samples.shape[1]), a, offset=a.dc_offset)

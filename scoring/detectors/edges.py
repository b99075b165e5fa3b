"""Sounds cut off at their beginning or end."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..analysis import Analysis
from ..report import Defect
from ..samples import Array
from .found import found

_SILENT_DB, _LEAST_DB, _WORST_DB = -90.0, -52.0, -15.0
_JUMP = 0.2
_EDGE_S, _JUMP_S, _BESIDE_S = 0.002, 0.003, 0.010


def _begins_inside(x: Array, rate_hz: int, gain: float) -> tuple[int, float, float] | None:
    """Where `[C, T]` begins after any silence, its level there (RMS of 2 ms after `gain`, dB), and how far its first sample
    and first step are from 0 (as a part of their RMS in the first 3 ms: about 1 within a sound, near 0 where one starts or
    is faded in); None for silence."""
    heard = np.abs(x).max(axis=0) * gain > 10 ** (_SILENT_DB / 20)
    first = int(heard.argmax())
    part = x[:, first : first + int(_BESIDE_S * rate_hz)].astype(np.float64)
    if not heard[first] or part.shape[1] < 16:
        return None
    near = part[:, : max(int(_JUMP_S * rate_hz), 12)]
    value, step = np.sqrt(np.square(near).mean()), np.sqrt(np.square(np.diff(near)).mean())
    by_value, by_step = np.square(part[:, 0]).mean(), np.square(part[:, 1] - part[:, 0]).mean()
    jump = np.sqrt(by_value / max(value, 1e-12) ** 2 + by_step / max(step, 1e-12) ** 2)
    level = np.sqrt(np.square(part[:, : max(int(_EDGE_S * rate_hz), 4)]).mean()) * gain
    return first, 20 * float(np.log10(max(level, 1e-10))), float(jump)


def _cut(kind: str, a: Analysis, x: Array) -> Iterator[Defect]:
    if a.silent or a.duration_s < 0.1:
        return
    edge = _begins_inside(x, a.rate_hz, a.gain)
    if edge is None or edge[1] < _LEAST_DB or edge[2] < _JUMP:
        return
    first, level, jump = edge
    if kind == "cut_start" and first > _EDGE_S * a.rate_hz:
        return
    last = min(first + int(_BESIDE_S * a.rate_hz), x.shape[1])
    span = (first, last) if kind == "cut_start" else (x.shape[1] - last, x.shape[1] - first)
    severity = 0.05 + 0.95 * (level - _LEAST_DB) / (_WORST_DB - _LEAST_DB)
    yield found(kind, severity, span, a, level_db=round(level, 1), jump=round(jump, 3))


def cut_start(a: Analysis) -> Iterator[Defect]:
    """`cut_start`: begins in the middle of a sound: above −52 dB within 2 ms (after −18 LUFS), with a jump. After a
    silence of more than 2 ms it is taken for an attack. −52 dB is severity 0.05, −15 dB is 1.

    >>> x = 0.2 * np.cos(2 * np.pi * 440 * np.arange(24_000) / 48_000)[None]  # begins at its crest
    >>> [(d.type, d.start_s, d.end_s, d.severity > 0.9) for d in cut_start(Analysis(x, 48_000))]
    [('cut_start', 0.0, 0.01, True)]
    >>> list(cut_start(Analysis(x * np.minimum(1, np.arange(24_000) / 4_800), 48_000)))  # faded in
    []
    """
    yield from _cut("cut_start", a, a.samples)


def cut_end(a: Analysis) -> Iterator[Defect]:
    """`cut_end`: stops in the middle of a sound; the same measure backwards, and silence after it hides nothing.

    >>> x = 0.2 * np.sin(2 * np.pi * 440 * np.arange(24_027) / 48_000)[None]  # starts at 0, ends at a crest
    >>> [(d.type, round(d.start_s, 2), round(d.end_s, 2), d.severity > 0.9) for d in cut_end(Analysis(x, 48_000))]
    [('cut_end', 0.49, 0.5, True)]
    """
    yield from _cut("cut_end", a, a.samples[:, ::-1])

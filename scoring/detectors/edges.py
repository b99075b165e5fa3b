"""Sounds cut off at their beginning or end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..analysis import Analysis
from ..report import Defect
from ..samples import Array
from .found import found

_SILENT_DB, _LEAST_DB, _WORST_DB = -90.0, -55.0, -15.0
_VALUE, _STEP, _RISE_DB = 0.05, 0.2, 14.0
_EDGE_S, _BESIDE_S, _AFTER_S = 0.002, 0.010, 0.020


@dataclass(frozen=True)
class _Edge:
    """Where a sound `first` is heard, its level there (RMS of 2 ms, dB), its first value and first step as parts of their RMS
    in the first 10 ms (about 1 within a sound), and by how much the RMS of its first 20 ms is above that level, dB."""

    first: int
    level_db: float
    value: float
    step: float
    rise_db: float

    @property
    def inside(self) -> bool:
        """Whether the sound was there before: all that vibrates starts from rest, so its first value is next to nothing. By
        chance that is so in the middle of a sound as well; then its first step tells, unless the sound only rises from there, as
        an attack does (a drum's first step may be as steep as any)."""
        return self.value > _VALUE or (self.step > _STEP and self.rise_db < _RISE_DB)


def _edge(x: Array, rate_hz: int, gain: float) -> _Edge | None:
    """How `[C, T]` begins after any silence (below −90 dB after `gain`); None for silence."""
    heard = np.abs(x).max(axis=0) * gain > 10 ** (_SILENT_DB / 20)
    first = int(heard.argmax())
    part = x[:, first : first + int(_AFTER_S * rate_hz)].astype(np.float64) * gain
    if not heard[first] or part.shape[1] < 16:
        return None
    step = np.diff(part)

    def rms(y: Array, seconds: float, least: int) -> float:
        return max(float(np.sqrt(np.square(y[:, : max(int(seconds * rate_hz), least)]).mean())), 1e-10)

    level = rms(part, _EDGE_S, 4)
    return _Edge(first, 20 * float(np.log10(level)), rms(part, 0, 1) / rms(part, _BESIDE_S, 16),
                 rms(step, 0, 1) / rms(step, _BESIDE_S, 16), 20 * float(np.log10(rms(part, _AFTER_S, 16) / level)))  # fmt: skip


def _cut(kind: str, a: Analysis, x: Array) -> Iterator[Defect]:
    if a.silent or a.duration_s < 0.1:
        return
    edge = _edge(x, a.rate_hz, a.gain)
    if edge is None or edge.level_db < _LEAST_DB or not edge.inside:
        return
    if kind == "cut_start" and edge.first > _EDGE_S * a.rate_hz:
        return
    last = min(edge.first + int(_BESIDE_S * a.rate_hz), x.shape[1])
    span = (edge.first, last) if kind == "cut_start" else (x.shape[1] - last, x.shape[1] - edge.first)
    severity = 0.05 + 0.95 * (edge.level_db - _LEAST_DB) / (_WORST_DB - _LEAST_DB)
    yield found(kind, severity, span, a, level_db=round(edge.level_db, 1), jump=round(float(np.hypot(edge.value, edge.step)), 3))


def cut_start(a: Analysis) -> Iterator[Defect]:
    """`cut_start`: begins in the middle of a sound: above −55 dB within 2 ms (after −18 LUFS), and at once: its first value is
    more than a twentieth of the RMS of its first 10 ms, or its first step a fifth of theirs in a sound that is as good as there
    already (its first 20 ms are no 14 dB louder than its first 2). After a silence of more than 2 ms it is taken for an attack.
    −55 dB is severity 0.05, −15 dB is 1.

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

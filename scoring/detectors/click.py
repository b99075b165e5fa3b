"""Clicks: impulses of a few samples and jumps of the waveform."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..analysis import Analysis
from ..impulses import impulses
from ..report import Defect
from .found import MOST_SPANS, found

_LEAST_DB, _NOTHING_DB = -42.0, -50.0


def click(a: Analysis) -> Iterator[Defect]:
    """`click`: samples that nothing before predicts, over within 0.4 ms, 7 dB above anything within 30 ms in a sound that goes
    on as before, and further where it changes. Severity by the size of the jump after the sound is brought to −18 LUFS: −50
    dBFS would be 0, 0 dBFS is 1; below −42 dBFS none is reported.

    >>> x = 0.2 * np.sin(2 * np.pi * 440 * np.arange(48_000) / 48_000)[None]  # about −18 LUFS
    >>> x[0, 24_000] += 0.5  # −6 dB: 1 − 6/50
    >>> [(d.type, d.start_s, d.end_s, round(d.severity, 1)) for d in click(Analysis(x, 48_000))]
    [('click', 0.4995, 0.501, 0.9)]
    """
    if a.rate_hz < 8_000 or a.power == 0 or a.silent:
        return
    for one in impulses(a.samples, a.rate_hz, 10 ** (_LEAST_DB / 20) / a.gain)[:MOST_SPANS]:
        size_db = 20 * float(np.log10(one.size * a.gain))
        span = (max(0, one.at - a.rate_hz // 2_000), min(a.samples.shape[1], one.at + a.rate_hz // 1_000))
        yield found("click", 1 - size_db / _NOTHING_DB, span, a, size_db=round(size_db, 1),
                    above_beside_db=round(20 * float(np.log10(one.lone)), 1))  # fmt: skip

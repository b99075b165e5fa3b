"""Harmonics that were not there: distortion of what is nearly one tone."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .. import tonal
from ..analysis import Analysis
from ..report import Defect
from .found import found

_AUDIBLE_PERCENT, _WORST_PERCENT = 0.5, 30.0


def thd(a: Analysis) -> Iterator[Defect]:
    """`thd`: a sound that is nearly one steady tone (else this says nothing) with harmonics of more than 0.5 % (severity
    0.1; 30 % and more is 1, logarithmic between).

    >>> t = np.arange(24_000) / 24_000
    >>> x = np.sin(2 * np.pi * 997 * t) + 0.03 * np.sin(2 * np.pi * 2 * 997 * t)  # 3 %: 0.1 + 0.9·ln 6 / ln 60
    >>> [(d.type, d.start_s, d.end_s, round(d.severity, 2)) for d in thd(Analysis(x[None], 24_000))]
    [('thd', 0.0, 1.0, 0.49)]
    """
    percent = tonal.thd_percent(a.samples, a.rate_hz)
    if percent is None or percent <= _AUDIBLE_PERCENT:
        return
    severity = 0.1 + 0.9 * np.log(percent / _AUDIBLE_PERCENT) / np.log(_WORST_PERCENT / _AUDIBLE_PERCENT)
    yield found("thd", severity, (0, a.samples.shape[1]), a, thd_percent=round(percent, 3))

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
    0.1; 30 % and more is 1, logarithmic between)."""
    percent = tonal.thd_percent(a.samples, a.rate_hz)
    if percent is None or percent <= _AUDIBLE_PERCENT:
        return
    severity = 0.1 + 0.9 * np.log(percent / _AUDIBLE_PERCENT) / np.log(_WORST_PERCENT / _AUDIBLE_PERCENT)
    yield found("thd", severity, (0, a.samples.shape[1]), a, thd_percent=round(percent, 3))

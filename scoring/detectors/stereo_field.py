"""Faults between the channels."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..analysis import Analysis
from ..report import Defect
from ..samples import spans
from ..stereo import MILD, phase_status
from .found import found


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
        yield found("phase_cancellation", severity, span, a, correlation=round(worst, 3), band=phase_status(worst))

"""What every detector gives back and how it is made. Knows no detector."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from ..analysis import Analysis
from ..report import Defect

Detector = Callable[[Analysis], Iterator[Defect]]

MOST_SPANS = 200  # a report stays readable; further spans are joined into the last or left out


def found(kind: str, severity: float, span: tuple[int, int], a: Analysis, **evidence: float | int | str) -> Defect:
    """A `Defect` of `kind` from a range of samples; `severity` is held to 0 … 1.

    >>> d = found("gap", 1.7, (24_000, 48_000), Analysis(np.zeros((1, 96_000)), 48_000), length_s=0.5)
    >>> d.severity, d.start_s, d.end_s, d.evidence
    (1.0, 0.5, 1.0, {'length_s': 0.5})
    """
    return Defect(
        type=kind,
        severity=round(float(np.clip(severity, 0.0, 1.0)), 4),
        start_s=round(span[0] / a.rate_hz, 6),
        end_s=round(span[1] / a.rate_hz, 6),
        evidence={name: value.item() if isinstance(value, np.generic) else value for name, value in evidence.items()},
    )

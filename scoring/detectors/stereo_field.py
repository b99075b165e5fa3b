"""Faults between the channels."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..analysis import Analysis
from ..report import Defect
from ..samples import spans
from ..stereo import MILD, SEVERE, phase_status
from .found import found

_LASTING = 3  # windows; between two microphones a single note of a piano turns against itself for one or two


def phase_cancellation(a: Analysis) -> Iterator[Defect]:
    """`phase_cancellation`: half-second windows (not more than 40 dB below the loudest) whose correlation is
    in the severe band, or in the mild one for a second and a half (of a shorter sound, all the time); −0.3 is severity 0.25,
    −0.7 is 0.75, −1 is 1.

    >>> x = 0.1 * np.random.default_rng(0).standard_normal(48_000)
    >>> [(d.type, d.start_s, d.end_s, d.severity) for d in phase_cancellation(Analysis(np.stack((x, -x)), 48_000))]
    [('phase_cancellation', 0.0, 1.0, 1.0)]
    """
    windows = a.moments[1]
    powers = np.array([m.left + m.right for m in windows])
    values = np.array([np.nan if m.correlation is None else m.correlation for m in windows])
    bad = (powers > 1e-4 * powers.max(initial=0.0)) & (np.nan_to_num(values) < MILD)
    step = int(0.5 * a.rate_hz)
    lasting = min(_LASTING, len(values))
    for first, last in spans(bad):
        if last - first < lasting and values[first:last].min() >= SEVERE:
            continue
        worst = float(values[first:last].mean())
        severity = float(np.interp(-worst, [0.3, 0.7, 1.0], [0.25, 0.75, 1.0]))
        span = (first * step, min(last * step, a.samples.shape[1]))
        yield found("phase_cancellation", severity, span, a, correlation=round(worst, 3), band=phase_status(worst))


FALSE_STEREO = 0.9995


def false_stereo(a: Analysis) -> Iterator[Defect]:
    """`false_stereo`: two channels that are one, at most at two levels: their correlation is above 0.9995 over all and in
    every window that is not silent. 0.9995 is severity 0.2, 0.999995 and more 0.5: it may be meant, and costs little.

    >>> x = 0.1 * np.random.default_rng(0).standard_normal(48_000)
    >>> [(d.type, d.start_s, d.end_s, d.severity) for d in false_stereo(Analysis(np.stack((x, 0.5 * x)), 48_000))]
    [('false_stereo', 0.0, 1.0, 0.5)]
    """
    pair, windows = a.moments
    if pair is None or a.samples.shape[0] != 2 or a.duration_s < 0.5 or (pair.correlation or 0.0) < FALSE_STEREO:
        return
    loudest = max((m.left + m.right for m in windows), default=0.0)
    heard = [m.correlation for m in windows if m.left + m.right > 1e-4 * loudest]
    if any(r is None or r < FALSE_STEREO for r in heard):
        return
    apart = max(1.0 - float(pair.correlation or 0.0), 1e-12)
    severity = 0.2 + 0.3 * np.clip(np.log10((1 - FALSE_STEREO) / apart) / 2, 0, 1)
    level = 10 * np.log10(pair.left / pair.right)
    yield found(
        "false_stereo", severity, (0, a.samples.shape[1]), a,
        correlation=round(float(pair.correlation or 0.0), 7), level_difference_db=round(float(level), 2),
    )  # fmt: skip

"""A loop where none was asked for."""

from __future__ import annotations

from collections.abc import Iterator

from ..analysis import Analysis
from ..repetition import repeats
from ..report import Defect
from ..samples import merged
from .found import MOST_SPANS, found


def repetition(a: Analysis) -> Iterator[Defect]:
    """`repetition`: half a second and more that is, sample by sample, what came before: to −80 dB or (of 16 bits) to a
    rounding, noise and all, as a copy is and a bar played again is not. Severity by how much of the sound is such a copy:
    nothing is 0.1, three quarters is 1.

    >>> x = 0.1 * np.random.default_rng(0).standard_normal((1, 96_000)).astype(np.float32)
    >>> x[:, 48_000:72_000] = x[:, :24_000]  # the first second again after two: a quarter of it all
    >>> [(d.type, round(d.start_s), round(d.end_s), round(d.severity, 1)) for d in repetition(Analysis(x, 24_000))]
    [('repetition', 2, 3, 0.4)]
    """
    if a.silent or a.duration_s < 1.0:
        return
    every = repeats(a.samples, a.rate_hz)
    ranges = merged(sorted((r.start, r.end) for r in every), int(0.05 * a.rate_hz))
    copied = sum(end - start for start, end in ranges) / a.samples.shape[1]
    for start, end in ranges[:MOST_SPANS]:
        best = min((r for r in every if r.start < end and r.end > start), key=lambda r: r.lag)
        yield found("repetition", 0.1 + 1.2 * copied, (start, end), a, lag_s=round(best.lag / a.rate_hz, 4),
                    difference_db=round(best.difference_db, 1), copied=round(copied, 3))  # fmt: skip

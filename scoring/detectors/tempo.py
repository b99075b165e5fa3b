"""Faults of time: another tempo than the one asked for, a tempo that does not hold."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.ndimage import maximum_filter1d

from .. import musical
from ..analysis import Analysis
from ..musical import TEMPI
from ..report import Defect
from ..samples import Array
from .found import found

_CLEAR = 0.2  # agreement of onsets with a tempo (see `Pulse.metre`); below it there is no beat
_HELD = 0.85  # a tempo that agrees so well, by the best of those that contradict it, is not wrong
_RELATED = 0.37  # octaves: two to three and three to four (0.415) are tapped to the same music
_TOLERANCE, _ANOTHER = 0.03, 0.10
_DRIFT = 0.06
_CHANGES = 0.1  # by how much the agreement must rise with the drift, and how sure it then is
_DRIFT_SURE = 0.28


def wrong_tempo(a: Analysis) -> Iterator[Defect]:
    """`wrong_tempo`: a clear beat that agrees with another tempo better than with any metrical level (half, double) of the one
    asked for (`Expected.bpm`; nothing without one) within 3 %, which may agree 0.85 times as well. Tempi at two to three and
    three to four of it do not contradict it. 3 % off is severity 0.2, a tenth and more is 1: that is another tempo, and how far
    off it is depends on which of the related ones (in waltzes, say) is taken for it.

    >>> from ..expected import Expected
    >>> x = 1e-4 * np.random.default_rng(0).standard_normal(8 * 24_000)
    >>> x.reshape(16, 12_000)[:, :480] *= 1_000  # 20 ms every half second: 120 beats a minute
    >>> [list(wrong_tempo(Analysis(x[None], 24_000, Expected(bpm=bpm)))) for bpm in (60, 120)]
    [[], []]
    >>> # 145 asked for, 120 heard: more than a tenth off
    >>> [(d.type, d.start_s, d.end_s, round(d.severity, 1)) for d in wrong_tempo(Analysis(x[None], 24_000, Expected(bpm=145)))]
    [('wrong_tempo', 0.0, 8.0, 1.0)]
    """
    bpm = a.expected.bpm
    if bpm is None or not a.pulses:
        return
    lengths = np.array([pulse.end_s - pulse.start_s for pulse in a.pulses])
    off = (np.log2(TEMPI / bpm) + 0.5) % 1 - 0.5
    others = (np.abs(off) > np.log2(1 + _TOLERANCE)) & (np.abs(off) < _RELATED)
    fit: Array = lengths @ np.stack([pulse.metre(TEMPI) for pulse in a.pulses]) / lengths.sum()
    fit = np.where(others & (fit >= maximum_filter1d(fit, 3)), fit, -1.0)  # the flank of a related tempo is no other one
    asked = float(lengths @ np.array([pulse.at(bpm) for pulse in a.pulses]) / lengths.sum())
    best = float(fit.max())
    if best < _CLEAR or asked >= _HELD * best:
        return
    nearest = float(off[fit.argmax()])
    heard = bpm * 2**nearest
    severity = 0.2 + 0.8 * (abs(nearest) - np.log2(1 + _TOLERANCE)) / np.log2((1 + _ANOTHER) / (1 + _TOLERANCE))
    yield found(
        "wrong_tempo", severity, (0, a.samples.shape[1]), a,
        asked_bpm=float(bpm), heard_bpm=round(heard, 1), agreement=round(best, 2), agreement_asked=round(asked, 2),
    )  # fmt: skip


def tempo_drift(a: Analysis) -> Iterator[Defect]:
    """`tempo_drift`: within a stretch of about 24 s a clear beat gets faster or slower by more than 6 % (severity 0.1;
    30 % is 1).

    >>> t = np.arange(16 * 24_000) / 24_000
    >>> beats = 2 * (t + 0.1 * (t**2 / 16 - t))  # from 108 to 132 a minute, 20 % of the mean: 0.1 + 0.9·14/24
    >>> x = np.random.default_rng(0).standard_normal(t.size) * np.where(beats % 1 < 0.04, 0.1, 1e-4)
    >>> [(d.type, d.start_s, round(d.end_s), round(d.severity, 1)) for d in tempo_drift(Analysis(x[None], 24_000))]
    [('tempo_drift', 0.0, 16, 0.6)]
    """
    for pulse in a.pulses:
        drift, fit, still = musical.tempo_drift(pulse)
        if abs(drift) > _DRIFT and fit >= _DRIFT_SURE and fit - still >= _CHANGES:
            span = (int(pulse.start_s * a.rate_hz), min(int(pulse.end_s * a.rate_hz), a.samples.shape[1]))
            severity = 0.1 + 0.9 * (abs(drift) - _DRIFT) / (0.3 - _DRIFT)
            yield found(
                "tempo_drift", severity, span, a,
                change_percent=round(100 * drift, 1), agreement=round(fit, 2), agreement_steady=round(still, 2),
            )  # fmt: skip

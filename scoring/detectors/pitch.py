"""Faults of pitch: out of tune, drifting, in another key than the one asked for."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..analysis import Analysis
from ..expected import parse_keyscale
from ..musical import keys
from ..report import Defect
from ..samples import Array
from ..tones import tuning
from .found import found

_AGREED = 0.4  # how much partials must agree on a tuning (see `tones.tuning`)
_OFF_CENTS = 20.0
_DRIFT_CENTS = 25.0
_WINDOW_S, _STEP_S = 3.0, 1.0
_FRAMES = 8  # fewer say nothing of key or tuning
_FIT = 0.5  # with the best key
_PITCHED = 0.3  # partials that agree on no grid have no key
_CLASSES = 5  # nor have a few notes
_TUNED_CLASSES = 3  # drums have partials too; what is tuned has several pitch classes that fit a key
_NEAR_FIFTHS = 1.5  # keys this near share all notes but one
_MARGIN, _MARGIN_NEAR = 0.25, 0.55  # by how much the best key must fit better than the one asked for


def _tuning_over_time(pitches: Array, times_s: Array) -> tuple[Array, Array]:
    """Deviation from the A440 grid in cents `[n]`, unwrapped, in windows of 3 s around the times `[n]` s; windows whose
    partials do not agree are left out."""
    centres = np.arange(times_s[0] + _WINDOW_S / 2, times_s[-1] - _WINDOW_S / 2 + 1e-9, _STEP_S)
    kept, cents = [], []
    for centre in centres:
        inside = np.abs(times_s - centre) <= _WINDOW_S / 2
        value, agreed = tuning(pitches[inside].sum(axis=0))
        if agreed >= _AGREED:
            kept.append(centre)
            cents.append(value)
    return np.unwrap(np.array(cents), period=100.0), np.array(kept)


def _drift(a: Analysis) -> float:
    """Change of the tuning over the sound in cents: the slope of a line through the windows by the time they span, 0 where
    a line is not what they follow."""
    t = a.tones
    if t.times_s[-1] - t.times_s[0] < _WINDOW_S + 2 * _STEP_S:
        return 0.0
    cents, times = _tuning_over_time(t.pitches, t.times_s)
    if times.size < 3 or times[-1] - times[0] < 0.4 * (t.times_s[-1] - t.times_s[0] - _WINDOW_S):
        return 0.0
    x = times - times.mean()
    slope = float(x @ cents / (x @ x))
    left = cents - cents.mean() - slope * x
    explained = 1 - float(left @ left) / max(float(np.square(cents - cents.mean()).sum()), 1e-12)
    return slope * (times[-1] - times[0] + _WINDOW_S) if explained >= 0.8 else 0.0


def _fits_a_key(a: Analysis, classes: int) -> bool:
    """Whether at least so many pitch classes sound, and as a key's do."""
    heard = keys(a.tones.chroma)
    return heard is not None and float(heard.fit.max()) >= _FIT and int((heard.classes > 0.03).sum()) >= classes


def mistuned(a: Analysis) -> Iterator[Defect]:
    """`mistuned`: partials that agree on a grid more than 20 cents off equal temperament at A440 (20 is severity 0.1, 48
    is 1; at least three pitch classes that fit a key, which drums do not), or whose grid moves by more than 25 cents over
    the sound (25 is 0.1, 100 is 1).

    >>> hz = 440 * 2 ** ((np.array([3, 7, 10]) + 0.3) / 12)  # C E G, all 30 cents sharp: 0.1 + 0.9·10/28
    >>> chord = 0.1 * np.sin(2 * np.pi * hz[:, None] * np.arange(16_000) / 8_000).sum(axis=0)
    >>> [(d.type, d.start_s, d.end_s, round(d.severity, 1)) for d in mistuned(Analysis(chord[None], 8_000))]
    [('mistuned', 0.0, 2.0, 0.4)]
    """
    if a.tones.times_s.size < _FRAMES:
        return
    cents, agreed = tuning(a.tones.pitches.sum(axis=0))
    drift = _drift(a)
    off = 0.1 + 0.9 * (abs(cents) - _OFF_CENTS) / 28 if agreed >= _AGREED and abs(cents) > _OFF_CENTS else 0.0
    if off > 0 and not _fits_a_key(a, _TUNED_CLASSES):
        off = 0.0
    moved = 0.1 + 0.9 * (abs(drift) - _DRIFT_CENTS) / 75 if abs(drift) > _DRIFT_CENTS else 0.0
    if max(off, moved) > 0:
        yield found(
            "mistuned", max(off, moved), (0, a.samples.shape[1]), a,
            cents=round(cents, 1), agreement=round(agreed, 2), drift_cents=round(drift, 1),
        )  # fmt: skip


def wrong_key(a: Analysis) -> Iterator[Defect]:
    """`wrong_key`: the sound fits another key clearly better than the one asked for (`Expected.keyscale`); nothing
    without one. A key that shares all notes but at most one (relative, a fifth off) must fit better by far and is at most
    0.3; beyond, severity grows with the distance on the circle of fifths.

    >>> from ..expected import Expected
    >>> hz = 440 * 2 ** (np.array([3, 5, 7, 8, 10, 12, 14]) / 12)  # C major, the C and the G most
    >>> x = 0.05 * np.array([9, 4, 6, 4, 7, 3, 2]) @ np.sin(2 * np.pi * hz[:, None] * np.arange(16_000) / 8_000)
    >>> found_in = [Analysis(x[None], 8_000, Expected(keyscale=key)) for key in ("C major", "F# major")]
    >>> [[(d.type, d.start_s, d.end_s, d.severity, d.evidence["heard"]) for d in wrong_key(a)] for a in found_in]
    [[], [('wrong_key', 0.0, 2.0, 1.0, 'C major')]]
    """
    asked = parse_keyscale(a.expected.keyscale)
    if asked is None or a.tones.times_s.size < _FRAMES:
        return
    heard = keys(a.tones.chroma)
    if heard is None or heard.fit.max() < _FIT or (heard.classes > 0.03).sum() < _CLASSES:
        return
    if tuning(a.tones.pitches.sum(axis=0))[1] < _PITCHED:
        return
    best, margin = heard.best, float(heard.fit.max()) - heard.of(asked)
    distance = heard.fifths_from(asked)
    near = signatures_apart(best, asked) <= 1 or distance < _NEAR_FIFTHS
    if best == asked or margin < (_MARGIN_NEAR if near else _MARGIN):
        return
    severity = 0.1 + 0.9 * distance / 4.5
    yield found(
        "wrong_key", min(severity, 0.3) if near else severity, (0, a.samples.shape[1]), a,
        asked=name_of(asked), heard=name_of(best), margin=round(margin, 2), fifths=round(distance, 2),
    )  # fmt: skip


def signatures_apart(one: tuple[int, bool], other: tuple[int, bool]) -> int:
    """How many notes the scales of two keys do not share: 0 for a key's relative, 1 for a fifth off, at most 6.

    >>> signatures_apart((0, False), (9, True)), signatures_apart((10, False), (2, True))
    (0, 1)
    """
    sharps = [7 * (tonic + (3 if minor else 0)) % 12 for tonic, minor in (one, other)]
    apart = (sharps[0] - sharps[1]) % 12
    return min(apart, 12 - apart)


def name_of(key: tuple[int, bool]) -> str:
    """A key in words.

    >>> name_of((6, True))
    'F# minor'
    """
    names = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
    return f"{names[key[0]]} {'minor' if key[1] else 'major'}"

"""Faults of pitch: out of tune, drifting, in another key than the one asked for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from ..analysis import Analysis
from ..expected import parse_keyscale
from ..musical import keys
from ..report import Defect
from ..samples import Array
from ..tones import STEPS, Tones, tuning
from .found import found

_AGREED = 0.4  # how much partials must agree on a tuning (see `tones.tuning`)
_OFF_CENTS = 20.0
_DRIFT_CENTS = 25.0
_DRIFTS = np.arange(-160.0, 161.0, 4.0)  # cents from the first frame to the last
_DRIFT_AGREED, _CHANGES = 0.25, 0.03  # how much partials must agree with the drift, and how much more than without
_LONG_ENOUGH_S = 5.0
_FRAMES = 8  # fewer say nothing of key or tuning
_FIT, _LEAST_FIT = 0.5, 0.3  # with the best key; less says nothing even of a key far off
_PITCHED = 0.3  # partials that agree on no grid have no key
_CLASSES, _LEAST_CLASSES = 5, 4  # nor have a few notes
_TUNED_CLASSES, _LASTING = 3, 0.25
_NEAR_FIFTHS = 1.5  # keys this near share all notes but one
# by how much the best key must fit better than the one asked for: where neither that key nor the pitches are near, one, or both
_MARGINS = (0.25, 0.4, 0.55)
# each fifth the pitches lie away counts as so much of a margin; with the margin itself that many leave no doubt whatever the fit
_PER_FIFTH, _NO_DOUBT = 0.25, 0.9
_TOO_FAR_FIFTHS = 3.0  # no key that is true of a sound lies as far from its pitches (2.3 was the most of 623): any margin does
_CERTAIN, _CERTAIN_PITCHED, _CERTAIN_CLASSES = 1.4, 0.2, 3  # with that many, so little must be heard
_OUTSIDE, _AS_GOOD_AS_FIFTHS = 0.02, 1.7  # with so little outside of the key asked for, its pitches must lie this far away


def _drift(t: Tones) -> float:
    """Change of the tuning from the first frame to the last in cents, as a straight line: the slope by which all must be turned
    back for partials to agree most on one grid (see `tones.tuning`; frames count by the square root of their amplitude). 0
    where they do not agree clearly, or as well without, and for sounds under 5 s."""
    if t.times_s.size < _FRAMES or t.times_s[-1] - t.times_s[0] < _LONG_ENOUGH_S:
        return 0.0
    amplitude = t.pitches.sum(axis=1)
    weight = np.where(amplitude > 0, 1 / np.sqrt(np.maximum(amplitude, 1e-30)), 0)
    mean = t.pitches @ np.exp(2j * np.pi * np.arange(STEPS) / 10) * weight
    back = np.exp(-2j * np.pi / 100 * np.multiply.outer(_DRIFTS, _place(t)))
    agreed = np.abs(back @ mean) / max(float((amplitude * weight).sum()), 1e-30)
    at = int(agreed.argmax())
    if agreed[at] < _DRIFT_AGREED or agreed[at] - agreed[_DRIFTS.size // 2] < _CHANGES:
        return 0.0
    bend = agreed[at - 1] - 2 * agreed[at] + agreed[at + 1] if 0 < at < _DRIFTS.size - 1 else 0.0
    shift = 0.5 * (agreed[at - 1] - agreed[at + 1]) / bend if bend < 0 else 0.0
    return float(_DRIFTS[at] + shift * (_DRIFTS[1] - _DRIFTS[0]))


def _place(t: Tones) -> Array:
    """Where the frames lie, −0.5 … 0.5 from the first to the last."""
    return np.asarray((t.times_s - t.times_s[0]) / (t.times_s[-1] - t.times_s[0]) - 0.5)


def _steadied(t: Tones, drift_cents: float) -> Tones:
    """Without a drift, to 5 cents."""
    if drift_cents == 0:
        return t
    steps = np.round(-drift_cents * _place(t) / 10).astype(int)
    return replace(t, pitches=np.stack([np.roll(frame, step) for frame, step in zip(t.pitches, steps, strict=True)]))


def _has_a_tuning(t: Tones) -> bool:
    """Whether it is of a kind that has a tuning: at least three pitch classes, and pitches that last from a frame to the next,
    half overlapping one (mean cosine of their profiles). Drums have partials too, and some agree on a grid, but they do not
    last: 0.37 was the most of 36 tracks of drums, 0.40 the least of 108 pieces of music."""
    heard = keys(t.chroma)
    size = np.sqrt(np.square(t.pitches).sum(axis=1))
    both = size[1:] * size[:-1]
    alike = (t.pitches[1:] * t.pitches[:-1]).sum(axis=1)[both > 0] / both[both > 0]
    lasts = alike.size > 0 and float(alike.mean()) >= _LASTING
    return lasts and heard is not None and int((heard.classes > 0.03).sum()) >= _TUNED_CLASSES


def mistuned(a: Analysis) -> Iterator[Defect]:
    """`mistuned`: partials that agree on a grid more than 20 cents off equal temperament at A440 (20 is severity 0.1, 48
    is 1), or whose grid moves by more than 25 cents over the sound (25 is 0.1, 100 is 1). Nothing is said of fewer
    than three pitch classes, nor of pitches that do not last, as those of drums.

    >>> hz = 440 * 2 ** ((np.array([3, 7, 10]) + 0.3) / 12)  # C E G, all 30 cents sharp: 0.1 + 0.9·10/28
    >>> chord = 0.1 * np.sin(2 * np.pi * hz[:, None] * np.arange(16_000) / 8_000).sum(axis=0)
    >>> [(d.type, d.start_s, d.end_s, round(d.severity, 1)) for d in mistuned(Analysis(chord[None], 8_000))]
    [('mistuned', 0.0, 2.0, 0.4)]
    """
    if a.tones.times_s.size < _FRAMES:
        return
    drift = _drift(a.tones)
    steady = _steadied(a.tones, drift)
    cents, agreed = tuning(steady.pitches.sum(axis=0))
    off = 0.1 + 0.9 * (abs(cents) - _OFF_CENTS) / 28 if agreed >= _AGREED and abs(cents) > _OFF_CENTS else 0.0
    moved = 0.1 + 0.9 * (abs(drift) - _DRIFT_CENTS) / 75 if abs(drift) > _DRIFT_CENTS else 0.0
    if max(off, moved) > 0 and not _has_a_tuning(steady):
        return
    if max(off, moved) > 0:
        yield found(
            "mistuned", max(off, moved), (0, a.samples.shape[1]), a,
            cents=round(cents, 1), agreement=round(agreed, 2), drift_cents=round(drift, 1),
        )  # fmt: skip


def wrong_key(a: Analysis) -> Iterator[Defect]:
    """`wrong_key`: the sound fits another key clearly better than the one asked for (`Expected.keyscale`); nothing
    without one. A key that shares all notes but at most one (relative, a fifth off) must fit better by far and is at most
    0.3, where the pitches as a whole lie as near on the circle of fifths; if only one of both is near, by less; beyond,
    severity grows with the distance on the circle. The best key must fit well and rest on five pitch classes (fit 0.5); where
    the margin (0.25 at least, any beyond three fifths) and a quarter for each fifth of distance are more than 0.9 together, less
    will do (four, or three beyond 1.4; 0.3): no key may fit well what is chromatic, yet it may be far from the one asked for.
    Nothing is said where all but 2 % of what is heard are degrees of the key asked for, and the pitches lie within 1.7 fifths
    of it: a tune may have another centre.

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
    if heard is None:
        return
    best, margin = heard.best, float(heard.fit.max()) - heard.of(asked)
    distance = heard.fifths_from(asked)
    near = (signatures_apart(best, asked) <= 1) + (distance < _NEAR_FIFTHS)
    far = margin + _PER_FIFTH * distance if margin >= _MARGINS[0] or distance > _TOO_FAR_FIFTHS else 0.0
    clear, certain = far > _NO_DOUBT, far > _CERTAIN
    fit, classes = (_LEAST_FIT, _CERTAIN_CLASSES if certain else _LEAST_CLASSES) if clear else (_FIT, _CLASSES)
    if heard.fit.max() < fit or (heard.classes > 0.03).sum() < classes:
        return
    if tuning(a.tones.pitches.sum(axis=0))[1] < (_CERTAIN_PITCHED if certain else _PITCHED):
        return
    if best == asked or not (clear or margin >= _MARGINS[near]):
        return
    if heard.outside(asked) < _OUTSIDE and distance < _AS_GOOD_AS_FIFTHS:
        return
    severity = 0.1 + 0.9 * distance / 4.5
    yield found(
        "wrong_key", min(severity, 0.3) if near == 2 else severity, (0, a.samples.shape[1]), a,
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

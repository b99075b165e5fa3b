"""Pairs that say the same twice: the same two sounds by the hash of their decoded samples, or nearly the same by cosines of
their spectral embeddings and of their levels over time.

A pair falls to another one only as a whole: **both** its sides must be the other's. That the two sides of one pair are alike
is no fault (a repair changes little); that they are the very same sound is. Knows no file; samples are handed in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np

from ..scoring.feature_distribution import EMBEDDING_VERSION, embed
from ..scoring.samples import Array
from .export_source import Row

Mode = Literal["near", "exact", "none"]
Reason = Literal["one_sound", "same", "opposed", "near"]
REASONS: dict[Reason, str] = {
    "one_sound": "both sides are the same sound",
    "same": "the same two sounds are paired already",
    "opposed": "the same two sounds are paired the other way round",
    "near": "nearly the same two sounds are paired already",
}
NEAR_COSINE, MOVEMENT_COSINE = 0.998, 0.9
"""Cosines of spectrum and of movement from which two sounds count as one.

On 40 composed clips of 4 s, the same clip at half the level, in fewer bits, with noise 40 dB below it, through MP3 or Vorbis: at
least 0.9986 and 0.985. Two clips: at most 0.994 and 0.77; two seeds of one prompt on the embedded model: 0.995 and 0.55. The
spectrum alone would not do: two takes of white noise reach 0.9999 (and 0.38).
"""
SAME_LENGTH_S = 0.05
_STEP_S = 0.02
_STEADY_DB = 0.05
_BLOCK = 512       # steps
_DIRECTIONS = 64
_PARTS = 4
_COLUMNS = np.r_[1:20, 20:40]  # without coefficient 0, which only tells how peaked a spectrum is and outweighs the others
HUMAN = "human_judgement"

assert EMBEDDING_VERSION == 1, "NEAR_COSINE was measured with version 1 of the embedding; measure it anew"


def sound_vector(samples: Any, rate_hz: int) -> Array:
    """What `near` compares: a unit vector `[156]` of the sound's spectrum and one `[65]` of its movement, joined.

    The spectrum is `embed`'s rows averaged over each quarter of the sound; all zeros for silence, which is like nothing. The
    movement is the level in dB in steps of 20 ms, not below 60 dB under the sound's mean, without its mean, projected on 64
    fixed random directions; a level that stays within 0.05 dB has the 65th for itself. Both are independent of gain. `[C, T]`;
    raises ValueError as `embed` does.

    >>> t = np.arange(24_000) / 24_000
    >>> tone = np.sin(2 * np.pi * 440 * t)[None]
    >>> bool(near(sound_vector(0.1 * tone, 24_000)[None], sound_vector(0.5 * tone, 24_000)[None]))
    True
    """
    return np.concatenate([_spectrum(samples, rate_hz), _movement(np.asarray(samples), rate_hz)]).astype(np.float32)


def near(a: Array, b: Array, cosine: float = NEAR_COSINE) -> np.ndarray:
    """Which sounds of `a` `[N, 221]` and `b` `[M, 221]` (`sound_vector`s) are one by ear: `[N, M]`, truth values."""
    end = _PARTS * len(_COLUMNS)
    alike: np.ndarray = (a[:, :end] @ b[:, :end].T >= cosine) & (a[:, end:] @ b[:, end:].T >= MOVEMENT_COSINE)
    return alike


def _spectrum(samples: Any, rate_hz: int) -> Array:
    rows = embed(samples, rate_hz)[:, _COLUMNS]
    if not len(rows):
        return np.zeros(_PARTS * len(_COLUMNS))
    edges = np.arange(_PARTS + 1) * len(rows) / _PARTS
    return _unit(np.concatenate([rows[int(a) : max(int(a) + 1, int(np.ceil(b)))].mean(axis=0) for a, b in pairwise(edges)]))


def _movement(x: Array, rate_hz: int) -> Array:
    step = max(1, round(rate_hz * _STEP_S))
    count = max(1, x.shape[1] // step)
    power = np.square(x[:, : count * step], dtype=np.float64).reshape(len(x), count, -1).mean(axis=(0, 2))
    level = 10 * np.log10(np.maximum(power, 1e-6 * power.mean()) + 1e-30)
    level -= level.mean()
    found = np.zeros(_DIRECTIONS + 1)
    if level.std() < _STEADY_DB:
        found[-1] = 1.0
        return found
    for start in range(0, count, _BLOCK):  # RandomState: its streams are frozen
        part = level[start : start + _BLOCK]
        found[:-1] += part @ np.random.RandomState(start).standard_normal((_BLOCK, _DIRECTIONS))[: len(part)]
    return _unit(found)


def _unit(x: Array) -> Array:
    norm = float(np.linalg.norm(x))
    return x / norm if norm > 0 else x


@dataclass(frozen=True)
class Deduplicated:
    """Positions of the pairs that stay, in order, and of those that don't: why, and which pair they fell to (None: none)."""

    kept: tuple[int, ...]
    dropped: dict[int, tuple[Reason, int | None]]

    def counts(self) -> dict[str, int]:
        """How many were dropped, by reason."""
        reasons = [reason for reason, _ in self.dropped.values()]
        return {reason: reasons.count(reason) for reason in REASONS}


def without_same(rows: Sequence[Row]) -> Deduplicated:
    """Of pairs of the same two sounds one stays, whichever way round they are: a human judgement before any other, else the
    first. Pairs of one sound with itself go."""
    first: dict[frozenset[str], int] = {}
    dropped: dict[int, tuple[Reason, int | None]] = {}
    for i, row in enumerate(rows):
        sides = frozenset(s.pcm_sha256 for s in row.sounds)
        if len(sides) == 1:
            dropped[i] = ("one_sound", None)
            continue
        other = first.setdefault(sides, i)
        if other == i:
            continue
        stays, goes = (i, other) if row.strategy == HUMAN != rows[other].strategy else (other, i)
        first[sides] = stays
        alike = rows[stays].chosen.pcm_sha256 == rows[goes].chosen.pcm_sha256
        dropped[goes] = ("same" if alike else "opposed", stays)
    return Deduplicated(tuple(i for i in range(len(rows)) if i not in dropped), dropped)


def without_near(
    rows: Sequence[Row], exact: Deduplicated, vectors: Mapping[str, Array], cosine: float = NEAR_COSINE
) -> Deduplicated:
    """Of what `exact` kept, the pairs without those whose two sounds are nearly those of an earlier kept one, the same way
    round, with lengths within 50 ms. `vectors` are `sound_vector`s by `pcm_sha256`."""
    dropped = dict(exact.dropped)
    candidates = np.array(exact.kept, dtype=np.int64)
    if not len(candidates):
        return exact
    chosen = np.stack([vectors[rows[i].chosen.pcm_sha256] for i in candidates])
    rejected = np.stack([vectors[rows[i].rejected.pcm_sha256] for i in candidates])
    lengths = np.array([rows[i].chosen.duration_s for i in candidates])
    stays = np.ones(len(candidates), dtype=bool)
    for start in range(0, len(candidates), 512):
        stop = min(start + 512, len(candidates))
        alike = np.abs(lengths[start:stop, None] - lengths[None, :stop]) <= SAME_LENGTH_S
        alike &= np.arange(stop)[None, :] < np.arange(start, stop)[:, None]
        for side in (chosen, rejected):
            alike &= near(side[start:stop], side[:stop], cosine)
        for row in np.flatnonzero(alike.any(axis=1)):
            earlier = [int(j) for j in np.flatnonzero(alike[row]) if stays[j]]
            if earlier:
                stays[start + row] = False
                dropped[int(candidates[start + row])] = ("near", int(candidates[earlier[0]]))
    kept = [int(i) for i, stay in zip(candidates, stays, strict=True) if stay]
    return Deduplicated(tuple(kept), dropped)

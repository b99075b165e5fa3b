"""Injectors of what has no moment: spectrum, pitch, tempo. Knows no detector."""

from __future__ import annotations

import numpy as np
import soxr

from .kind import Injector

Whole = tuple[np.ndarray, list[tuple[float, float]]]


def _whole(y: np.ndarray, rate_hz: int) -> Whole:
    return np.ascontiguousarray(y, dtype=np.float32), [(0.0, y.shape[1] / rate_hz)]


def played_at(x: np.ndarray, speed: float) -> np.ndarray:
    """The sound `[C, T]` played `speed` times as fast (tempo and pitch together), as a tape would be."""
    steps = 100_000
    return np.asarray(soxr.resample(np.ascontiguousarray(x.T), steps, round(steps / speed)).T, dtype=np.float32)


def bent(x: np.ndarray, start: float, end: float) -> np.ndarray:
    """Played at a speed that goes from `start` to `end` in a straight line."""
    speed = np.linspace(start, end, int(x.shape[1] / ((start + end) / 2)))
    at = np.cumsum(speed) - speed[0]
    whole, part = np.floor(at).astype(np.intp), (at - np.floor(at)).astype(np.float32)
    whole = np.minimum(whole, x.shape[1] - 4)
    padded = np.pad(x, ((0, 0), (1, 2)))
    p0, p1, p2, p3 = (padded[:, whole + k] for k in range(4))
    return p1 + 0.5 * part * (p2 - p0 + part * (2 * p0 - 5 * p1 + 4 * p2 - p3 + part * (3 * (p1 - p2) + p3 - p0)))


MISTUNED = (8.0, 16.0, 26.0, 34.0, 42.0)
DRIFTING = (10.0, 25.0, 50.0, 75.0, 100.0)
FIFTHS = (1.0, 2.0, 3.0, 4.0, 5.0)
OFF_TEMPO = (2.0, 5.0, 9.0, 14.0, 20.0)
CHANGING = (3.0, 6.0, 12.0, 20.0, 28.0)


def mistuned(x: np.ndarray, rate_hz: int, level: int, rng: np.random.Generator) -> Whole:
    return _whole(played_at(x, 2 ** (rng.choice((-1, 1)) * MISTUNED[level] / 1200)), rate_hz)


def pitch_drift(x: np.ndarray, rate_hz: int, level: int, rng: np.random.Generator) -> Whole:
    octaves = rng.choice((-1, 1)) * DRIFTING[level] / 1200
    return _whole(bent(x, 2 ** (-octaves / 2), 2 ** (octaves / 2)), rate_hz)


def wrong_key(x: np.ndarray, rate_hz: int, level: int, rng: np.random.Generator) -> Whole:
    """Transposed by as many fifths, through the octave nearest; to be judged against the key it had."""
    semitones = (7 * FIFTHS[level] * rng.choice((-1, 1)) + 6) % 12 - 6
    return _whole(played_at(x, 2 ** (semitones / 12)), rate_hz)


def wrong_tempo(x: np.ndarray, rate_hz: int, level: int, rng: np.random.Generator) -> Whole:
    """Played slower or faster; to be judged against the tempo it had."""
    return _whole(played_at(x, (1 + OFF_TEMPO[level] / 100) ** rng.choice((-1, 1))), rate_hz)


def tempo_drift(x: np.ndarray, rate_hz: int, level: int, rng: np.random.Generator) -> Whole:
    half = rng.choice((-1, 1)) * CHANGING[level] / 200
    return _whole(bent(x, 1 - half, 1 + half), rate_hz)


_PITCHED = ("music",)
INJECTORS: tuple[Injector, ...] = (
    Injector("mistuned", "mistuned", MISTUNED, "cents", mistuned, whole=True, material=_PITCHED),
    Injector("pitch_drift", "mistuned", DRIFTING, "cents over all", pitch_drift, whole=True, material=_PITCHED),
    Injector("wrong_key", "wrong_key", FIFTHS, "fifths", wrong_key, audible=1, whole=True, material=_PITCHED,
             accepts=("wrong_tempo",)),
    Injector("wrong_tempo", "wrong_tempo", OFF_TEMPO, "percent", wrong_tempo, whole=True, material=_PITCHED,
             accepts=("mistuned", "wrong_key")),
    Injector("tempo_drift", "tempo_drift", CHANGING, "percent over all", tempo_drift, whole=True, material=_PITCHED,
             accepts=("mistuned", "wrong_tempo", "wrong_key")),
)  # fmt: skip

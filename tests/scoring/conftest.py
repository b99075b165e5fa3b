"""Music-like material, made here: chords, bass, drums and hats, stereo, 48 kHz, with decays and no noise floor."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import pytest

RATE = 48_000


@lru_cache(maxsize=8)
def make_music(seconds: float = 4.0, seed: int = 0, rate: int = RATE) -> np.ndarray:
    """`[2, T]` float32, peak 0.5."""
    rng = np.random.default_rng(seed)
    out = np.zeros((2, int(rate * seconds)))

    def play(start: float, length: float, attack: float, decay: float, wave, pan: float = 0.5) -> None:
        at = int(start * rate)
        u = np.arange(min(int(length * rate), out.shape[1] - at)) / rate
        sound = wave(u) * (1 - np.exp(-u / attack)) * np.exp(-u / decay)
        out[:, at : at + u.size] += sound * np.array([[2 * (1 - pan)], [2 * pan]])

    def note(f: float, tilt: float, partials: int):
        turns = rng.uniform(0, 6, partials)
        used = [h for h in range(1, partials + 1) if f * h < 0.45 * rate]
        return lambda u: sum(np.sin(2 * np.pi * f * h * u + turns[h - 1]) * h**-tilt for h in used)

    chords = ((220.0, 261.6, 329.6), (174.6, 220.0, 261.6), (196.0, 246.9, 293.7), (164.8, 196.0, 246.9))
    for bar in range(int(np.ceil(seconds / 2))):
        for j, f in enumerate(chords[bar % 4]):
            play(2 * bar, 4.0, 0.01, 1.0, lambda u, w=note(f, 1.3, 29): 0.06 * w(u), 0.3 + 0.2 * j)
    for beat in range(int(seconds * 2)):
        f = chords[(beat // 4) % 4][0] / 2
        play(beat * 0.5, 1.5, 0.005, 0.3, lambda u, w=note(f, 2.0, 5): 0.25 * w(u))
        if beat % 2:
            play(beat * 0.5, 0.6, 0.001, 0.08, lambda u: 0.15 * rng.standard_normal((2, u.size)))
        else:
            play(beat * 0.5, 0.8, 0.001, 0.12, lambda u: 0.6 * np.sin(2 * np.pi * (50 * u + 8 * np.exp(-u / 0.03))))
    for eighth in range(int(seconds * 4)):
        play(eighth * 0.25, 0.3, 0.0005, 0.03, lambda u: 0.16 * np.diff(rng.standard_normal(u.size), prepend=0.0))
    made = (out / np.abs(out).max() * 0.5).astype(np.float32)
    made.setflags(write=False)
    return made


@pytest.fixture(scope="session")
def music() -> np.ndarray:
    return make_music()


@pytest.fixture(scope="session")
def musician() -> Callable[..., np.ndarray]:
    return make_music

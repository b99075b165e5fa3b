"""Drum and percussion patterns on a sixteenth grid; each is a dict of one-shot name -> velocities of one bar."""

from __future__ import annotations

import numpy as np

_PATTERNS: dict[str, dict[str, str]] = {
    # x loud, o medium, . silent; 16 characters for 4/4 and 12 for 3/4
    "backbeat": {"kick": "x.....x.x.......", "snare": "....x.......x...", "hat": "o.o.o.o.o.o.o.o."},
    "rock": {"kick": "x.x...x.x.x...x.", "snare": "....x.......x...", "hat": "x.o.x.o.x.o.x.o."},
    "swing": {"ride": "x...x..ox...x..o", "hat": "....x.......x...", "kick": "o.......o......."},
    "light": {"kick": "x.......x.......", "hat": "..o...o...o...o."},
    "four": {"kick": "x...x...x...x...", "clap": "....x.......x...", "hat": "..x...x...x...x."},
    "funk": {"kick": "x..x..x...x..x..", "snare": "....x..o.o..x..o", "hat": "xooxxooxxooxxoox"},
    "lofi": {"kick": "x..o......x.....", "snare": "....x.......x...", "hat": "o.ooo.ooo.ooo.oo"},
    "latin": {"kick": "x..xx..xx..xx..x", "rim": "x..x..x...x.x...", "hat": "o.o.o.o.o.o.o.o."},
    "march": {"kick": "x...o...x...o...", "snare": "x.xxx.x.x.xxx.oo"},
    "waltz": {"kick": "x...........", "hat": "....o...o...", "snare": "....o...o..."},
    "three": {"kick": "x.....o.....", "snare": "....x...x...", "hat": "o.o.o.o.o.o."},
}
_PERCUSSION: dict[str, dict[str, str]] = {
    "shaker": {"shaker": "xoooxoooxoooxooo"},
    "conga": {"conga_low": "......xx......xx", "conga_high": "x..x....x..x...."},
    "tambourine": {"tambourine": "o.o.x.o.o.o.x.o."},
}
_LEVEL = {"x": 1.0, "o": 0.55, ".": 0.0}


def _bar(pattern: str, steps: int) -> np.ndarray:
    levels = [_LEVEL[character] for character in pattern]
    return np.array((levels * 2)[:steps], dtype=np.float32)


def drum_bar(groove: str, beats: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """One bar of the groove, ``beats`` × 4 sixteenths; with a few ghost notes or omissions of its own."""
    steps = 4 * beats
    name = groove if groove in _PATTERNS else "backbeat"
    if beats == 3 and name != "waltz":
        name = "three"
    bar = {sound: _bar(pattern, steps) for sound, pattern in _PATTERNS[name].items()}
    if name not in ("swing", "waltz", "four", "march"):
        step = int(rng.integers(1, steps))
        bar["kick"][step] = max(bar["kick"][step], 0.6 * float(rng.random() < 0.5))
    if name in ("backbeat", "rock", "lofi") and rng.random() < 0.3:
        bar["hat"] = np.where(np.arange(steps) % 4 == 0, 0.8, 0.5 * (rng.random() < 0.5)).astype(np.float32)
    return bar


def percussion_bar(instrument: str, beats: int) -> dict[str, np.ndarray]:
    """One bar of a percussion instrument on the same grid."""
    return {sound: _bar(pattern, 4 * beats) for sound, pattern in _PERCUSSION[instrument].items()}


def drum_fill(beats: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """A bar whose last beat is a roll over snare and toms."""
    steps = 4 * beats
    snare, tom = np.zeros(steps, np.float32), np.zeros(steps, np.float32)
    snare[steps - 4 :] = (0.7, 0.5, 0.8, 0.0)
    tom[steps - 2 :] = (0.9, 1.0) if rng.random() < 0.7 else (0.0, 0.0)
    return {"snare": snare, "tom": tom}

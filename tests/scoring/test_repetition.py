"""Copies of what came before: found to the sample, in 16 bits and at any level; what is played again is none."""

from __future__ import annotations

import numpy as np
import pytest
from segue.scoring.analysis import Analysis
from segue.scoring.detectors.repetition import repetition
from segue.scoring.repetition import repeats
from segue.training.corpus import make_clip

RATE, LAG = 24_000, 24_000


def looped(differs_db: float | None = None) -> np.ndarray:
    """Five seconds of music whose third second is its second again, but for a noise so far below it; None: exactly."""
    x = make_clip(3, 6.0).samples[:, : 5 * RATE].copy()
    again = x[:, RATE : 2 * RATE].copy()
    if differs_db is not None:
        level = np.sqrt(np.square(again).mean()) * 10 ** (differs_db / 20)
        again += (level * np.random.default_rng(1).standard_normal(again.shape)).astype(np.float32)
    x[:, 2 * RATE : 3 * RATE] = again
    return x


def found(x: np.ndarray) -> list[tuple[float, float]]:
    return [(d.start_s, d.end_s) for d in repetition(Analysis(x, RATE))]


@pytest.mark.parametrize("gain", [1.0, 0.01])
def test_a_copy_is_found_where_it_is_at_any_level(gain: float) -> None:
    (defect,) = repetition(Analysis(looped() * np.float32(gain), RATE))
    assert (defect.start_s, defect.end_s) == pytest.approx((2.0, 3.0), abs=0.05)
    assert defect.evidence["lag_s"] == pytest.approx(LAG / RATE, abs=1e-4)


@pytest.mark.parametrize("dither", [False, True])
def test_a_copy_rounded_to_16_bits_is_one_in_quiet_music_too(dither: bool) -> None:
    x = 0.1 * looped() / np.abs(looped()).max()
    noise = np.random.default_rng(2).uniform(-0.5, 0.5, (2, *x.shape)).sum(0) if dither else 0.0
    (span,) = found((np.round(x * 32_768 + noise) / 32_768).astype(np.float32))
    assert span == pytest.approx((2.0, 3.0), abs=0.1)


@pytest.mark.parametrize(("differs_db", "told"), [(-90.0, True), (-66.0, False), (-30.0, False)])
def test_what_is_played_again_and_sounds_alike_is_no_copy(differs_db: float, told: bool) -> None:
    assert bool(repeats(looped(differs_db), RATE)) == told


def test_music_and_a_held_chord_are_no_copies() -> None:
    t = np.arange(5 * RATE) / RATE
    chord = sum(np.sin(2 * np.pi * hz * t) for hz in (220.0, 275.0, 330.0))
    assert repeats(make_clip(3, 6.0).samples, RATE) == [] and repeats(0.1 * np.stack([chord, chord]), RATE) == []

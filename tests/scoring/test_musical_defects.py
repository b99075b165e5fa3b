"""Tuning, key and tempo: found when they are off, by how much, and never without something to be wrong against."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest
from segue.scoring import musical, score
from segue.scoring.analysis import Analysis
from segue.scoring.detectors.found import Detector
from segue.scoring.detectors.pitch import mistuned, signatures_apart, wrong_key
from segue.scoring.detectors.tempo import tempo_drift, wrong_tempo
from segue.scoring.expected import Expected, parse_keyscale
from segue.scoring.musical import keys, pulses, tempo
from segue.scoring.tones import Tones, tuning
from segue.training.corpus import make_clip

RATE = 24_000
SEEDS = (0, 3, 9)


@lru_cache(maxsize=8)
def clip(seed: int) -> tuple[np.ndarray, Expected]:
    made = make_clip(seed, 10.0)
    return made.samples, Expected(bpm=made.bpm, keyscale=made.keyscale)


def played(x: np.ndarray, start: float, end: float | None = None) -> np.ndarray:
    """At another speed, or one that moves from `start` to `end`."""
    speed = np.linspace(start, start if end is None else end, int(x.shape[1] / (start if end is None else (start + end) / 2)))
    at = np.cumsum(speed) - speed[0]
    return np.stack([np.interp(at, np.arange(x.shape[1]), channel) for channel in x]).astype(np.float32)


def severity(detector: Detector, x: np.ndarray, expected: Expected | None = None) -> float:
    return max((d.severity for d in detector(Analysis(x, RATE, expected or Expected()))), default=0.0)


def tones(hz: list[float], seconds: float = 6.0) -> np.ndarray:
    t = np.arange(int(seconds * RATE)) / RATE
    return 0.1 * sum(np.sin(2 * np.pi * f * t) for f in hz)[None]


@pytest.mark.parametrize("cents", [-45.0, -20.0, 0.0, 10.0, 33.0])
def test_the_tuning_of_a_chord_is_known_to_a_cent(cents: float) -> None:
    chord = [220.0 * 2 ** ((k + cents / 100) / 12) for k in (0, 4, 7, 12)]
    found, agreed = tuning(Tones.of(tones(chord), RATE).pitches.sum(axis=0))
    assert found == pytest.approx(cents, abs=1.0)
    assert agreed > 0.9


@pytest.mark.parametrize("text, key", [
    ("C major", (0, False)), ("F# minor", (6, True)), ("Bb minor", (10, True)), ("Db major", (1, False)), ("Am", (9, True)),
    ("E flat major", (3, False)), ("G", (7, False)), ("", None), (None, None), ("H major", None), ("D dorian", None),
])  # fmt: skip
def test_keys_are_read_as_people_write_them(text: str | None, key: tuple[int, bool] | None) -> None:
    assert parse_keyscale(text) == key


def test_the_key_of_a_scale() -> None:
    for tonic in (0, 5, 8):
        chroma = np.zeros((1, 12))
        for degree, weight in zip((0, 2, 4, 5, 7, 9, 11), (9, 4, 6, 4, 7, 3, 2), strict=True):
            chroma[0, (tonic + degree + 3) % 12] = weight  # A first
        heard = keys(chroma)
        assert heard is not None and heard.best == (tonic, False)
        far = [heard.fifths_from(((tonic + 7 * n) % 12, False)) for n in range(7)]
        assert far[0] < 0.7 and heard.outside((tonic, False)) == pytest.approx(0)
        assert heard.outside(((tonic + 2) % 12, True)) == pytest.approx(0)  # its second degree's minor, with a raised sixth
        assert heard.outside(((tonic + 7) % 12, False)) == pytest.approx(4 / 35)  # all but its fourth degree
        assert np.diff(far[:6]) == pytest.approx(np.ones(5), abs=1e-6)


@pytest.mark.parametrize("seed", SEEDS)
def test_clean_music_is_in_tune_in_key_and_in_time(seed: int) -> None:
    x, expected = clip(seed)
    for detector in (mistuned, wrong_key, wrong_tempo, tempo_drift):
        assert severity(detector, x, expected) == 0.0


@pytest.mark.parametrize("seed", SEEDS)
def test_mistuning_grows(seed: int) -> None:
    x, _ = clip(seed)
    found = [severity(mistuned, played(x, 2 ** (cents / 1200))) for cents in (8, 16, 26, 34, 42)]
    assert found == sorted(found)
    assert found[0] == 0.0 and min(found[2:]) > 0.1
    drift = [severity(mistuned, played(x, 2 ** (-cents / 2400), 2 ** (cents / 2400))) for cents in (10, 50, 90)]
    assert drift == sorted(drift) and drift[0] == 0.0 and drift[1] > 0.1


@pytest.mark.parametrize("seed", SEEDS)
def test_a_wrong_key_is_worse_the_further_it_is(seed: int) -> None:
    x, expected = clip(seed)
    tonic, minor = parse_keyscale(expected.keyscale) or (0, False)
    names = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")

    def asked(fifths: int) -> Expected:
        return Expected(keyscale=f"{names[(tonic + 7 * fifths) % 12]} {'minor' if minor else 'major'}")

    assert severity(wrong_key, x, asked(4)) > 0.3
    assert severity(wrong_key, x, asked(-4)) > 0.3
    relative = Expected(keyscale=f"{names[(tonic + (3 if minor else 9)) % 12]} {'major' if minor else 'minor'}")
    assert severity(wrong_key, x, relative) <= 0.3
    assert severity(wrong_key, x) == 0.0


@pytest.mark.parametrize(("asked", "told"), [("E minor", False), ("A major", False), ("Bb major", True), ("F minor", True)])
def test_notes_that_are_all_of_a_key_are_in_it_whichever_they_turn_about(asked: str, told: bool) -> None:
    """A B C# E F#: about A, but all degrees of the melodic E minor."""
    weights = (9, 3, 7, 7, 3)
    x = sum(w * tones([440 * 2 ** (k / 12)]) for w, k in zip(weights, (0, 2, 4, 7, 9), strict=True))
    assert (severity(wrong_key, x, Expected(keyscale=asked)) > 0) == told


@pytest.mark.parametrize("seed", SEEDS)
def test_tempo_is_known_up_to_an_octave_and_held_against_what_was_asked(seed: int) -> None:
    x, expected = clip(seed)
    bpm = expected.bpm or 0.0
    heard, sure = tempo(pulses(x, RATE)[0])
    assert sure > 0.2
    assert np.log2(heard / bpm) % 1 == pytest.approx(0.0, abs=0.03) or np.log2(heard / bpm) % 1 > 0.97
    assert severity(wrong_tempo, x, Expected(bpm=bpm * 2 if bpm < 200 else bpm / 2)) == 0.0
    off = [severity(wrong_tempo, x, Expected(bpm=bpm * ratio)) for ratio in (1.02, 1.09, 1.2)]
    assert off == sorted(off) and off[0] == 0.0 and off[1] > 0.2 and off[2] == 1.0  # a fifth off is another tempo
    assert severity(wrong_tempo, x) == 0.0


@pytest.mark.parametrize("seed", SEEDS)
def test_a_tempo_that_moves(seed: int) -> None:
    x, _ = clip(seed)
    for change in (-0.2, 0.12):
        moved = played(x, 1 - change / 2, 1 + change / 2)
        assert musical.tempo_drift(pulses(moved, RATE)[0])[0] == pytest.approx(change, abs=0.04)
    found = [severity(tempo_drift, played(x, 1 - c / 2, 1 + c / 2)) for c in (0.03, 0.07, 0.12, 0.2, 0.28)]
    assert found == sorted(found) and found[0] == 0.0 and found[2] > 0.1


@pytest.mark.parametrize("x", [
    0.1 * np.random.default_rng(0).standard_normal((1, 6 * RATE)), tones([440.0]), tones([100.0, 150.0]),
    np.zeros((2, 3 * RATE)), np.ones((1, 100)),
], ids=["noise", "tone", "fifth", "silence", "short"])  # fmt: skip
def test_nothing_is_said_of_what_is_no_music(x: np.ndarray) -> None:
    asked = Expected(bpm=117, keyscale="F# major")
    assert severity(wrong_tempo, x, asked) == severity(tempo_drift, x) == severity(wrong_key, x, asked) == 0.0


def test_keys_are_as_far_apart_as_their_scales() -> None:
    for tonic in range(12):
        for minor in (False, True):
            key = (tonic, minor)
            assert signatures_apart(key, ((tonic + (3 if minor else 9)) % 12, not minor)) == 0
            assert [signatures_apart(key, ((tonic + 7 * n) % 12, minor)) for n in range(8)] == [0, 1, 2, 3, 4, 5, 6, 5]


def test_two_tuned_drums_are_in_no_tune_and_a_scale_as_far_off_is_not() -> None:
    t = np.arange(RATE // 2) / RATE
    hits = [np.exp(-8 * t) * np.sin(2 * np.pi * hz * 2 ** (35 / 1200) * t) for hz in (110.0, 165.0)]
    assert severity(mistuned, 0.2 * np.concatenate(hits * 8)[None]) == 0.0
    scale = [np.exp(-4 * t) * np.sin(2 * np.pi * 220 * 2 ** ((k + 0.35) / 12) * t) for k in (0, 7, 12, 4, 7, 2, 11, 9, 5)]
    assert severity(mistuned, 0.2 * np.concatenate(scale * 2)[None]) > 0.1


def test_noise_and_a_tone_at_a_are_not_out_of_tune() -> None:
    noise = 0.1 * np.random.default_rng(0).standard_normal((1, 6 * RATE))
    for x in (noise, tones([440.0]), np.zeros((1, RATE)), np.ones((1, 9))):
        assert severity(mistuned, x) == 0.0


def test_gain_changes_nothing_and_score_hands_over_what_was_asked() -> None:
    x, expected = clip(3)
    wrong = Expected(bpm=(expected.bpm or 0) * 1.15, keyscale="F# major")
    loud, soft = (score(x * np.float32(gain), RATE, expected=wrong) for gain in (1.0, 0.01))
    assert "wrong_tempo" in loud.defect_types() and "wrong_key" in loud.defect_types()
    assert [(d.type, round(d.severity, 2)) for d in loud.defects if d.type.startswith("wrong")] == [
        (d.type, round(d.severity, 2)) for d in soft.defects if d.type.startswith("wrong")
    ]
    assert not any(kind.startswith("wrong") for kind in score(x, RATE).defect_types())


@pytest.mark.parametrize("facts", [{"bpm": 5}, {"strides": ()}, {"strides": (2, 0)}])
def test_what_can_not_be_expected_is_refused(facts: dict) -> None:
    with pytest.raises(ValueError, match="give"):
        Expected(**facts)


def struck(beats: list[float], bpm: float, seconds: float = 10.0) -> np.ndarray:
    """Short noises at the given beats of every four."""
    rng, x = np.random.default_rng(1), 1e-4 * np.random.default_rng(0).standard_normal(int(seconds * RATE))
    for bar in range(int(seconds * bpm / 240) + 1):
        for beat in beats:
            at = int((4 * bar + beat) * 60 / bpm * RATE)
            x[at : at + 480] += 0.1 * rng.standard_normal(x[at : at + 480].size)
    return x[None].astype(np.float32)


def test_half_and_double_are_the_same_tempo_and_four_to_five_is_not() -> None:
    x = struck([0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5], 120)
    assert [severity(wrong_tempo, x, Expected(bpm=bpm)) for bpm in (60, 120, 240)] == [0, 0, 0]
    assert severity(wrong_tempo, x, Expected(bpm=96)) > 0.8
    assert severity(wrong_tempo, x, Expected(bpm=112)) < severity(wrong_tempo, x, Expected(bpm=105))


def test_a_pitch_that_falls_by_a_semitone_is_found_though_no_stretch_of_it_is_on_a_grid() -> None:
    t = np.arange(8 * RATE) / RATE
    falling = np.cumsum(2 ** (-(t / 8 - 0.5) / 12)) / RATE  # 100 cents in 8 s
    chord = 0.1 * sum(np.sin(2 * np.pi * 220 * 2 ** (k / 12) * falling) for k in (0, 4, 7, 12))[None]
    (defect,) = mistuned(Analysis(chord.astype(np.float32), RATE))
    assert defect.evidence["drift_cents"] == pytest.approx(-100, abs=8)
    assert severity(mistuned, 0.1 * sum(np.sin(2 * np.pi * 220 * 2 ** (k / 12) * t) for k in (0, 4, 7, 12))[None]) == 0.0

"""Captions from the signal: tempo and key of material that has known ones, words that follow what is there."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from segue.pipeline.context import Job, Result
from segue.pipeline.spec import Prompt
from segue.pipeline.take import Audio, Signal, Take
from segue.stages.caption import Caption
from segue.stages.caption_key import MAJOR_NAMES, MINOR_NAMES, find_key, pitch_classes, tuning
from segue.stages.caption_rhythm import find_tempo
from segue.stages.caption_spectra import RATE_HZ, mel_weights, spectrogram
from segue.stages.caption_timbre import describe_timbre, dynamics_db, percussive_share, voice_share
from segue.stages.caption_words import listen, sentence, tempo_word


class Surroundings:
    stage = "told"

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def audio(self, take: Take, rate_hz: int | None = None, channels: int | None = None) -> Audio:
        return take.signal.audio()

    def warn(self, message: str) -> None:
        self.warnings.append(message)


def clicks(bpm: float, seconds: float = 10.0, rate_hz: int = RATE_HZ, decay_s: float = 0.008) -> np.ndarray:
    """Decaying bursts of noise on every beat."""
    rng, out = np.random.default_rng(0), np.zeros(round(seconds * rate_hz))
    burst = rng.standard_normal(rate_hz // 20) * np.exp(-np.arange(rate_hz // 20) / (decay_s * rate_hz))
    for beat in np.arange(0.1, seconds - 0.06, 60 / bpm):
        at = round(beat * rate_hz)
        out[at : at + len(burst)] += burst
    return 0.3 * out


def tone(pitch: float, seconds: float, partials: int = 6, rate_hz: int = RATE_HZ) -> np.ndarray:
    t = np.arange(round(seconds * rate_hz)) / rate_hz
    hz = 440.0 * 2 ** ((pitch - 69) / 12)
    wave = sum(np.sin(2 * np.pi * k * hz * t) / k**1.5 for k in range(1, partials + 1) if k * hz < 10_000)
    return np.asarray(wave * np.minimum(1, np.minimum(t, seconds - t) * 50) * 0.1)


MAJOR, MINOR = (0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10)


def cadence(tonic: int, minor: bool, chord_s: float = 0.75, detune: float = 0.0) -> np.ndarray:
    """I–IV–V–I–vi–ii–V–I (in minor i–iv–V–i–VI–iv–V–i, V with the leading note), bass doubled an octave below."""
    scale = MINOR if minor else MAJOR
    chords = []
    for degree in (0, 3, 4, 0, 5, 3 if minor else 1, 4, 0):
        notes = [scale[(degree + k) % 7] + 12 * ((degree + k) // 7) for k in (0, 2, 4)]
        if minor and degree == 4:
            notes[1] += 1
        chords.append(sum(tone(48 + tonic + n + detune, chord_s) for n in notes) + tone(36 + tonic + notes[0] + detune, chord_s))
    return np.concatenate(chords)


def mono(audio: np.ndarray, rate_hz: int = RATE_HZ) -> Audio:
    return Audio(torch.from_numpy(np.atleast_2d(audio).astype(np.float32)), rate_hz)


# -- tempo -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bpm", [52, 60, 72, 85, 96, 107, 120, 128, 133, 150, 174, 180, 200])
def test_clicks_have_their_tempo_to_half_a_percent(bpm: int) -> None:
    found = find_tempo(clicks(bpm))
    assert found is not None and found.bpm == pytest.approx(bpm, rel=0.005) and round(found.bpm) == bpm


@given(bpm=st.floats(60, 160), level=st.floats(-50, 0), noise_db=st.floats(-60, -20))
@settings(max_examples=20, deadline=None)
def test_tempo_does_not_hang_on_level_or_a_noise_floor(bpm: float, level: float, noise_db: float) -> None:
    x = clicks(bpm, 12.0)
    x = x + np.random.default_rng(1).standard_normal(len(x)) * 10 ** (noise_db / 20) * np.abs(x).max() * 0.1
    found = find_tempo(x * 10 ** (level / 20))
    assert found is not None and found.bpm == pytest.approx(bpm, rel=0.01)


def test_weak_offbeats_do_not_double_the_tempo() -> None:
    x = clicks(100, 12.0)
    x[round(0.3 * RATE_HZ) :] += 0.25 * x[: -round(0.3 * RATE_HZ)]
    found = find_tempo(x)
    assert found is not None and found.bpm == pytest.approx(100, rel=0.005)


@pytest.mark.parametrize("seed", range(8))
def test_noise_has_no_tempo(seed: int) -> None:
    assert find_tempo(np.random.default_rng(seed).standard_normal(8 * RATE_HZ) * 0.1) is None


@pytest.mark.parametrize("seconds", [0.01, 0.3, 8.0])
def test_a_held_tone_and_short_sounds_have_no_tempo(seconds: float) -> None:
    assert find_tempo(tone(57, seconds)) is None


# -- key ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tonic", range(12))
@pytest.mark.parametrize("minor", [False, True])
def test_cadences_have_their_key(tonic: int, minor: bool) -> None:
    found = find_key(cadence(tonic, minor))
    assert found is not None and found.name == f"{(MINOR_NAMES if minor else MAJOR_NAMES)[tonic]} {'minor' if minor else 'major'}"


@pytest.mark.parametrize("detune", [-0.4, -0.2, 0.3, 0.45])
def test_a_recording_off_pitch_keeps_its_key(detune: float) -> None:
    found = find_key(cadence(7, False, detune=detune))
    assert found is not None and found.name == "G major"


def test_chroma_turns_with_the_key() -> None:
    low, high = pitch_classes(cadence(0, False)), pitch_classes(cadence(5, False))
    assert low is not None and high is not None
    assert low.sum() == pytest.approx(1) and np.corrcoef(np.roll(low, 5), high)[0, 1] > 0.95


def test_tuning_is_the_offset_from_the_scale() -> None:
    pitches = np.array([60, 64, 67, 71.0]) + 0.3
    assert tuning(pitches, np.ones(4)) == pytest.approx(0.3)


@pytest.mark.parametrize("seed", range(4))
def test_percussion_has_no_key(seed: int) -> None:
    x = clicks(110 + 10 * seed)
    assert listen(mono(x)).key is None


# -- timbre and words --------------------------------------------------------------------------------------------------


def test_spectrogram_shows_amplitudes() -> None:
    t = np.arange(RATE_HZ) / RATE_HZ
    magnitude = spectrogram(0.25 * np.sin(2 * np.pi * 20 * RATE_HZ / 2048 * t), 2048, 512)
    assert magnitude.shape == (1025, 1 + RATE_HZ // 512)
    assert np.allclose(magnitude[20, 4:-4], 0.25, atol=1e-3)


def test_mel_bands_are_weighted_means() -> None:
    weights = mel_weights(1024, 40, 30.0, 10_000.0)
    assert np.allclose(weights.sum(1), 1) and (weights >= 0).all() and (np.diff(weights.argmax(1)) >= 0).all()


def test_a_voice_glides_and_keys_do_not() -> None:
    def sung(depth_semitones: float) -> np.ndarray:
        t = np.arange(4 * RATE_HZ) / RATE_HZ
        pitch = 57 + depth_semitones * np.sin(2 * np.pi * 5.5 * t)
        phase = 2 * np.pi * np.cumsum(440 * 2 ** ((pitch - 69) / 12)) / RATE_HZ
        return np.asarray(sum(np.sin(k * phase) / k for k in range(1, 16)) * 0.1)

    def gliding(x: np.ndarray) -> float:
        return voice_share(spectrogram(x, 2048, 512))

    assert gliding(sung(0.6)) > 0.55 > 0.05 > gliding(sung(0.0))
    assert gliding(cadence(0, False)) < 0.1 and gliding(np.random.default_rng(0).standard_normal(RATE_HZ)) < 0.3


def test_percussive_share_tells_clicks_from_chords() -> None:
    def share(x: np.ndarray) -> float:
        return percussive_share(spectrogram(x, 2048, 512))

    click, chord = clicks(120), cadence(0, False, 1.25)
    both = 3 * click[: len(chord)] / np.abs(click).max() + chord / np.abs(chord).max()
    assert share(click) > 0.95 and share(chord) < 0.09 and share(chord) < share(both) < 0.45
    assert share(np.random.default_rng(0).standard_normal(2 * RATE_HZ)) == pytest.approx(0.5, abs=0.03)
    assert share(tone(57, 4.0)) < 0.02


def test_dynamics_are_the_spread_of_levels() -> None:
    steady = np.random.default_rng(0).standard_normal(8 * RATE_HZ)
    swell = steady * 10 ** (np.repeat([-20, 0], 4 * RATE_HZ) / 20)
    assert dynamics_db(steady) < 0.5 and dynamics_db(swell) == pytest.approx(20, abs=0.5)


def test_brightness_follows_the_spectrum() -> None:
    low, high = describe_timbre(tone(40, 2.0, 2)), describe_timbre(tone(100, 2.0, 3))
    assert low.centroid_hz < 150 and high.centroid_hz > 2500


def band(bpm: float, tonic: int, minor: bool) -> np.ndarray:
    music = np.tile(cadence(tonic, minor, 60 / bpm), 2)
    beat = clicks(bpm, len(music) / RATE_HZ, decay_s=0.03)[: len(music)]  # as long as a snare
    return music / np.abs(music).max() + 3.0 * beat / np.abs(beat).max()


@pytest.mark.parametrize(
    ("bpm", "tonic", "minor", "key"), [(96, 9, True, "A minor"), (72, 3, False, "Eb major"), (150, 6, True, "F# minor")]
)
def test_a_sentence_says_what_is_there(bpm: int, tonic: int, minor: bool, key: str) -> None:
    text = sentence(listen(mono(band(bpm, tonic, minor))))
    assert text.startswith(tempo_word(bpm).capitalize()) and text.endswith(f"in {key}, {bpm} bpm") and "drums" in text


def test_words_for_percussion_alone_and_sustained_tones_alone() -> None:
    beats = sentence(listen(mono(clicks(120))))
    assert beats.startswith("Lively, bright percussion") and "in " not in beats
    held = sentence(listen(mono(np.concatenate([tone(p, 4.0) + tone(p + 4, 4.0) + tone(p + 7, 4.0) for p in (60, 65)]))))
    assert "sustained tones" in held and "drums" not in held and "bpm" not in held


def test_findings_do_not_hang_on_rate_or_channels() -> None:
    import soxr

    x = band(96, 9, True)
    first = listen(mono(x))
    other = listen(Audio(torch.from_numpy(np.tile(soxr.resample(x, RATE_HZ, 48_000), (2, 1)).astype(np.float32)), 48_000))
    assert first.tempo is not None and other.tempo is not None and first.key is not None and other.key is not None
    assert other.tempo.bpm == pytest.approx(first.tempo.bpm, rel=2e-3) and other.key.name == first.key.name
    assert sentence(first) == sentence(other)


@pytest.mark.parametrize("samples", [1, 2, 100, 3000])
def test_very_short_sounds_and_odd_samples_are_described(samples: int) -> None:
    x = np.random.default_rng(0).standard_normal((2, samples)).astype(np.float32)
    x[0, 0] = np.nan
    assert sentence(listen(mono(x, 48_000)))


# -- the stage ---------------------------------------------------------------------------------------------------------


def told(audio: Audio, prompt: Prompt | None = None, ctx: Any = None, **spec: Any) -> Result:
    take = Take("clip", 0, 0, prompt or Prompt(), "k", Signal(audio))
    (result,) = Caption(source="clip", **spec).run([Job(0, 0, take.prompt, {"source": take}, "k")], ctx or Surroundings())
    assert result.same_signal and result.audio is None
    return result


@pytest.fixture(scope="module")
def song() -> Audio:
    return mono(band(96, 9, True))


def test_all_fields_are_filled_and_recorded(song: Audio) -> None:
    result = told(song)
    assert result.prompt is not None
    assert (result.prompt.bpm, result.prompt.keyscale) == (96, "A minor")
    assert result.prompt.duration_s == pytest.approx(song.duration_s, abs=1e-3)
    assert result.facts["filled"] == result.prompt.facts()
    assert result.facts["heard"]["tempo"]["bpm"] == pytest.approx(96, rel=0.005)
    assert told(song).facts == result.facts


def test_what_the_prompt_has_stays_unless_told_otherwise(song: Audio) -> None:
    own = Prompt(caption="", bpm=100, lyrics="la")
    kept = told(song, own).prompt
    assert kept is not None and kept.over(own).facts() == {
        "caption": "", "bpm": 100, "lyrics": "la", "keyscale": "A minor", "duration_s": pytest.approx(song.duration_s, abs=1e-3)
    }
    replaced = told(song, own, overwrite=True).prompt
    assert replaced is not None and replaced.bpm == 96 and replaced.caption and replaced.lyrics is None


def test_fields_choose(song: Audio) -> None:
    result = told(song, fields=("keyscale",))
    assert result.prompt == Prompt(keyscale="A minor")


def test_silence_is_said_with_a_warning() -> None:
    ctx = Surroundings()
    result = told(mono(np.zeros(48_000), 48_000), ctx=ctx)
    assert result.prompt == Prompt(caption="Silence", duration_s=1.0) and len(ctx.warnings) == 1


@pytest.mark.parametrize(
    ("spec", "said"),
    [({"by": "ear"}, "signal"), ({"model": "x"}, "by: signal needs none"), ({"fields": ()}, "at least 1"),
     ({"fields": ("mood",)}, "bpm")],
)
def test_wrong_requests_are_refused(spec: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Caption(source="clip", **spec)


def test_the_question_is_part_of_the_key_only_where_it_is_asked() -> None:
    assert Caption(source="a", question="x").key_facts() == Caption(source="b", question="y").key_facts()
    by = "qwen2-audio"
    assert Caption(source="a", by=by, question="x").key_facts() != Caption(source="a", by=by, question="y").key_facts()

"""The corpus: everything follows from the seed, stems sum to the mix, and the music is what its facts say."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from segue.pipeline.errors import RequestError
from segue.training.corpus import fluid, make_clip, make_corpus
from segue.training.corpus.composer import compose
from segue.training.corpus.render import FLOOR_DB, render
from segue.training.corpus.theory import SCALES, Key, make_progression
from segue.training.vocabulary import TRACKS

SEEDS = (0, 3, 8, 12)


@pytest.fixture(scope="module")
def clips():
    return [make_clip(seed, duration_s=4.0) for seed in SEEDS]


def test_same_seed_same_samples(clips):
    again = make_clip(SEEDS[0], duration_s=4.0)
    assert again.facts() == clips[0].facts()
    for track, samples in again.stems.items():
        np.testing.assert_array_equal(samples, clips[0].stems[track])


def test_other_seed_other_music(clips):
    assert not np.array_equal(clips[0].samples, clips[1].samples)


def test_stems_sum_to_the_mix_without_clipping(clips):
    for clip in clips:
        assert clip.samples.shape == (2, 96_000)
        np.testing.assert_allclose(sum(clip.stems.values()), clip.samples, atol=1e-6)
        assert 0.05 < np.abs(clip.samples).max() < 0.95
        assert set(clip.stems) <= set(TRACKS)
        assert all(np.sqrt(np.mean(stem**2)) > 1e-4 for stem in clip.stems.values())


@pytest.mark.parametrize("rate_hz", [16_000, 48_000])
def test_any_rate(rate_hz):
    assert make_clip(1, 1.0, rate_hz).samples.shape == (2, rate_hz)


def test_facts_are_in_range():
    songs = [compose(seed) for seed in range(400)]
    assert all(60 <= song.bpm <= 180 and song.beats in (3, 4) for song in songs)
    assert {song.beats for song in songs} == {3, 4}
    assert len({song.key.keyscale for song in songs}) == 24
    assert len({song.style.name for song in songs}) == 14


def test_notes_stay_in_key_but_for_leading_tones():
    """Pitched tracks use the scale; only the dominant's raised third and walking basses may leave it."""
    inside = total = 0
    for seed in range(60):
        song = compose(seed)
        scale = {(song.key.tonic + step) % 12 for step in SCALES[song.key.mode]}
        for track, notes in song.notes.items():
            if track != "bass":
                inside += sum(note.pitch % 12 in scale for note in notes)
                total += len(notes)
    assert inside / total > 0.93


def test_progression_starts_on_the_tonic():
    rng = np.random.default_rng(0)
    for tonic in range(12):
        chords = make_progression(Key(tonic, "major"), 4, False, rng)
        assert chords[0].root == tonic and chords[-1].degree in (3, 4)


def test_onsets_lie_on_the_beat_grid():
    song = next(s for s in map(compose, range(100)) if s.swing == 0 and "drums" in s.hits)
    grid = song.beat_s / 4
    offsets = [hit.start_s / grid - round(hit.start_s / grid) for hit in song.hits["drums"]]
    assert np.max(np.abs(offsets)) < 1e-6


def test_harmony_changes_within_long_bars():
    """Whatever the tempo, no chord of a 4/4 song lasts longer than two seconds, and the first is the tonic."""
    for seed in range(80):
        song = compose(seed)
        assert song.chord(0).root == song.key.tonic
        if song.beats == 4:
            assert song.chord_beats * song.beat_s <= 2.0 + 1e-9
        assert song.chord(0, song.beats) is song.chord(1)


def test_another_draw_of_the_hiss_leaves_the_music():
    song = compose(5, 3.0)
    first, again, other = render(song), render(song), render(song, hiss=1)
    for track, stem in first.items():
        np.testing.assert_array_equal(stem, again[track])
        difference = other[track] - stem
        assert 20 * np.log10(difference.std()) == pytest.approx(FLOOR_DB + 3, abs=0.5)  # two noises of one level


def test_second_renderer_says_what_is_missing(monkeypatch, tmp_path):
    monkeypatch.setenv("SEGUE_SOUNDFONT", str(tmp_path / "none.sf2"))
    with pytest.raises(RequestError, match=r"none\.sf2"):
        fluid.find_soundfont()
    monkeypatch.setitem(sys.modules, "fluidsynth", None)
    with pytest.raises(RequestError, match="segue-audio\\[fluidsynth\\]"):
        fluid.SoundFont()
    with pytest.raises(ValueError, match="synth, fluidsynth"):
        make_clip(0, 1.0, renderer="tape")


def test_second_renderer_plays_the_same_song():
    """Where FluidSynth and a sound font are installed: same stems by name, same seed same samples, tracks that sound."""
    pytest.importorskip("fluidsynth")
    if not any(Path(place).is_file() for place in fluid.SOUNDFONTS):
        pytest.skip("no sound font is installed")
    ours, theirs, again = (make_clip(3, 3.0, renderer=r) for r in ("synth", "fluidsynth", "fluidsynth"))
    assert list(theirs.stems) == list(ours.stems) and theirs.facts() == ours.facts()
    for track, samples in theirs.stems.items():
        np.testing.assert_array_equal(samples, again.stems[track])
        assert np.sqrt(np.mean(samples**2)) > 1e-3
    assert not np.array_equal(ours.samples, theirs.samples)


def test_corpus_on_disk(tmp_path):
    facts = list(make_corpus(tmp_path, 2, first_seed=5, duration_s=1.0))
    lines = [json.loads(line) for line in (tmp_path / "clips.jsonl").read_text().splitlines()]
    assert [line["seed"] for line in lines] == [fact["seed"] for fact in facts] == [5, 6]
    for line in lines:
        assert (tmp_path / line["file"]).exists()
        assert all((tmp_path / name).exists() for name in line["stems"].values())

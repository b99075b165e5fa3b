"""The corpus: everything follows from the seed, stems sum to the mix, and the music is what its facts say."""

from __future__ import annotations

import json

import numpy as np
import pytest
from segue.training.corpus import make_clip, make_corpus
from segue.training.corpus.composer import compose
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
    songs = [compose(seed) for seed in range(200)]
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


def test_corpus_on_disk(tmp_path):
    facts = list(make_corpus(tmp_path, 2, first_seed=5, duration_s=1.0))
    lines = [json.loads(line) for line in (tmp_path / "clips.jsonl").read_text().splitlines()]
    assert [line["seed"] for line in lines] == [fact["seed"] for fact in facts] == [5, 6]
    for line in lines:
        assert (tmp_path / line["file"]).exists()
        assert all((tmp_path / name).exists() for name in line["stems"].values())

"""The evaluation's own judgement: bars, listeners, likeness. What it measures of the shipped weights: test_shipped."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from segue.training.corpus import make_clip
from segue.training.evaluate import GROUPS, rounded
from segue.training.evaluation.bars import rows
from segue.training.evaluation.listeners import KEYS, Listeners, agreement, features, present, same_tempo
from segue.training.studies.cover_guidance import STEPS, phases
from segue.training.studies.likeness import ASPECTS, likeness, mel_spectrum
from segue.training.vocabulary import TRACKS


@pytest.fixture(scope="module")
def clips():
    return [make_clip(seed, 5.0) for seed in range(60)]


@pytest.fixture(scope="module")
def listeners(clips):
    return Listeners([features(c.samples, c.rate_hz) for c in clips], [c.facts() for c in clips])


def test_bars_say_what_is_met_and_what_is_missed():
    figures = {"autoencoder": {"mix_si_sdr_db": 13.0, "mix_lsd_db": 6.6, "drums_lsd_db": None},
               "cost": {"megabytes": 60.0, "turbo_8s_seconds": 3.01}}
    found = {row["what"]: row["met"] for row in rows(figures)}
    assert list(found.values()) == [True, False, False, True, False]
    assert rows({}) == []
    assert set(figures) < set(GROUPS)


def test_what_is_no_number_becomes_none():
    given = {"a": float("nan"), "b": {"c": 0.123456, "d": True, "e": 3}}
    assert rounded(given) == {"a": None, "b": {"c": 0.1235, "d": True, "e": 3}}


@pytest.mark.parametrize(("heard", "wanted", "same"), [(60, 120, True), (123, 120, True), (241, 120, True), (124, 120, False),
                                                       (180, 120, False), (40, 120, False)])
def test_tempo_counts_octaves_within_three_per_cent(heard, wanted, same):
    assert same_tempo(heard, wanted) is same


def test_agreement_is_balanced():
    """Hearing everything, nothing, or the opposite: one half, one half, nothing; tracks the corpus lacks don't count."""
    wanted, used = present(TRACKS[:2]), present(TRACKS[:8])
    assert agreement(wanted, wanted, used) == 1
    assert agreement(torch.ones(len(TRACKS)), wanted, used) == agreement(torch.zeros(len(TRACKS)), wanted, used) == 0.5
    assert agreement(1 - wanted, wanted, used) == 0


def test_listeners_are_better_than_chance_on_clips_they_have_not_heard(listeners):
    unseen = [make_clip(seed, 5.0) for seed in range(1000, 1024)]
    heard = [features(c.samples, c.rate_hz) for c in unseen]
    key = np.mean([listeners.key(h) == c.keyscale for h, c in zip(heard, unseen, strict=True)])
    bpm = np.mean([same_tempo(listeners.bpm(h), c.bpm) for h, c in zip(heard, unseen, strict=True)])
    tracks = np.mean([agreement(listeners.tracks(h), present(c.instruments), listeners.used)
                      for h, c in zip(heard, unseen, strict=True)])  # fmt: skip
    assert key > 0.25 and bpm > 0.5 and tracks > 0.65  # chance: 0.04, 0.1, 0.5


def test_the_key_reader_is_equivariant(listeners, clips):
    """A clip's features turned by some semitones are heard in the key so many semitones on."""
    heard = features(clips[0].samples, clips[0].rate_hz)
    first = KEYS.index(listeners.key(heard))
    for up in (1, 5, 11):
        turned = type(heard)(np.roll(heard.key, up, axis=1), heard.tempo, heard.tracks)
        assert KEYS.index(listeners.key(turned)) == first // 12 * 12 + (first + up) % 12


def test_features_do_not_depend_on_level(clips):
    a, b = (features(gain * clips[1].samples, 24_000) for gain in (1.0, 0.1))
    for one, other in ((a.key, b.key), (a.tempo, b.tempo), (a.tracks, b.tracks)):
        np.testing.assert_allclose(one, other, atol=1e-3)


def test_likeness_is_one_for_the_same_sound_and_small_for_another(clips):
    sounds = [torch.from_numpy(c.samples) for c in clips[:12]]
    usual = np.mean([mel_spectrum(s, 24_000) for s in sounds], axis=0)
    same = likeness(sounds[0], sounds[0], 24_000, usual)
    assert set(same) == set(ASPECTS) and min(same.values()) == pytest.approx(1.0, abs=1e-3)
    others = [likeness(sounds[0], other, 24_000, usual) for other in sounds[1:]]
    for aspect in ("rhythm", "loudness", "timbre", "stereo"):
        assert np.mean([row[aspect] for row in others]) < 0.4


def test_guidance_of_the_two_phases_meets_at_the_switch():
    """Source phase and caption phase: every step of the schedule lies in exactly one of the two intervals."""
    from segue.pipeline.diffusion.schedules import timesteps

    found = phases(0.7, 5.0)
    inside = [[a <= t <= b for t in timesteps("linear", STEPS, 1.0)] for a, b in
              (found["source phase"].interval, found["caption phase"].interval)]
    assert [x + y for x, y in zip(*inside, strict=True)] == [1] * STEPS
    assert sum(inside[0]) == int(STEPS * 0.7)

"""Groups and pairs: the user's schema to the letter, best against worst, and what must never be paired."""

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from segue.scoring.preferences import (
    SAME_LENGTH_S,
    TIE,
    Generation,
    Group,
    GroupEntry,
    Pair,
    margin_correlations,
    pairs_best_worst,
)
from segue.scoring.report import Defect, Metric, QualityReport

SEED_EXAMPLE = """
{
  "prompt": {
    "caption": "acoustic soul, female tenor vocal...",
    "lyrics": "[Verse 1] They say she makes...",
    "metadata": {"bpm": 100, "keyscale": "C major", "duration": 150}
  },
  "chosen": {
    "audio_path": "generations/good_001.flac",
    "quality_score": 8.7,
    "quality_report": { "vocals": 9.0, "guitar": 8.5, "drums": 8.0 },
    "generation_params": { "model": "turbo", "steps": 8, "seed": 42, "shift": 3 }
  },
  "rejected": {
    "audio_path": "generations/bad_001.flac",
    "quality_score": 4.2,
    "quality_report": { "vocals": 7.0, "guitar": 2.1, "drums": 5.0 },
    "defects": ["guitar_distortion", "muddy_bass"],
    "generation_params": { "model": "turbo", "steps": 8, "seed": 17, "shift": 3 }
  }
}
"""


def entry(index, overall, *, seed=None, report=True, duration_s=8.0, metrics=None, made=None, **more):
    metrics = {"crest_db": 12.0, **(metrics or {})}
    own = index if seed is None else seed
    known = overall is not None and math.isfinite(overall)
    return GroupEntry(
        take=f"scored/{index}", index=index, key=f"{index:040x}", seed=index if seed is None else seed, overall=overall,
        report=QualityReport(
            overall=min(max(overall, 0), 10) if known else 0, scorer="segue 1", duration_s=duration_s, rate_hz=48_000,
            metrics={k: Metric(value=v) for k, v in metrics.items()},
            defects=tuple(Defect(type=t, severity=s, start_s=0, end_s=1) for t, s in (("clipping", 0.5), ("hum", 0.9))),
        ) if report else None,
        duration_s=duration_s, rate_hz=48_000, audio_path=f"audio/{index}.flac", pcm_sha256=f"{index:064x}",
        generation=Generation(**{"seed": own, "model": "turbo", "steps": 8, "shift": 3.0, **(made or {})}),
        **more,
    )


def group(*entries, **more):
    prompt = {"caption": "warm jazz", "lyrics": "[verse] la", "bpm": 96, "keyscale": "C major", "duration_s": 8.0}
    return Group(**{"id": "g1", "stage": "scored", "prompt": prompt, "inputs": {"clip": "k"}, "entries": entries, **more})


def indices(pairs):
    return [(int(p.chosen.audio_path[6:-5]), int(p.rejected.audio_path[6:-5])) for p in pairs]


# -- the schema ---------------------------------------------------------------------------------------------------


def test_the_users_own_example_reads_and_writes_unchanged():
    pair = Pair.from_json(SEED_EXAMPLE)
    assert pair.chosen.quality_score == 8.7 and pair.rejected.defects == ("guitar_distortion", "muddy_bass")
    given_, written = json.loads(SEED_EXAMPLE), json.loads(pair.to_json())

    def within(small, big):
        if isinstance(small, dict):
            return isinstance(big, dict) and all(k in big and within(v, big[k]) for k, v in small.items())
        return small == big

    assert within(given_, written)


def test_a_derived_pair_has_the_users_keys_and_the_other_facts_beside_them():
    made = {"model_id": "segue-mini", "model_revision": "abc", "adapters_sha256": "def", "sampler": "euler", "schedule": "turbo",
            "guidance": {"kind": "apg", "scale": 7.0}, "extra": {"instruction": "Fill"}}
    best = entry(1, 9.0, loudness_lufs=-14.0, made=made)
    (pair,) = pairs_best_worst(group(entry(0, 4.0, made=made), best, entry(2, 6.0, made=made)))
    seen = json.loads(pair.to_json())
    schema = json.loads(SEED_EXAMPLE)
    assert seen["prompt"].keys() == schema["prompt"].keys()
    assert seen["prompt"]["metadata"] == {"bpm": 96, "keyscale": "C major", "duration": 8.0}
    for side in ("chosen", "rejected"):
        assert seen[side].keys() - {"provenance"} == schema[side].keys()
        assert seen[side]["generation_params"].keys() == schema[side]["generation_params"].keys()
    assert seen["chosen"]["quality_score"] == 9.0 and seen["chosen"]["quality_report"] == {"crest_db": 12.0}
    assert seen["chosen"]["generation_params"] == {"model": "turbo", "steps": 8, "seed": 1, "shift": 3.0}
    assert seen["rejected"]["defects"] == ["hum", "clipping"]  # worst first
    beside = seen["chosen"]["provenance"]
    assert beside == {
        "take": "scored/1", "key": f"{1:040x}", "duration_s": 8.0, "rate_hz": 48_000, "pcm_sha256": f"{1:064x}",
        "loudness_lufs": -14.0, "scorer": "segue 1", "noise_device": "cpu", "latent_path": None, "varied": {}, **made,
    }
    assert seen["margin"] == 5.0 and seen["group"] == "g1" and seen["labeller"] == "segue 1"
    assert seen["strategy"] == "same_prompt_different_seeds" and len(seen["id"]) == 16


def test_an_instrumental_prompt_says_so_where_lyrics_stand():
    (pair,) = pairs_best_worst(group(entry(0, 1.0), entry(1, 2.0), prompt={"instrumental": True}))
    assert pair.prompt.lyrics == "[Instrumental]" and pair.prompt.caption == "" and pair.prompt.metadata.bpm is None


def test_a_key_no_one_knows_is_refused():
    with pytest.raises(ValidationError, match="qualty_score"):
        Pair.from_json(SEED_EXAMPLE.replace("quality_score", "qualty_score"))
    with pytest.raises(ValidationError):
        Group.from_json('{"id": "x"}')


# -- which takes --------------------------------------------------------------------------------------------------


def test_best_against_worst():
    assert indices(pairs_best_worst(group(entry(0, 5.0), entry(1, 9.0), entry(2, 1.0), entry(3, 7.0)))) == [(1, 2)]


def test_k_best_against_k_worst():
    takes = [entry(i, float(score)) for i, score in enumerate([5, 9, 1, 7])]
    assert indices(pairs_best_worst(group(*takes), k=2)) == [(1, 2), (1, 0), (3, 2), (3, 0)]
    assert indices(pairs_best_worst(group(*takes), k=9)) == indices(pairs_best_worst(group(*takes), k=2))


def test_an_odd_take_in_the_middle_is_on_neither_side():
    assert indices(pairs_best_worst(group(*(entry(i, float(i)) for i in range(3))), k=2)) == [(2, 0)]


@pytest.mark.parametrize("other", [8.0, 8.0 + TIE / 2, math.nan, None])
def test_ties_and_unscored_takes_make_no_pair(other):
    assert pairs_best_worst(group(entry(0, 8.0), entry(1, other))) == []


@pytest.mark.parametrize("flaw", [{"silent": True}, {"finite": False}])
def test_silent_and_broken_takes_are_kept_in_the_group_and_never_paired(flaw):
    whole = group(entry(0, 8.0), entry(1, 1.0, **flaw), entry(2, 5.0))
    assert len(whole.entries) == 3 and indices(pairs_best_worst(whole)) == [(0, 2)]


def test_only_equal_lengths_are_compared():
    near, far = SAME_LENGTH_S * 0.9, SAME_LENGTH_S * 1.1
    assert indices(pairs_best_worst(group(entry(0, 8.0), entry(1, 1.0, duration_s=8.0 + near)))) == [(0, 1)]
    assert pairs_best_worst(group(entry(0, 8.0), entry(1, 1.0, duration_s=8.0 + far))) == []
    two_lengths = [entry(i, float(i), duration_s=4.0 + 4 * (i % 2)) for i in range(6)]
    assert indices(pairs_best_worst(group(*two_lengths))) == [(4, 0), (5, 1)]


@pytest.mark.parametrize("made", [
    {"model": "base"}, {"steps": 9}, {"shift": 1.0}, {"guidance": {"scale": 2.0}}, {"adapters_sha256": "x"}, {"sampler": "heun"},
    {"schedule": "karras"}, {"model_revision": "y"}, {"noise_device": "cuda"},
])
def test_takes_made_under_other_settings_are_not_compared(made):
    assert pairs_best_worst(group(entry(0, 8.0), entry(1, 1.0, made=made))) == []
    assert indices(pairs_best_worst(group(entry(0, 8.0), entry(1, 1.0, made={"extra": {"drawn": 3}})))) == [(0, 1)]


def test_the_margin_is_a_floor():
    takes = group(entry(0, 8.0), entry(1, 7.5))
    assert len(pairs_best_worst(takes, margin=0.5)) == 1 and pairs_best_worst(takes, margin=0.51) == []


@pytest.mark.parametrize("bad", [{"k": 0}, {"margin": -1.0}, {"margin": math.nan}, {"margin": math.inf}])
def test_senseless_wishes_are_refused(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        pairs_best_worst(group(), **bad)


scores = st.one_of(st.none(), st.just(math.nan), st.sampled_from([0.0, 5.0, 5.0 + 1e-9, 10.0]), st.floats(0, 10))
takes_of_a_group = st.lists(
    st.builds(dict, overall=scores, silent=st.booleans(), finite=st.booleans(), duration_s=st.sampled_from([8.0, 8.0005, 9.0]),
              made=st.sampled_from([{}, {"steps": 9}])),
    max_size=7,
)


@settings(max_examples=150, deadline=None)
@given(takes_of_a_group, st.integers(1, 4), st.sampled_from([0.0, 0.5, 3.0]), st.randoms(use_true_random=False))
def test_pairs_keep_their_promises(rows, k, margin, rng):
    entries = [entry(i, report=False, **row) for i, row in enumerate(rows)]
    pairs = pairs_best_worst(group(*entries), k=k, margin=margin)
    for pair, (a, b) in zip(pairs, indices(pairs), strict=True):
        best, worst = entries[a], entries[b]
        assert best.comparable and worst.comparable
        assert best.overall - worst.overall > TIE and best.overall - worst.overall >= margin
        assert pair.margin == best.overall - worst.overall
        assert abs(best.duration_s - worst.duration_s) <= SAME_LENGTH_S
        assert rows[a]["made"] == rows[b]["made"]
        assert Pair.from_json(pair.to_json()) == pair
        json.loads(pair.to_json(), parse_constant=pytest.fail)
    chosen, rejected = {a for a, _ in indices(pairs)}, {b for _, b in indices(pairs)}
    assert not chosen & rejected and len(pairs) == len({p.id for p in pairs})
    shuffled = rng.sample(entries, len(entries))
    assert pairs_best_worst(group(*shuffled), k=k, margin=margin) == pairs
    if k == 1 and margin == 0:  # where a pair could be, there is one, and it is the widest
        for steps in ({}, {"steps": 9}):
            fair = [e.overall for e, row in zip(entries, rows, strict=True)
                    if row["made"] == steps and e.comparable and e.duration_s == 9.0]
            if fair and max(fair) - min(fair) > TIE:
                assert max(fair) - min(fair) in [p.margin for p in pairs]


# -- groups as lines ----------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(takes_of_a_group, st.text(max_size=20))
def test_a_group_is_one_line_of_strict_json_and_comes_back(rows, caption):
    whole = group(*(entry(i, **row) for i, row in enumerate(rows)), prompt={"caption": caption})
    text = whole.to_json()
    assert "\n" not in text and json.loads(text, parse_constant=pytest.fail)
    assert Group.from_json(text) == whole


def test_metric_values_that_are_no_numbers_become_null():
    odd = group(entry(0, 8.0, metrics={"lsd": math.inf, "thd": math.nan}), entry(1, 1.0))
    back = Group.from_json(odd.to_json())
    assert back.entries[0].report.metrics["lsd"].value is None and back.content() == odd.content()
    (pair,) = pairs_best_worst(odd)
    assert pair.chosen.quality_report == {"crest_db": 12.0, "lsd": None, "thd": None}


def test_the_content_digest_sees_judgements_and_not_places():
    base = group(entry(0, 8.0), entry(1, 1.0))
    moved = base.model_copy(update={"run": "other", "entries": tuple(
        e.model_copy(update={"audio_path": "elsewhere.flac"}) for e in reversed(base.entries))})
    assert moved.content() == base.content()
    changed = [group(entry(0, 8.0), entry(1, 1.5)), group(entry(0, 8.0)), group(entry(0, 8.0), entry(1, 1.0, silent=True)),
               group(entry(0, 8.0), entry(1, 1.0), labeller="a person"), group(entry(0, 8.0), entry(1, 1.0), stage="again"),
               group(entry(0, 8.0), entry(1, 1.0, seed=9)), group(entry(0, 8.0), entry(1, 1.0, made={"steps": 9}))]
    assert len({base.content(), *(g.content() for g in changed)}) == len(changed) + 1


# -- what should not decide ---------------------------------------------------------------------------------------


def some_pairs(loudness, bandwidth, margins):
    pairs = []
    for i, (loud, band, margin) in enumerate(zip(loudness, bandwidth, margins, strict=True)):
        a = entry(2 * i, 5.0 + margin, loudness_lufs=-20.0 + loud, metrics={"bandwidth_hz": 10_000 + band})
        b = entry(2 * i + 1, 5.0, loudness_lufs=-20.0, metrics={"bandwidth_hz": 10_000.0})
        pairs += pairs_best_worst(group(a, b))
    return pairs


def test_margins_that_only_say_louder_are_seen():
    found = margin_correlations(some_pairs([1, 2, 3, 4], [100, -100, 100, -100], [0.5, 1.0, 1.5, 2.0]))
    assert found["loudness"] == pytest.approx(1.0)
    m, d = [0.5, 1.0, 1.5, 2.0], [100, -100, 100, -100]
    by_hand = sum(a * b for a, b in zip(m, d, strict=True)) / math.sqrt(sum(a * a for a in m) * sum(b * b for b in d))
    assert found["bandwidth"] == pytest.approx(by_hand)
    assert found["duration"] is None  # all of one length


def test_the_correlation_with_length_is_pearsons():
    pairs = []
    for i, (length, margin) in enumerate([(4.0, 1.0), (8.0, 2.0), (12.0, 3.0)]):
        pairs += pairs_best_worst(group(entry(2 * i, 5 + margin, duration_s=length), entry(2 * i + 1, 5.0, duration_s=length)))
    found = margin_correlations(pairs)
    assert found["duration"] == pytest.approx(1.0) and found["loudness"] is None and found["bandwidth"] is None


def test_too_few_pairs_show_nothing():
    assert set(margin_correlations(some_pairs([1, 2], [1, 2], [1, 2])).values()) == {None}

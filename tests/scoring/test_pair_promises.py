"""What no pair strategy may ever do, on groups, wishes and words drawn at random."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from typing import Any

from helpers.scored_takes import found, logged, scored_group, scored_take, sides, word
from hypothesis import given, settings
from hypothesis import strategies as st
from segue.scoring.groups import GroupEntry
from segue.scoring.lean_groups import LeanGroup
from segue.scoring.pair_rules import SAME_LENGTH_S, TIE, Judgement, PairStrategy, Quota, derive, derive_all
from segue.scoring.pair_schema import Pair
from segue.scoring.pair_strategy import sign

SETTINGS = ({}, {"steps": 16}, {"varied": {"strength": "0.6"}})
rows = st.lists(
    st.fixed_dictionaries({
        "overall": st.one_of(st.none(), st.sampled_from([5.0, 5.0 + TIE / 2, 9.0]), st.floats(0, 10)),
        "metrics": st.fixed_dictionaries({}, optional={
            "noise_floor_db": st.one_of(st.sampled_from([-60.0, -50.0, math.nan]), st.floats(-90, 0)),
            "reference_distance": st.floats(0, 100)}),
        "duration_s": st.sampled_from([8.0, 8.0 + SAME_LENGTH_S * 0.6, 8.0 + SAME_LENGTH_S * 1.2, 9.0]),
        "made": st.sampled_from(SETTINGS), "silent": st.sampled_from([False, False, True]),
        "finite": st.sampled_from([True, True, True, False]),
        "refused": st.sampled_from([None, None, None, "clipping"]), "parent": st.sampled_from([None, "t0", "t1", "t2"]),
        "pcm_sha256": st.sampled_from(["", "", "", "aa"]),
    }),
    max_size=7,
)
wishes = st.one_of(
    st.builds(PairStrategy, compare=st.sampled_from(["seeds", "params", "repair", "reference", "any"]),
              rule=st.sampled_from(["best_worst", "margin"]), margin=st.sampled_from([0.0, 0.5, 3.0]),
              margin_unit=st.sampled_from(["points", "sd"]), metric=st.sampled_from([None, "overall", "noise_floor_db"]),
              cap=st.sampled_from([None, 1, 3])),
    st.builds(PairStrategy, compare=st.sampled_from(["seeds", "params", "repair", "any"]), rule=st.just("topk"),
              k=st.integers(1, 4), margin=st.sampled_from([0.0, 0.5]), cap=st.sampled_from([None, 2])),
    st.builds(PairStrategy, compare=st.sampled_from(["seeds", "params", "repair", "any"]), rule=st.just("domination"),
              metrics=st.just(("overall", "noise_floor_db")), margin=st.sampled_from([0.0, 0.5]), cap=st.sampled_from([None, 2])),
    st.builds(PairStrategy, compare=st.just("human"), margin=st.sampled_from([0.0, 0.5]), cap=st.sampled_from([None, 1])),
)
words = st.lists(
    st.builds(word, st.sampled_from(["t0", "t1", "t2", "aa"]), st.sampled_from(["t0", "t1", "t2", "t8"]),
              st.sampled_from(["ann", "bob"]), tie=st.booleans()),
    max_size=6,
)


def entry_of(index: int, row: dict[str, Any]) -> GroupEntry:
    known = {key: value for key, value in row.items() if value != "" or key != "pcm_sha256"}
    return scored_take(index, known.pop("overall"), **known)


def depth(entry: GroupEntry, entries: list[GroupEntry]) -> int:
    """How many takes it was made from, one after the other; a circle is gone round once."""
    by_take, line = {e.take: e for e in entries}, []
    while entry.parent is not None and entry.parent not in line:
        line.append(entry.parent)
        if entry.parent not in by_take:
            break
        entry = by_take[entry.parent]
    return len(line)


def gap(strategy: PairStrategy, metric: str, best: GroupEntry, worst: GroupEntry) -> float:
    a, b = best.value(metric), worst.value(metric)
    assert a is not None and b is not None
    return sign(metric) * (a - b)


@settings(max_examples=400, deadline=None)
@given(rows, wishes, words, st.randoms(use_true_random=False))
def test_pairs_keep_their_promises(
    drawn: list[dict[str, Any]], wish: PairStrategy, said: list[Judgement], rng: Any
) -> None:
    entries = [entry_of(i, row) for i, row in enumerate(drawn)]
    group = scored_group(*entries)
    pairs = derive(group, [wish], said)
    assert derive(scored_group(*rng.sample(entries, len(entries))), [wish], said) == pairs
    assert derive(LeanGroup.from_json(group.to_json()), [wish], said) == pairs
    assert len({frozenset((p.chosen.provenance.pcm_sha256, p.rejected.provenance.pcm_sha256)) for p in pairs}) == len(pairs)  # type: ignore[union-attr]
    assert wish.cap is None or len(pairs) <= wish.cap
    fair = [e for e in entries if e.comparable]
    for pair in pairs:
        best, worst = entries[sides(pair)[0]], entries[sides(pair)[1]]
        assert best.comparable and worst.comparable and best.pcm_sha256 != worst.pcm_sha256
        assert abs(best.duration_s - worst.duration_s) <= SAME_LENGTH_S
        assert pair.margin is not None and pair.margin > TIE and Pair.from_json(pair.to_json()) == pair
        alike = best.generation.set_alike() == worst.generation.set_alike() and depth(best, entries) == depth(worst, entries)
        assert alike or wish.compare != "seeds"
        assert not alike or wish.compare != "params"
        if wish.compare == "repair":
            assert best.parent == worst.take
        if wish.compare == "human":
            assert wish.margin <= pair.margin <= 1
            continue
        assert pair.margin == gap(wish, pair.metric, best, worst)
        values = [v for e in fair if (v := e.value(pair.metric)) is not None]
        mean = sum(values) / len(values)
        spread = math.sqrt(sum((v - mean) ** 2 for v in values) / len(values))
        if wish.rule != "domination":
            assert pair.metric == wish.ranked_by
            assert pair.margin >= wish.margin * (spread if wish.margin_unit == "sd" else 1) - 1e-9
        else:
            assert all(gap(wish, m, best, worst) >= -TIE for m in wish.metrics) and pair.margin >= wish.margin


@settings(max_examples=100, deadline=None)
@given(rows)
def test_the_margin_rule_misses_no_pair(drawn: list[dict[str, Any]]) -> None:
    """Peer: every two takes, tried one by one."""
    entries = [entry_of(i, {**row, "pcm_sha256": "", "parent": None}) for i, row in enumerate(drawn)]
    exact = [e for e in entries if e.duration_s in (8.0, 9.0)]
    fair = [(e, e.overall) for e in exact if e.comparable and e.overall is not None]
    expected = {
        (a.seed, b.seed) for (a, x), (b, y) in itertools.permutations(fair, 2)
        if x - y > TIE and x - y >= 0.5 and a.duration_s == b.duration_s and a.generation.set_alike() == b.generation.set_alike()
    }
    assert set(found(scored_group(*exact), rule="margin", margin=0.5)) == expected


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(["jazz", "folk", ""]), max_size=8), st.integers(1, 5))
def test_no_stratum_exceeds_its_quota_and_none_is_cut_below_it(genres: list[str], quota: int) -> None:
    free = Counter(p.group for p in derive_all(logged(*genres), [PairStrategy(rule="margin")]))
    kept = list(derive_all(logged(*genres), [PairStrategy(rule="margin")], quotas=Quota(by=("genre",), pairs=quota)))
    per_stratum = Counter(genres[int(p.group[1:])] for p in kept)
    for genre in set(genres):
        assert per_stratum[genre] == min(quota, sum(n for name, n in free.items() if genres[int(name[1:])] == genre))

"""The audit shows a bias that was planted, and shows none where there is none."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
from helpers.scored_takes import scored_group, scored_take
from hypothesis import given
from hypothesis import strategies as st
from segue.scoring.groups import Group
from segue.scoring.pair_audit import Auditor, audit, evenness
from segue.scoring.pair_rules import Judgement, PairStrategy, derive, derive_all

SEEDS = [PairStrategy(rule="margin")]


def some_groups(count: int, score: Any, *, size: int = 4, **more: Any) -> list[Group]:
    """Groups whose takes have random loudness and bandwidth, scored by `score(loudness, bandwidth, chance)`."""
    rng = random.Random(7)
    groups = []
    for g in range(count):
        drawn = [(rng.uniform(-20, -10), rng.uniform(8e3, 16e3), rng.uniform(-1, 1)) for _ in range(size)]
        entries = [scored_take(i, score(*row), prefix=f"{g}/", loudness_lufs=row[0], metrics={"bandwidth_hz": row[1]})
                   for i, row in enumerate(drawn)]
        groups.append(scored_group(*entries, id=f"g{g}", **more))
    return groups


def test_a_scorer_that_likes_loud_is_found_out() -> None:
    groups = some_groups(400, lambda loud, _band, chance: 5 + 0.4 * (loud + 15) + 0.2 * chance)
    seen = audit(derive_all(groups, SEEDS), groups)
    assert seen.correlations["loudness"] == pytest.approx(1.0, abs=0.05) and seen.chosen_higher["loudness"] > 0.9  # type: ignore[operator]
    assert abs(seen.correlations["bandwidth"]) < 0.1 and abs(seen.chosen_higher["bandwidth"] - 0.5) < 0.1  # type: ignore[operator,arg-type]


def test_a_fair_scorer_shows_no_bias() -> None:
    groups = some_groups(200, lambda _loud, _band, chance: 5 + chance)
    seen = audit(derive_all(groups, SEEDS), groups)
    assert abs(seen.correlations["loudness"]) < 0.1 and abs(seen.correlations["bandwidth"]) < 0.1  # type: ignore[arg-type]
    assert abs(seen.chosen_higher["loudness"] - 0.5) < 0.05  # type: ignore[operator]


def test_a_scorer_that_likes_dull_is_found_out_under_any_metric() -> None:
    groups = some_groups(60, lambda _loud, band, chance: 5 - band / 4e3 + 0.1 * chance)
    seen = audit(derive_all(groups, [*SEEDS, PairStrategy(compare="any", rule="margin", metric="bandwidth_hz")]), groups)
    assert seen.strategies["same_prompt_different_seeds"].correlations["bandwidth"] == pytest.approx(-1.0, abs=0.05)
    assert seen.strategies["any"].correlations["bandwidth"] == pytest.approx(1.0, abs=1e-9)
    # in Hz the second's margins would drown the first's; each counts on its own scale
    assert abs(seen.correlations["bandwidth"]) < 0.1  # type: ignore[arg-type]
    least, median, largest = seen.strategies["any"].margins["bandwidth_hz"]
    assert 0 < least < median < largest < 8e3


def test_margins_that_grow_with_length_are_seen() -> None:
    rows = [(4.0, 1.0), (8.0, 2.0), (12.0, 3.0)]
    groups = [scored_group(scored_take(0, 5 + m, duration_s=d), scored_take(1, 5.0, duration_s=d), id=f"{d}") for d, m in rows]
    assert audit(derive_all(groups, SEEDS), groups).correlations == {
        "loudness": None, "bandwidth": None, "duration": pytest.approx(1.0)}


def test_balance_counts_groups_without_pairs_too() -> None:
    def group(name: str, genre: str, *scores: float, **more: Any) -> Group:
        entries = [scored_take(i, s, prefix=name) for i, s in enumerate(scores)]
        return scored_group(*entries, id=name, strata={"genre": genre, **more})

    groups = [group("a", "jazz", 9.0, 1.0, 5.0), group("b", "folk", 9.0, 1.0), group("c", "rock", 5.0, 5.0, bpm="90-109")]
    seen = audit(derive_all(groups, SEEDS), groups)
    genre = seen.balance["genre"]
    assert {k: (v.groups, v.takes, v.pairs) for k, v in genre.values.items()} == {
        "jazz": (1, 3, 3), "folk": (1, 2, 1), "rock": (1, 2, 0)}
    assert genre.evenness == pytest.approx((0.75 * math.log(4 / 3) + 0.25 * math.log(4)) / math.log(3))
    assert seen.balance["bpm"].values["90-109"].pairs == 0 and seen.balance["bpm"].values[""].pairs == 4
    assert (seen.pairs, seen.groups, seen.groups_paired, seen.takes, seen.takes_used) == (4, 3, 2, 7, 5)


def test_the_share_of_takes_used_is_of_those_that_could_be() -> None:
    group = scored_group(scored_take(0, 9.0), scored_take(1, 1.0), scored_take(2, 5.0), scored_take(3, 5.0, refused="hum"),
                         scored_take(4, 5.0, silent=True))
    seen = audit(derive(group, [PairStrategy()]), [group])
    assert (seen.takes, seen.comparable, seen.takes_used) == (5, 3, 2) and seen.share_used == pytest.approx(2 / 3)


def test_a_setting_that_always_wins_is_seen() -> None:
    made = [{"steps": 8}, {"steps": 8, "varied": {"strength": "0.5"}}, {"steps": 16}, {"steps": 16, "guidance": {"scale": 2.0}}]
    group = scored_group(*(scored_take(i, s, made=m) for i, (s, m) in enumerate(zip([1.0, 2.0, 8.0, 9.0], made, strict=True))))
    seen = audit(derive(group, [PairStrategy(compare="params", rule="margin")]), [group])
    table = {(b.setting, b.value): (b.chosen, b.rejected, b.share) for b in seen.settings}
    assert seen.pairs == 6 and table["steps", "16"] == (4, 0, 1.0) and table["steps", "8"] == (0, 4, 0.0)
    assert table["guidance.scale", "2.0"] == (3, 0, 1.0) and table["guidance.scale", "null"] == (0, 3, 0.0)
    assert table["strength", "0.5"] == (1, 2, 1 / 3)


def test_human_pairs_are_audited_on_their_own_scale() -> None:
    groups = some_groups(30, lambda loud, _band, _chance: 25 + loud, size=2)
    said = []
    for g in groups:
        ordered = sorted(g.entries, key=lambda e: e.loudness_lufs or 0)
        said.append(Judgement(group=g.id, chosen=ordered[0].take, rejected=ordered[1].take, labeller="ann"))  # the quieter
    seen = audit(derive_all(groups, [*SEEDS, PairStrategy(compare="human")], judgements=said), groups)
    assert seen.strategies["human_judgement"].margins == {"votes": (1.0, 1.0, 1.0)}
    assert seen.strategies["human_judgement"].correlations["loudness"] < -0.7  # type: ignore[operator]
    assert seen.strategies["same_prompt_different_seeds"].correlations["loudness"] == pytest.approx(1.0)
    assert seen.chosen_higher["loudness"] == 0.5


def test_nothing_shows_nothing() -> None:
    seen = audit([], [])
    assert seen.pairs == seen.groups == 0 and seen.share_used is None and set(seen.correlations.values()) == {None}


def test_the_order_of_what_is_shown_has_no_influence() -> None:
    groups = some_groups(12, lambda loud, _band, chance: 5 + chance + loud / 100, strata={"genre": "jazz"})
    pairs = list(derive_all(groups, SEEDS))
    mixed = Auditor()
    for one in reversed(pairs):
        mixed.pair(one)
    for group in groups:
        mixed.group(group)
    seen = audit(pairs, groups)
    other = mixed.result()
    assert other.correlations == pytest.approx(seen.correlations, nan_ok=True) and other.balance == seen.balance


@given(st.lists(st.integers(0, 50), max_size=6))
def test_evenness_is_a_share_and_one_only_where_all_are_equal(counts: list[int]) -> None:
    value = evenness(counts)
    if len(counts) < 2 or not any(counts):
        assert value is None
    else:
        assert value is not None and -1e-12 <= value <= 1 + 1e-12
        assert (value > 1 - 1e-12) == (len(set(counts)) == 1)

"""Which takes of a group become pairs: every strategy by hand on a few numbers."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import pytest
from helpers.scored_takes import found, logged, scored_group, scored_take, sides, takes, word
from pydantic import ValidationError
from segue.scoring.groups import Group
from segue.scoring.pair_rules import Judgement, PairStrategy, Quota, derive, derive_all, pairs_best_worst
from segue.scoring.pair_strategy import NAMES, sign

# -- rules ---------------------------------------------------------------------------------------------------------------


def test_best_against_worst_is_one_pair_a_group() -> None:
    group = scored_group(*takes(5.0, 9.0, 1.0, 7.0))
    (pair,) = derive(group, [PairStrategy()])
    assert sides(pair) == (1, 2) and pair.margin == 8.0 and pair.metric == "overall"
    assert pair.strategy == "same_prompt_different_seeds" and [pair] == pairs_best_worst(group)


def test_topk_is_each_of_the_best_with_each_of_the_worst() -> None:
    group = scored_group(*takes(5.0, 9.0, 1.0, 7.0, 6.0))
    assert found(group, rule="topk", k=2) == [(1, 2), (1, 0), (3, 2), (3, 0)]
    assert found(group, rule="topk", k=2, margin=4) == [(1, 2), (1, 0), (3, 2)]


def test_margin_is_every_pair_with_such_a_gap() -> None:
    group = scored_group(*takes(9.0, 7.0, 6.5, 2.0))
    assert found(group, rule="margin", margin=2) == [(0, 3), (0, 2), (0, 1), (1, 3), (2, 3)]
    assert found(group, rule="margin", margin=2.1) == [(0, 3), (0, 2), (1, 3), (2, 3)]
    assert len(found(group, rule="margin")) == 6  # all, as none is a tie


def test_standard_deviations_are_those_of_the_group() -> None:
    group = scored_group(*takes(2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0))  # mean 5, standard deviation 2
    assert found(group, margin=3.5, margin_unit="sd") == [(7, 0)] and found(group, margin=3.51, margin_unit="sd") == []
    gaps = Counter(pair.margin for pair in derive(group, [PairStrategy(rule="margin", margin=2, margin_unit="sd")]))
    assert gaps == {7.0: 1, 5.0: 4, 4.0: 2}  # 9-2; 9-4 thrice, 7-2; 9-5 twice


def test_the_cap_keeps_the_widest_of_each_group() -> None:
    group = scored_group(*takes(5.0, 9.0, 1.0, 7.0))
    assert found(group, rule="topk", k=2, cap=2) == [(1, 2), (3, 2)]  # gaps 8, 4, 6, 2
    assert found(group, rule="margin", cap=1) == [(1, 2)]


def test_domination_needs_every_metric_and_a_clear_one() -> None:
    rows = [(8.0, -60.0), (8.0, -40.0), (6.0, -60.0), (9.0, -30.0)]  # overall: more is better; noise floor: less is
    group = scored_group(*(scored_take(i, s, metrics={"noise_floor_db": n}) for i, (s, n) in enumerate(rows)))
    wish = {"rule": "domination", "metrics": ("overall", "noise_floor_db")}
    assert found(group, **wish) == [(0, 1), (0, 2)]  # 3 is the best and the noisiest: comparable with none
    assert found(group, **wish, margin=3) == [(0, 1)]
    one, other = derive(group, [PairStrategy(**wish)])
    assert (one.metric, one.margin) == ("noise_floor_db", 20.0) and (other.metric, other.margin) == ("overall", 2.0)
    assert found(scored_group(*takes(8.0, 6.0)), **wish) == []  # no take has the second metric


# -- who may be compared -------------------------------------------------------------------------------------------------


def test_seeds_compare_what_was_made_alike() -> None:
    entries = [scored_take(i, s, made={"steps": steps}) for i, (s, steps) in enumerate([(9, 8), (8, 8), (2, 16), (1, 16)])]
    assert found(scored_group(*entries)) == [(0, 1), (2, 3)]


@pytest.mark.parametrize("made", [
    {"steps": 16}, {"shift": 1.0}, {"guidance": {"scale": 3.0}}, {"varied": {"stages.made.strength": "0.6"}},
])
def test_params_compare_what_was_set_otherwise(made: dict[str, Any]) -> None:
    rows = [(8.0, {}), (3.0, {}), (9.0, made), (1.0, made)]
    group = scored_group(*(scored_take(i, s, made=m) for i, (s, m) in enumerate(rows)))
    assert found(group, compare="params") == [(0, 3)]  # 8-1 is wider than 9-3; 9-1 was made alike
    assert found(group, compare="params", rule="topk", k=2) == [(2, 1), (0, 3)]
    assert set(found(group, compare="params", rule="margin")) == {(2, 0), (2, 1), (0, 3), (1, 3)}
    assert found(group) == [(2, 3), (0, 1)]
    assert derive(group, [PairStrategy(compare="params")])[0].strategy == "same_prompt_different_params"


def test_a_repair_is_chosen_over_what_it_was_made_from_if_it_is_better() -> None:
    rows = [(4.0, None), (6.0, "t0"), (7.0, "t0"), (5.0, None), (3.0, "t3"), (9.0, "t1"), (8.0, "elsewhere")]
    group = scored_group(*(scored_take(i, score, parent=parent) for i, (score, parent) in enumerate(rows)))
    assert found(group, compare="repair") == [(2, 0), (5, 1)]  # the best repair of each; 4 got worse
    assert found(group, compare="repair", rule="topk", k=2) == [(2, 0), (1, 0), (5, 1)]
    assert found(group, compare="repair", rule="margin", margin=2.5) == [(2, 0), (5, 1)]
    assert {p.strategy for p in derive(group, [PairStrategy(compare="repair")])} == {"before_after_repair"}
    lost = scored_group(scored_take(0, 4.0, refused="hum"), scored_take(1, 6.0, parent="t0"))
    assert found(lost, compare="repair") == []
    itself = scored_group(scored_take(0, 4.0, parent="t0"), scored_take(1, 6.0, parent="t1"))
    assert found(itself, compare="repair") == found(itself, compare="repair", rule="margin") == []


def test_a_repaired_take_was_not_made_like_one_before_its_repair() -> None:
    rows = [(4.0, None), (6.0, "t0"), (5.0, None), (9.0, "t2"), (8.0, "t1"), (7.0, "t3")]
    entries = [scored_take(i, score, parent=parent) for i, (score, parent) in enumerate(rows)]
    group = scored_group(*entries)
    assert set(found(group)) == {(2, 0), (3, 1), (4, 5)}  # none, one and two repairs
    lost = scored_group(entries[0].model_copy(update={"refused": "hum"}), *entries[1:])
    assert set(found(lost)) == {(3, 1), (4, 5)}  # take 4 was repaired twice all the same
    assert set(found(group, rule="domination", metrics=("overall",))) == {(2, 0), (3, 1), (4, 5)}
    assert found(group, compare="params") == [(3, 0)]


def test_a_repair_may_have_to_dominate() -> None:
    rows = [(4.0, -40.0, None), (6.0, -50.0, "t0"), (7.0, -30.0, "t0")]
    group = scored_group(*(scored_take(i, s, metrics={"noise_floor_db": n}, parent=p) for i, (s, n, p) in enumerate(rows)))
    assert found(group, compare="repair", rule="domination", metrics=("overall", "noise_floor_db")) == [(1, 0)]


def test_a_reference_ranks_by_distance_and_nearer_is_better() -> None:
    rows = [(9.0, 3.0), (1.0, 0.5), (5.0, None), (6.0, 2.0)]
    entries = [scored_take(i, s, metrics={} if d is None else {"reference_distance": d}) for i, (s, d) in enumerate(rows)]
    (pair,) = derive(scored_group(*entries), [PairStrategy(compare="reference")])
    assert sides(pair) == (1, 0) and pair.margin == 2.5
    assert pair.metric == "reference_distance" and pair.strategy == "reference_anchored"
    assert found(scored_group(*entries), compare="reference", metric="overall") == [(0, 1)]


def test_any_compares_whatever_has_the_same_length() -> None:
    entries = [scored_take(0, 9.0, made={"steps": 16}), scored_take(1, 2.0), scored_take(2, 1.0, duration_s=9.0)]
    assert found(scored_group(*entries), compare="any") == [(0, 1)] and found(scored_group(*entries)) == []


def test_a_metric_ranks_in_its_own_direction() -> None:
    rows = [(-60, 8e3), (-40, 20e3)]
    entries = [scored_take(i, 5.0, metrics={"noise_floor_db": n, "bandwidth_hz": b}) for i, (n, b) in enumerate(rows)]
    assert found(scored_group(*entries), metric="noise_floor_db", margin=20) == [(0, 1)]
    assert found(scored_group(*entries), metric="bandwidth_hz") == [(1, 0)] and found(scored_group(*entries)) == []
    assert sign("lsd") == -1 and sign("si_sdr_db") == 1


def test_one_sound_under_two_names_counts_once() -> None:
    same = scored_take(0, 9.0).pcm_sha256
    group = scored_group(scored_take(0, 9.0), scored_take(1, 9.0, pcm_sha256=same), scored_take(2, 5.0), scored_take(3, 1.0))
    assert found(group, rule="topk", k=2) == [(0, 3)]  # three sounds: the one in the middle is on neither side
    assert found(group, rule="margin") == [(0, 3), (0, 2), (2, 3)]
    assert found(scored_group(scored_take(0, 9.0), scored_take(1, 3.0, pcm_sha256=same)), compare="any") == []


@pytest.mark.parametrize("flaw", [{"silent": True}, {"finite": False}, {"refused": "clipping"}])
@pytest.mark.parametrize("compare", ["seeds", "any", "human", "repair", "reference"])
def test_takes_with_a_flaw_are_in_no_pair(flaw: dict[str, Any], compare: str) -> None:
    rows = [(9.0, 1.0), (1.0, 9.0)]
    def pair_of(**more: Any) -> Group:
        given_ = ({"parent": "t1"} if compare == "repair" else {}, more)
        return scored_group(*(scored_take(i, s, metrics={"reference_distance": d}, **given_[i]) for i, (s, d) in enumerate(rows)))
    said = (Judgement(group="g", chosen="t0", rejected="t1", labeller="ann"),)
    assert found(pair_of(), said, compare=compare) == [(0, 1)] and found(pair_of(**flaw), said, compare=compare) == []


# -- human judgements ----------------------------------------------------------------------------------------------------


def test_the_majority_of_labellers_decides() -> None:
    group = scored_group(*takes(9.0, 1.0))
    said = (word("t1", "t0", "ann"), word("t1", "t0", "bob"), word("t0", "t1", "eve"), word("t0", "t1", "sue", tie=True))
    (pair,) = derive(group, [PairStrategy(compare="human")], said)
    assert sides(pair) == (1, 0) and pair.margin == (2 - 1) / 4 and pair.metric == "votes"
    assert pair.labeller == "ann+bob+eve+sue" and pair.strategy == "human_judgement"
    assert found(group, said, compare="human", margin=0.3) == []
    assert found(group, said[1:3], compare="human") == []  # one for each
    assert found(group, said[3:], compare="human") == []  # a tie
    assert found(group, said, compare="any") == [(0, 1)]  # the ears of others do not count there


def test_a_labellers_last_word_counts_whatever_the_takes_are_called() -> None:
    group = scored_group(*takes(9.0, 1.0))
    by_hash = [e.pcm_sha256 for e in group.entries]
    assert found(group, (word("t0", "t1"), word(by_hash[1], "t0")), compare="human") == [(1, 0)]
    assert found(group, (word("t0", "t1"), word("t1", by_hash[0], tie=True)), compare="human") == []


def test_words_on_other_groups_and_unknown_takes_are_passed_over() -> None:
    group = scored_group(*takes(9.0, 1.0), scored_take(2, 5.0, duration_s=9.0))
    said = (word("t1", "t0", group="other"), word("t9", "t0"), word("t1", "t1"), word("t2", "t0"))
    assert found(group, said, compare="human") == []


# -- strategies together, and whole logs ---------------------------------------------------------------------------------


def test_strategies_of_one_name_give_a_pair_once_and_the_first_decides() -> None:
    rows = [(9.0, -30.0), (1.0, -60.0)]
    group = scored_group(*(scored_take(i, s, metrics={"noise_floor_db": n}) for i, (s, n) in enumerate(rows)))
    by_score, by_noise = PairStrategy(), PairStrategy(metric="noise_floor_db")
    assert [sides(p) for p in derive(group, [by_score, by_noise])] == [(0, 1)]
    assert [sides(p) for p in derive(group, [by_noise, by_score])] == [(1, 0)]
    both = derive(group, [by_score, PairStrategy(compare="any", metric="noise_floor_db")])
    assert [(p.strategy, sides(p)) for p in both] == [(NAMES["seeds"], (0, 1)), ("any", (1, 0))]
    assert len({p.id for p in both}) == 2


def test_a_log_gives_the_pairs_of_its_groups_in_order() -> None:
    groups = logged("jazz", "folk", "jazz")
    strategies = [PairStrategy(rule="margin"), PairStrategy(compare="any")]
    assert list(derive_all(groups, strategies)) == [pair for group in groups for pair in derive(group, strategies)]
    assert list(derive_all([*groups, groups[0]], strategies)) == list(derive_all(groups, strategies))  # twice adds nothing


def test_a_quota_bounds_every_stratum_and_earlier_groups_go_first() -> None:
    groups = logged("jazz", "folk", "jazz", "", "jazz")
    given_ = list(derive_all(groups, [PairStrategy(rule="margin")], quotas=Quota(by=("genre",), pairs=4)))
    assert Counter(p.group for p in given_) == {"g0": 3, "g1": 3, "g2": 1, "g3": 3}
    again = list(derive_all(groups[:3], [PairStrategy(rule="margin")], quotas=Quota(by=("genre",), pairs=4)))
    assert again == given_[:7]  # what comes later changes nothing before


def test_judgements_find_their_group_in_a_log() -> None:
    said = [word("2/t1", "2/t0", group="g2"), word("0/t2", "0/t0", group="g0")]
    assert [(p.group, sides(p)) for p in derive_all(logged("", "", ""), [PairStrategy(compare="human")], judgements=said)] == [
        ("g0", (2, 0)), ("g2", (1, 0))]


def test_a_log_is_read_only_as_far_as_pairs_are_asked_for() -> None:
    read = []
    def log() -> Any:
        for group in logged(*["jazz"] * 5):
            read.append(group.id)
            yield group
    pairs = derive_all(log(), [PairStrategy()])
    next(pairs)
    assert read == ["g0"]
    next(pairs)
    assert read == ["g0", "g1"]


# -- wishes that make no sense -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("wish", "words"), [
    ({"compare": "seed"}, "seeds"), ({"rule": "best"}, "best_worst"), ({"k": 0, "rule": "topk"}, "k"),
    ({"k": 2}, "only rule topk"), ({"metrics": ("overall",)}, "domination only"),
    ({"margin": -1}, "margin"), ({"margin": math.inf}, "margin"), ({"margin": math.nan}, "margin"), ({"cap": 0}, "cap"),
    ({"metric": "noise_flor_db"}, "did you mean 'noise_floor_db'"), ({"metric": "crest_db"}, "best in a band"),
    ({"metric": "zzzz"}, "write one of overall, "), ({"rule": "domination"}, "needs metrics"),
    ({"rule": "domination", "metrics": ("overall",), "metric": "lsd"}, "leave metric out"), ({"margn": 1}, "margn"),
    ({"rule": "domination", "metrics": ("overall", "overall")}, "twice"),
    ({"compare": "human", "rule": "topk"}, "leave rule and metric"),
    ({"compare": "human", "metric": "lsd"}, "leave rule and metric"),
    ({"compare": "human", "margin": 2}, "share of votes"), ({"compare": "human", "margin_unit": "sd"}, "share of votes"),
])
def test_senseless_wishes_are_refused_with_a_way_out(wish: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        PairStrategy(**wish)

"""`segue pairs`: pairs derived anew, the audit shown, judgements in and out, and what is wrong with a request."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from helpers.scored_takes import scored_group, scored_take
from segue.scoring.groups import Group
from segue.scoring.pair_rules import PairStrategy, Quota, derive_all
from segue.scoring.pair_schema import Pair

from .conftest import Call

PLAN = """
name: jazz
seed: 7
created: 2026-11-28T22:00:00+00:00
prompts: {list: [{caption: warm jazz, tags: {genre: jazz}}]}
runs: [{preset: text-to-music}]
strategies:
- {rule: margin, margin: 1}
quotas: {by: [genre], pairs: 4}
"""
SCORES = (9.0, 5.0, 1.0, 6.0)


@pytest.fixture
def groups() -> list[Group]:
    return [
        scored_group(
            *(
                scored_take(i, s, prefix=f"{g}/", loudness_lufs=s - 20, metrics={"noise_floor_db": -s - i})
                for i, s in enumerate(SCORES)
            ),
            id=f"g{g}", strata={"genre": "jazz" if g % 2 else "folk"},
        )
        for g in range(4)
    ]


@pytest.fixture
def night(tmp_path: Path, groups: list[Group]) -> Path:
    """A folder with a plan and groups, as a night leaves it."""
    out = tmp_path / "out"
    out.mkdir()
    (out / "plan.yaml").write_text(PLAN)
    (out / "groups.jsonl").write_text("".join(g.to_json() + "\n" for g in groups))
    return out


def written(out: Path) -> list[Pair]:
    return [Pair.from_json(line) for line in (out / "pairs.jsonl").read_text().splitlines()]


def document(segue: Call, *args: object) -> dict[str, Any]:
    done = segue("pairs", *args, "--json")
    assert done.code == 0, done
    return json.loads(done.out)


def test_without_a_strategy_the_plans_own_are_carried_out(segue: Call, night: Path, groups: list[Group]) -> None:
    told = document(segue, night)
    expected = list(derive_all(groups, [PairStrategy(rule="margin", margin=1)], quotas=Quota(by=("genre",), pairs=4)))
    assert written(night) == expected and len(expected) == 8
    assert told["pairs"] == 8 and told["by_strategy"] == {"same_prompt_different_seeds": 8} and "audit" not in told
    assert told["strategies"][0]["rule"] == "margin" and told["written"] == str(night / "pairs.jsonl")


def test_a_strategy_given_here_replaces_the_plans(segue: Call, night: Path, groups: list[Group]) -> None:
    options = ("--strategy", "topk", "--k", 2, "--margin", 1.5, "--margin-unit", "sd", "--compare", "any", "--cap", 1)
    told = document(segue, night, *options)
    wish = PairStrategy(rule="topk", k=2, margin=1.5, margin_unit="sd", compare="any", cap=1)
    assert told["strategies"] == [wish.model_dump(mode="json")]
    assert written(night) == list(derive_all(groups, [wish], quotas=Quota(by=("genre",), pairs=4))) and told["pairs"] == 4
    document(segue, night, "--strategy", "domination", "--metric", "overall", "--metric", "noise_floor_db")
    wish = PairStrategy(rule="domination", metrics=("overall", "noise_floor_db"))
    assert written(night) == list(derive_all(groups, [wish], quotas=Quota(by=("genre",), pairs=4)))
    document(segue, night, "--strategy", "best_worst", "--metric", "noise_floor_db")
    assert {p.metric for p in written(night)} == {"noise_floor_db"}


def test_a_dry_run_leaves_the_pairs_as_they_are(segue: Call, night: Path) -> None:
    (night / "pairs.jsonl").write_text("before\n")
    told = document(segue, night, "--strategy", "best_worst", "--dry-run")
    assert told["pairs"] == 4 and told["written"] is None and (night / "pairs.jsonl").read_text() == "before\n"


def test_the_audit_shows_a_bias(segue: Call, night: Path) -> None:
    told = document(segue, night, "--audit")["audit"]
    assert told["correlations"]["loudness"] == pytest.approx(1.0) and told["chosen_higher"]["loudness"] == 1.0
    assert told["balance"]["genre"]["values"]["jazz"] == {"groups": 2, "takes": 8, "pairs": 4}
    assert told["balance"]["genre"]["evenness"] == pytest.approx(1.0)
    shown = segue("pairs", night, "--audit")
    assert shown.code == 0 and "2 of 4 groups give pairs" in shown.out, shown
    assert "evenness of pairs over genre: 1.00" in shown.out
    (row,) = [line for line in shown.out.splitlines() if line.startswith("│ all")]
    assert [cell.strip() for cell in row.split("│")[2:7]] == ["8", "1.00", "–", "–", "1.00"]


def test_judgements_go_out_and_come_back_as_pairs(segue: Call, night: Path) -> None:
    told = document(segue, night, "--compare", "human", "--export-judgements", "open.jsonl")
    assert told["pairs"] == 0 and told["open"] == {"comparisons": 24, "written": "open.jsonl"}  # six of each group
    asked = [json.loads(line) for line in Path("open.jsonl").read_text().splitlines()]
    answers = [
        {"group": a["group"], "chosen": a["first"]["take"], "rejected": a["second"]["take"], "labeller": "ann"} for a in asked[:5]
    ]
    Path("in.jsonl").write_text("".join(json.dumps(a) + "\n" for a in answers))
    told = document(segue, night, "--compare", "human", "--judgements", "in.jsonl", "--export-judgements", "open.jsonl")
    assert told["judgements"] == {"total": 5, "new": 5, "replaced": 0} and told["open"]["comparisons"] == 19
    assert told["by_strategy"] == {"human_judgement": 4}  # five of one genre, and the plan's quota is four
    assert {p.labeller for p in written(night)} == {"ann"}
    told = document(segue, night, "--compare", "human", "--export-judgements", "open.jsonl", "--labeller", "bob")
    assert told["open"]["comparisons"] == 24
    aside = segue("pairs", night)
    assert aside.code == 0 and "no strategy compares human" in aside.err and "8 pairs" in aside.out, aside


def test_broken_judgements_are_told_and_change_nothing(segue: Call, night: Path) -> None:
    Path("in.jsonl").write_text('{"group": "g9", "chosen": "a", "rejected": "b", "labeller": "ann"}\n')
    told = segue("pairs", night, "--judgements", "in.jsonl")
    assert told.code == 2 and "in.jsonl:1" in told.err and "g9" in told.err
    assert not (night / "pairs.jsonl").exists() and not (night / "judgements.jsonl").exists()
    Path("in.jsonl").write_text("{\n[]\n")
    told = segue("pairs", night, "--judgements", "in.jsonl")
    assert told.code == 2 and "in.jsonl:1" in told.err and "in.jsonl:2" in told.err


def test_a_runs_folder_has_no_plan_and_needs_a_strategy(segue: Call, night: Path) -> None:
    (night / "plan.yaml").unlink()
    told = segue("pairs", night)
    assert told.code == 2 and "no plan.yaml" in told.err and "--strategy best_worst" in told.err
    assert document(segue, night, "--strategy", "best_worst")["pairs"] == 4


@pytest.mark.parametrize(("options", "words"), [
    (("--strategy", "top"), "Did you mean 'topk'"), (("--compare", "seed"), "Did you mean 'seeds'"),
    (("--k", "2"), "--k without --strategy"), (("--strategy", "domination"), "needs metrics"),
    (("--strategy", "best_worst", "--k", "2"), "only rule topk"), (("--strategy", "margin", "--margin", "-1"), "--margin -1"),
    (("--strategy", "margin", "--margin-unit", "db"), "--margin-unit db"),
    (("--strategy", "margin", "--metric", "loud"), "no metric 'loud'"),
    (("--strategy", "margin", "--metric", "lsd", "--metric", "overall"), "several --metric"),
    (("--strategy", "margin", "--cap", "0"), "--cap 0"), (("--labeller", "ann"), "--export-judgements"),
])
def test_wrong_options_are_told_with_a_way_out(segue: Call, night: Path, options: tuple[str, ...], words: str) -> None:
    told = segue("pairs", night, *options)
    assert told.code == 2 and words in told.err and not told.out, told
    assert not (night / "pairs.jsonl").exists()


def test_a_folder_without_groups_is_told(segue: Call, tmp_path: Path) -> None:
    told = segue("pairs", tmp_path / "nowhere", "--strategy", "best_worst")
    assert told.code == 2 and "holds no groups" in told.err
    assert not (tmp_path / "nowhere").exists()

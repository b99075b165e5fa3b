"""Pairs of a folder: read lean and whole, written whole, and what is wrong with a record is told with its line."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.scored_takes import scored_group, scored_take
from segue.dataset.folder import NightFolder
from segue.dataset.pairing import derived, write_pairs
from segue.dataset.record import lean_groups
from segue.pipeline.errors import RequestError, RunError
from segue.scoring.groups import Group
from segue.scoring.pair_audit import Auditor, audit
from segue.scoring.pair_rules import Judgement, PairStrategy, Quota, derive_all
from segue.scoring.pair_schema import Pair

STRATEGIES = [PairStrategy(rule="margin", margin=1), PairStrategy(compare="human")]


@pytest.fixture
def groups() -> list[Group]:
    return [
        scored_group(
            *(scored_take(i, s, prefix=f"{g}/", loudness_lufs=-10.0 - i) for i, s in enumerate((9.0, 5.0, 1.0))),
            id=f"g{g}", strata={"genre": "jazz" if g % 2 else "folk"},
        )
        for g in range(4)
    ]


@pytest.fixture
def folder(tmp_path: Path, groups: list[Group]) -> NightFolder:
    found = NightFolder(tmp_path)
    found.groups.write_text("".join(g.to_json() + "\n" for g in groups))
    found.judgements.write_text(Judgement(group="g2", chosen="2/t2", rejected="2/t0", labeller="ann").model_dump_json() + "\n")
    return found


def test_pairs_of_a_folder_are_those_of_its_groups_and_judgements(folder: NightFolder, groups: list[Group]) -> None:
    said = [Judgement(group="g2", chosen="2/t2", rejected="2/t0", labeller="ann")]
    expected = list(derive_all(groups, STRATEGIES, judgements=said))
    assert list(derived(folder, STRATEGIES)) == expected and len(expected) == 13
    assert write_pairs(folder, STRATEGIES) == {"human_judgement": 1, "same_prompt_different_seeds": 12}
    assert [Pair.from_json(line) for line in folder.pairs.read_text().splitlines()] == expected
    once = folder.pairs.read_bytes()
    write_pairs(folder, STRATEGIES)
    assert folder.pairs.read_bytes() == once
    assert write_pairs(folder, STRATEGIES[:1], Quota(by=("genre",), pairs=4)) == {"same_prompt_different_seeds": 8}
    assert sorted(p.name for p in folder.root.iterdir()) == ["groups.jsonl", "judgements.jsonl", "pairs.jsonl"]


def test_the_auditor_sees_everything_once(folder: NightFolder, groups: list[Group]) -> None:
    watching = Auditor()
    write_pairs(folder, STRATEGIES, auditor=watching)
    assert watching.result() == audit(derived(folder, STRATEGIES), groups)


def test_a_torn_last_line_is_passed_over_with_a_warning(folder: NightFolder) -> None:
    whole = folder.groups.read_bytes()
    warnings: list[str] = []
    folder.groups.write_bytes(whole[:-50])
    assert [g.id for g in lean_groups(folder.groups, warnings.append)] == ["g0", "g1", "g2"]
    assert len(warnings) == 1 and "line 4" in warnings[0]


def test_a_line_that_is_no_group_is_named(folder: NightFolder) -> None:
    lines = folder.groups.read_bytes().splitlines(keepends=True)
    folder.groups.write_bytes(b"".join([lines[0], b'{"id": "x"}\n', *lines[1:]]))
    folder.pairs.write_text("as it was\n")
    with pytest.raises(RunError, match=r"groups\.jsonl, line 2.*stage"):
        write_pairs(folder, STRATEGIES)
    assert folder.pairs.read_text() == "as it was\n"


def test_a_folder_without_groups_is_told(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="holds no groups"):
        list(derived(NightFolder(tmp_path / "nowhere"), STRATEGIES))

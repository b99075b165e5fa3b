"""Judgements in and out: what goes out tells nothing, what comes in is checked line by line."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from helpers.scored_takes import scored_group, scored_take
from hypothesis import given, settings
from hypothesis import strategies as st
from segue.dataset.judgements import Imported, export_comparisons, import_judgements, open_comparisons, read_judgements
from segue.pipeline.errors import RequestError, RunError
from segue.scoring.groups import Group
from segue.scoring.pair_rules import Judgement, PairStrategy, derive, derive_all


def group_of(name: str, *scores: float, **more: Any) -> Group:
    return scored_group(*(scored_take(i, s, prefix=f"{name}/") for i, s in enumerate(scores)), id=name, **more)


GROUPS = [group_of("g1", 9.0, 5.0, 1.0), group_of("g2", 2.0, 8.0)]
EVERY = [PairStrategy(compare="any", rule="margin")]


def line(chosen: str, rejected: str, labeller: str = "ann", **more: Any) -> dict[str, Any]:
    return {"group": chosen.split("/")[0], "chosen": chosen, "rejected": rejected, "labeller": labeller, **more}


def file_of(path: Path, *lines: dict[str, Any] | str) -> Path:
    path.write_text("".join((one if isinstance(one, str) else json.dumps(one)) + "\n" for one in lines), encoding="utf-8")
    return path


# -- out -----------------------------------------------------------------------------------------------------------------


def test_open_comparisons_say_what_to_listen_to_and_nothing_else() -> None:
    (one,) = open_comparisons(derive(GROUPS[1], EVERY))
    assert one.keys() == {"group", "prompt", "first", "second"} and one["group"] == "g2"
    facts = {"bpm": 96, "keyscale": "C major", "duration": 8.0}
    assert one["prompt"] == {"caption": "warm jazz", "lyrics": "la", "metadata": facts}
    by_take = {e.take: e for e in GROUPS[1].entries}
    for side in (one["first"], one["second"]):
        take = side["take"]
        assert side == {"take": take, "pcm_sha256": by_take[take].pcm_sha256, "audio_path": f"audio/{take}.flac"}
    assert {one["first"]["take"], one["second"]["take"]} == by_take.keys()


def test_the_order_of_the_two_tells_nothing() -> None:
    groups = [group_of(f"g{i}", 9.0, 1.0) for i in range(400)]
    first = [one["first"]["take"].endswith("/t0") for one in open_comparisons(derive_all(groups, EVERY))]
    assert len(first) == 400 and 150 < sum(first) < 250  # the better one stands first about as often
    turned = [group_of(f"g{i}", 1.0, 9.0) for i in range(400)]
    assert [one["first"]["take"].endswith("/t0") for one in open_comparisons(derive_all(turned, EVERY))] == first


def test_two_sounds_are_asked_about_once_and_not_again_when_judged() -> None:
    pairs = [*derive_all(GROUPS, EVERY), *derive_all(GROUPS, [PairStrategy()])]
    assert [one["group"] for one in open_comparisons(pairs)] == ["g1", "g1", "g1", "g2"]
    said = [Judgement(**line("g2/t0", "g2/t1", "ann")), Judgement(**line("g1/t2", "g1/t0", "bob", tie=True))]
    by_hash = [said[0].model_copy(update={"chosen": GROUPS[1].entries[0].pcm_sha256, "rejected": "g2/t1"})]
    assert len(list(open_comparisons(pairs, said))) == 2 and len(list(open_comparisons(pairs, by_hash))) == 3
    assert [one["group"] for one in open_comparisons(pairs, said, labeller="ann")] == ["g1", "g1", "g1"]
    assert [one["group"] for one in open_comparisons(pairs, said, labeller="eve")] == ["g1", "g1", "g1", "g2"]


def test_a_take_without_audio_says_null() -> None:
    silent = group_of("g", 9.0, 1.0)
    silent = silent.model_copy(update={"entries": tuple(e.model_copy(update={"audio_path": None}) for e in silent.entries)})
    (one,) = open_comparisons(derive(silent, EVERY))
    assert one["first"]["audio_path"] is None and one["second"]["audio_path"] is None


def test_export_is_one_line_of_json_each_whatever_the_caption(tmp_path: Path) -> None:
    caption = 'two\nlines, "quotes" and 🎷'
    odd = group_of("g", 9.0, 1.0, prompt={"caption": caption})
    assert export_comparisons(tmp_path / "open.jsonl", open_comparisons(derive(odd, EVERY))) == 1
    (text,) = (tmp_path / "open.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(text)["prompt"]["caption"] == caption


# -- in ------------------------------------------------------------------------------------------------------------------


def test_an_exported_comparison_judged_comes_back_as_a_pair(tmp_path: Path) -> None:
    asked = list(open_comparisons(derive_all(GROUPS, EVERY)))
    answers = [
        {"group": a["group"], "chosen": a["first"]["take"], "rejected": a["second"]["pcm_sha256"], "labeller": "ann"}
        for a in asked
    ]
    kept = tmp_path / "judgements.jsonl"
    assert import_judgements(file_of(tmp_path / "in.jsonl", *answers), kept, GROUPS) == Imported(total=4, new=4, replaced=0)
    pairs = list(derive_all(GROUPS, [PairStrategy(compare="human")], judgements=read_judgements(kept)))
    assert {(p.group, p.chosen.provenance.take, p.rejected.provenance.take) for p in pairs} == {  # type: ignore[union-attr]
        (a["group"], a["first"]["take"], a["second"]["take"]) for a in asked}
    assert list(open_comparisons(derive_all(GROUPS, EVERY), read_judgements(kept))) == []


def test_the_last_word_of_a_labeller_stands_in_the_place_of_the_first(tmp_path: Path) -> None:
    kept = tmp_path / "judgements.jsonl"
    first = file_of(tmp_path / "a", line("g1/t0", "g1/t1"), line("g2/t0", "g2/t1"), line("g1/t0", "g1/t1", "bob"))
    assert import_judgements(first, kept, GROUPS) == Imported(3, 3, 0)
    before = kept.read_bytes()
    assert import_judgements(first, kept, GROUPS) == Imported(3, 0, 0) and kept.read_bytes() == before
    by_hash = line("g1/t1", "g1/t0")
    by_hash["rejected"] = GROUPS[0].entries[0].pcm_sha256
    second = file_of(tmp_path / "b", line("g1/t0", "g1/t1", tie=True), by_hash)
    assert import_judgements(second, kept, GROUPS) == Imported(3, 0, 2)
    now = [(j.labeller, j.chosen, j.tie) for j in read_judgements(kept)]
    assert now == [("ann", "g1/t1", False), ("ann", "g2/t0", False), ("bob", "g1/t0", False)]


def test_every_broken_line_is_told_and_nothing_is_taken(tmp_path: Path) -> None:
    kept = file_of(tmp_path / "judgements.jsonl", line("g2/t0", "g2/t1"))
    before = kept.read_bytes()
    broken = file_of(
        tmp_path / "in.jsonl", line("g1/t0", "g1/t1"), "{", "", line("g1/t0", "g1/t1", chosn="x"),
        {"group": "g1", "chosen": "g1/t0"}, line("g1/t0", "g1/t1", ""), "[1]", line("g1/t0", "g1/t1", tie="perhaps"),
    )
    with pytest.raises(RequestError) as caught:
        import_judgements(broken, kept, GROUPS)
    told = [(p.line, p.key) for p in caught.value.problems]
    assert told == [(2, None), (4, "chosn"), (5, "rejected"), (5, "labeller"), (6, "labeller"), (7, None), (8, "tie")]
    assert all(p.file == str(broken) and p.fix for p in caught.value.problems)
    assert "Did you mean 'chosen'?" in str(caught.value) and kept.read_bytes() == before


def test_unknown_groups_and_takes_are_told_with_their_line(tmp_path: Path) -> None:
    unknown = file_of(
        tmp_path / "in.jsonl", {**line("g1/t0", "g1/t1"), "group": "g3"}, line("g1/t0", "g1/t7"), line("g1/t9", "g1/t8"),
        line("g1/t0", "g2/t0"), line("g1/t0", "g1/t0"), line("g1/t0", GROUPS[0].entries[0].pcm_sha256),
    )
    with pytest.raises(RequestError) as caught:
        import_judgements(unknown, tmp_path / "judgements.jsonl", GROUPS)
    assert [(p.line, p.key) for p in caught.value.problems] == [
        (1, "group"), (2, "rejected"), (3, "chosen"), (3, "rejected"), (4, "rejected"), (5, "rejected"), (6, "rejected")]
    assert "no group 'g3'" in str(caught.value) and "Did you mean 'g" in str(caught.value) and "same sound" in str(caught.value)
    assert not (tmp_path / "judgements.jsonl").exists()


def test_what_is_wrong_is_told_at_once_whatever_it_is(tmp_path: Path) -> None:
    kept = file_of(tmp_path / "judgements.jsonl", line("g2/t0", "g2/t1"), "torn")
    wrong = file_of(
        tmp_path / "in.jsonl", line("g1/t0", "g1/t7"), "{", {**line("g1/t0", "g1/t1"), "group": "g3"}, line("g1/t0", "g1/t1"),
        line("g1/t1", "g1/t1"), {"group": "g1"},
    )
    with pytest.raises(RequestError) as caught:
        import_judgements(wrong, kept, GROUPS)
    assert [(Path(p.file or "").name, p.line, p.key) for p in caught.value.problems] == [
        ("judgements.jsonl", 2, None), ("in.jsonl", 1, "rejected"), ("in.jsonl", 2, None), ("in.jsonl", 3, "group"),
        ("in.jsonl", 5, "rejected"), ("in.jsonl", 6, "chosen"), ("in.jsonl", 6, "rejected"), ("in.jsonl", 6, "labeller")]


def test_a_files_bytes_may_be_odd(tmp_path: Path) -> None:
    marked = tmp_path / "in.jsonl"
    marked.write_bytes(b"\xef\xbb\xbf" + json.dumps(line("g1/t0", "g1/t1", note="naïve 🎷")).encode() + b"\r\n\r\n")
    assert [j.note for j in read_judgements(marked)] == ["naïve 🎷"]
    marked.write_bytes(b'{"group": "\xff"}\n')
    with pytest.raises(RequestError, match=r"in\.jsonl:1"):
        read_judgements(marked)
    with pytest.raises(RunError, match="can't be read"):
        read_judgements(tmp_path / "nowhere.jsonl")


def test_a_place_that_can_t_be_written_is_told(tmp_path: Path) -> None:
    given_ = file_of(tmp_path / "in", line("g1/t0", "g1/t1"))
    with pytest.raises(RunError, match="could not write the judgements"):
        import_judgements(given_, given_ / "judgements.jsonl", GROUPS)


TWO = st.permutations(["t0", "t1", "t2"]).map(lambda names: names[:2])
WORDS = st.lists(st.tuples(TWO, st.sampled_from(["ann", "bob"]), st.booleans()), max_size=10)


@settings(max_examples=20, deadline=None)
@given(WORDS, st.integers(0, 10))
def test_importing_in_two_files_is_importing_in_one(words: Sequence[tuple[list[str], str, bool]], cut: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        lines = [line(f"g1/{a}", f"g1/{b}", who, tie=tie) for (a, b), who, tie in words]
        import_judgements(file_of(root / "all", *lines), root / "one", GROUPS)
        for part in (lines[:cut], lines[cut:]):
            import_judgements(file_of(root / "part", *part), root / "two", GROUPS)
        assert (root / "one").read_bytes() == (root / "two").read_bytes()
        assert len({(j.labeller, frozenset((j.chosen, j.rejected))) for j in read_judgements(root / "one")}) == len(
            read_judgements(root / "one"))

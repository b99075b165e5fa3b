"""The index of pairs: the same bytes as from the record itself, and never an older record's pairs."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest
from helpers.scored_takes import scored_group, scored_take
from hypothesis import given, settings
from hypothesis import strategies as st
from segue.dataset.pair_index import IndexedGroup, PairIndex
from segue.pipeline.errors import RunError
from segue.scoring.groups import Group, GroupEntry
from segue.scoring.pair_rules import derive_all, find_all
from segue.scoring.pair_strategy import Compare, Judgement, PairStrategy, Quota, Rule

WANTED = [PairStrategy(), PairStrategy(compare="any", rule="margin", metric="bandwidth_hz"), PairStrategy(compare="human")]
SAID = [Judgement(group="g1", chosen="1/t0", rejected="1/t2", labeller="ann")]


def made(number: int, *scores: float) -> Group:
    takes = (scored_take(i, s, prefix=f"{number}/", metrics={"bandwidth_hz": 9000 + s}) for i, s in enumerate(scores))
    return scored_group(*takes, id=f"g{number}", strata={"genre": "jazz"})


@pytest.fixture
def record(tmp_path: Path) -> Path:
    path = tmp_path / "groups.jsonl"
    path.write_bytes(lines(made(0, 9.0, 5.0, 1.0), made(1, 2.0, 4.0, 3.0)))
    return path


def lines(*groups: Group) -> bytes:
    return b"".join(group.to_json().encode() + b"\n" for group in groups)


def indexed(record: Path) -> list[str]:
    """The pairs by the index, caught up."""
    with PairIndex(record.with_name("index"), record) as index:
        index.catch_up()
        return of(index.groups())


def of(groups: object) -> list[str]:
    return [found.group.line(found).decode() for found in find_all(groups, WANTED, judgements=SAID)]  # type: ignore[type-var]


def plain(*groups: Group) -> list[str]:
    return [pair.to_json() for pair in derive_all(groups, WANTED, judgements=SAID)]


# -- the same pairs ------------------------------------------------------------------------------------------------------

SCORE = st.one_of(st.none(), st.sampled_from([0.0, 4.0, 4.0000001, 5.5, 9.25]), st.floats(0, 10))
VALUE = st.one_of(st.just(math.nan), st.just(math.inf), st.sampled_from([3.0, 6.0]), st.floats(-50, 50))
METRIC = st.sampled_from([None, "bandwidth_hz"])
TEXT = st.text(max_size=8) | st.sampled_from(['","defects":[],"', "🎷 \"quoted\"\n", '{"take":"'])


@st.composite
def entries(draw: st.DrawFn) -> list[GroupEntry]:
    found: list[GroupEntry] = []
    for index in range(draw(st.integers(0, 6))):
        more = {"finite": draw(st.booleans()) or draw(st.booleans()), "silent": draw(st.integers(0, 9)) == 0,
                "refused": draw(st.sampled_from([None, None, None, "hum"])), "audio_path": draw(st.none() | TEXT),
                "duration_s": draw(st.sampled_from([8.0, 8.0, 8.0005, 8.0015, 4.0])),
                "loudness_lufs": draw(st.none() | st.floats(-60, 0)),
                "parent": draw(st.sampled_from([None, *(e.take for e in found)]))}  # fmt: skip
        if draw(st.integers(0, 5)) == 0 and found:
            more["pcm_sha256"] = found[0].pcm_sha256
        setting = {"steps": draw(st.sampled_from([4, 8])), "varied": draw(st.dictionaries(TEXT, TEXT, max_size=1)),
                   "extra": {"note": draw(TEXT), "defects": []}, "guidance": draw(st.sampled_from([None, {"scale": 2.0}])),
                   }  # fmt: skip
        metrics = {"bandwidth_hz": draw(VALUE)} if draw(st.booleans()) else {}
        found.append(scored_take(index, draw(SCORE), made=setting, metrics=metrics, **more))
    return draw(st.permutations(found))


@st.composite
def strategies(draw: st.DrawFn) -> PairStrategy:
    compare: Compare = draw(st.sampled_from(["seeds", "params", "repair", "any", "human", "reference"]))
    if compare == "human":
        return PairStrategy(compare=compare, margin=draw(st.sampled_from([0.0, 0.5])))
    rule: Rule = draw(st.sampled_from(["best_worst", "topk", "margin", "domination"]))
    named = {"metrics": ("overall", "bandwidth_hz")} if rule == "domination" else {"metric": draw(METRIC)}
    return PairStrategy(compare=compare, rule=rule, k=2 if rule == "topk" else 1, margin=draw(st.sampled_from([0.0, 0.5])),
                        margin_unit=draw(st.sampled_from(["points", "sd"])), cap=draw(st.sampled_from([None, 2])), **named)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_the_lines_are_those_of_the_groups(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    groups = [
        scored_group(*data.draw(entries()), id=f"g{data.draw(st.integers(0, 2))}", labeller=data.draw(st.sampled_from(["", "x"])),
                     prompt={"caption": data.draw(TEXT), "bpm": data.draw(st.none() | st.integers(30, 300)),
                             "instrumental": data.draw(st.booleans())},
                     strata={"genre": data.draw(st.sampled_from(["jazz", "folk"]))})
        for _ in range(data.draw(st.integers(0, 3)))
    ]  # fmt: skip
    wanted = data.draw(st.lists(strategies(), min_size=1, max_size=3))
    quotas = data.draw(st.sampled_from([None, Quota(by=("genre",), pairs=2)]))
    said = [Judgement(group=g.id, chosen="t0", rejected="t1", labeller="ann") for g in groups[:1]]
    root = tmp_path_factory.mktemp("index")
    (root / "groups.jsonl").write_bytes(lines(*groups))
    with PairIndex(root / "index", root / "groups.jsonl") as index:
        index.catch_up()
        found = list(find_all(index.groups(), wanted, quotas=quotas, judgements=said))
        texts = [one.group.line(one).decode() for one in found]
        seen: list[IndexedGroup] = list(index.groups())
    expected = [pair.to_json() for pair in derive_all(groups, wanted, quotas=quotas, judgements=said)]
    assert texts == expected
    assert [g.takes for g in seen] == [len(g.entries) for g in groups]
    assert [len(g.candidates.takes) for g in seen] == [sum(e.comparable for e in g.entries) for g in groups]


def test_an_index_that_grew_with_its_record_needs_no_catching_up(record: Path) -> None:
    groups = [made(n, 1.0 + n, 7.0, 3.0) for n in range(4)]
    record.write_bytes(b"")
    with PairIndex(record.with_name("index"), record) as index:
        for group in groups:
            with record.open("ab") as file:
                file.write(lines(group))
            index.append([group], lines(group))
        reach = index.reach()
        assert (reach.groups, reach.bytes) == (4, record.stat().st_size)
        assert reach.modified == record.stat().st_mtime_ns
        assert of(index.groups()) == plain(*groups)


# -- never an older record's -------------------------------------------------------------------------------------------------


def test_a_record_with_other_bytes_of_the_same_length_is_read_anew(record: Path) -> None:
    assert indexed(record) == plain(made(0, 9.0, 5.0, 1.0), made(1, 2.0, 4.0, 3.0))
    other = lines(made(0, 9.0, 5.0, 1.0), made(1, 2.0, 4.0, 6.0))
    assert len(other) == record.stat().st_size
    record.write_bytes(other)
    os.utime(record, ns=(0, record.stat().st_mtime_ns + 1))
    assert indexed(record) == plain(made(0, 9.0, 5.0, 1.0), made(1, 2.0, 4.0, 6.0))


def test_a_shorter_record_is_read_anew(record: Path) -> None:
    indexed(record)
    record.write_bytes(lines(made(1, 2.0, 4.0, 3.0)))
    assert indexed(record) == plain(made(1, 2.0, 4.0, 3.0))


def test_a_record_that_only_looks_newer_keeps_its_index(record: Path) -> None:
    before = indexed(record)
    with PairIndex(record.with_name("index"), record) as index:
        index._db.execute("UPDATE groups SET facts = replace(facts, 'g1', 'gx')")  # to see who answers
        marked = of(index.groups())
    assert marked != before
    os.utime(record)
    assert indexed(record) == marked


def test_a_torn_last_line_is_passed_over_until_it_is_whole(record: Path) -> None:
    whole = record.read_bytes()
    record.write_bytes(whole[:-40])
    heard: list[str] = []
    with PairIndex(record.with_name("index"), record) as index:
        index.catch_up(heard.append)
        assert len(heard) == 1 and "line 2" in heard[0] and index.reach().groups == 1
    record.write_bytes(whole)
    assert indexed(record) == plain(made(0, 9.0, 5.0, 1.0), made(1, 2.0, 4.0, 3.0))


@pytest.mark.parametrize("lost", [True, False])
def test_an_index_that_is_gone_or_no_database_is_made_anew(record: Path, lost: bool) -> None:
    before, place = indexed(record), record.with_name("index")
    for path in place.parent.glob("index*"):
        path.unlink()
    if not lost:
        place.write_bytes(b"this is not a database, " * 100)
    assert indexed(record) == before


def spoiled(place: Path, page: int) -> None:
    """Everything from that page on (the first is 0) is nonsense."""
    data = place.read_bytes()
    place.write_bytes(data[: page * 4096] + b"\xff" * (len(data) - page * 4096))


def test_an_index_damaged_inside_is_made_anew_when_it_is_caught_up(record: Path) -> None:
    before = indexed(record)
    spoiled(record.with_name("index"), 1)
    assert indexed(record) == before


def test_damage_that_is_found_later_says_what_to_delete(record: Path) -> None:
    record.write_bytes(lines(*(made(n, 1.0 + n, 7.0, 3.0) for n in range(40))))  # some pages of sides
    indexed(record)
    place = record.with_name("index")
    spoiled(place, place.stat().st_size // 4096 - 30)
    with pytest.raises(RunError, match=r"index is damaged .*Delete it"):
        indexed(record)

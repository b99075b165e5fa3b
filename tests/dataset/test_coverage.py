"""Coverage: counts against the whole records read anew; the grid's empty cells; logs that are torn or broken."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from pathlib import Path

import pytest
from segue.dataset.coverage import MAX_VALUES, Tally, coverage, tallied
from segue.dataset.group_heads import group_heads
from segue.pipeline.errors import RequestError
from segue.scoring.preferences import Generation, Group, GroupEntry, pairs_best_worst
from segue.scoring.report import Metric, QualityReport

GENRES, TEMPI = ("jazz", "funk", 'odd "take":"x', "emoji 🎷"), ("70-89", "90-109")


def group(number: int, takes: int, metrics: int = 1) -> Group:
    values = {f"metric_{i}": Metric(value=1.5 * i, unit="dB") for i in range(metrics)}
    # texts that look like what is searched for, at every place a text can stand
    lineage = [{"stage": "draft", "note": ',"entries":[{"take":"x"}],"group":"y"'}]
    entries = tuple(
        GroupEntry(
            take=f'{number:06d}/scored/{i},"entries":[',
            index=i,
            seed=i,
            overall=float(i),
            duration_s=1.0,
            pcm_sha256=f"{number}-{i}",
            generation=Generation(seed=i, extra={"lineage": lineage}),
            report=QualityReport(overall=float(i), metrics=values, scorer="s", duration_s=1.0, rate_hz=48_000),
        )
        for i in range(takes)
    )
    strata = {"genre": GENRES[number % 3], "bpm": TEMPI[number % 2]}
    return Group(
        id=f"group{number}", stage="scored", prompt={"caption": ',"entries":[ {"take":"'}, strata=strata, entries=entries
    )


def write(folder: Path, groups: list[Group]) -> None:
    (folder / "groups.jsonl").write_text("".join(g.to_json() + "\n" for g in groups), encoding="utf-8")
    pairs = [pair for g in groups for pair in pairs_best_worst(g, k=2)]
    (folder / "pairs.jsonl").write_text("".join(p.to_json() + "\n" for p in pairs), encoding="utf-8")


def test_counts_are_those_of_the_records_read_whole(tmp_path: Path) -> None:
    groups = [group(i, takes=i % 5) for i in range(24)]
    write(tmp_path, groups)
    assert [(h.id, h.takes, h.strata) for h in group_heads(tmp_path / "groups.jsonl")] == [
        (g.id, len(g.entries), g.strata) for g in groups
    ]
    found = coverage(tmp_path)
    takes, made, pairs = Counter(), Counter(), Counter()
    for g in groups:
        for key in [("all",), *g.strata.items(), tuple(g.strata.values())]:
            takes[key] += len(g.entries)
            made[key] += 1
            pairs[key] += len(pairs_best_worst(g, k=2))
    assert found.total == Tally(takes["all",], made["all",], pairs["all",]) and found.total.pairs > 20
    for name, values in found.axes.items():
        for value, tally in values.items():
            assert tally == Tally(takes[name, value], made[name, value], pairs[name, value])
    (cells,) = found.cells.values()
    assert found.axes.keys() == {"bpm", "genre"} and len(cells) == 6
    for (bpm, genre), tally in cells.items():
        assert tally == Tally(takes[genre, bpm], made[genre, bpm], pairs[genre, bpm])
    assert found.emptiest(2)[0][1].groups == min(t.groups for t in cells.values())


def test_a_prompt_that_stands_twice_under_other_tags_gives_each_stratum_its_own_pairs(tmp_path: Path) -> None:
    groups = [group(i, takes=takes) for i, takes in enumerate((2, 4, 3, 5))]
    twins = [g.model_copy(update={"id": "same", "strata": {"genre": genre}})
             for g, genre in zip(groups[:3], ("jazz", "funk", "jazz"), strict=True)]  # fmt: skip
    write(tmp_path, [*twins, groups[3].model_copy(update={"strata": {"genre": "jazz"}})])
    each = [len(pairs_best_worst(g, k=2)) for g in groups]
    found = coverage(tmp_path)
    assert found.axes["genre"] == {"jazz": Tally(10, 3, each[0] + each[2] + each[3]), "funk": Tally(4, 1, each[1])}
    assert found.total.pairs == sum(each) and each[1] > 1
    with (tmp_path / "groups.jsonl").open("ab") as file:
        file.write(b'{"id":"same"')  # a line being written
    assert coverage(tmp_path).axes == found.axes


def test_the_grid_s_empty_cells_are_there_with_zeros(tmp_path: Path) -> None:
    write(tmp_path, [group(i, takes=2) for i in range(2)])  # jazz slow, funk fast
    (tmp_path / "plan.yaml").write_text(
        'prompts: {grid: {caption: "{genre}", genre: [jazz, funk, polka], bpm: ["70-89", "90-109"], count: 4}}\n'
        "runs: [{preset: base-turbo-refine}]\n", encoding="utf-8",
    )  # fmt: skip
    found = coverage(tmp_path)
    assert found.axes["genre"]["polka"] == Tally() and found.grid_cells() == (2, 6)
    empty = [strata for strata, tally in found.emptiest() if tally.groups == 0]
    assert len(empty) == 4 and {"genre": "polka", "bpm": "70-89"} in empty
    document = found.document()
    assert document["grid"] == {"covered": 2, "cells": 6, "asked": 4} and len(document["cells"]) == 6
    assert document["axes"]["genre"]["jazz"] == {"takes": 2, "groups": 1, "pairs": 1}


def test_a_line_being_written_is_left_out_and_a_broken_one_is_told(tmp_path: Path) -> None:
    groups = [group(i, takes=2) for i in range(3)]
    write(tmp_path, groups)
    log = tmp_path / "groups.jsonl"
    whole = log.read_bytes()
    log.write_bytes(whole[:-20])
    assert coverage(tmp_path).total.groups == 2
    log.write_bytes(whole + b'{"no": "group"}\n')
    with pytest.raises(RequestError, match=r"groups\.jsonl:4: this is no preference group"):
        coverage(tmp_path)
    log.write_bytes(whole)
    with (tmp_path / "pairs.jsonl").open("ab") as file:
        file.write(b"{}\n")
    with pytest.raises(RequestError, match=r"pairs\.jsonl:4: this is no preference pair"):
        coverage(tmp_path)
    (tmp_path / "pairs.jsonl").unlink()
    assert coverage(tmp_path).total == Tally(6, 3, 0)
    with pytest.raises(RequestError, match="name the folder of a night"):
        coverage(tmp_path / "nowhere")


def test_an_axis_of_very_many_values_is_counted_alone() -> None:
    many = {(("genre", "jazz"), ("bpm", "80"), ("title", f"t{i}")): Tally(2, 1, 0) for i in range(MAX_VALUES + 1)}
    found = tallied(many)
    assert found.wide == ("title",) and set(found.cells) == {("genre", "bpm")} and len(found.axes["title"]) == MAX_VALUES + 1
    assert found.cells["genre", "bpm"]["jazz", "80"] == Tally(2 * len(many), len(many), 0)


def test_a_log_is_covered_far_faster_than_it_is_read(tmp_path: Path) -> None:
    groups = [group(i, takes=10, metrics=40) for i in range(60)]
    write(tmp_path, groups)
    (tmp_path / "pairs.jsonl").unlink()
    lines = (tmp_path / "groups.jsonl").read_bytes().splitlines()
    begun = time.process_time()
    for line in lines:
        Group.from_json(line)
    read = time.process_time() - begun
    best = min(_seconds(tmp_path) for _ in range(5))
    assert best < read / 5, (best, read)


def _seconds(folder: Path) -> float:
    begun = time.process_time()
    for _ in itertools.repeat(None, 3):
        coverage(folder)
    return (time.process_time() - begun) / 3

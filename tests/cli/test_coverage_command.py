"""`segue coverage`: tables and JSON of one folder, and what is said of a folder that is none."""

from __future__ import annotations

import json
from pathlib import Path

from segue.scoring.preferences import Generation, Group, GroupEntry, pairs_best_worst

from .conftest import Call


def night(folder: Path) -> None:
    """Two groups of two takes: jazz at two tempi."""
    made = [
        Group(
            id=f"g{n}",
            stage="scored",
            prompt={"caption": "c"},
            strata={"genre": "jazz", "bpm": bpm},
            entries=tuple(
                GroupEntry(
                    take=f"t{i}",
                    index=i,
                    seed=i,
                    overall=5.0 + i,
                    duration_s=1.0,
                    pcm_sha256=f"{n}{i}",
                    generation=Generation(seed=i),
                )
                for i in range(2)
            ),
        )
        for n, bpm in enumerate(("70-89", "90-109"))
    ]
    folder.mkdir()
    (folder / "groups.jsonl").write_text("".join(g.to_json() + "\n" for g in made), encoding="utf-8")
    (folder / "pairs.jsonl").write_text("".join(p.to_json() + "\n" for p in pairs_best_worst(made[0])), encoding="utf-8")
    (folder / "plan.yaml").write_text(
        'prompts: {grid: {caption: "{genre}", genre: [jazz, funk], bpm: ["70-89", "90-109"]}}\n'
        "runs: [{preset: base-turbo-refine}]\n",
        encoding="utf-8",
    )


def test_strata_and_gaps_are_shown(segue: Call, tmp_path: Path) -> None:
    night(tmp_path / "data")
    done = segue("coverage", "data")
    assert done.code == 0 and "4 takes in 2 groups, 1 pairs" in done.out, done
    assert "2 of 4 combinations have a group; the plan asks for 4 prompts" in done.out
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in done.out.splitlines() if line.startswith("│")]
    assert ["jazz", "4", "2", "1"] in rows and ["funk", "0", "0", "0"] in rows and ["90-109", "2", "1", "0"] in rows
    assert ["genre: funk, bpm: 70-89", "0", "0", "0"] in rows
    few = segue("coverage", "data", "--emptiest", "0")
    assert "funk, bpm" not in few.out


def test_json_is_one_document(segue: Call, tmp_path: Path) -> None:
    night(tmp_path / "data")
    document = json.loads(segue("coverage", "data", "--json").out)
    assert (document["takes"], document["groups"], document["pairs"]) == (4, 2, 1)
    assert document["grid"] == {"covered": 2, "cells": 4, "asked": 4}
    assert {"strata": {"genre": "jazz", "bpm": "70-89"}, "takes": 2, "groups": 1, "pairs": 1} in document["cells"]


def test_a_folder_without_a_night_is_told(segue: Call) -> None:
    done = segue("coverage", "nowhere")
    assert done.code == 2 and "name the folder of a night" in done.err and not done.out

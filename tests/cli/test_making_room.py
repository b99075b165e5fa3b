"""`segue cache gc` beside runs that are not done: what they keep, how it is said, and the ways to let it go."""

from __future__ import annotations

import datetime
import json
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from segue.pipeline.catalog import Catalog
from segue.pipeline.context import Numerics
from segue.pipeline.prompt import Prompt
from segue.pipeline.store import Entry, Store
from segue.pipeline.take import Audio, Signal, Take

Call = Callable[..., Any]
KEYS = {"done": "aa" * 20, "failed": "bb" * 20, "cancelled": "cc" * 20, "running": "dd" * 20}


@pytest.fixture
def ids(_own_home: Path) -> dict[str, str]:
    """Four runs with a take each: done, failed and cancelled ten days ago, and one that is running now. By status."""
    long_ago = (datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=10)).isoformat().replace("+00:00", "Z")
    store, made = Store(), {}
    with Catalog() as catalog:
        for status, key in KEYS.items():
            run = catalog.begin_run(status, "stages: {}", 1, Numerics())
            made[status] = run.id
            audio = Audio(torch.zeros(1, 100), 8000)
            store.put(key, Entry(audio=audio))
            catalog.record_take(run.id, Take("a", 0, 1, Prompt(), key, Signal(audio)))
            if status != "running":
                catalog.finish_run(run.id, status)  # type: ignore[arg-type]
    with sqlite3.connect(_own_home / "catalog.sqlite3") as db:
        db.execute("UPDATE runs SET created = ?, finished = ? WHERE status != 'running'", (long_ago, long_ago))
    db.close()
    for entry in store.list():
        path = next((_own_home / "store").glob(f"*/{entry.key}.json"))
        os.utime(path, (1, 1))
    return made


def left() -> set[str]:
    return {status for status, key in KEYS.items() if Store().has(key)}


def test_gc_says_which_runs_keep_what_and_how_to_let_it_go(segue: Call, ids: dict[str, str]) -> None:
    said = segue("cache", "gc", "--older-than", "1")
    assert said.code == 0 and left() == {"failed", "cancelled", "running"}
    lines = {s: next((line for line in said.out.splitlines() if run in line), "") for s, run in ids.items()}
    for status in ("failed", "cancelled"):
        assert f"({status}, " in lines[status] and "keeps 1 entry" in lines[status]
        assert f"segue runs forget {ids[status]}" in lines[status] and f"segue runs resume {ids[status]}" in lines[status]
    assert lines["running"] and "forget" not in lines["running"] and not lines["done"]
    facts = json.loads(segue("cache", "gc", "--json").out)
    assert {run["status"]: run["entries"] for run in facts["kept"]} == {"failed": 1, "cancelled": 1, "running": 1}
    assert all(run["bytes"] > 400 for run in facts["kept"])


def test_runs_that_failed_long_ago_keep_nothing_when_gc_is_told(segue: Call, ids: dict[str, str]) -> None:
    assert segue("cache", "gc", "--older-than", "1", "--failed", "11").code == 0 and "failed" in left()
    facts = json.loads(segue("cache", "gc", "--older-than", "1", "--failed", "9", "--json").out)
    assert left() == {"running"} and [run["id"] for run in facts["kept"]] == [ids["running"]]
    assert segue("runs", "show", ids["failed"]).code == 0  # still in the list, and may be resumed at the cost of its takes


def test_failed_alone_removes_nothing_and_says_so(segue: Call, ids: dict[str, str]) -> None:
    refused = segue("cache", "gc", "--failed", "3")
    assert refused.code == 2 and "--older-than" in refused.err and left() == set(KEYS)


def test_a_forgotten_run_keeps_nothing(segue: Call, ids: dict[str, str]) -> None:
    told = segue("runs", "forget", ids["failed"], ids["cancelled"])
    assert told.code == 0 and ids["failed"] in told.out and ids["cancelled"] in told.out
    assert segue("runs", "show", ids["failed"]).code == 2
    segue("cache", "gc", "--older-than", "1")
    assert left() == {"running"}


def test_only_runs_that_are_there_and_at_rest_are_forgotten(segue: Call, ids: dict[str, str]) -> None:
    running = segue("runs", "forget", ids["running"])
    assert running.code == 2 and "is working on it" in running.err
    assert segue("runs", "forget", ids["failed"], ids["running"]).code == 2
    unknown = segue("runs", "forget", ids["failed"], "nothing-like-it")
    assert unknown.code == 2 and "there is no run" in unknown.err
    assert segue("runs", "show", ids["failed"]).code == 0  # none is struck when one can't be

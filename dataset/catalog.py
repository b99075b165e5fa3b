"""The night's catalog: the queue of jobs, what became of each, which prompts are settled, who is working.

SQLite in the night's folder, shared by the processes of one machine. It holds what a job made until its prompt is settled;
the record that stays is `groups.jsonl`. Knows no plan, no stage and no take.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import threading
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..pipeline.atomic import process_alive
from ..pipeline.catalog_schema import catalog_error, open_database
from ..pipeline.errors import RunError

MIGRATIONS = ((
    "CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    """CREATE TABLE jobs (
        number INTEGER PRIMARY KEY, block INTEGER NOT NULL, kind TEXT NOT NULL,
        state TEXT NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'claimed', 'done', 'quarantined')),
        owner TEXT NOT NULL DEFAULT '', attempts INTEGER NOT NULL DEFAULT 0, cause TEXT NOT NULL DEFAULT '',
        seconds REAL NOT NULL DEFAULT 0, takes INTEGER NOT NULL DEFAULT 0, result TEXT)""",
    "CREATE INDEX jobs_by_state ON jobs (state, number)",
    "CREATE INDEX jobs_by_block ON jobs (block, state)",
    """CREATE TABLE blocks (
        number INTEGER PRIMARY KEY, bytes INTEGER NOT NULL, groups INTEGER NOT NULL, takes INTEGER NOT NULL,
        pairs INTEGER NOT NULL)""",
    """CREATE TABLE runners (
        owner TEXT PRIMARY KEY, started TEXT NOT NULL, wall_s REAL NOT NULL DEFAULT 0, busy_s REAL NOT NULL DEFAULT 0,
        swaps INTEGER NOT NULL DEFAULT 0, jobs INTEGER NOT NULL DEFAULT 0, ended INTEGER NOT NULL DEFAULT 0)""",
), ("ALTER TABLE runners ADD COLUMN stop REAL",))


@dataclass(frozen=True)
class Settled:
    """How far the record reaches: blocks written to `groups.jsonl`, its length in bytes, and what they hold."""

    blocks: int
    bytes: int
    groups: int
    takes: int
    pairs: int


@dataclass(frozen=True)
class Failure:
    """A job that went wrong: how often, and why last."""

    job: int
    attempts: int
    state: str
    cause: str


class NightCatalog:
    """The catalog at `path`, made when missing. Threads may share one. Every method may raise `RunError` (damaged file, full
    disk, read-only folder)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._db = open_database(path, MIGRATIONS)
        self._lock = threading.RLock()

    def close(self) -> None:
        self._db.close()

    def __enter__(self) -> NightCatalog:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextlib.contextmanager
    def _using(self, write: bool) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                if write:
                    self._db.execute("BEGIN IMMEDIATE")
                yield self._db
                if write:
                    self._db.execute("COMMIT")
            except BaseException as error:
                if self._db.in_transaction:
                    with contextlib.suppress(sqlite3.Error):
                        self._db.execute("ROLLBACK")
                if isinstance(error, sqlite3.Error):
                    raise catalog_error(self.path, error) from error
                raise

    # -- facts ----------------------------------------------------------------------------------------------

    def fact(self, name: str) -> Any:
        """What was noted under that name (plain data), None when nothing was."""
        with self._using(write=False) as db:
            row = db.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return None if row is None else json.loads(row["value"])

    def note(self, name: str, value: Any) -> None:
        with self._using(write=True) as db:
            db.execute("INSERT INTO facts VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                       (name, json.dumps(value)))

    # -- the queue ------------------------------------------------------------------------------------------

    def fill(self, jobs: Iterable[tuple[int, int, str]]) -> None:
        """The whole queue: (number, block, kind) of every job; those that are there stay as they are."""
        with self._using(write=True) as db:
            db.executemany("INSERT OR IGNORE INTO jobs (number, block, kind) VALUES (?, ?, ?)", jobs)

    def claim(self, owner: str, most: int, *, shun: Collection[int] = (), spare: bool = True) -> list[int]:
        """Up to `most` jobs nobody works on, lowest first, now this process's; jobs of dead processes are free again. Those of
        `shun` are given only where there are no others, and not even then without `spare`."""
        with self._using(write=True) as db:
            owners = [r["owner"] for r in db.execute("SELECT DISTINCT owner FROM jobs WHERE state = 'claimed'")]
            for dead in (o for o in owners if not process_alive(o)):
                db.execute("UPDATE jobs SET state = 'pending', owner = '' WHERE state = 'claimed' AND owner = ?", (dead,))
            rows = db.execute("SELECT number FROM jobs WHERE state = 'pending' ORDER BY number LIMIT ?", (most + len(shun),))
            free = [r["number"] for r in rows]
            numbers = ([n for n in free if n not in shun] or (free if spare else []))[:most]
            db.executemany("UPDATE jobs SET state = 'claimed', owner = ? WHERE number = ?", [(owner, n) for n in numbers])
        return numbers

    def release(self, owner: str) -> None:
        """Give back what this process had claimed and not finished."""
        with self._using(write=True) as db:
            db.execute("UPDATE jobs SET state = 'pending', owner = '' WHERE state = 'claimed' AND owner = ?", (owner,))

    def finish(self, number: int, *, takes: int, seconds: float, result: str) -> None:
        """A job is done; `result` (JSON) is kept until its block is settled."""
        with self._using(write=True) as db:
            db.execute("UPDATE jobs SET state = 'done', owner = '', cause = '', takes = ?, seconds = ?, result = ? "
                       "WHERE number = ?", (takes, seconds, result, number))

    def fail(self, number: int, cause: str, attempts: int) -> bool:
        """A job went wrong; after `attempts` times it is put into quarantine. Gives whether it is."""
        with self._using(write=True) as db:
            tried = db.execute("SELECT attempts FROM jobs WHERE number = ?", (number,)).fetchone()["attempts"] + 1
            state = "quarantined" if tried >= attempts else "pending"
            db.execute("UPDATE jobs SET state = ?, owner = '', attempts = ?, cause = ? WHERE number = ?",
                       (state, tried, cause, number))
        return state == "quarantined"

    def forgive(self, charged: Mapping[int, int]) -> None:
        """Take back so many attempts of each job: they were not its fault. What is settled stays settled."""
        rows = [(attempts, number) for number, attempts in charged.items() if attempts]
        with self._using(write=True) as db:
            db.executemany("UPDATE jobs SET attempts = MAX(0, attempts - ?), state = CASE state WHEN 'quarantined' "
                           "THEN 'pending' ELSE state END WHERE number = ? AND block NOT IN (SELECT number FROM blocks)", rows)

    def counts(self) -> dict[str, int]:
        """Jobs by state."""
        with self._using(write=False) as db:
            rows = db.execute("SELECT state, COUNT(*) AS n FROM jobs GROUP BY state").fetchall()
        return dict.fromkeys(("pending", "claimed", "done", "quarantined"), 0) | {r["state"]: r["n"] for r in rows}

    def open_by_kind(self) -> dict[str, int]:
        """Jobs still to do, by kind."""
        with self._using(write=False) as db:
            rows = db.execute(
                "SELECT kind, COUNT(*) AS n FROM jobs WHERE state IN ('pending', 'claimed') GROUP BY kind").fetchall()
        return {r["kind"]: r["n"] for r in rows}

    def seconds_by_kind(self) -> dict[str, float]:
        """Mean seconds a finished job took, by kind."""
        with self._using(write=False) as db:
            rows = db.execute("SELECT kind, AVG(seconds) AS s FROM jobs WHERE state = 'done' GROUP BY kind").fetchall()
        return {r["kind"]: r["s"] for r in rows}

    def failures(self, limit: int = 20) -> tuple[Failure, ...]:
        """Jobs that went wrong and were not done since, quarantined ones first."""
        with self._using(write=False) as db:
            rows = db.execute("SELECT number, attempts, state, cause FROM jobs WHERE state IN ('quarantined', 'pending') AND "
                              "attempts > 0 ORDER BY state DESC, number LIMIT ?", (limit,)).fetchall()
        return tuple(Failure(r["number"], r["attempts"], r["state"], r["cause"]) for r in rows)

    # -- blocks ---------------------------------------------------------------------------------------------

    def settled(self) -> Settled:
        """What is settled so far."""
        with self._using(write=False) as db:
            row = db.execute("SELECT COUNT(*) AS b, COALESCE(MAX(bytes), 0) AS z, COALESCE(SUM(groups), 0) AS g, "
                             "COALESCE(SUM(takes), 0) AS t, COALESCE(SUM(pairs), 0) AS p FROM blocks").fetchone()
        return Settled(row["b"], row["z"], row["g"], row["t"], row["p"])

    def results(self, block: int) -> list[tuple[int, str | None]] | None:
        """(number, result) of the block's jobs in order, None as the result of a quarantined one; None while one is not
        finished. Raises `RunError` where a job is done and its result is gone."""
        with self._using(write=False) as db:
            rows = db.execute("SELECT number, state, result FROM jobs WHERE block = ? ORDER BY number", (block,)).fetchall()
        if not rows or any(r["state"] not in ("done", "quarantined") for r in rows):
            return None
        lost = [r["number"] for r in rows if r["state"] == "done" and r["result"] is None]
        if lost:  # settled already, or somebody's hand: as an empty result its takes would leave the record
            raise RunError(f"{self.path}: job {lost[0]} of prompt {block} is done, and what it made is not there, so the prompt "
                           "can't be settled. Restore night.sqlite3 and groups.jsonl from one copy, or begin the night anew in "
                           "another folder")
        return [(r["number"], r["result"]) for r in rows]

    def settle(self, block: int, *, bytes: int, groups: int, takes: int, pairs: int) -> None:
        """The block is in the record, which is `bytes` long now; what its jobs made need not be kept here."""
        with self._using(write=True) as db:
            db.execute("INSERT INTO blocks VALUES (?, ?, ?, ?, ?)", (block, bytes, groups, takes, pairs))
            db.execute("UPDATE jobs SET result = NULL WHERE block = ?", (block,))

    def resettle(self, rows: Iterable[Sequence[int]], forget: str) -> None:
        """Replace what is known of the record: (block, bytes, groups, takes, pairs) of every settled block; a fact is forgotten
        with it."""
        with self._using(write=True) as db:
            db.execute("DELETE FROM blocks")
            db.executemany("INSERT INTO blocks VALUES (?, ?, ?, ?, ?)", rows)
            db.execute("DELETE FROM facts WHERE name = ?", (forget,))

    # -- who works ------------------------------------------------------------------------------------------

    def begin_runner(self, owner: str, started: str) -> None:
        with self._using(write=True) as db:
            db.execute("INSERT OR REPLACE INTO runners (owner, started) VALUES (?, ?)", (owner, started))

    def report_runner(self, owner: str, *, wall_s: float, busy_s: float, swaps: int, jobs: int, ended: bool) -> None:
        """What a runner says of itself: seconds it has run, seconds its model was at work, changes of weights, jobs done."""
        with self._using(write=True) as db:
            db.execute("UPDATE runners SET wall_s = ?, busy_s = ?, swaps = ?, jobs = ?, ended = ? WHERE owner = ?",
                       (wall_s, busy_s, swaps, jobs, int(ended), owner))

    def runners(self) -> tuple[dict[str, Any], ...]:
        """Every runner there was, with whether it still runs."""
        with self._using(write=False) as db:
            rows = db.execute("SELECT * FROM runners ORDER BY started, owner").fetchall()
        return tuple({**dict(r), "alive": not r["ended"] and process_alive(r["owner"])} for r in rows)

    def withdraw_runner(self, owner: str) -> None:
        """It could not begin."""
        with self._using(write=True) as db:
            db.execute("DELETE FROM runners WHERE owner = ?", (owner,))

    def ask_to_stop(self) -> int:
        """Every runner there is now ends after the stages it is at; gives how many. One that begins later was not asked."""
        with self._using(write=True) as db:
            owners = [r["owner"] for r in db.execute("SELECT owner FROM runners WHERE NOT ended") if process_alive(r["owner"])]
            db.executemany("UPDATE runners SET stop = ? WHERE owner = ?", [(time.time(), owner) for owner in owners])
        return len(owners)

    def stop_asked(self, owner: str | None = None) -> bool:
        """Whether that runner was asked to stop; any living one, when left out."""
        with self._using(write=False) as db:
            rows = db.execute("SELECT owner FROM runners WHERE stop IS NOT NULL AND NOT ended").fetchall()
        return any(r["owner"] == owner if owner is not None else process_alive(r["owner"]) for r in rows)

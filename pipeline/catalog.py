"""The catalog: what was run, with which takes, how long it took. SQLite, shared by processes.

It remembers and answers; samples are in the store, found by the keys written here. Knows no stage type and no
model.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import secrets
import sqlite3
import statistics
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from .atomic import process_mark
from .catalog_schema import catalog_error, open_database
from .context import Numerics
from .errors import Problem, RequestError, did_you_mean
from .home import segue_home
from .keys import numerics_facts
from .records import Pin, RunRecord, StageRecord, TakeRecord
from .take import Take

NEAREST = 9  # past timings an estimate is made of


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Catalog:
    """The catalog at `path` (left out: ``$SEGUE_HOME/catalog.sqlite3``), made when missing.

    Every method may raise `RunError`: damaged file, full disk, read-only folder. Threads may share one
    catalog.
    """

    def __init__(self, path: Path | str | None = None) -> None:
        self.path = Path(path) if path is not None else segue_home() / "catalog.sqlite3"
        self._db = open_database(self.path)
        self._lock = threading.RLock()

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def __enter__(self) -> Catalog:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                yield self._db
            except sqlite3.Error as error:
                raise catalog_error(self.path, error) from error

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._reading() as db:
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise

    # -- runs ---------------------------------------------------------------------------------------------------

    def begin_run(
        self, preset: str, yaml: str, seed: int, numerics: Numerics, options: Mapping[str, Any] | None = None
    ) -> RunRecord:
        """Note a new run as running in this process; its id is readable and sorts by time
        (``20261120-231502-4f2a``)."""
        created = _now()
        stamp = created[:19].replace("-", "").replace(":", "").replace("T", "-")
        row = (preset, yaml, seed, json.dumps(numerics_facts(numerics)), json.dumps(dict(options or {})), created,
               process_mark(os.getpid()))
        with self._writing() as db:
            while True:
                run_id = f"{stamp}-{secrets.token_hex(2)}"
                if db.execute("SELECT 1 FROM runs WHERE id = ?", (run_id,)).fetchone() is None:
                    break
            db.execute(
                "INSERT INTO runs (id, preset, yaml, seed, numerics, options, created, process, status) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'running')", (run_id, *row),
            )
        return self.run(run_id)

    def finish_run(self, run_id: str, status: Literal["done", "failed", "cancelled"], message: str = "") -> None:
        """Note how a run ended."""
        with self._writing() as db:
            changed = db.execute("UPDATE runs SET status = ?, message = ?, finished = ? WHERE id = ?",
                                 (status, message, _now(), run_id)).rowcount
            if changed == 0:
                self.run(run_id)  # raises: there is no such run

    def reopen_run(self, run_id: str) -> RunRecord:
        """Note that this process goes on with an unfinished run. Raises RequestError while another one works
        on it."""
        with self._writing() as db:
            run = self.run(run_id)
            if run.alive and run.process != process_mark(os.getpid()):
                raise RequestError(Problem(
                    f"run {run.id} is being worked on right now by process {run.process.split(':')[1]}",
                    "wait for it, or stop that process first",
                ))
            db.execute("UPDATE runs SET status = 'running', finished = NULL, message = '', process = ? WHERE id = ?",
                       (process_mark(os.getpid()), run.id))
        return self.run(run.id)

    def forget_run(self, *run_ids: str) -> tuple[str, ...]:
        """Strike runs and their takes from the list; their takes in the store are then free for `Store.gc`. Files they wrote
        stay. Gives their ids in full. Raises RequestError, and strikes none, for an unknown id or while a process works on
        one."""
        runs = {run.id: run for run in map(self.run, run_ids)}
        busy = [run for run in runs.values() if run.alive]
        if busy:
            raise RequestError([
                Problem(f"run {run.id} can't be forgotten: process {run.process.split(':')[1]} is working on it right now",
                        "wait for it, or stop that process first")
                for run in busy
            ])
        with self._writing() as db:
            db.executemany("DELETE FROM runs WHERE id = ?", [(run_id,) for run_id in runs])
        return tuple(runs)

    def runs(self, limit: int = 20) -> tuple[RunRecord, ...]:
        """The newest runs, newest first."""
        with self._reading() as db:
            rows = db.execute("SELECT * FROM runs ORDER BY created DESC, id DESC LIMIT ?", (limit,)).fetchall()
        return tuple(_run(row) for row in rows)

    def run(self, run_id: str) -> RunRecord:
        """The run of that id, or the one whose id starts so. Raises RequestError when there is none, or more
        than one."""
        with self._reading() as db:
            row = db.execute("SELECT * FROM runs WHERE id = ?", (run_id,)).fetchone()
            if row is not None:
                return _run(row)
            ids = [r["id"] for r in db.execute("SELECT id FROM runs ORDER BY id DESC")]
            found = [i for i in ids if run_id and i.startswith(run_id)]
            if len(found) == 1:
                return _run(db.execute("SELECT * FROM runs WHERE id = ?", (found[0],)).fetchone())
        if found:
            raise RequestError(Problem(f"'{run_id}' stands for {len(found)} runs: {', '.join(found[:5])}"
                                       f"{' …' if len(found) > 5 else ''}", "write more of the id"))
        raise RequestError(Problem(f"there is no run '{run_id}'.{did_you_mean(run_id, ids)}",
                                   "`segue runs` lists them" if ids else "nothing has been run yet"))

    # -- what a run made ----------------------------------------------------------------------------------------

    def record_take(
        self, run_id: str, take: Take, *, audio: str | Path | None = None, cached: bool | None = None
    ) -> None:
        """Note a finished take (again, when it changed). An audio path, or whether it came from the
        store (`cached`), stays as noted before when none is given."""
        report = take.report
        row = (run_id, take.stage, take.index, take.seed, take.key, int(bool(cached)), take.duration_s,
               json.dumps(take.prompt.facts()), report.overall if report else None,
               report.model_dump_json() if report else None, str(audio) if audio is not None else None)
        with self._writing() as db:
            db.execute(
                """INSERT INTO takes (run, stage, idx, seed, key, cached, duration_s, prompt, overall, report, audio)
                   VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
                   ON CONFLICT (run, stage, idx) DO UPDATE SET seed = excluded.seed, key = excluded.key,
                   cached = CASE WHEN ? THEN excluded.cached ELSE takes.cached END,
                   duration_s = excluded.duration_s, prompt = excluded.prompt, overall = excluded.overall,
                   report = excluded.report,
                   audio = COALESCE(excluded.audio, takes.audio)""", (*row, cached is not None),
            )

    def record_stage(self, run_id: str, stage: StageRecord) -> None:
        """Note a finished stage (again, after a resume)."""
        with self._writing() as db:
            db.execute(
                """INSERT INTO stages (run, name, type, variant, seconds, cached, takes, steps_run, forwards)
                   VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
                   ON CONFLICT (run, name) DO UPDATE SET type = excluded.type, variant = excluded.variant,
                   seconds = excluded.seconds, cached = excluded.cached, takes = excluded.takes,
                   steps_run = excluded.steps_run, forwards = excluded.forwards""",
                (run_id, stage.name, stage.type, stage.variant, stage.seconds, stage.cached, stage.takes,
                 stage.steps_run, stage.forwards),
            )

    def takes(self, run_id: str) -> tuple[TakeRecord, ...]:
        """The run's takes, in the order they were first noted."""
        with self._reading() as db:
            rows = db.execute("SELECT * FROM takes WHERE run = ? ORDER BY id", (run_id,)).fetchall()
        return tuple(TakeRecord(
            r["stage"], r["idx"], r["seed"], r["key"], bool(r["cached"]), r["duration_s"], json.loads(r["prompt"]),
            r["overall"], None if r["report"] is None else json.loads(r["report"]), r["audio"]) for r in rows)

    def stages(self, run_id: str) -> tuple[StageRecord, ...]:
        """The run's stages, in the order they were finished."""
        with self._reading() as db:
            rows = db.execute("SELECT * FROM stages WHERE run = ? ORDER BY id", (run_id,)).fetchall()
        return tuple(StageRecord(*(r[n] for n in StageRecord.__dataclass_fields__)) for r in rows)

    def pins(self) -> tuple[Pin, ...]:
        """Runs not yet done (failed, stopped, killed, running) and the keys they still need, newest first."""
        with self._reading() as db:
            rows = db.execute("SELECT * FROM runs WHERE status != 'done' ORDER BY created DESC, id DESC").fetchall()
            keys = {r["id"]: db.execute("SELECT key FROM takes WHERE run = ?", (r["id"],)).fetchall() for r in rows}
        return tuple(Pin(_run(row), frozenset(k["key"] for k in keys[row["id"]])) for row in rows)

    # -- how long things take -----------------------------------------------------------------------------------

    def record_timing(
        self, type: str, variant: str | None, device: str, *, steps: int, frames: int, seconds: float
    ) -> None:
        """Note how long one take took: `steps` denoising steps (0: none) over `frames` latent frames."""
        with self._writing() as db:
            db.execute("INSERT INTO timings (type, variant, device, steps, frames, seconds) VALUES (?, ?, ?, ?, ?, ?)",
                       (type, variant or "", device, steps, frames, seconds))

    def estimate(self, type: str, variant: str | None, device: str, *, steps: int, frames: int) -> float | None:
        """Seconds a take will probably take, or None when nothing like it was timed yet.

        The median of seconds per step and frame over the nine past takes of the same type, variant and device
        (of the newest 500) whose length is nearest, times `steps` and `frames`.
        """
        with self._reading() as db:
            rows = db.execute(
                "SELECT steps, frames, seconds FROM timings WHERE type = ? AND variant = ? AND device = ? "
                "ORDER BY id DESC LIMIT 500", (type, variant or "", device),
            ).fetchall()
        nearest = sorted(rows, key=lambda r: abs(r["frames"] - frames))[:NEAREST]
        if not nearest:
            return None
        rate = statistics.median(r["seconds"] / (max(r["steps"], 1) * max(r["frames"], 1)) for r in nearest)
        return rate * max(steps, 1) * max(frames, 1)


def _run(row: sqlite3.Row) -> RunRecord:
    return RunRecord(
        row["id"], row["preset"], row["yaml"], row["seed"], Numerics(**json.loads(row["numerics"])),
        json.loads(row["options"]), row["created"], row["finished"], row["status"], row["message"], row["process"],
    )

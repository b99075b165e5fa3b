"""The catalog's tables, as ordered migrations, and how a database is opened and brought up to date.

The n-th migration takes a database from `PRAGMA user_version` n-1 to n. Never change one that was released:
add another. Knows SQLite and nothing of what the rows mean.
"""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

from .atomic import write_error
from .errors import RunError

BUSY_S = 30.0  # how long a process waits for another's write

Migrations = tuple[tuple[str, ...], ...]
MIGRATIONS: Migrations = (
    (
        """CREATE TABLE runs (
            id TEXT PRIMARY KEY, preset TEXT NOT NULL, yaml TEXT NOT NULL, seed INTEGER NOT NULL,
            numerics TEXT NOT NULL, options TEXT NOT NULL, created TEXT NOT NULL, finished TEXT,
            status TEXT NOT NULL CHECK (status IN ('running', 'done', 'failed', 'cancelled')),
            message TEXT NOT NULL DEFAULT '', process TEXT NOT NULL) WITHOUT ROWID""",
        """CREATE TABLE stages (
            id INTEGER PRIMARY KEY, run TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE, name TEXT NOT NULL,
            type TEXT NOT NULL, variant TEXT, seconds REAL NOT NULL, cached INTEGER NOT NULL, takes INTEGER NOT NULL,
            steps_run INTEGER NOT NULL, forwards INTEGER NOT NULL, UNIQUE (run, name))""",
        """CREATE TABLE takes (
            id INTEGER PRIMARY KEY, run TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE, stage TEXT NOT NULL,
            idx INTEGER NOT NULL, seed INTEGER NOT NULL, key TEXT NOT NULL, cached INTEGER NOT NULL,
            duration_s REAL NOT NULL, prompt TEXT NOT NULL, overall REAL, report TEXT, audio TEXT,
            UNIQUE (run, stage, idx))""",
        "CREATE INDEX takes_by_key ON takes (key)",
        """CREATE TABLE timings (
            id INTEGER PRIMARY KEY, type TEXT NOT NULL, variant TEXT NOT NULL, device TEXT NOT NULL,
            steps INTEGER NOT NULL, frames INTEGER NOT NULL, seconds REAL NOT NULL)""",
        "CREATE INDEX timings_by_kind ON timings (type, variant, device)",
    ),
)


def catalog_error(path: Path, error: sqlite3.Error) -> RunError:
    """What an SQLite error means for the person at the keyboard."""
    text = str(error)
    if "malformed" in text or "not a database" in text:
        return RunError(
            f"the catalog {path} is damaged ({text}). Move it aside and run again: finished takes are in the store and "
            "are found there by their keys; only the list of past runs is lost."
        )
    if "full" in text:
        return RunError(f"could not write the catalog {path}: {text}. Free some space; finished takes are kept.")
    if "locked" in text or "busy" in text:
        return RunError(f"the catalog {path} was kept busy by another process for {BUSY_S:.0f} s. Run again.")
    if "readonly" in text or "unable to open" in text:
        return RunError(
            f"could not write the catalog {path}: {text}. Mend its folder's rights, or choose another one (SEGUE_HOME for runs, "
            "--out for a night)."
        )
    return RunError(f"the catalog {path} could not be used: {text}.")


def open_database(path: Path, migrations: Migrations | None = None) -> sqlite3.Connection:
    """Open or make the database and bring it up to date by `migrations` (the catalog's own, when left out). Two processes may
    do so at the same time.

    Raises `RunError` when the file is damaged, can't be written, or was made by a newer Segue.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error("the catalog", path, error) from error
    db = None
    try:
        db = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
        db.row_factory = sqlite3.Row
        db.execute("PRAGMA foreign_keys = ON")
        _migrate(db, path, MIGRATIONS if migrations is None else migrations)
    except sqlite3.Error as error:
        if db is not None:
            db.close()
        raise catalog_error(path, error) from error
    except RunError:
        if db is not None:
            db.close()
        raise
    return db


def _migrate(db: sqlite3.Connection, path: Path, migrations: Migrations) -> None:
    _write_ahead(db)
    db.execute("PRAGMA synchronous = NORMAL")  # safe against kill -9; a loss of power may forget the last rows
    if _version(db, path, len(migrations)) == len(migrations):
        return
    db.execute("BEGIN IMMEDIATE")
    try:
        done = _version(db, path, len(migrations))  # asked again: another may have been first
        for number in range(done + 1, len(migrations) + 1):
            for statement in migrations[number - 1]:
                db.execute(statement)
            db.execute(f"PRAGMA user_version = {number}")
        db.execute("COMMIT")
    except BaseException:
        db.execute("ROLLBACK")
        raise


def _write_ahead(db: sqlite3.Connection) -> None:
    """Switch to WAL. SQLite answers 'locked' at once, without its busy timeout, while another process
    switches too."""
    deadline = time.monotonic() + BUSY_S
    while True:
        try:
            db.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def _version(db: sqlite3.Connection, path: Path, known: int) -> int:
    version = int(db.execute("PRAGMA user_version").fetchone()[0])
    if version > known:
        raise RunError(
            f"the catalog {path} was written by a newer Segue (catalog version {version}, this one knows "
            f"{known}). Update Segue, or point SEGUE_HOME at another folder."
        )
    return version

"""An index beside a night's record, from which pairs are derived without reading the record: what the rules see of each group,
and each take's side of a pair as rendered JSON.

It is a cache (SQLite in the night's working folder) and may be deleted at any time. It knows how far into the record it reaches
and what the record's bytes were (CRC-32); where they are others now it is made anew. Whoever uses it holds the night's lock.
Knows no rule.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

from pydantic_core import from_json, to_json

from ..pipeline.atomic import write_error
from ..pipeline.catalog_schema import catalog_error, open_database
from ..pipeline.errors import RunError
from ..scoring.candidates import Candidate, Candidates, candidates_of
from ..scoring.groups import GroupFacts, TakeFacts
from ..scoring.lean_groups import LeanGroup
from ..scoring.pair_lines import SideText, pair_line, prompt_text, side_text
from ..scoring.pair_rules import Found
from .record import Warn, lean_lines

MIGRATIONS = ((
    """CREATE TABLE reach (
        id INTEGER PRIMARY KEY CHECK (id = 1), groups INTEGER NOT NULL, bytes INTEGER NOT NULL, crc INTEGER NOT NULL,
        sides INTEGER NOT NULL, modified INTEGER NOT NULL)""",
    "INSERT INTO reach VALUES (1, 0, 0, 0, 0, 0)",
    "CREATE TABLE groups (number INTEGER PRIMARY KEY, side INTEGER NOT NULL, facts BLOB NOT NULL, prompt BLOB NOT NULL, "
    "metrics BLOB NOT NULL)",
    "CREATE TABLE sides (number INTEGER PRIMARY KEY, start INTEGER NOT NULL, stop INTEGER NOT NULL, text BLOB NOT NULL)",
),)
STEP = 500  # groups in one transaction, when the index is made from the record


class Reach(NamedTuple):
    """How far the index reaches: groups of the record, their bytes and those bytes' CRC-32, sides; when the record was last
    changed (ns), as far as the index was told."""

    groups: int
    bytes: int
    crc: int
    sides: int
    modified: int


class IndexedGroup:
    """A group as the index has it; finding pairs in it needs no more."""

    def __init__(self, index: PairIndex, number: int, side: int, facts: bytes, prompt: bytes) -> None:
        self._index, self._number, self._side, self._prompt = index, number, side, prompt
        self.id, self.strata, self._judge, self.takes, rows = from_json(facts, cache_strings="none")
        self.candidates = Candidates([Candidate(*row) for row in rows], self._measured)

    def _measured(self, metric: str) -> Sequence[float | None]:
        columns: dict[str, list[float | None]] = self._index.metrics(self._number)
        return columns.get(metric) or [None] * len(self.candidates.takes)

    def line(self, found: Found[IndexedGroup]) -> bytes:
        """The pair's line of JSON, without its end."""
        pick = found.pick
        chosen, rejected = self._index.sides(self._side + pick.best.order, self._side + pick.worst.order)
        return pair_line(
            self._prompt, pick.best.duration_s, chosen.chosen(), rejected.text, id=found.id, group=self.id,
            strategy=found.strategy, margin=pick.margin, metric=pick.metric,
            labeller=self._judge if pick.labeller is None else pick.labeller,
        )


class PairIndex:
    """The index at `path` of the record at `record`, made when missing; one that is found damaged when it is opened or caught up
    is made anew. Every method may raise `RunError` (full disk, read-only folder, damage found later)."""

    def __init__(self, path: Path, record: Path) -> None:
        self.path, self.record = path, record
        try:
            self._db = self._open()
        except RunError as error:
            if not _is_damage(error):
                raise
            self._remove()  # nothing is lost with it
            self._db = self._open()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._db.close()

    def append(self, groups: Sequence[GroupFacts], lines: bytes) -> None:
        """The record, to whose end the index reached (`catch_up`), got the lines of these groups."""
        self._add(self.reach(), groups, lines)

    def catch_up(self, on_warning: Warn | None = None) -> None:
        """Make the index reach to the end of the record. Raises what `lean_lines` raises."""
        try:
            self._catch_up(self.reach(), on_warning)
        except RunError as error:
            if not _is_damage(error):
                raise
            self._catch_up(self._clear(), on_warning)

    def _catch_up(self, reach: Reach, on_warning: Warn | None) -> None:
        now = _stat(self.record)
        if now is not None and (now.st_size, now.st_mtime_ns) == (reach.bytes, reach.modified):
            return
        if now is None or now.st_size < reach.bytes or _crc(self.record, reach.bytes) != reach.crc:
            reach = self._clear()
        lines, groups = list[bytes](), list[LeanGroup]()
        for line, group in lean_lines(self.record, on_warning, after=(reach.groups, reach.bytes)):
            lines.append(line)
            groups.append(group)
            if len(groups) == STEP:
                reach, lines, groups = self._add(reach, groups, b"".join(lines)), [], []
        self._add(reach, groups, b"".join(lines))  # without a group as well: the bytes are those of the time noted

    def reach(self) -> Reach:
        """How far the index reaches."""
        return Reach(*self._read("SELECT groups, bytes, crc, sides, modified FROM reach")[0])

    def groups(self) -> Iterator[IndexedGroup]:
        """Every group, in the record's order, one at a time."""
        with _told(self.path):
            for row in self._db.execute("SELECT number, side, facts, prompt FROM groups ORDER BY number"):
                yield IndexedGroup(self, *row)

    def metrics(self, number: int) -> dict[str, list[float | None]]:
        """What the candidates of a group have of every metric of their reports."""
        found: dict[str, list[float | None]] = from_json(self._read("SELECT metrics FROM groups WHERE number = ?", number)[0][0])
        return found

    def sides(self, *numbers: int) -> list[SideText]:
        """The takes of these numbers as sides of a pair."""
        return [SideText(*self._read("SELECT text, start, stop FROM sides WHERE number = ?", n)[0]) for n in numbers]

    # -- inside ---------------------------------------------------------------------------------------------

    def _open(self) -> sqlite3.Connection:
        db = open_database(self.path, MIGRATIONS)
        db.row_factory = None
        return db

    def _remove(self) -> None:
        try:
            for path in self.path.parent.glob(f"{self.path.name}*"):
                path.unlink(missing_ok=True)
        except OSError as error:
            raise write_error("the index of pairs", self.path, error) from error

    def _read(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        with _told(self.path):
            return self._db.execute(query, values).fetchall()

    def _clear(self) -> Reach:
        self._db.close()
        self._remove()
        self._db = self._open()
        return self.reach()

    def _add(self, reach: Reach, groups: Sequence[GroupFacts], lines: bytes) -> Reach:
        sides, rows = list[SideText](), list[tuple[Any, ...]]()
        for number, group in enumerate(groups, start=reach.groups):
            fair, candidates = candidates_of(group.entries)
            facts = to_json([group.id, group.strata, group.judge(), len(group.entries), candidates.takes])
            rows.append((number, reach.sides + len(sides), facts, prompt_text(group), to_json(_columns(fair))))
            sides += [side_text(take) for take in fair]
        now = _stat(self.record)
        after = Reach(reach.groups + len(groups), reach.bytes + len(lines), zlib.crc32(lines, reach.crc),
                      reach.sides + len(sides), now.st_mtime_ns if now else 0)  # fmt: skip
        with _told(self.path):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                self._db.executemany("INSERT INTO groups VALUES (?, ?, ?, ?, ?)", rows)
                self._db.executemany("INSERT INTO sides VALUES (?, ?, ?, ?)",
                                     ((n, s.start, s.stop, s.text) for n, s in enumerate(sides, start=reach.sides)))
                self._db.execute("UPDATE reach SET groups = ?, bytes = ?, crc = ?, sides = ?, modified = ?", after)
                self._db.execute("COMMIT")
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
        return after


def _columns(takes: Sequence[TakeFacts]) -> dict[str, list[float | None]]:
    """Metric -> what each take has of it."""
    found: dict[str, list[float | None]] = {}
    for place, take in enumerate(takes):
        for name, value in take.measured().items():
            found.setdefault(name, [None] * len(takes))[place] = value
    return found


def _stat(path: Path) -> os.stat_result | None:
    return path.stat() if path.exists() else None


def _crc(path: Path, length: int) -> int:
    """CRC-32 of a file's first `length` bytes."""
    crc = 0
    with path.open("rb") as file:
        while length > 0 and (part := file.read(min(length, 1 << 22))):
            crc, length = zlib.crc32(part, crc), length - len(part)
    return crc


def _is_damage(error: RunError) -> bool:
    """Whether SQLite found no database, or a damaged one."""
    cause = error.__cause__
    return isinstance(cause, sqlite3.DatabaseError) and not isinstance(cause, sqlite3.OperationalError)


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    """SQLite's errors as `RunError`."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise catalog_error(path, error) from error
    except sqlite3.DatabaseError as error:
        raise RunError(f"{path} is damaged ({error}). Delete it: it is made anew from groups.jsonl") from error

"""The preference log of a folder: `groups.jsonl`, append-only; `pairs.jsonl`, derived from it and replaced
whole.

A group's line is on the disk before `append` returns. A line that was being written when the power went is
cut on opening; anything else that is no group is an error naming the line. Processes may share a log. Knows
no stage and no strategy's inside.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from pydantic import ValidationError

from ..scoring.preferences import Group, Pair, pairs_best_worst
from .atomic import sync_folder, write_atomic, write_error
from .errors import RunError

Strategy = Callable[[Group], list[Pair]]


class PreferenceLog:
    """The log in `folder` (made with its first group). `on_warning` hears when a torn line was cut.

    Raises `RunError` when the log holds something that is no group, or when the disk refuses.
    """

    def __init__(
        self, folder: Path | str, *, durable: bool = True, on_warning: Callable[[str], None] | None = None
    ) -> None:
        self.folder = Path(folder)
        self.groups_path = self.folder / "groups.jsonl"
        self.pairs_path = self.folder / "pairs.jsonl"
        self.durable = durable
        self._warn = on_warning
        self._read = 0                 # bytes of groups.jsonl already known
        self._lines = 0
        self._known: set[tuple[str, str]] = set()
        if self.groups_path.exists():
            with self._open() as fd:
                self._catch_up(fd)

    def append(self, group: Group) -> bool:
        """Log a group. False when the log holds this very group already (same id, takes and scores), so that
        a resumed run logs nothing twice."""
        mark = (group.id, group.content())
        line = group.to_json().encode("utf-8") + b"\n"
        with self._open() as fd:
            self._catch_up(fd)
            if mark in self._known:
                return False
            end = os.lseek(fd, 0, os.SEEK_END)
            try:
                _write_all(fd, line)
                if self.durable:
                    os.fsync(fd)
            except BaseException:
                os.ftruncate(fd, end)  # never leave half a line behind
                raise
            self._known.add(mark)
            self._read, self._lines = end + len(line), self._lines + 1
        if self.durable and end == 0:
            sync_folder(self.folder)  # the file's name is new
        return True

    def groups(self) -> Iterator[Group]:
        """Every group logged so far, oldest first."""
        if not self.groups_path.exists():
            return
        with self._open() as fd:
            self._catch_up(fd)
            end = self._read
        with self.groups_path.open("rb") as file:  # append-only, so what lies before `end` stays as it is
            number = 0
            while file.tell() < end:
                number += 1
                yield self._parse(file.readline(), number)

    def write_pairs(self, strategy: Strategy = pairs_best_worst) -> int:
        """Derive every pair from the groups anew and replace `pairs.jsonl`; gives their number. A pair that
        several groups give is written once."""
        with self._open() as fd:  # held throughout: whoever writes last has seen every group
            self._catch_up(fd)
            pairs: dict[str, Pair] = {}
            os.lseek(fd, 0, os.SEEK_SET)
            with os.fdopen(os.dup(fd), "rb") as file:
                for number, line in enumerate(file, start=1):
                    for pair in strategy(self._parse(line, number)):
                        pairs.setdefault(pair.id, pair)
            text = "".join(pair.to_json() + "\n" for pair in pairs.values())
            write_atomic(self.pairs_path, text.encode("utf-8"), "the preference pairs", self.durable)
        return len(pairs)

    def pairs(self) -> Iterator[Pair]:
        """The pairs as last written."""
        if self.pairs_path.exists():
            with self.pairs_path.open("rb") as file:
                for line in file:
                    yield Pair.from_json(line)

    @staticmethod
    def pairs_of(group: Group, strategy: Strategy = pairs_best_worst) -> list[Pair]:
        """The pairs one group gives, without writing anything."""
        return strategy(group)

    def __enter__(self) -> PreferenceLog:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is held open between calls."""

    # -- inside --------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _open(self) -> Iterator[int]:
        """groups.jsonl, open and locked; what the disk refuses becomes a `RunError`."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            fd = os.open(self.groups_path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX)
                yield fd
            finally:
                os.close(fd)
        except OSError as error:
            raise write_error("the preference log", self.groups_path, error) from error

    def _catch_up(self, fd: int) -> None:
        """Read what other processes added; cut a torn last line. Under the lock."""
        size = os.fstat(fd).st_size
        if size < self._read:  # someone began the file anew
            self._read, self._lines = 0, 0
            self._known.clear()
        data = _read_all(fd, self._read, size)
        *lines, rest = data.split(b"\n")
        torn_tail = lines[-1] if lines and not rest and b"\0" in lines[-1] else None
        if torn_tail is not None:  # blocks of one line reach the disk in any order: its end may, its start may not
            lines.pop()
            rest = torn_tail + b"\n"
        for line in lines:
            self._known.add(_mark(self._parse(line, self._lines + 1)))
            self._read, self._lines = self._read + len(line) + 1, self._lines + 1
        if rest:
            self._mend_end(fd, rest)

    def _mend_end(self, fd: int, rest: bytes) -> None:
        """The file does not end in a line's end. A whole group there only lacks it; anything else was torn
        and is cut."""
        try:
            mark = _mark(Group.from_json(rest))
        except ValidationError:
            os.ftruncate(fd, self._read)
            if self._warn is not None:
                self._warn(f"{self.groups_path}: a last line of {len(rest)} bytes was torn and has been cut off")
        else:
            _write_all(fd, b"\n")
            self._known.add(mark)
            self._read, self._lines = self._read + len(rest) + 1, self._lines + 1
        if self.durable:
            os.fsync(fd)

    def _parse(self, line: bytes, number: int) -> Group:
        try:
            return Group.from_json(line)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            raise RunError(
                f"{self.groups_path}, line {number}: this is no preference group ({first['msg']}). The log is "
                "append-only: take the line out, or move the file aside and a new one is begun."
            ) from error


def _mark(group: Group) -> tuple[str, str]:
    return group.id, group.content()


def _read_all(fd: int, start: int, end: int) -> bytes:
    parts = []
    while start < end:
        part = os.pread(fd, end - start, start)
        if not part:
            break
        parts.append(part)
        start += len(part)
    return b"".join(parts)


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]

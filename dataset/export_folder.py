"""The folder of an export: whole or not there. Built beside its place, and moved there when it is complete.

An earlier export of the same nights is replaced in that moment, anything else is refused beforehand. Knows no format.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

from ..pipeline.atomic import sync_folder, write_error
from ..pipeline.errors import Problem, RequestError, RunError

MANIFEST = "segue_export.json"


class CountedFile:
    """A file being written, front to back: what went into it is counted and hashed. `close` makes it durable."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file: IO[bytes] = path.open("xb")
        self._sha256, self.bytes, self.closed = hashlib.sha256(), 0, False

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        self._file.write(view)
        self._sha256.update(view)
        self.bytes += len(view)
        return len(view)

    def tell(self) -> int:
        return self.bytes

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()

    def facts(self) -> dict[str, Any]:
        """Bytes and SHA-256 of what was written."""
        return {"bytes": self.bytes, "sha256": self._sha256.hexdigest()}


class ExportFolder:
    """A folder under construction at `path`; `files` are those written so far, by place, with bytes and hash."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.files: dict[str, dict[str, Any]] = {}

    @contextlib.contextmanager
    def file(self, place: str) -> Iterator[CountedFile]:
        """A new file at `place` (relative)."""
        file = CountedFile(self.path / place)
        try:
            yield file
        finally:
            file.close()
        self.files[place] = file.facts()

    def write(self, place: str, data: bytes) -> None:
        """A whole file."""
        with self.file(place) as file:
            file.write(data)

    def copy(self, place: str, source: Path) -> None:
        """A copy of `source`; nothing where that place is filled already."""
        if place in self.files:
            return
        with source.open("rb") as given, self.file(place) as file:
            while block := given.read(1 << 20):
                file.write(block)

    def renamed(self, old: str, new: str) -> None:
        """Give a file that was written its final name."""
        (self.path / old).rename(self.path / new)
        self.files[new] = self.files.pop(old)

    def manifest(self, facts: dict[str, Any]) -> None:
        """Write the manifest: `facts`, and every file with bytes and hash. Last of all."""
        text = json.dumps({**facts, "files": dict(sorted(self.files.items()))}, indent=2, ensure_ascii=False) + "\n"
        self.write(MANIFEST, text.encode("utf-8"))


@contextlib.contextmanager
def replacing(place: Path, nights: Iterable[str]) -> Iterator[ExportFolder]:
    """Build an export of these nights (their identities) for `place`. What stands there is replaced when the block ends well;
    when it ends otherwise nothing is left of the new one.

    Raises RequestError where `place` holds anything but an earlier export of these nights, and RunError when another export is
    being written there or the disk refuses.
    """
    place = Path(os.path.realpath(place))
    building, before = place.with_name(f".{place.name}.exporting"), place.with_name(f".{place.name}.before")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        if before.exists() and not place.exists():
            before.rename(place)  # a computer stopped between the two moves below
        check_place(place, set(nights))
        with _alone(building):
            _emptied(building)
            try:
                yield ExportFolder(building)
                for folder in sorted((p for p in building.rglob("*") if p.is_dir()), reverse=True):
                    sync_folder(folder)
                sync_folder(building)
                _moved(building, place, before)
            finally:
                if building.exists():
                    shutil.rmtree(building, ignore_errors=True)
    except OSError as error:
        raise write_error("the export", place, error) from error


def check_place(place: Path, nights: set[str]) -> None:
    """Raise RequestError unless nothing stands at `place`, or an empty folder, or an earlier export of nights among these."""
    if not place.exists() and not place.is_symlink():
        return
    if not place.is_dir():
        raise RequestError(Problem(f"--to {place} is a file", "name a new folder", key="to"))
    there = {p.relative_to(place).as_posix() for p in place.rglob("*") if not p.is_dir() or p.is_symlink()}
    if not there and not any(place.iterdir()):
        return
    try:
        told = json.loads((place / MANIFEST).read_text(encoding="utf-8"))
        known, files = {night["identity"]: night["name"] for night in told["nights"]}, {*told["files"], MANIFEST}
    except (OSError, ValueError, KeyError, TypeError):
        shown = ", ".join(sorted(p.name for p in place.iterdir())[:5])
        raise RequestError(Problem(
            f"--to {place} is not empty and no export of Segue's ({shown})", "name a new or empty folder", key="to",
        )) from None  # fmt: skip
    if set(known) - nights:
        others = ", ".join(sorted(str(name) for night, name in known.items() if night not in nights))
        raise RequestError(Problem(
            f"--to {place} is an export of another night ({others})", "name another folder, or name that night too", key="to",
        ))  # fmt: skip
    strange = sorted(there - files)
    if strange:
        raise RequestError(Problem(
            f"--to {place} holds files that the earlier export did not write ({', '.join(strange[:5])}"
            f"{' …' if len(strange) > 5 else ''}); they would be lost", "move them away, or name another folder", key="to",
        ))  # fmt: skip


@contextlib.contextmanager
def _alone(building: Path) -> Iterator[None]:
    """Hold `building` (made when missing) against other exports to the same place; the system lets go when a process dies."""
    building.mkdir(exist_ok=True)
    fd = os.open(building, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            place = building.with_name(building.name[1:].removesuffix(".exporting"))
            raise RunError(f"another export is being written to {place}; wait for it") from None
        yield
    finally:
        os.close(fd)


def _emptied(folder: Path) -> None:
    """Take away what a killed export left."""
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def _moved(building: Path, place: Path, before: Path) -> None:
    """The new folder to its place. An older one steps aside first and is removed last."""
    if before.exists():
        shutil.rmtree(before)
    if place.exists():
        place.rename(before)
    building.rename(place)
    sync_folder(place.parent)
    shutil.rmtree(before, ignore_errors=True)

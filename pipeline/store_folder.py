"""Where a store's files lie, and the moves that keep it whole: settle an entry, set a damaged one aside,
remove one.

An entry is ``ab/abcd….json`` (the header) and one ``ab/abcd….audio.<crc>.safetensors`` or ``….latent.<crc>…``
a view. The header is written last and alone makes the entry exist; views carry their checksum in the name, so
that two processes putting one key never mix. Every move is made under one lock file; reading needs no lock.

Knows no run and no stage, and warns nobody: `Store` does.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

from pydantic import ValidationError

from .atomic import is_stale_temp, locked, sync_folder, write_temp
from .store_format import (
    DamagedError,
    Entry,
    Header,
    View,
    ViewFile,
    checksum,
    decode_header,
    decode_view,
    encode_header,
    encode_view,
)

MALFORMED = (DamagedError, ValueError, KeyError, TypeError, ValidationError)  # what reading damaged bytes may raise
_KEY = re.compile(r"[0-9a-f]{8,64}")


class StoreFolder:
    """The files under `root`. Methods raise OSError as it comes; `durable=False` leaves out fsync."""

    def __init__(self, root: Path, durable: bool) -> None:
        self.root, self.durable = root, durable

    def lock(self) -> AbstractContextManager[None]:
        """Held around every move; waits for other processes and threads."""
        return locked(self.root / ".lock")

    def header_path(self, key: str) -> Path:
        if not _KEY.fullmatch(key):
            raise ValueError(f"{key!r} is no key: keys are 8 to 64 hex digits in small letters")
        return self.root / key[:2] / f"{key}.json"

    def keys(self) -> Iterator[str]:
        for path in sorted(self.root.glob("[0-9a-f][0-9a-f]/*.json")):
            yield path.name.removesuffix(".json")

    def read_header(self, key: str) -> bytes | None:
        """The header's bytes, or None when there is no such entry."""
        try:
            return self.header_path(key).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def load(self, key: str, header: Header) -> Entry:
        """The entry with its views, each proved by its checksum. Raises one of `MALFORMED`."""
        views: dict[str, View] = {}
        for kind, file in header.views.items():
            try:
                data = (self.header_path(key).parent / file.name).read_bytes()
            except OSError as error:
                raise DamagedError(f"{file.name} can't be read: {error.strerror or error}") from error
            views[kind] = decode_view(data, file)
        return replace(header.entry, **views)  # type: ignore[arg-type]

    def present(self, key: str) -> Header | None:
        """The header, when it and the sizes of its views are right (contents are proved by `load`)."""
        data = self.read_header(key)
        if data is None:
            return None
        try:
            header = decode_header(data)
            sizes = {f.name: (self.header_path(key).parent / f.name).stat().st_size for f in header.views.values()}
        except (FileNotFoundError, *MALFORMED):
            return None
        return header if all(sizes[f.name] == f.bytes for f in header.views.values()) else None

    def still(self, key: str, data: bytes) -> bool:
        """Whether the header is the one that was read: nobody replaced or removed it meanwhile."""
        return self.read_header(key) == data

    # -- moves ---------------------------------------------------------------------------------------------

    def write(self, key: str, entry: Entry, only_views: bool) -> bool:
        """Make the entry exist, or give the one that exists the views it lacks. False when `only_views` and
        there is none. Leaves nothing half-written."""
        temps: dict[str, tuple[ViewFile, Path]] = {}
        try:
            for kind, view in entry.views().items():
                data = encode_view(view)
                crc = checksum(data)
                file = ViewFile(f"{key}.{kind}.{crc:08x}.safetensors", crc, len(data))
                temps[kind] = (file, write_temp(self.header_path(key).parent, data, self.durable))
            with self.lock():
                return self._settle(key, entry, temps, only_views)
        finally:
            for _, temp in temps.values():
                temp.unlink(missing_ok=True)

    def _settle(self, key: str, entry: Entry, temps: dict[str, tuple[ViewFile, Path]], only_views: bool) -> bool:
        """Under the lock: move the views into place, then the header that makes them count."""
        target, old = self.header_path(key), self.present(key)
        if old is None and only_views:
            return False
        known = dict(old.views) if old else {}
        new = {kind: file for kind, (file, _) in temps.items() if kind not in known}
        if old is not None and not new:
            return True
        facts, created = (old.entry, old.created) if old else (entry, time.time())
        header = write_temp(target.parent, encode_header(facts, {**known, **new}, created), self.durable)
        placed: list[Path] = []
        try:
            for kind, file in new.items():
                temps[kind][1].replace(target.parent / file.name)
                placed.append(target.parent / file.name)
            if self.durable:
                sync_folder(target.parent)  # the views' names are on the disk before the header's
            header.replace(target)
        except BaseException:
            if header.exists():  # not moved yet, so the views count for nothing
                for path in (header, *placed):
                    path.unlink(missing_ok=True)
            raise
        if self.durable:
            sync_folder(target.parent)
        return True

    def set_aside(self, key: str, data: bytes) -> Path | None:
        """Move a damaged entry to ``quarantine/`` and give the folder; None when it changed meanwhile."""
        with self.lock():
            if not self.still(key, data):
                return None
            aside = self.root / "quarantine" / f"{key}-{time.time_ns()}"
            aside.mkdir(parents=True)
            for path in self.files_of(key):
                path.rename(aside / path.name)
        return aside

    def files_of(self, key: str) -> tuple[Path, ...]:
        """The entry's files, header first: moving and removing go in this order, so that no header outlives
        its views."""
        header = self.header_path(key)
        views = sorted(header.parent.glob(f"{key}.*.safetensors"))
        return (*([header] if header.is_file() else []), *views)

    def remove(self, paths: list[Path]) -> int:
        """Remove files and emptied folders; gives the bytes freed."""
        freed = 0
        for path in paths:
            if path.is_dir():
                path.rmdir()
            else:
                freed += path.stat().st_size
                path.unlink()
        return freed

    def leftovers(self) -> Iterator[Path]:
        """Files no entry counts: temp files whose writer is gone, views whose header was never written."""
        for folder in sorted(self.root.glob("[0-9a-f][0-9a-f]")):
            counted: dict[str, frozenset[str] | None] = {}
            for path in sorted(folder.iterdir()):
                key = path.name.split(".")[0]
                if path.suffix == ".safetensors" and _KEY.fullmatch(key):
                    if key not in counted:
                        counted[key] = self._counted(key)
                    names = counted[key]
                    if names is not None and path.name not in names:
                        yield path
                elif is_stale_temp(path):
                    yield path

    def _counted(self, key: str) -> frozenset[str] | None:
        """Names of the views the header counts; None when the header is damaged (what counts is then
        unknown)."""
        data = self.read_header(key)
        if data is None:
            return frozenset()
        try:
            return frozenset(file.name for file in decode_header(data).views.values())
        except MALFORMED:
            return None

    def quarantined(self) -> Iterator[Path]:
        """Everything that was set aside, each folder after its files."""
        for folder in sorted((self.root / "quarantine").glob("*")):
            yield from sorted(folder.iterdir())
            yield folder

"""The store: finished takes by key, on disk. What comes back is bit for bit what was put.

An entry is ``ab/abcd….json`` (facts and checksums) and one ``ab/abcd….audio.<sha>.safetensors`` or ``….latent.<sha>…`` a
view. The header is written last and alone makes the entry exist; view files carry their checksum in the name, so that
two processes putting one key never mix. The first one to finish wins. Anything that does not match its checksum is
treated as absent, moved to ``quarantine/`` and told to `on_warning`.

Knows no stage, no run and no graph: which keys are still needed is told to `gc` by the catalog.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import time
import warnings
from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import ValidationError

from .atomic import is_stale_temp, locked, sync_folder, write_error, write_temp
from .store_format import (
    DamagedError,
    Entry,
    Header,
    View,
    ViewFile,
    decode_header,
    decode_view,
    encode_header,
    encode_view,
)
from .take import Audio, Latent

__all__ = ["Damage", "Entry", "GcReport", "Store", "Stored", "VerifyReport", "segue_home"]

_KEY = re.compile(r"^[0-9a-f]{8,64}$")


def segue_home() -> Path:
    """Segue's folder: ``$SEGUE_HOME``, or ``~/.cache/segue``."""
    return Path(os.environ.get("SEGUE_HOME") or "~/.cache/segue").expanduser()


@dataclass(frozen=True)
class Stored:
    """One entry as `Store.list` shows it. `bytes` counts its views and header; ages are seconds since 1970."""

    key: str
    bytes: int
    created: float
    used: float
    views: tuple[str, ...]


@dataclass(frozen=True)
class Damage:
    """An entry that is not what was written."""

    key: str
    reason: str


@dataclass(frozen=True)
class VerifyReport:
    """What `verify` found. `leftovers` are files of writers that died: harmless, `gc` removes them."""

    entries: int
    bytes: int
    damaged: tuple[Damage, ...]
    leftovers: tuple[Path, ...]

    @property
    def whole(self) -> bool:
        """Whether every entry is exactly what was written."""
        return not self.damaged


@dataclass(frozen=True)
class GcReport:
    """What `gc` removed, and what is left."""

    removed: tuple[str, ...]
    freed_bytes: int
    entries: int
    bytes: int


def _warn(message: str) -> None:
    warnings.warn(message, RuntimeWarning, stacklevel=3)


class Store:
    """Content-addressed takes under `root` (left out: ``$SEGUE_HOME/store``).

    `durable=False` leaves out fsync (benchmarks; a loss of power may then lose or damage the newest entries, which is
    found when they are read). `on_warning` hears of damaged entries; left out, Python's `warnings` does.
    Safe to share between threads and processes. Writing raises `RunError` on a full disk or a read-only folder.
    """

    def __init__(
        self, root: Path | str | None = None, *, durable: bool = True, on_warning: Callable[[str], None] | None = None
    ) -> None:
        self.root = Path(root) if root is not None else segue_home() / "store"
        self.durable = durable
        self._warn = on_warning or _warn

    # -- reading ------------------------------------------------------------------------------------------------

    def has(self, key: str) -> bool:
        """Whether there is an entry (its content is proved only by `get`)."""
        return self._header_path(key).is_file()

    def get(self, key: str) -> Entry | None:
        """The entry, proved whole, or None when there is none. A damaged one counts as none, is moved to
        ``quarantine/`` and told to `on_warning`."""
        for _ in range(3):  # a header may be replaced (put_view) or removed (gc) between its reading and its views'
            try:
                data = self._header_path(key).read_bytes()
            except (FileNotFoundError, NotADirectoryError):
                return None
            try:
                entry = self._load(key, decode_header(data))
            except _MALFORMED as error:
                if self._quarantine(key, data, str(error)):
                    return None
                continue
            with contextlib.suppress(OSError):  # the time of use only serves gc; a read-only store still reads
                os.utime(self._header_path(key))
            return entry
        return None

    def facts(self, key: str) -> Entry | None:
        """The entry without its views (they stay unread and unproved), or None when there is none."""
        try:
            return decode_header(self._header_path(key).read_bytes()).entry
        except (FileNotFoundError, NotADirectoryError):
            return None
        except _MALFORMED:
            return self.get(key)  # tells, and moves it away

    def keys(self) -> Iterator[str]:
        """Keys of all entries, sorted."""
        for path in sorted(self.root.glob("[0-9a-f][0-9a-f]/*.json")):
            yield path.name.removesuffix(".json")

    def list(self) -> tuple[Stored, ...]:
        """All entries with sizes and ages, the most recently used first. Unreadable ones are left to `verify`."""
        found = []
        for key in self.keys():
            path = self._header_path(key)
            with contextlib.suppress(FileNotFoundError, *_MALFORMED):
                header, stat = decode_header(path.read_bytes()), path.stat()
                found.append(Stored(key, header.bytes + stat.st_size, header.created, stat.st_mtime, tuple(header.views)))
        return tuple(sorted(found, key=lambda s: (-s.used, s.key)))

    # -- writing ------------------------------------------------------------------------------------------------

    def put(self, key: str, entry: Entry) -> None:
        """Keep `entry` under `key`. Where the key has an entry already, that one stays (same key, same bytes) and only
        gains the views it lacked. Raises `RunError` when it can't be written; nothing is then left half-written."""
        self._write(key, entry)

    def put_view(self, key: str, view: Audio | Latent) -> bool:
        """Add a view to an entry that lacks it. False when there is no such entry (any more). Raises `RunError`."""
        entry = Entry(audio=view) if isinstance(view, Audio) else Entry(latent=view)
        return self.has(key) and self._write(key, entry, only_views=True)

    def _write(self, key: str, entry: Entry, only_views: bool = False) -> bool:
        target = self._header_path(key)
        temps: dict[str, tuple[ViewFile, Path]] = {}
        try:
            for kind, view in entry.views().items():
                data = encode_view(view)
                sha = hashlib.sha256(data).hexdigest()
                file = ViewFile(f"{key}.{kind}.{sha[:16]}.safetensors", sha, len(data))
                temps[kind] = (file, write_temp(target.parent, data, self.durable))
            with locked(self.root / ".lock"):
                return self._settle(key, entry, temps, only_views)
        except OSError as error:
            raise write_error(f"take {key[:12]}", target, error) from error
        finally:
            for _, temp in temps.values():
                temp.unlink(missing_ok=True)

    def _settle(self, key: str, entry: Entry, temps: dict[str, tuple[ViewFile, Path]], only_views: bool) -> bool:
        """Under the lock: move the views into place, then the header that makes them count."""
        target = self._header_path(key)
        old = self._present(key)
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
            header.replace(target)
        except BaseException:
            for path in (header, *placed):
                path.unlink(missing_ok=True)
            raise
        if self.durable:
            sync_folder(target.parent)
        return True

    def _present(self, key: str) -> Header | None:
        """The entry's header when header and view files look right (sizes; `get` proves contents). Under the lock."""
        try:
            header = decode_header(self._header_path(key).read_bytes())
            folder = self._header_path(key).parent
            whole = all((folder / f.name).stat().st_size == f.bytes for f in header.views.values())
        except (FileNotFoundError, *_MALFORMED):
            return None
        return header if whole else None

    # -- keeping in order ---------------------------------------------------------------------------------------

    def verify(self, mend: bool = False) -> VerifyReport:
        """Read everything and prove it. With `mend`, damaged entries are moved to ``quarantine/`` (they will be
        recomputed when next needed)."""
        damaged, entries, size = [], 0, 0
        for key in self.keys():
            try:
                data = self._header_path(key).read_bytes()
                header = decode_header(data)
                self._load(key, header)
            except FileNotFoundError:
                continue  # removed meanwhile
            except _MALFORMED as error:
                if self._still(key, data):
                    damaged.append(Damage(key, str(error)))
                    if mend:
                        self._quarantine(key, data, str(error))
                continue
            entries, size = entries + 1, size + header.bytes + len(data)
        return VerifyReport(entries, size, tuple(damaged), tuple(self._leftovers()))

    def gc(
        self, *, max_bytes: int | None = None, older_than_s: float | None = None, keep: Set[str] = frozenset()
    ) -> GcReport:
        """Remove entries not used for `older_than_s`, then the longest unused until the rest fits in `max_bytes`; and
        what dead writers and damage left behind. Keys in `keep` (`Catalog.live_keys`) are never removed."""
        if not self.root.is_dir():
            return GcReport((), 0, 0, 0)
        try:
            with locked(self.root / ".lock"):
                entries = self.list()
                freed = sum(self._remove(path) for path in [*self._leftovers(), *self._quarantined()])
                total, now, removed = sum(e.bytes for e in entries), time.time(), []
                for e in reversed(entries):  # longest unused first
                    old = older_than_s is not None and now - e.used > older_than_s
                    over = max_bytes is not None and total > max_bytes
                    if e.key not in keep and (old or over):
                        freed += self._remove_entry(e.key)
                        total -= e.bytes
                        removed.append(e.key)
        except OSError as error:
            raise write_error("the store's clean-up", self.root, error) from error
        return GcReport(tuple(removed), freed, len(entries) - len(removed), total)

    # -- inside -------------------------------------------------------------------------------------------------

    def _header_path(self, key: str) -> Path:
        if not _KEY.match(key):
            raise ValueError(f"{key!r} is no key: keys are 8 to 64 hex digits in small letters")
        return self.root / key[:2] / f"{key}.json"

    def _load(self, key: str, header: Header) -> Entry:
        views: dict[str, View] = {}
        for kind, file in header.views.items():
            try:
                data = (self._header_path(key).parent / file.name).read_bytes()
            except FileNotFoundError:
                raise DamagedError(f"{file.name} is missing") from None
            views[kind] = decode_view(data, file)
        return replace(header.entry, **views)  # type: ignore[arg-type]

    def _still(self, key: str, data: bytes) -> bool:
        """Whether the header on disk is the one that was read (nobody replaced or removed it meanwhile)."""
        try:
            return self._header_path(key).read_bytes() == data
        except OSError:
            return False

    def _quarantine(self, key: str, data: bytes, reason: str) -> bool:
        """Move a damaged entry away, unless it changed meanwhile (False)."""
        head = f"the store entry {key[:12]} in {self.root} is damaged ({reason}); it will be computed again"
        try:
            with locked(self.root / ".lock"):
                if not self._still(key, data):
                    return False
                aside = self.root / "quarantine" / f"{key}-{time.time_ns()}"
                aside.mkdir(parents=True)
                for path in self._files_of(key):
                    path.rename(aside / path.name)
        except OSError as error:
            self._warn(f"{head}. It could not be moved away: {error}")
            return True
        self._warn(f"{head}. It was moved to {aside}")
        return True

    def _files_of(self, key: str) -> tuple[Path, ...]:
        """The entry's files, header first: removing goes in this order, so that no header outlives its views."""
        folder = self._header_path(key).parent
        header = self._header_path(key)
        views = sorted(folder.glob(f"{key}.*.safetensors"))
        return (*([header] if header.is_file() else []), *views)

    def _remove_entry(self, key: str) -> int:
        return sum(self._remove(path) for path in self._files_of(key))

    @staticmethod
    def _remove(path: Path) -> int:
        if path.is_dir():
            path.rmdir()
            return 0
        size = path.stat().st_size
        path.unlink()
        return size

    def _leftovers(self) -> Iterator[Path]:
        """Files no entry counts: temp files whose writer is gone, views whose header was never written."""
        for folder in sorted(self.root.glob("[0-9a-f][0-9a-f]")):
            for path in sorted(folder.iterdir()):
                if is_stale_temp(path):
                    yield path
                elif path.suffix == ".safetensors":
                    key = path.name.split(".")[0]
                    header = self._present(key)
                    counted = self.has(key) if header is None else path.name in {f.name for f in header.views.values()}
                    if not counted:
                        yield path

    def _quarantined(self) -> Iterator[Path]:
        for folder in sorted((self.root / "quarantine").glob("*")):
            yield from sorted(folder.iterdir())
            yield folder


_MALFORMED = (DamagedError, ValueError, KeyError, TypeError, ValidationError)

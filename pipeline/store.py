"""The store: finished takes by key, on disk. What comes back is bit for bit what was put.

Same key, same bytes: the first one to finish a key wins. What does not match its checksum counts as absent,
is moved to ``quarantine/`` and told to `on_warning`. How the files lie is in `store_folder` and
`store_format`.

Knows no stage, no run and no graph: which keys are still needed is told to `gc` by the catalog.
"""

from __future__ import annotations

import contextlib
import os
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Set
from dataclasses import dataclass
from pathlib import Path

from .atomic import write_error
from .home import segue_home
from .store_folder import MALFORMED, StoreFolder
from .store_format import Entry, decode_header
from .take import Audio, Latent

__all__ = ["Damage", "Entry", "GcReport", "Store", "Stored", "VerifyReport"]


@dataclass(frozen=True)
class Stored:
    """One entry as `Store.list` shows it: bytes of its files, when it was made and last used (seconds since
    1970)."""

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
    """What `verify` found: whole entries and their bytes, damaged ones, and `leftovers`, files of writers
    that died (harmless; `gc` removes them)."""

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
    warnings.warn(message, RuntimeWarning, stacklevel=4)


class Store:
    """Content-addressed takes under `root` (left out: ``$SEGUE_HOME/store``).

    `durable=False` leaves out fsync (where all that is in it can be made again; a loss of power may then damage
    the newest entries, which is found when they are read). `on_warning` hears of damaged entries; left out, Python's `warnings`
    does. Safe to share between threads and processes. Nothing is made on disk before the first `put`.
    """

    def __init__(
        self, root: Path | str | None = None, *, durable: bool = True,
        on_warning: Callable[[str], None] | None = None,
    ) -> None:
        self.root = Path(root) if root is not None else segue_home() / "store"
        self.durable = durable
        self._folder = StoreFolder(self.root, durable)
        self._warn = on_warning or _warn

    # -- reading -------------------------------------------------------------------------------------------

    def has(self, key: str) -> bool:
        """Whether there is an entry (its content is proved only by `get`)."""
        return self._folder.header_path(key).is_file()

    def get(self, key: str) -> Entry | None:
        """The entry, proved whole, or None when there is none. A damaged one counts as none, is moved to
        ``quarantine/`` and told to `on_warning`."""
        for _ in range(5):  # the entry may be replaced (put_view) or removed (gc) while its views are read
            try:
                data = self._folder.read_header(key)
            except OSError as error:
                self._warn(f"the store entry {key[:12]} in {self.root} can't be read ({error}); it is computed again")
                return None
            if data is None:
                return None
            try:
                entry = self._folder.load(key, decode_header(data))
            except MALFORMED as error:
                if self._set_aside(key, data, error):
                    return None
                continue
            with contextlib.suppress(OSError):  # the time of use only serves gc; a read-only store still reads
                os.utime(self._folder.header_path(key))
            return entry
        return None

    def facts(self, key: str) -> Entry | None:
        """The entry without its views (they stay unread and unproved), or None when there is none."""
        data = self._folder.read_header(key)
        try:
            return None if data is None else decode_header(data).entry
        except MALFORMED:
            return self.get(key)  # tells, and sets it aside

    def keys(self) -> Iterator[str]:
        """Keys of all entries, sorted."""
        return self._folder.keys()

    def list(self) -> tuple[Stored, ...]:
        """All entries with sizes and ages, the most recently used first. Unreadable ones are left to
        `verify`."""
        found = []
        for key in self.keys():
            path = self._folder.header_path(key)
            with contextlib.suppress(FileNotFoundError, *MALFORMED):
                header, stat = decode_header(path.read_bytes()), path.stat()
                size = header.bytes + stat.st_size
                found.append(Stored(key, size, header.created, stat.st_mtime, tuple(header.views)))
        return tuple(sorted(found, key=lambda s: (-s.used, s.key)))

    # -- writing -------------------------------------------------------------------------------------------

    def put(self, key: str, entry: Entry) -> None:
        """Keep `entry` under `key`. Where the key has an entry already, that one stays (same key, same bytes)
        and only gains the views it lacked. Raises `RunError` when the disk refuses (full, read-only …),
        naming the place; nothing is then left half-written."""
        present = self._folder.present(key)
        if present is None or not entry.views().keys() <= present.views.keys():
            self._write(key, entry, only_views=False)

    def put_view(self, key: str, view: Audio | Latent) -> bool:
        """Add a view to an entry that lacks it. False when there is no such entry. Raises `RunError` like
        `put`."""
        entry = Entry(audio=view) if isinstance(view, Audio) else Entry(latent=view)
        return self.has(key) and self._write(key, entry, only_views=True)

    def _write(self, key: str, entry: Entry, only_views: bool) -> bool:
        try:
            return self._folder.write(key, entry, only_views)
        except OSError as error:
            raise write_error(f"take {key[:12]}", self._folder.header_path(key).parent, error) from error

    # -- keeping in order ----------------------------------------------------------------------------------

    def verify(self, mend: bool = False) -> VerifyReport:
        """Read everything and prove it. With `mend`, damaged entries are set aside in ``quarantine/``; they
        are computed again when next needed."""
        damaged, entries, size = [], 0, 0
        for key in self.keys():
            data = self._folder.read_header(key)
            if data is None:
                continue  # removed meanwhile
            try:
                header = decode_header(data)
                self._folder.load(key, header)
            except MALFORMED as error:
                if self._folder.still(key, data):
                    damaged.append(Damage(key, _reason(error)))
                    if mend:
                        self._set_aside(key, data, error)
                continue
            entries, size = entries + 1, size + header.bytes + len(data)
        return VerifyReport(entries, size, tuple(damaged), tuple(self._folder.leftovers()))

    def gc(
        self, *, max_bytes: int | None = None, older_than_s: float | None = None, keep: Set[str] = frozenset()
    ) -> GcReport:
        """Remove entries not used for `older_than_s` seconds, then the longest unused until the rest fits in
        `max_bytes`; and always what dead writers left behind and what was set aside as damaged. Keys in
        `keep` (of `Catalog.pins`) are never removed. Raises `RunError` when the disk refuses."""
        if not self.root.is_dir():
            return GcReport((), 0, 0, 0)
        removed = []
        try:
            with self._folder.lock():
                freed = self._folder.remove([*self._folder.leftovers(), *self._folder.quarantined()])
                entries, now = self.list(), time.time()
                total = sum(e.bytes for e in entries)
                for e in reversed(entries):  # longest unused first
                    old = older_than_s is not None and now - e.used > older_than_s
                    over = max_bytes is not None and total > max_bytes
                    if e.key not in keep and (old or over):
                        freed += self._folder.remove([*self._folder.files_of(e.key)])
                        total -= e.bytes
                        removed.append(e.key)
        except OSError as error:
            raise write_error("the store's clean-up", self.root, error) from error
        return GcReport(tuple(removed), freed, len(entries) - len(removed), total)

    def discard(self, keys: Iterable[str]) -> int:
        """Remove the entries of these keys (what isn't there is passed over); gives the bytes freed. Raises `RunError`
        when the disk refuses."""
        try:
            with self._folder.lock():
                return sum(self._folder.remove([*self._folder.files_of(key)]) for key in keys)
        except OSError as error:
            raise write_error("the store's clean-up", self.root, error) from error

    def _set_aside(self, key: str, data: bytes, error: Exception) -> bool:
        """Move a damaged entry away and tell; False when it changed meanwhile (and may be whole now)."""
        head = f"the store entry {key[:12]} in {self.root} is damaged ({_reason(error)}); it is computed again"
        try:
            aside = self._folder.set_aside(key, data)
        except OSError as refused:
            self._warn(f"{head}. It could not be moved away: {refused.strerror or refused}")
            return True
        if aside is not None:
            self._warn(f"{head}. It was moved to {aside}")
        return aside is not None


def _reason(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__

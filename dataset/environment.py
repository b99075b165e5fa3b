"""What a job can't be blamed for: a full or read-only disk, a model folder that is gone, a device that is dead, whatever fails
job after job. The night waits for it, or stops and says why.

Knows no queue and no take.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import sqlite3
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ..pipeline.atomic import write_temp
from ..pipeline.errors import RequestError, RunError
from ..pipeline.models.resolve import describe_model

RESERVE_BYTES = 500 * 10**6
"""What is left free on the disk: SQLite and the log must be able to end in order."""

DISK_S = 30.0      # how often a folder is measured that the plan bounds, and at most
DISK_SHARE = 0.01  # of the time is spent on that

ROW = 3
"""So many different jobs that fail, and none finished between them, are no coincidence."""

PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0  # before jobs are tried again: doubled from time to time

_PLACES = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ESTALE)
_DATABASE = ("full", "readonly", "disk I/O", "unable to open")  # SQLite's words for the same


@dataclass
class Limits:
    """When a runner ends though there is work left."""

    hours: float | None = None
    disk_gb: float | None = None
    patience_s: float = 600.0


class GivenUp(RunError):
    """What no job can be blamed for has not passed."""

    def __init__(self, trouble: str) -> None:
        super().__init__(f"{trouble}. The night has stopped; what was finished is kept, and the same command goes on")


@dataclass
class Ordeal:
    """What a runner has been through since it last finished a job: how long it has been in trouble, and which jobs failed.
    `charged`: attempts that were counted, by job."""

    patience_s: float
    charged: dict[int, int] = field(default_factory=dict)
    _since: float | None = None
    _pause_s: float = PAUSE_S

    def left_s(self) -> float:
        """Seconds of patience left. It runs from the first time this is asked, whatever has passed meanwhile."""
        now = time.monotonic()
        self._since = now if self._since is None else self._since
        return self.patience_s - (now - self._since)

    def failed(self, number: int) -> bool:
        """A job failed; gives whether it is to blame (its attempt is then charged), and not what fails every job."""
        to_blame = len(self.charged.keys() | {number}) < ROW
        self.charged[number] = self.charged.get(number, 0) + to_blame
        return to_blame

    def pause_s(self) -> float:
        """Seconds to stand still before jobs are tried again; longer each time."""
        pause, self._pause_s = self._pause_s, min(2 * self._pause_s, LONGEST_PAUSE_S)
        return pause

    def over(self) -> None:
        """A job is finished: the place is well."""
        self.charged, self._since, self._pause_s = {}, None, PAUSE_S


def folder_bytes(root: Path) -> int:
    """Bytes of all files below `root`, links not followed; what vanishes meanwhile counts as nothing."""
    total, folders = 0, [os.fspath(root)]
    while folders:
        with contextlib.suppress(OSError), os.scandir(folders.pop()) as there:
            for one in there:
                with contextlib.suppress(OSError):
                    if one.is_dir(follow_symlinks=False):
                        folders.append(one.path)
                    else:
                        total += one.stat(follow_symlinks=False).st_size
    return total


@dataclass
class FolderBudget:
    """How large a folder may grow, in GB (10⁹ bytes; None: as large as it likes)."""

    root: Path
    limit_gb: float | None
    _due: float = 0.0
    _told: str | None = None

    def spent(self) -> str | None:
        """How much of how much, where it has grown to that; measured now and then only."""
        begun = time.monotonic()
        if self.limit_gb is not None and begun >= self._due:
            used = folder_bytes(self.root) / 1e9
            self._told = f"{used:.2f} of {self.limit_gb:g} GB" if used >= self.limit_gb else None
            now = time.monotonic()
            self._due = now + max(DISK_S, (now - begun) / DISK_SHARE)
        return self._told


def disk_trouble(root: Path, *, reserve: int = RESERVE_BYTES) -> str | None:
    """Why nothing more should be written below `root`; None where there is room and a file is written to see that it can be."""
    try:
        free = shutil.disk_usage(root).free
    except OSError as error:
        return f"the folder {root} can't be reached: {error.strerror or error}"
    if free < reserve:
        return f"the disk of {root} has {free / 1e6:.0f} MB left, and {reserve / 1e6:.0f} MB are kept free"
    try:
        write_temp(root, bytes(4096)).unlink()  # a quota or a read-only file system shows in nothing else
    except OSError as error:
        return f"the folder {root} can't be written: {error.strerror or error}"
    return None


def model_trouble(models: Iterable[tuple[str, Path | None]], *, offline: bool) -> str | None:
    """Why a model (name, folder its path starts from) can't be used right now; None where all can."""
    for name, base in models:
        try:
            describe_model(name, base=base, offline=offline)
        except (RequestError, OSError) as error:
            return f"the model '{name}' can't be used: {str(error).splitlines()[0]}"
    return None


def is_the_places_fault(error: BaseException | None) -> bool:
    """Whether an error, or one that led to it, tells of the disk and not of the job."""
    for one in _with_causes(error):
        if isinstance(one, OSError) and one.errno in _PLACES:
            return True
        if isinstance(one, sqlite3.OperationalError) and any(word in str(one) for word in _DATABASE):
            return True
    return False


@contextlib.contextmanager
def passing_over_the_place() -> Iterator[None]:
    """Leave undone what the disk doesn't allow: it is done when the night goes on."""
    try:
        yield
    except RunError as error:
        if not is_the_places_fault(error):
            raise


def is_the_devices_fault(error: BaseException | None) -> bool:
    """Whether an error, or one that led to it, leaves the device useless to this process: CUDA answers every call after it with
    the same error. Memory that ran out does not."""
    return any("CUDA error" in str(one) or any(kind.__name__ == "AcceleratorError" for kind in type(one).__mro__)
               for one in _with_causes(error))  # by name: torch is not loaded here, and old ones lack it


def _with_causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__

"""What a job can't be blamed for: a full disk, a model folder that is gone. The night waits for it, or stops and says why.

Knows no queue and no take.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import sqlite3
from collections.abc import Iterable
from pathlib import Path

from ..pipeline.errors import RequestError
from ..pipeline.models.resolve import describe_model

RESERVE_BYTES = 500 * 10**6
"""What is left free on the disk: SQLite and the log must be able to end in order."""

_PLACES = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ESTALE)


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


def disk_trouble(root: Path, *, reserve: int = RESERVE_BYTES) -> str | None:
    """Why nothing more should be written below `root`; None where there is room."""
    try:
        free = shutil.disk_usage(root).free
    except OSError as error:
        return f"the folder {root} can't be reached: {error.strerror or error}"
    if free < reserve:
        return f"the disk of {root} has {free / 1e6:.0f} MB left, and {reserve / 1e6:.0f} MB are kept free"
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
    while error is not None:
        if isinstance(error, OSError) and error.errno in _PLACES:
            return True
        if isinstance(error, sqlite3.OperationalError) and "full" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False

"""Files that are either whole or not there: temp file, fsync, rename; and locks between processes.

Knows nothing of what is written.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import secrets
import socket
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from .errors import RunError

_HOST = re.sub(r"[^A-Za-z0-9]", "", socket.gethostname())[:32] or "host"
_TEMP = re.compile(r"^\.tmp-(?P<host>[A-Za-z0-9]+)-(?P<pid>\d+)-[0-9a-f]{16}$")
FOREIGN_TEMP_S = 86_400.0  # a temp file of another machine is a leftover after a day

_ADVICE = {
    errno.ENOSPC: "the disk is full; free some space (`segue cache gc` removes old takes)",
    errno.EDQUOT: "the disk quota is used up; free some space (`segue cache gc` removes old takes)",
    errno.EFBIG: "the file is larger than this process may write; raise the limit (`ulimit -f`)",
    errno.EROFS: "the file system is read-only; choose another folder",
    errno.EACCES: "this user may not write there; change the permissions or choose another folder",
    errno.EPERM: "this user may not write there; change the permissions or choose another folder",
    errno.ENOTDIR: "a part of the path is a file, not a folder; choose another folder",
    errno.EEXIST: "a part of the path is a file, not a folder; choose another folder",
    errno.ENAMETOOLONG: "the name is too long; choose a shorter one",
}


def write_error(what: str, path: Path, error: OSError) -> RunError:
    """A `RunError` that says what could not be written, where, why, and what to do about it."""
    advice = _ADVICE.get(error.errno or 0, "choose another folder, or mend the cause and run again")
    reason = error.strerror or str(error)
    return RunError(f"could not write {what} to {path}: {reason}: {advice}. What was finished before is kept")


def sync_folder(folder: Path) -> None:
    """Make renames in `folder` survive a loss of power."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_temp(folder: Path, data: bytes | Iterable[bytes], durable: bool = True) -> Path:
    """Write `data` (whole, or part by part as it comes) to a new temp file in `folder` (made when missing) and give
    its path. Raises OSError, and what the parts raise; then leaves nothing behind."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f".tmp-{_HOST}-{os.getpid()}-{secrets.token_hex(8)}"
    try:
        with path.open("xb") as file:
            file.writelines((data,) if isinstance(data, bytes) else data)
            file.flush()
            if durable:
                os.fsync(file.fileno())
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return path


def write_atomic(path: Path, data: bytes | Iterable[bytes], what: str, durable: bool = True) -> None:
    """Replace `path` by `data` (see `write_temp`) in one step: readers see the old file or the new one, never a part.
    Raises `RunError` naming `what` and the place."""
    try:
        temp = write_temp(path.parent, data, durable)
        try:
            temp.replace(path)
        except BaseException:
            temp.unlink(missing_ok=True)
            raise
        if durable:
            sync_folder(path.parent)
    except OSError as error:
        raise write_error(what, path, error) from error


def write_text(path: Path, text: str, what: str = "the file", durable: bool = True) -> None:
    """`write_atomic` for text, in UTF-8."""
    write_atomic(path, text.encode("utf-8"), what, durable)


def sweep_temps(folder: Path) -> int:
    """Remove the temp files that killed processes left in `folder`; gives their number."""
    stale = [path for path in folder.glob(".tmp-*") if is_stale_temp(path)]
    for path in stale:
        path.unlink(missing_ok=True)
    return len(stale)


def is_stale_temp(path: Path) -> bool:
    """Whether `path` is a temp file that nobody is writing any more (its process is gone)."""
    match = _TEMP.match(path.name)
    if match is None:
        return False
    if match["host"] != _HOST:
        try:
            return time.time() - path.stat().st_mtime > FOREIGN_TEMP_S
        except FileNotFoundError:
            return False
    return not pid_alive(int(match["pid"]))


def process_mark(pid: int) -> str:
    """A process on this machine, told apart from a later one of the same number: ``host:pid:start time`` (the
    start time in clock ticks since boot, `proc(5)` field 22; empty where there is no /proc)."""
    try:
        started = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        started = ""
    return f"{_HOST}:{pid}:{started}"


def process_alive(mark: str) -> bool:
    """Whether the process of that mark still runs. One of another machine counts as gone: it can't be looked
    at, and what lies in these folders is shared on one machine."""
    host, pid, _ = mark.split(":")
    return host == _HOST and pid_alive(int(pid)) and process_mark(int(pid)) == mark


def pid_alive(pid: int) -> bool:
    """Whether a process of that number runs on this machine."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the exclusive lock file `path` (made when missing, with its folder); waits for whoever has it. The
    system gives it back when the process dies. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)

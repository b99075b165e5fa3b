"""Reading the record of a folder, `groups.jsonl`, as pairs need it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from pydantic import ValidationError

from ..pipeline.errors import Problem, RequestError, RunError
from ..scoring.lean_groups import LeanGroup

Warn = Callable[[str], None]


def lean_groups(path: Path, on_warning: Warn | None = None, *, after: tuple[int, int] = (0, 0)) -> Iterator[LeanGroup]:
    """The groups that `lean_lines` gives."""
    for _, group in lean_lines(path, on_warning, after=after):
        yield group


def lean_lines(
    path: Path, on_warning: Warn | None = None, *, after: tuple[int, int] = (0, 0)
) -> Iterator[tuple[bytes, LeanGroup]]:
    """Every line of a record and its group, in order, as pairs need it; those `after` so many groups and the bytes they take. A
    last line that has no end was torn and is passed over, with a warning.

    Raises `RequestError` where there is no record, `RunError` naming a line that is no group.
    """
    try:
        file = path.open("rb")
    except FileNotFoundError:
        raise RequestError(Problem(
            f"{path.parent} holds no groups ({path.name} is not there)", "name the folder that segue night or segue run wrote to",
        )) from None  # fmt: skip
    except OSError as error:
        raise RunError(f"{path} can't be read: {error.strerror or error}") from error
    with file:
        file.seek(after[1])
        for number, line in enumerate(file, start=after[0] + 1):
            if not line.endswith(b"\n"):
                if on_warning is not None:
                    on_warning(f"{path}, line {number}: the line has no end, it was torn; it is passed over")
                return
            try:
                yield line, LeanGroup.from_json(line)
            except ValidationError as error:
                first = error.errors(include_url=False)[0]
                where = ".".join(map(str, first["loc"]))
                raise RunError(
                    f"{path}, line {number}: this is no group ({where + ': ' if where else ''}{first['msg']}). "
                    "Restore the file from a copy, or take the line out."
                ) from error

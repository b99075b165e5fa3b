"""A plan's prompts, one by one by their number, however many: held in a file, of which only the places are in memory.

Whatever they come from (list, file, grid, sounds), they are resolved once, in order, and can be kept: a resume describes no
sound again and draws no grid again. A kept file is itself a prompt file, after a first line that says what it follows from.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ..pipeline.atomic import write_atomic
from ..pipeline.errors import Problem, RequestError
from ..pipeline.home import exists
from ..pipeline.keys import digest
from .plan import Plan
from .prompt_file import HEADER, read_prompts
from .prompt_sources import TaggedPrompt

_CHUNK = 1 << 20
_MARK = f'{{"{HEADER}"'.encode("ascii")


class PromptTable:
    """Tagged prompts by number: ``table[3]``, ``len(table)``. Made of an iterable (in a file without a name) or of a kept
    file; any thread may read."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._fd = file, file.fileno()
        ends = _line_ends(self._fd)
        starts = np.concatenate([np.zeros(1, dtype=np.int64), ends[:-1]])[: len(ends)]
        head = int(os.pread(self._fd, len(_MARK), 0) == _MARK)
        self._starts, self._ends = starts[head:], ends[head:]

    @classmethod
    def of(cls, prompts: Iterable[TaggedPrompt], header: dict[str, object] | None = None) -> PromptTable:
        """The table of some prompts, under a header."""
        file: BinaryIO = tempfile.TemporaryFile()  # noqa: SIM115 (held as long as the table)
        if header is not None:
            file.write(json.dumps(header).encode("ascii") + b"\n")
        for prompt in prompts:
            facts = prompt.model_dump(mode="json", exclude_defaults=True)
            file.write(json.dumps(facts, ensure_ascii=False).encode("utf-8") + b"\n")
        file.flush()
        return cls(file)

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, number: int) -> TaggedPrompt:
        if not 0 <= number < len(self):
            raise IndexError(f"there is no prompt {number}; there are {len(self)}")
        start, end = int(self._starts[number]), int(self._ends[number])
        return TaggedPrompt.model_validate(json.loads(os.pread(self._fd, end - start, start)))

    def __iter__(self) -> Iterator[TaggedPrompt]:
        return (self[number] for number in range(len(self)))

    def keep(self, path: Path) -> None:
        """Write the table to `path`, whole or not at all. Raises RunError when the disk refuses."""
        write_atomic(path, _chunks(self._fd), "the night's prompts")


def _chunks(fd: int) -> Iterator[bytes]:
    place = 0
    while data := os.pread(fd, _CHUNK, place):
        yield data
        place += len(data)


def _line_ends(fd: int) -> np.ndarray:
    """Places after each line end of a file."""
    found, place = [np.zeros(0, dtype=np.int64)], 0
    for data in _chunks(fd):
        found.append(np.flatnonzero(np.frombuffer(data, dtype=np.uint8) == ord("\n")) + (place + 1))
        place += len(data)
    return np.concatenate(found)


def prompt_table(plan: Plan, kept: Path | None = None) -> PromptTable:
    """The plan's prompts: those in the file `kept` where it is there, else resolved now (and kept nowhere yet).

    Raises RequestError with every problem of the prompts, and for kept prompts that follow from other words or from another
    prompt file than the plan's. A prompt file that is gone since is not missed.
    """
    if kept is not None and kept.exists():
        _must_follow_from(plan, kept)
        return PromptTable(kept.open("rb"))
    header = _header(plan)
    return PromptTable.of(resolve(plan), header)


def resolve(plan: Plan) -> Iterator[TaggedPrompt]:
    """The plan's prompts in order, from whatever it names; sounds are described here. Raises RequestError."""
    source = plan.prompts
    if source.list is not None:
        return iter(source.list)
    if source.file is not None:
        return read_prompts(plan.path(source.file))
    if source.grid is not None:
        from .grid import grid_prompts

        return grid_prompts(plan)
    from .captions import captioned

    return captioned(plan)


def _header(plan: Plan) -> dict[str, object]:
    """What the prompts follow from: the plan's words about them (a grid's seed with them), the prompt file's bytes."""
    return {HEADER: 1, "words": _words(plan), "file_sha256": _file_sha256(plan)}


def _words(plan: Plan) -> str:
    return digest([plan.prompts.model_dump(mode="json", exclude_none=True), plan.seed if plan.prompts.grid is not None else None])


def _file_sha256(plan: Plan) -> str | None:
    """Of the prompt file; None where the plan has none. Raises RequestError for one that can't be read."""
    if plan.prompts.file is None:
        return None
    path = plan.path(plan.prompts.file)
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, ValueError) as error:
        cause = f"the prompt file {path} can't be read: {getattr(error, 'strerror', None) or error}"
        fix = "correct the path (relative ones start at the plan) or its rights"
        raise RequestError(plan.problem(cause, fix, "prompts", "file")) from error


def _must_follow_from(plan: Plan, kept: Path) -> None:
    with kept.open("rb") as file:
        first = file.readline()
    try:
        before = json.loads(first)
        words, sha256 = before["words"], before["file_sha256"]
    except (ValueError, KeyError, TypeError):
        problem = Problem("these are no kept prompts of a night", "move the file aside", file=str(kept), line=1)
        raise RequestError(problem) from None
    fix = "restore it, or begin another night in another folder"
    if words != _words(plan):
        cause = f"the prompts kept in {kept} are those of other words than the plan's"
        raise RequestError(plan.problem(cause, fix, "prompts"))
    given = plan.path(plan.prompts.file) if plan.prompts.file is not None else None
    if given is not None and exists(given) and sha256 != _file_sha256(plan):
        cause = f"the prompt file {given} is not what it was when this night was begun (its prompts are kept in {kept})"
        raise RequestError(plan.problem(cause, fix, "prompts", "file"))

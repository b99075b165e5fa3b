"""A plan's prompts, one by one by their number, however many: held in a file, of which only the places are in memory.

Whatever they come from (list, file, grid, sounds), they are resolved once, in order, and kept as ``prompts.jsonl`` in the
night's folder: a resume describes no sound again and draws no grid again. The kept file is itself a prompt file.
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

from ..pipeline.atomic import write_error
from ..pipeline.errors import Problem, RequestError
from ..pipeline.keys import canonical_json
from .plan import Plan
from .prompt_file import HEADER, read_prompts
from .prompt_sources import TaggedPrompt

NAME = "prompts.jsonl"
_CHUNK = 1 << 20


class PromptTable:
    """Tagged prompts by number. Made from an iterable (into a file without a name), or of a kept file (`open`)."""

    def __init__(self, prompts: Iterable[TaggedPrompt]) -> None:
        file: BinaryIO = tempfile.TemporaryFile()  # noqa: SIM115: held as long as the table
        _write(file, prompts, header=None)
        file.flush()
        self._hold(file)

    @classmethod
    def open(cls, path: Path) -> PromptTable:
        """The table in a file that `keep` wrote. Raises OSError."""
        table = cls.__new__(cls)
        table._hold(path.open("rb"))
        return table

    def _hold(self, file: BinaryIO) -> None:
        self._file, self._fd = file, file.fileno()
        ends = _line_ends(self._fd)
        starts = np.concatenate([[0], ends[:-1]]).astype(np.int64) if len(ends) else ends
        if len(ends) and os.pread(self._fd, len(HEADER) + 3, 0).startswith(f'{{"{HEADER}"'.encode()):
            starts, ends = starts[1:], ends[1:]
        self._starts, self._ends = starts, ends

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, number: int) -> TaggedPrompt:
        if not 0 <= number < len(self):
            raise IndexError(f"there is no prompt {number}; there are {len(self)}")
        start, end = int(self._starts[number]), int(self._ends[number])
        return TaggedPrompt.model_validate(json.loads(os.pread(self._fd, end - start, start)))

    def __iter__(self) -> Iterator[TaggedPrompt]:
        return (self[number] for number in range(len(self)))


def _line_ends(fd: int) -> np.ndarray:
    """Places after each line end of a file."""
    found, place = [], 0
    while data := os.pread(fd, _CHUNK, place):
        found.append(np.flatnonzero(np.frombuffer(data, dtype=np.uint8) == ord("\n")) + (place + 1))
        place += len(data)
    return np.concatenate(found).astype(np.int64) if found else np.zeros(0, dtype=np.int64)


def _write(file: BinaryIO, prompts: Iterable[TaggedPrompt], header: dict[str, object] | None) -> None:
    if header is not None:
        file.write(json.dumps(header).encode("ascii") + b"\n")
    for prompt in prompts:
        facts = prompt.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
        file.write(json.dumps(facts, ensure_ascii=False).encode("utf-8") + b"\n")


def resolve(plan: Plan) -> Iterator[TaggedPrompt]:
    """The plan's prompts in order, from whatever it names. Sounds are described here. Raises RequestError."""
    source = plan.prompts
    if source.list is not None:
        return iter(source.list)
    if source.file is not None:
        return read_prompts(plan.path(source.file))
    if source.grid is not None:
        from .grid import grid_prompts

        return grid_prompts(plan)
    from .captions import captioned

    assert source.captions is not None
    return captioned(plan, source.captions)


def source_digest(plan: Plan) -> str:
    """What the prompts follow from: the plan's own words about them, and the prompt file's bytes. Raises RequestError for a file
    that can't be read."""
    facts = plan.prompts.model_dump(mode="json", exclude_none=True)
    digest = hashlib.sha256(canonical_json([facts, plan.seed if plan.prompts.grid is not None else None]).encode("ascii"))
    if plan.prompts.file is not None:
        path = plan.path(plan.prompts.file)
        try:
            with path.open("rb") as file:
                while data := file.read(_CHUNK):
                    digest.update(data)
        except OSError as error:
            cause = f"the prompt file can't be read: {error.strerror or error}"
            raise RequestError(plan.problem(f"{cause} ({path})", "correct the path (relative ones start at the plan)", "prompts", "file")) from error
    return digest.hexdigest()


def prompt_table(plan: Plan, folder: Path | None = None) -> PromptTable:
    """The plan's prompts. With the night's `folder` (which must exist) they are kept there the first time, and taken from there
    ever after; without one they are resolved and kept nowhere.

    Raises RequestError with every problem of the prompts, and for kept prompts that are those of other words or of another
    prompt file; RunError when the disk refuses.
    """
    if folder is None:
        return PromptTable(resolve(plan))
    path = folder / NAME
    digest = source_digest(plan)
    if path.exists():
        _must_follow_from(plan, digest, path)
        return PromptTable.open(path)
    _keep(plan, digest, path)
    return PromptTable.open(path)


def _must_follow_from(plan: Plan, digest: str, path: Path) -> None:
    with path.open("rb") as file:
        first = file.readline()
    try:
        kept = json.loads(first)["source_sha256"]
    except (ValueError, KeyError, TypeError):
        raise RequestError(Problem("these are no kept prompts of a night", "move the file aside", file=str(path), line=1)) from None
    if kept == digest:
        return
    given = plan.prompts.file
    what = f"the prompt file {plan.path(given)} is not what it was" if given is not None else "the plan's prompts are others"
    cause = f"{what} when this night was begun; its prompts are kept in {path}"
    key = ("prompts", "file") if given is not None else ("prompts",)
    raise RequestError(plan.problem(cause, "restore it, or begin another night in another folder", *key))


def _keep(plan: Plan, digest: str, path: Path) -> None:
    """Written beside, and renamed when whole: a night that dies here begins anew."""
    temp = None
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".tmp-prompts-", delete=False) as file:
            temp = Path(file.name)
            _write(file, resolve(plan), {HEADER: 1, "source_sha256": digest})  # type: ignore[arg-type]
            file.flush()
            os.fsync(file.fileno())
        temp.chmod(0o644)
        temp.replace(path)
    except OSError as error:
        raise write_error("the night's prompts", path, error) from error
    finally:
        if temp is not None:
            temp.unlink(missing_ok=True)

"""What stands at the head of each logged group (id, prompt, strata) and how many takes it has, without reading the takes: a log
of 100,000 takes is hundreds of megabytes, and coverage asks for none of the scores."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..pipeline.errors import Problem, RequestError

# Bytes that no text in a line can hold, because JSON escapes quotes. `Group` writes its entries last, each with its take first
_ENTRIES = b',"entries":['
_ENTRY = b'{"take":"'
_GROUP = b'"group":"'


@dataclass(frozen=True)
class GroupHead:
    """One group of ``groups.jsonl``."""

    id: str
    prompt: dict[str, Any]
    strata: dict[str, str]
    takes: int


def group_heads(path: Path) -> Iterator[GroupHead]:
    """The heads of the groups in a log, in order. A last line still being written is left out. Raises RequestError for a log that
    can't be read, and for a line that is no group, with its number."""
    for number, line in _whole_lines(path):
        place = line.find(_ENTRIES)
        try:
            head = json.loads(line[:place] + b"}")
            yield GroupHead(head["id"], head["prompt"], head.get("strata", {}), line.count(_ENTRY, place))
        except (ValueError, KeyError, TypeError, AttributeError):
            fix = "the log is append-only: take the line out, or put the file back"
            raise RequestError(Problem("this is no preference group", fix, file=str(path), line=number)) from None


def pair_groups(path: Path) -> Iterator[str]:
    """The group ids of the pairs in ``pairs.jsonl``, a pair each; none where there is no file. Raises RequestError as
    `group_heads`."""
    if not path.exists():
        return
    for number, line in _whole_lines(path):
        place = line.rfind(_GROUP) + len(_GROUP)
        if place < len(_GROUP):
            fix = "derive the pairs anew: segue pairs FOLDER"
            raise RequestError(Problem("this is no preference pair", fix, file=str(path), line=number))
        yield line[place : line.index(b'"', place)].decode("utf-8")


def _whole_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    try:
        with path.open("rb", buffering=1 << 20) as file:
            for number, line in enumerate(file, start=1):
                if line.endswith(b"\n"):
                    yield number, line
    except OSError as error:
        fix = "name the folder of a night" if isinstance(error, FileNotFoundError) else "check path and rights"
        raise RequestError(Problem(f"{path} can't be read: {error.strerror or error}", fix)) from error

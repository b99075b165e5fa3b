"""A prompt file (JSON lines or CSV) to tagged prompts, a row at a time; every broken line is told, with its number.

Keys that are prompt fields fill the prompt; other keys become tags. Text is taken as it stands: line ends, quotes and
blanks within a caption survive. Knows no plan.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ..pipeline.errors import Problem, RequestError
from ..pipeline.plain_kinds import kinds_in
from ..pipeline.prompt import Prompt
from ..presets.spec_problems import spec_problems
from .prompt_sources import TaggedPrompt, as_text

MAX_TOLD = 1000
"""Broken lines told one by one; of more, their number is told."""

HEADER = "segue_prompts"
"""Key of a first line that tells about the file itself, as `prompts` writes it; no prompt."""

_KINDS = {name: kinds_in(info.annotation) for name, info in Prompt.model_fields.items()}
_BOOLS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}

Row = tuple[int, dict[str, Any]]


class _Broken(Exception):
    """A line that can't be read."""

    def __init__(self, cause: str, fix: str) -> None:
        super().__init__(cause)
        self.cause, self.fix = cause, fix


def read_prompts(path: Path) -> Iterator[TaggedPrompt]:
    """The prompts of a ``.jsonl`` or ``.csv`` file in order, each with ``NAME:LINE`` as its origin.

    Raises RequestError when the file can't be read or holds no prompt, and at its end, when every line has been looked at, with
    all broken lines (at most `MAX_TOLD` one by one).
    """
    kind = path.suffix.lower()
    rows = {".jsonl": _json_rows, ".ndjson": _json_rows, ".csv": _csv_rows}.get(kind)
    if rows is None:
        cause = f"'{kind or path.name}' is no kind of prompt file"
        raise RequestError(Problem(cause, "give a .jsonl or .csv file", file=str(path)))
    problems: list[Problem] = []
    broken = made = 0

    def note(problem: Problem) -> None:
        nonlocal broken
        broken += 1
        if len(problems) < MAX_TOLD:
            problems.append(problem.at(file=str(path)))

    try:
        for line, data in rows(path, note):
            found = _prompt(data, line, path.name, note)
            if found is not None:
                made += 1
                yield found
    except OSError as error:
        cause = f"the prompt file can't be read: {error.strerror or error}"
        raise RequestError(Problem(cause, "check path and rights", file=str(path))) from error
    if broken > len(problems):
        cause = f"and {broken - len(problems)} more problems like these"
        problems.append(Problem(cause, "mend those above first", file=str(path)))
    if not problems and not made:
        problems.append(Problem("the prompt file holds no prompt", "write one prompt a line", file=str(path)))
    if problems:
        raise RequestError(problems)


def _prompt(data: dict[str, Any], line: int, name: str, note: Callable[[Problem], None]) -> TaggedPrompt | None:
    """One row as a prompt; None where it is wrong, and then noted."""
    fields: dict[str, Any] = {k: v for k, v in data.items() if k in Prompt.model_fields}
    tags: dict[str, Any] = {}
    given = data.get("tags", {})
    own = given if isinstance(given, dict) else {}
    if not isinstance(given, dict) and given is not None:
        fix = 'write "tags": {"genre": "jazz"}, or "genre" beside the caption'
        note(Problem(f"tags is {given!r}"[:120], fix, line=line, key="tags"))
        return None
    for key, value in (*own.items(), *((k, v) for k, v in data.items() if k not in TaggedPrompt.model_fields)):
        if value is None:
            continue
        try:
            tags[key] = as_text(value)
        except ValueError as error:
            note(Problem(f"'{key}' is no prompt field and so a tag, but {error}", "write a text or a number", line=line, key=key))
            return None
    whole = {**fields, "tags": tags, "origin": f"{name}:{line}" if not data.get("origin") else str(data["origin"])}
    try:
        return TaggedPrompt.model_validate(whole)
    except ValidationError as error:
        for problem in spec_problems(error, TaggedPrompt, whole, {}):
            note(problem.at(line=line))
        return None


def _lines(path: Path, note: Callable[[Problem], None]) -> Iterator[tuple[int, str]]:
    """Lines with their numbers and ends; one that is not UTF-8 is noted and comes as an empty line."""
    with path.open("rb") as file:
        for number, raw in enumerate(file, start=1):
            try:
                yield number, raw.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                note(Problem(f"byte 0x{raw[error.start]:02x} is not UTF-8 text", "save the file as UTF-8", line=number))
                yield number, "\n"


def _json_rows(path: Path, note: Callable[[Problem], None]) -> Iterator[Row]:
    for number, text in _lines(path, note):
        if not text.strip():
            continue
        try:
            data = json.loads(text, object_pairs_hook=_no_twins, parse_constant=_no_constant)
            text.encode("utf-8")
            json.dumps(data, ensure_ascii=False).encode("utf-8")
        except json.JSONDecodeError as error:
            fix = 'write {"caption": "…"} on one line'
            note(Problem(f"this is not JSON: {error.msg} (column {error.colno})", fix, line=number))
        except UnicodeEncodeError:
            note(Problem("an escape such as \\ud83d is half a character", "write the character itself", line=number))
        except RecursionError:
            note(Problem("the line nests too deep", 'write {"caption": "…"}', line=number))
        except _Broken as broken:
            note(Problem(broken.cause, broken.fix, line=number))
        else:
            if not isinstance(data, dict):
                cause = f"the line holds {str(data)[:60]!r}, and a prompt is an object"
                note(Problem(cause, 'write {"caption": "…"}', line=number))
            elif HEADER not in data or number > 1:
                yield number, data


def _no_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise _Broken(f"key '{twice}' is given twice", "keep one of them")
    return found


def _no_constant(text: str) -> Any:
    raise _Broken(f"{text} is no JSON number", "write a number, or leave the key out")


def _csv_rows(path: Path, note: Callable[[Problem], None]) -> Iterator[Row]:
    reader = csv.reader((text for _, text in _lines(path, note)), strict=True)
    header: list[str] | None = None
    while True:
        start = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            fix = 'put texts with commas, quotes or line ends in "…", with "" for a quote'
            note(Problem(f"this is not CSV: {error}", fix, line=start))
            continue
        if not cells:
            continue
        if header is None:
            header = [cell.strip() for cell in cells]
            if not _header_is_sound(header, start, note):
                return
        elif len(cells) != len(header):
            cause = f"the row has {len(cells)} cells, the header {len(header)}"
            note(Problem(cause, "put texts with commas in quotes", line=start))
        else:
            try:
                yield start, {name: _cell(name, cell) for name, cell in zip(header, cells, strict=True) if cell != ""}
            except _Broken as broken:
                note(Problem(broken.cause, broken.fix, line=start))


def _header_is_sound(header: list[str], line: int, note: Callable[[Problem], None]) -> bool:
    twice = next((name for name in header if header.count(name) > 1), None)
    if twice is not None:
        note(Problem(f"column '{twice}' stands twice in the header", "name each column once", line=line))
    elif "" in header:
        note(Problem("a column has no name", "write a header such as caption,bpm,genre", line=line))
    elif not set(header) & set(Prompt.model_fields):
        fix = f"name columns such as {', '.join(list(Prompt.model_fields)[:5])}, with commas between them; others become tags"
        note(Problem(f"no column of {', '.join(header)[:80]} is a prompt field", fix, line=line))
    else:
        return True
    return False


def _cell(name: str, text: str) -> Any:
    """A cell as its field takes it. Raises `_Broken`."""
    kinds = _KINDS.get(name, {str})
    if name == "tags":
        raise _Broken("a column 'tags' can't hold tags", "give each tag a column of its own name")
    if str in kinds:
        return text
    try:
        if bool in kinds:
            return _BOOLS[text.strip().lower()]
        return int(text) if float not in kinds else float(text)
    except (KeyError, ValueError):
        wanted = "true or false" if bool in kinds else "a whole number" if float not in kinds else "a number"
        raise _Broken(f"{name} is '{text[:40]}', not {wanted}", f"write {wanted}") from None

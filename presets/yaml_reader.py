"""YAML text to plain data with the line of every key, by a reader that refuses what a preset never needs.

Refused, each with its line: files over 1 MB, text that is not UTF-8, tabs as indentation, equal keys, anchors and aliases,
tags, nesting deeper than 16, several documents, NaN and infinity, keys that are lists or mappings. Keys are always text
(``no:`` is the key "no"); scalars follow YAML 1.2 (see `pipeline.yaml_text`). Knows nothing of presets.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ..pipeline.errors import Problem, RequestError
from ..pipeline.yaml_text import plain_scalar

MAX_BYTES = 1_000_000
MAX_DEPTH = 16

Path_ = tuple[str, ...]


@dataclass(frozen=True)
class Document:
    """Plain data and, by path (keys and list indices as text), the line each entry begins on, counting from 1."""

    data: Any
    lines: dict[Path_, int] = field(default_factory=dict)


def read_file(path: Path, what: str = "preset") -> str:
    """The text of a preset's file (or of another `what`). Raises RequestError when it is missing, no file, too large, or not
    UTF-8."""
    name = str(path)
    try:
        if not path.is_file():
            wrong = "is a folder" if path.is_dir() else "is no plain file" if path.exists() else "does not exist"
            raise RequestError(Problem(f"the {what} file {wrong}", "name a .yaml file", file=name))
        size = path.stat().st_size
        raw = path.read_bytes() if size <= MAX_BYTES else b""
    except (OSError, ValueError) as error:
        raise RequestError(Problem(f"the {what} can't be read: {error}", "check path and rights", file=name)) from error
    if size > MAX_BYTES:
        raise RequestError(_too_large(size, name))
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        cause = f"byte {error.start} (0x{raw[error.start]:02x}) is not UTF-8 text"
        raise RequestError(Problem(cause, "save the file as UTF-8", file=name, line=line)) from error


def _too_large(size: int, name: str | None) -> Problem:
    return Problem(
        f"the preset is {size / 1e6:.1f} MB large, at most {MAX_BYTES / 1e6:g} MB is read",
        "a preset is about 40 lines; put sounds and long texts elsewhere", file=name,
    )  # fmt: skip


def read_yaml(text: str, file: str | None = None) -> Document:
    """Parse one YAML document. Raises RequestError with every problem found up to the first that ends the reading."""
    if len(text.encode("utf-8", "replace")) > MAX_BYTES:
        raise RequestError(_too_large(len(text), file))
    reader = _Reader(text)
    try:
        document = reader.document()
    except yaml.YAMLError as error:
        reader.problems.append(_syntax(error, text))
    except _Stop:
        pass
    if reader.problems:
        raise RequestError([p.at(file=file) for p in reader.problems])
    return document


class _Stop(Exception):
    """Reading on would tell nothing more."""


class _Reader:
    """Builds data from PyYAML's events; keeps every problem with its line."""

    def __init__(self, text: str) -> None:
        self.problems: list[Problem] = []
        self.lines: dict[Path_, int] = {}
        self.text = text

    def document(self) -> Document:
        events = yaml.parse(self.text, Loader=yaml.SafeLoader)
        self.events: Iterator[yaml.Event] = iter(events)
        next(self.events)  # stream start
        if isinstance(next(self.events), yaml.StreamEndEvent):
            return Document(None)
        data = self.value(next(self.events), ())
        next(self.events)  # document end
        after = next(self.events)
        if isinstance(after, yaml.DocumentStartEvent):
            self.note("a second document begins here; a preset is one", "leave '---' out", after)
        return Document(data, self.lines)

    def note(self, cause: str, fix: str, event: yaml.Event) -> None:
        self.problems.append(Problem(cause, fix, line=_line(event)))

    def value(self, event: yaml.Event, path: Path_) -> Any:
        if len(path) > MAX_DEPTH:
            self.note(f"the preset nests deeper than {MAX_DEPTH}", "no preset needs that; take brackets away", event)
            raise _Stop
        if isinstance(event, yaml.AliasEvent):
            self.note(f"alias '*{event.anchor}'; presets have no anchors or aliases", "write the value out", event)
            return None
        assert isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent)
        if event.anchor is not None:
            self.note(f"anchor '&{event.anchor}'; presets have no anchors or aliases", "write the value out", event)
        if event.tag is not None:
            self.note(f"tag '{event.tag}'; presets have no tags", "write plain text, numbers, lists and mappings", event)
        if isinstance(event, yaml.ScalarEvent):
            return self.scalar(event)
        return self.listing(path) if isinstance(event, yaml.SequenceStartEvent) else self.mapping(path)

    def scalar(self, event: yaml.ScalarEvent) -> Any:
        if not event.implicit[0]:
            return self.whole(event.value, event)
        value = plain_scalar(event.value)
        if isinstance(value, float) and not math.isfinite(value):
            self.note(f"{event.value} is no finite number", "write a number, or text in quotes", event)
            return None
        return value

    def whole(self, text: str, event: yaml.Event) -> str:
        """The text with JSON's pairs of surrogate escapes joined to characters; a single one is a problem."""
        try:
            return text.encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError:
            self.note("an escape such as \\ud83d is half a character", "write the character itself", event)
            return ""

    def listing(self, path: Path_) -> list[Any]:
        items: list[Any] = []
        while not isinstance(event := next(self.events), yaml.SequenceEndEvent):
            here = (*path, str(len(items)))
            self.lines[here] = _line(event)
            items.append(self.value(event, here))
        return items

    def mapping(self, path: Path_) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            key = self.key(event, path)
            here = (*path, key)
            line = _line(event)
            if key in found:
                first = self.lines[here]
                where = f"on line {first} and on line {line}" if first != line else f"twice on line {line}"
                self.note(f"key '{'.'.join(here)}' is given {where}", "keep one of them", event)
            self.lines[here] = line
            found[key] = self.value(next(self.events), here)
        return found

    def key(self, event: yaml.Event, path: Path_) -> str:
        if isinstance(event, yaml.ScalarEvent):
            if event.anchor is not None or event.tag is not None:
                self.note("a key with an anchor or tag", "write a plain key", event)
            if event.implicit[0] and event.value == "<<":
                self.note("'<<' (merge) is not known here; presets have no inheritance", "write the keys out", event)
            return self.whole(event.value, event)
        if isinstance(event, yaml.AliasEvent):
            self.note(f"alias '*{event.anchor}' as a key; presets have no aliases", "write the key out", event)
            return f"*{event.anchor}"
        self.note("a key must be text, this one is a list or mapping", "write name: value, with quotes around odd text", event)
        raise _Stop


def _line(event: yaml.Event) -> int:
    assert event.start_mark is not None  # every parsed event has one
    return int(event.start_mark.line) + 1


def _syntax(error: yaml.YAMLError, text: str) -> Problem:
    """PyYAML's complaint as a problem with a line and advice for the usual slips."""
    if isinstance(error, yaml.reader.ReaderError):
        line = text.count("\n", 0, error.position) + 1
        return Problem(f"character U+{int(error.character):04X} can't stand in YAML", "take it out", line=line)
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    place = mark.line + 1 if mark else None
    said = str(getattr(error, "problem", None) or error)
    bad = text.splitlines()[mark.line] if mark and mark.line < len(text.splitlines()) else ""
    fix = "check quotes, brackets and indentation on this line and the one before"
    if "\\t" in said or "\t" in bad[: len(bad) - len(bad.lstrip())]:
        said, fix = "a tab stands where YAML wants spaces", "indent with spaces"
    elif "mapping values are not allowed" in said:
        said, fix = "a second ': ' on one line", "put text that holds ': ' in quotes"
    elif "found undefined tag" in said or "tag" in said:
        fix = "presets have no tags; put text that begins with '!' in quotes"
    return Problem(f"this is not YAML: {said}", fix, line=place)

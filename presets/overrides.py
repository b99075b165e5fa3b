"""``--set a.b.c=value``: one value of a preset (or of another spec), replaced before it is checked.

The path is that of the YAML (``prompt.caption``, ``stages.draft.steps``), or begins with a stage's name (``draft.steps``).
Where the key takes text, the value is the text as it stands; elsewhere it is read as YAML (numbers, true/false, lists).
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from typing import Any

from ..pipeline.errors import Problem, RequestError, did_you_mean
from ..pipeline.pipeline import Pipeline
from ..pipeline.places import COMMAND_LINE
from ..pipeline.plain_kinds import kinds_in
from ..pipeline.spec import Spec, Stage
from .spec_problems import Path_, annotation_at
from .yaml_reader import Document, read_yaml


def apply_overrides(
    document: Document, overrides: Mapping[str, str], types: Mapping[str, type[Stage]], root: type[Spec] = Pipeline
) -> tuple[Document, list[Problem]]:
    """A copy of the document, which is meant to be a `root`, with every override in place, and what is wrong with the overrides
    themselves. Only a `Pipeline` has stages, whose names may begin a path."""
    data, lines = _copied(document.data), dict(document.lines)
    problems: list[Problem] = []
    for text, value in overrides.items():
        try:
            path = _full_path(text, data, root)
            _put(data, path, _read(value, path, data, types, text, root), text)
        except RequestError as wrong:
            problems.extend(p.at(file=f"--set {text}={value}"[:80]) for p in wrong.problems)
            continue
        lines = {p: line for p, line in lines.items() if p[: len(path)] != path}
        lines[path] = COMMAND_LINE
    return Document(data, lines), problems


def mapping_under(data: Any, key: str) -> dict[str, Any]:
    """The mapping at `key`, empty where there is none."""
    found = data.get(key) if isinstance(data, dict) else None
    return found if isinstance(found, dict) else {}


def _copied(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: _copied(value) for key, value in data.items()}
    return [_copied(item) for item in data] if isinstance(data, list) else data


def _full_path(text: str, data: Any, root: type[Spec]) -> Path_:
    path = tuple(re.findall(r"[^.\[\]]+", text))
    stages = mapping_under(data, "stages") if root is Pipeline else {}
    known = list(root.model_fields)
    if not path:
        raise RequestError(Problem("the path before '=' is empty", "write e.g. prompt.caption=…"))
    if path[0] not in known and path[0] in stages:
        path = ("stages", *path)
    if path[0] not in known:
        near = did_you_mean(path[0], [*known, *stages])
        what = "is no key and no stage of this preset" if root is Pipeline else f"is no key of a {root.__name__.lower()}"
        raise RequestError(Problem(f"'{path[0]}' {what}.{near}", _choice(known, stages)))
    if path[0] == "stages":
        if len(path) == 1:
            raise RequestError(Problem("stages as a whole can't be set", "name a stage and a key, e.g. draft.steps=8"))
        if path[1] not in stages:
            near = did_you_mean(path[1], stages)
            raise RequestError(Problem(f"there is no stage '{path[1]}' in this preset.{near}", _choice([], stages)))
        if len(path) == 2:
            raise RequestError(Problem(f"stage '{path[1]}' as a whole can't be set", f"name a key, e.g. {path[1]}.steps=8"))
    return path


def _choice(keys: list[str], stages: Any) -> str:
    return f"begin with one of {', '.join([*keys, *stages])}"


def _read(value: str, path: Path_, data: Any, types: Mapping[str, type[Stage]], text: str, root: type[Spec]) -> Any:
    if _takes_text(path, data, types, root):
        quoted = re.fullmatch(r"\s*(\"(?:[^\"\\]|\\.)*\"|'[^']*')\s*", value)
        if value.strip() in ("null", "~"):
            return None
        return read_yaml(f"v: {value}").data["v"] if quoted else value
    try:
        return read_yaml(f"v: {value}\n").data["v"]
    except RequestError as wrong:
        raise RequestError([Problem(p.cause, p.fix, key=text) for p in wrong.problems]) from wrong


def _takes_text(path: Path_, data: Any, types: Mapping[str, type[Stage]], root: type[Spec]) -> bool:
    """Whether the key at `path` takes text and nothing else. Raises RequestError for a path into a plain value."""
    if path[0] == "inputs" and len(path) == 2:
        return True
    cls: type[Any] | None = root
    if path[0] == "stages" and root is Pipeline:
        stage = data["stages"][path[1]]
        cls = types.get(str(stage.get("type"))) if isinstance(stage, dict) else None
        path = path[2:]
    if cls is None:
        return False
    for end in range(1, len(path)):
        kinds = kinds_in(annotation_at(cls, path[:end]))
        if kinds and kinds <= {str, int, float, bool, type(None)} and annotation_at(cls, path[:end]) is not None:
            above = ".".join(path[:end])
            raise RequestError(Problem(f"'{above}' is a plain value; nothing stands under it", "shorten the path"))
    allowed = kinds_in(annotation_at(cls, path))
    return str in allowed and not allowed & {int, float, bool, tuple, list}


def _put(data: Any, path: Path_, value: Any, text: str) -> None:
    here = data
    for part, following in itertools.pairwise(path):
        here = _step(here, part, text, {} if not following.isdigit() else [])
    if isinstance(here, list):
        here[_index(here, path[-1], text)] = value
    elif isinstance(here, dict):
        here[path[-1]] = value
    else:
        raise RequestError(Problem(f"'{text}': there is a plain value above '{path[-1]}'", "shorten the path"))


def _step(here: Any, part: str, text: str, empty: Any) -> Any:
    if isinstance(here, list):
        return here[_index(here, part, text)]
    if not isinstance(here, dict):
        raise RequestError(Problem(f"'{text}': nothing can stand under a plain value, before '{part}'", "shorten the path"))
    if here.get(part) is None:
        here[part] = empty
    return here[part]


def _index(items: list[Any], part: str, text: str) -> int:
    if not part.isdigit() or int(part) >= len(items):
        raise RequestError(Problem(f"'{text}': '{part}' is no place in a list of {len(items)}", f"write 0 to {len(items) - 1}"))
    return int(part)

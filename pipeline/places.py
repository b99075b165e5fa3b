"""Where in a preset's text a problem stands: from (stage, key) to (file, line). Knows nothing of what the problem is."""

from __future__ import annotations

import re
from collections.abc import Iterable

from .errors import Problem
from .spec import Preset

COMMAND_LINE = 0
"""Recorded in place of a line for values that were set on the command line."""


def yaml_path(stage: str | None, key: str | None) -> tuple[str, ...]:
    """The YAML path of a stage's key: ``("draft", "sources[1]")`` -> ``("stages", "draft", "sources", "1")``."""
    parts = tuple(re.findall(r"[^.\[\]]+", key or ""))
    return ("stages", stage, *parts) if stage is not None else parts


def nearest_line(lines: dict[tuple[str, ...], int], path: tuple[str, ...]) -> int | None:
    """The line of the longest known beginning of `path`; None when not even its first part is known."""
    for end in range(len(path), 0, -1):
        if path[:end] in lines:
            return lines[path[:end]]
    return None


def located(problems: Iterable[Problem], pipeline: Preset) -> list[Problem]:
    """The problems with file and line filled in from the pipeline's own record of where it was read."""
    found = []
    for problem in problems:
        line = nearest_line(pipeline._lines, yaml_path(problem.stage, problem.key))
        if line == COMMAND_LINE:
            found.append(problem.at(file="--set"))
        else:
            found.append(problem.at(file=pipeline._file, line=line))
    return found

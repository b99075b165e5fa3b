"""What can go wrong, said so that the reader can mend it.

Two kinds reach a person: a *request* that can't be carried out as written (`RequestError`, exit code 2, found before any
weight is loaded wherever that is possible) and a *run* that failed on the way (`RunError`, exit code 1). A `RequestError`
carries **all** problems found, each a `Problem`. This module knows nothing of stages, models or the command line.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a request.

    `cause` says what was given and why it can't be; `fix` says what to write instead. `key` is a dotted path inside the
    stage (or the pipeline when `stage` is None), e.g. ``guidance.scale``; `line` counts from 1 in `file`.
    """

    cause: str
    fix: str = ""
    stage: str | None = None
    key: str | None = None
    file: str | None = None
    line: int | None = None

    def at(self, **where: str | int | None) -> Problem:
        """The same problem with the given places filled in where they were still unknown."""
        return replace(self, **{k: v for k, v in where.items() if getattr(self, k) is None})  # type: ignore[arg-type]

    def __str__(self) -> str:
        place = self.file or ""
        if self.line is not None:
            place += f":{self.line}" if place else f"line {self.line}"
        parts = [place] if place else []
        if self.stage:
            parts.append(f"stage '{self.stage}'")
        if self.key:
            parts.append(f"key '{self.key}'")
        head = ", ".join(parts)
        text = f"{head}: {self.cause}" if head else self.cause
        stop = "" if text.endswith((".", "?", "!", ":")) else "."
        return f"{text}{stop} Fix: {self.fix}" if self.fix else text


class SegueError(Exception):
    """Base of every error Segue raises on purpose."""

    exit_code = 1


class RequestError(SegueError):
    """The request was wrong; nothing was computed. Carries every problem found (`.problems`)."""

    exit_code = 2

    def __init__(self, problems: Problem | Iterable[Problem] | str) -> None:
        if isinstance(problems, str):
            problems = Problem(problems)
        self.problems: list[Problem] = [problems] if isinstance(problems, Problem) else list(problems)
        super().__init__("\n".join(str(p) for p in self.problems))


class RunError(SegueError):
    """The run failed; what was finished is kept. The message says how to go on."""


class Cancelled(SegueError):
    """The user stopped the run; finished takes are kept and the run can be resumed."""


def did_you_mean(word: str, known: Sequence[str] | Iterable[str]) -> str:
    """`` Did you mean 'x'?`` for the nearest of `known`, or an empty string when nothing is near."""
    near = difflib.get_close_matches(str(word), list(known), n=1, cutoff=0.6)
    return f" Did you mean '{near[0]}'?" if near else ""

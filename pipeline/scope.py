"""What is known about a stage's surroundings before anything runs: `Scope`, handed to `Stage.check`, and `InputFacts`.

This module knows no stage type; it reads the graph it is handed. Durations are those of the files' headers and of the
prompts, carried along the stages; what can't be known yet is None, never a guess.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .errors import Problem

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from .graph import Graph
    from .models.base import VariantInfo
    from .spec import Pipeline, Prompt, Stage


@dataclass(frozen=True)
class InputFacts:
    """What an input file's header says. `problem` is set where the file can't be read (its place is filled in later)."""

    path: Path
    exists: bool = True
    duration_s: float | None = None
    rate_hz: int | None = None
    channels: int | None = None
    problem: Problem | None = None


@dataclass(frozen=True)
class Scope:
    """What a stage may ask while it checks itself. Names are those of inputs and stages.

    Every question has an answer for every name, also for one that does not exist (unknown, or the answer that raises no
    second complaint): the graph has already said what is wrong with it.
    """

    graph: Graph
    stage: str
    warn_with: Callable[[Problem], None] | None = None

    @property
    def pipeline(self) -> Pipeline:
        return self.graph.pipeline

    @property
    def spec(self) -> Stage:
        """This stage with its variant's defaults filled in (as written while the model is not known)."""
        return self.graph.stage(self.stage)

    @property
    def info(self) -> VariantInfo | None:
        """Facts of this stage's variant; None when it does not diffuse, or the model or variant is not known."""
        return self.graph.info(self.stage)

    @property
    def prompt(self) -> Prompt:
        """The prompt as far as it stands before the run: pipeline, main source's stages, this stage. Fields that a
        stage such as `caption` will fill in are still missing."""
        return self.graph.prompt(self.stage)

    def duration_s(self, name: str) -> float | None:
        """Length of the takes of an input or stage in seconds; None when it is not known yet."""
        return self.graph.duration_s(name)

    def input(self, name: str) -> InputFacts | None:
        """What is known of an input file; None for a stage or when nobody looked."""
        return self.graph.facts.get(name)

    def has_report(self, name: str) -> bool:
        """Whether every take of `name` will carry a report that still describes its audio."""
        return self.graph.has_report(name)

    def report_fields(self, name: str) -> frozenset[str] | None:
        """Fields of the report that the takes of `name` carry; None when they are not known beforehand."""
        return self.graph.report_fields(name)

    def takes(self, name: str) -> int:
        """How many takes an input or stage gives."""
        return self.graph.takes(name)

    def path(self, text: str) -> Path:
        """A path of the preset as a real one."""
        return self.pipeline.path(text)

    def problem(self, cause: str, fix: str = "", key: str | None = None) -> Problem:
        """A problem of this stage, to be yielded from `check`."""
        return Problem(cause, fix, stage=self.stage, key=key)

    def warn(self, cause: str, fix: str = "", key: str | None = None) -> None:
        """Something the user should know that does not keep the preset from running."""
        if self.warn_with is not None:
            self.warn_with(self.problem(cause, fix, key))

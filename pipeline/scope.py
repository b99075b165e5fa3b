"""What a stage may ask while it checks itself (`Scope`), and what an input file's header says (`InputFacts`).

Only the contract; `graph.GraphScope` fulfils it. Durations are those of the files' headers and of the prompts, carried along
the stages; what can't be known yet is None, never a guess. Knows no stage and no graph.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from .errors import Problem
from .prompt import Prompt, Spec

if TYPE_CHECKING:
    from .models.base import VariantInfo


@dataclass(frozen=True)
class InputFacts:
    """What an input file's header says. `problem` is set where the file can't be read (its place is filled in later)."""

    path: Path
    exists: bool = True
    duration_s: float | None = None
    rate_hz: int | None = None
    channels: int | None = None
    problem: Problem | None = None


class Scope(Protocol):
    """What a stage may ask while it checks itself. Names are those of inputs and stages.

    Every question has an answer for every name, also for one that does not exist (unknown, or the answer that raises no
    second complaint): the graph has already said what is wrong with it.
    """

    @property
    def stage(self) -> str:
        """This stage's name."""

    @property
    def spec(self) -> Spec:
        """This stage with its variant's defaults filled in (as written while the model is not known)."""

    @property
    def stages(self) -> Mapping[str, Spec]:
        """Every stage of the preset as written, in its order."""

    @property
    def info(self) -> VariantInfo | None:
        """Facts of this stage's variant; None when it does not diffuse, or the model or variant is not known."""

    @property
    def prompt(self) -> Prompt:
        """The prompt as far as it stands before the run: pipeline, main source's stages, this stage. Fields that a
        stage such as `caption` will fill in are still missing."""

    def duration_s(self, name: str) -> float | None:
        """Length of the takes of an input or stage in seconds; None when it is not known yet."""

    def input(self, name: str) -> InputFacts | None:
        """What is known of an input file; None for a stage or when nobody looked."""

    def has_report(self, name: str) -> bool:
        """Whether every take of `name` will carry a report that still describes its audio."""

    def report_fields(self, name: str) -> frozenset[str] | None:
        """Fields of the report that the takes of `name` carry; None when they are not known beforehand."""

    def takes(self, name: str) -> int:
        """How many takes an input or stage gives."""

    def diffused(self, name: str) -> bool:
        """Whether the takes of `name` have come through a denoising stage, so that an autoencoder is settled for them."""

    def path(self, text: str) -> Path:
        """A path of the preset as a real one."""

    def problem(self, cause: str, fix: str = "", key: str | None = None) -> Problem:
        """A problem of this stage, to be yielded from `check`."""

    def warn(self, cause: str, fix: str = "", key: str | None = None) -> None:
        """Something the user should know that does not keep the preset from running."""

"""What a runner asks of an engine: who does the steps of jobs, and keeps what they made.

The contract alone; `local` and `ray_engine` fulfil it.
"""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol

from .schedule import Step


@dataclass(frozen=True)
class Kept:
    """A finished job: its result as JSON, its takes, the seconds it took."""

    result: str
    takes: int
    seconds: float


class Engine(Protocol):
    """Who does the steps. Every call gives a future; a model step of the local engine is done when it returns."""

    def steps(self, number: int) -> list[Step]:
        """Open a job; raises `SegueError` where it can't be carried out."""

    def fits(self) -> int:
        """How many more jobs may be opened now, by memory."""

    def room(self, weights: str) -> bool:
        """Whether a step that needs these weights may be handed over now."""

    def on_model(self, number: int, step: Step) -> Future[None]: ...
    def beside(self, number: int, step: Step) -> Future[None]: ...
    def keep(self, number: int) -> Future[Kept]: ...

    def shut(self, number: int) -> None:
        """The job is over."""

    def figures(self) -> tuple[float, int]:
        """Seconds the model was at work, and how often weights were changed."""

    def trouble(self) -> str | None:
        """What stands in the way of every job alike (a model that is gone), in words."""

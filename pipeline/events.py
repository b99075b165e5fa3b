"""What a run tells while it runs: plain frozen events, handed to `on_event` in order, in the run's own thread.

`CancelToken` is how a listener stops a run: it is looked at before every denoising step and every job.
This module knows nothing of what the listeners do (progress bar, notebook, overnight runner).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from .errors import Cancelled


@dataclass(frozen=True)
class Event:
    """Base of all events."""


@dataclass(frozen=True)
class RunStarted(Event):
    run_id: str
    stages: tuple[str, ...]


@dataclass(frozen=True)
class StageStarted(Event):
    stage: str
    type: str
    jobs: int          # takes this stage will give, cached ones included
    cached: int        # of these, how many the store already holds


@dataclass(frozen=True)
class StepDone(Event):
    """One denoising step of one micro-batch. `step` counts from 1 to `steps`; `takes` are take indices."""

    stage: str
    takes: tuple[int, ...]
    step: int
    steps: int


@dataclass(frozen=True)
class TakeDone(Event):
    stage: str
    index: int
    cached: bool
    seconds: float


@dataclass(frozen=True)
class StageDone(Event):
    stage: str
    seconds: float
    takes: int


@dataclass(frozen=True)
class FileWritten(Event):
    stage: str
    index: int
    path: str


@dataclass(frozen=True)
class Warned(Event):
    """Something the user should know that does not stop the run (token limit, clipped request, marked retry)."""

    message: str
    stage: str | None = None


@dataclass(frozen=True)
class RunDone(Event):
    run_id: str
    seconds: float


Listener = Callable[[Event], None]


class CancelToken:
    """Thread-safe request to stop at the next step."""

    def __init__(self) -> None:
        self._flag = threading.Event()

    def cancel(self) -> None:
        self._flag.set()

    @property
    def cancelled(self) -> bool:
        return self._flag.is_set()

    def check(self) -> None:
        """Raise `Cancelled` when a stop was asked for."""
        if self._flag.is_set():
            raise Cancelled("stopped on request; finished takes are kept")

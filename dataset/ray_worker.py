"""What a process of a Ray cluster does for a night: a `Worker` of its own, made from the plan in the shared folder.

A job is opened for one call and let go of after it: what earlier stages made comes out of the store, so any process can do any
step, one that died is made anew, and memory holds one job. Errors are handed back as data, with what led to them, because the
head decides by them and Ray's own transport drops causes. Does not import Ray; knows no queue and no catalog.
"""

from __future__ import annotations

import os
import pickle
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from ..pipeline.catalog import Catalog
from ..pipeline.context import Numerics
from ..pipeline.errors import Problem, RequestError, RunError
from ..pipeline.events import CancelToken, Event, StepDone
from ..pipeline.keys import digest
from ..pipeline.options import RunOptions, numerics_of
from ..pipeline.session import threads
from .engine import Kept
from .folder import NightFolder
from .jobs import Jobs
from .plan import load_plan
from .work import Policy, Worker

_CHAIN = 8  # of an error and what led to it, so many are handed back


@dataclass(frozen=True)
class Brief:
    """What a process must know to work on a night as the head does; `plan` is a digest of the plan's text."""

    root: Path
    plan: str
    options: RunOptions
    numerics: Numerics
    policy: Policy
    created: str

    @classmethod
    def of(cls, worker: Worker) -> Brief:
        """That of the night which the head's `worker` works on."""
        return cls(worker.folder.root, plan_mark(worker.folder), worker.options, worker.numerics, worker.policy, worker.created)


@dataclass(frozen=True)
class Answer:
    """What came of a call: `error` is what went wrong and what led to it (empty: nothing did), `timings` the arguments of
    `Catalog.record_timing` for every take made."""

    seconds: float
    error: tuple[Exception, ...] = ()
    kept: Kept | None = None
    swaps: int = 0
    timings: tuple[tuple[tuple[Any, ...], Mapping[str, Any]], ...] = ()
    events: tuple[Event, ...] = ()

    def raised(self) -> Exception | None:
        """The error with its causes in place; None where nothing went wrong."""
        for error, cause in zip(self.error, self.error[1:], strict=False):
            error.__cause__ = cause
        return self.error[0] if self.error else None


def plan_mark(folder: NightFolder) -> str:
    """A digest of the plan in the folder."""
    return digest({"plan": folder.plan.read_text(encoding="utf-8")})


def carried(error: BaseException) -> tuple[Exception, ...]:
    """An error and what led to it, newest first, each so that it survives the way to another process."""
    found: list[Exception] = []
    at: BaseException | None = error
    while at is not None and len(found) < _CHAIN:
        found.append(_portable(at))
        at = at.__cause__ or at.__context__
    return tuple(found)


def _portable(error: BaseException) -> Exception:
    try:
        again = pickle.loads(pickle.dumps(error))
        if isinstance(again, Exception) and type(again) is type(error) and str(again) == str(error):
            return again
    except Exception:  # an error of somebody else's may refuse in any way; its words are handed on
        pass
    return RunError(f"{type(error).__name__}: {error}")


class _Timings:
    """Stands for the catalog of timings, which only the head writes."""

    def __init__(self) -> None:
        self.noted: list[tuple[tuple[Any, ...], Mapping[str, Any]]] = []

    def record_timing(self, *place: Any, **figures: Any) -> None:
        self.noted.append((place, figures))


class RayWorker:
    """The actor. Every method answers, none raises for the job's sake."""

    def __init__(self, brief: Brief) -> None:
        self._brief, self._cancel, self._timings = brief, CancelToken(), _Timings()
        self._events: list[Event] = []
        self._made: Worker | None = None

    def where(self) -> tuple[str, int]:
        """Host and number of this process."""
        return socket.gethostname(), os.getpid()

    def stop(self) -> None:
        """End what is being denoised at its next step, and begin nothing more."""
        self._cancel.cancel()

    def begin(self) -> Answer:
        """Look at the night, as every other call does first."""
        return self._answer(None, "", lambda worker: None)

    def step(self, number: int, stage: str, weights: str | None) -> Answer:
        """Do a stage of a job. `weights` is the head's mark of what it needs loaded."""

        def work(worker: Worker) -> None:
            own = next(step.weights for step in worker.steps(number) if step.stage == stage)
            if own != weights:
                raise RunError(f"the weights of stage '{stage}' are others on {socket.gethostname()} than on the head's machine; "
                               "give every node of the cluster the same models")  # fmt: skip
            worker.do(number, stage)

        return self._answer(number, stage, work)

    def keep(self, number: int) -> Answer:
        """Write what a job made; its stages are done, here or elsewhere."""

        def work(worker: Worker) -> Kept:
            worker.do(number, worker.steps(number)[-1].stage)
            result = worker.keep(number)
            return Kept(result.model_dump_json(), len(result.scored), 0.0)

        return self._answer(number, "", work)

    def _answer(self, number: int | None, stage: str, work: Callable[[Worker], Kept | None]) -> Answer:
        begun, swaps = time.monotonic(), 0
        kept: Kept | None = None
        error: tuple[Exception, ...] = ()
        self._timings.noted, self._events = [], []
        try:
            self._cancel.check()
            worker = self._worker()
            before = worker.counts.as_dict()["model_swaps"]
            try:
                with threads(self._brief.numerics.threads):
                    kept = work(worker)
            finally:
                swaps = worker.counts.as_dict()["model_swaps"] - before
                if number is not None:
                    worker.shut(number)
        except Exception as failed:  # handed back whole: the head tells the job's own faults from others
            error = carried(failed)
        told = tuple(e for e in self._events if getattr(e, "stage", None) in (None, stage))
        return Answer(time.monotonic() - begun, error, kept, swaps, tuple(self._timings.noted), told)

    def _hear(self, event: Event) -> None:
        if not isinstance(event, StepDone):  # they would all arrive at once, after the stage
            self._events.append(event)

    def _worker(self) -> Worker:
        if self._made is None:
            brief, folder = self._brief, NightFolder(self._brief.root)
            problems = [*_other_folder(brief, folder), *_other_software(brief)]
            if problems:
                raise RequestError(problems)
            jobs = Jobs(load_plan(folder.plan), folder.prompts)
            self._made = Worker(folder, jobs, brief.options, brief.numerics, policy=brief.policy, created=brief.created,
                                timings=cast("Catalog", self._timings), on_event=self._hear, cancel=self._cancel)  # fmt: skip
        return self._made


def _other_folder(brief: Brief, folder: NightFolder) -> Sequence[Problem]:
    if folder.plan.is_file() and plan_mark(folder) == brief.plan:
        return ()
    return (Problem(f"the folder {folder.root} on {socket.gethostname()} is not the head's", "give an --out on a disk that every "
                    "node of the Ray cluster sees under the same path", key="out"),)  # fmt: skip


def _other_software(brief: Brief) -> Sequence[Problem]:
    then, now = brief.numerics.versions, numerics_of(brief.options).versions
    other = [f"{name}: {was} on the head's machine, {now.get(name)} here" for name, was in then.items() if now.get(name) != was]
    if not other:
        return ()
    return (Problem(f"{socket.gethostname()} has other library versions or another processor ({', '.join(other)}), so its takes "
                    "would have other bytes", "install the same versions on every node, on processors of one kind"),)  # fmt: skip

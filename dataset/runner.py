"""One process that works on a night: claims jobs, has their steps done by an engine, notes what became of them.

The order of things: steps beside the model (judging, choosing, encoding, writing) go to the engine as soon as they may begin,
and the model is given the next step at once, so that it seldom waits. Knows no stage type and no file but through ledger and
engine.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from ..pipeline.errors import Cancelled, RunError, SegueError
from ..pipeline.events import CancelToken
from . import environment as place
from .catalog import NightCatalog
from .engine import Engine, Kept
from .ledger import Ledger
from .schedule import Schedule, Step

REPORT_S = 1.0  # how often a runner says where it stands
ESTIMATE_S = 5.0  # and how often it asks how long it will still take
POLL_S = 0.5


@dataclass
class Progress:
    """Where a runner stands, for whoever shows it."""

    done: int
    of: int
    takes: int
    pairs: int
    seconds: float
    left_s: float | None = None
    note: str = ""


@dataclass
class Runner:
    """Works until nothing is left, a budget is used up, or it is told to stop; `run` gives why it ended."""

    owner: str
    root: Path
    catalog: NightCatalog
    ledger: Ledger
    engine: Engine
    window: int
    attempts: int
    limits: place.Limits
    cancel: CancelToken
    on_progress: Callable[[Progress], None] | None = None
    seconds_left: Callable[[], float | None] = lambda: None
    schedule: Schedule = field(default_factory=Schedule)
    jobs_done: int = 0
    _ordeal: place.Ordeal = field(init=False)
    _folder: place.FolderBudget = field(init=False)
    _pending: dict[Future[Any], tuple[int, Step | None]] = field(default_factory=dict)
    _begun: float = field(default_factory=time.monotonic)
    _reported: float = 0.0
    _estimated: tuple[float, float | None] = (0.0, None)

    def __post_init__(self) -> None:
        self._ordeal, self._folder = place.Ordeal(self.limits.patience_s), place.FolderBudget(self.root, self.limits.disk_gb)

    def run(self) -> str:
        """Work; gives the reason for ending, in words. Raises `RunError` when something outside the jobs stood in the way for
        longer than it has patience, when the device is dead, and when no job at all could be done."""
        try:
            while True:
                reason = self._why_end()
                if reason is None and not self._guarded(self._turn):
                    reason = "nothing is left to do"
                if reason is not None:
                    return reason
        finally:
            self._leave()

    def _why_end(self) -> str | None:
        if self.cancel.cancelled:
            return "stopped on request"
        if self.catalog.stop_asked(self.owner):
            return "stopped on request (segue night stop)"
        if self.limits.hours is not None and time.monotonic() - self._begun >= 3600 * self.limits.hours:
            return f"{self.limits.hours:g} hours are over"
        spent = self.ledger.spent() or self._folder.spent()
        return f"budget used up: {spent}" if spent else None

    # -- one turn -------------------------------------------------------------------------------------------

    def _turn(self) -> bool:
        """Do what there is to do now; False when nothing is left at all."""
        self._collect()
        self._report()
        for number, step in self.schedule.beside():
            self._pending[self.engine.beside(number, step)] = (number, step)
        task = self.schedule.model(self.engine.room)
        if task is None and self._claim():
            return True
        if task is not None:
            number, step = task
            self._pending[self.engine.on_model(number, step)] = (number, step)
        elif self._pending:
            wait(list(self._pending), timeout=POLL_S, return_when=FIRST_COMPLETED)
        elif self.catalog.counts()["claimed"]:
            time.sleep(POLL_S)  # another runner is at the rest; should it die, its jobs are free again
        else:
            self._not_in_vain()
            self.ledger.settle()
            return self.catalog.counts()["pending"] > 0 and not self.ledger.complete()
        return True

    def _not_in_vain(self) -> None:
        """Raise where every job there is was set aside: a night of nothing is not complete."""
        counts = self.catalog.counts()
        if counts["quarantined"] and counts["quarantined"] == sum(counts.values()):
            first = self.catalog.failures(1)[0]
            self._give_up(f"none of {counts['quarantined']} jobs could be done; job {first.job}: {first.cause}")

    def _claim(self) -> bool:
        """Open the next window of jobs, or as many as fit, unless two windows are open already."""
        most = min(2 * self.window - len(self.schedule), self.window)
        if most <= 0:
            return False
        if (trouble := place.disk_trouble(self.root)) is not None:
            self._stand_still(trouble)
            return True
        opened = 0
        while (fit := min(most - opened, self.engine.fits())) > 0:
            numbers = self.catalog.claim(self.owner, fit, shun=self._ordeal.charged, spare=not len(self.schedule))
            for number in numbers:
                try:
                    self.schedule.add(number, self.engine.steps(number))
                except SegueError as error:
                    if self._failed(number, error):
                        return True  # all that was claimed is given back
            if not numbers:
                break
            opened += len(numbers)
        return opened > 0

    def _collect(self) -> None:
        for future in [f for f in self._pending if f.done()]:
            number, step = self._pending.pop(future)
            error = future.exception()
            if error is not None:
                if self._failed(number, error):
                    break  # nothing is pending any more
            elif step is None:
                self._finished(number, future.result())
            elif self.schedule.done(number):
                self._pending[self.engine.keep(number)] = (number, None)

    def _finished(self, number: int, kept: object) -> None:
        assert isinstance(kept, Kept)
        self.catalog.finish(number, takes=kept.takes, seconds=kept.seconds, result=kept.result)
        self._close(number)
        self.jobs_done += 1
        self._ordeal.over()
        self.ledger.settle()

    def _failed(self, number: int, error: BaseException) -> bool:
        """Note why a job failed. Where what failed it would fail every other too, all jobs are laid down until that has passed
        instead, and True is given."""
        if not isinstance(error, Exception):
            raise error
        if isinstance(error, Cancelled):
            self._close(number)
            return False
        cause = (str(error) if isinstance(error, SegueError) else f"{type(error).__name__}: {error}")[:2000]
        if place.is_the_devices_fault(error):
            self._give_up(f"the device is dead to this process since job {number}: {cause}", error)
        blamed = cause if place.is_the_places_fault(error) else None
        trouble = place.disk_trouble(self.root) or blamed or self.engine.trouble()
        if trouble is not None:
            self._stand_still(trouble)
            return True
        if not self._ordeal.failed(number):
            self._stand_still(f"{len(self._ordeal.charged)} jobs have failed and none was finished between them; the last, job "
                              f"{number}: {cause}", self._ordeal.pause_s())  # fmt: skip
            return True
        self.catalog.fail(number, cause, self.attempts)
        self._close(number)
        return False

    def _close(self, number: int) -> None:
        if number in self.schedule:
            self.schedule.drop(number)
        self.engine.shut(number)

    # -- what no job can be blamed for ----------------------------------------------------------------------

    def _guarded(self, turn: Callable[[], bool]) -> bool:
        try:
            return turn()
        except RunError as error:
            if isinstance(error, place.GivenUp) or not place.is_the_places_fault(error):
                raise
            self._stand_still(str(error))
            return True

    def _stand_still(self, trouble: str, pause_s: float = 0.0) -> None:
        """Lay down all jobs and wait for the trouble to pass, and so long at least; gives up when patience is used up."""
        self._lay_down()
        resume = time.monotonic() + pause_s
        while trouble:
            left = self._ordeal.left_s()
            if left <= 0 or self.cancel.cancelled:
                self._give_up(trouble)
            time.sleep(min(POLL_S, left))
            try:
                self._show(f"waiting: {trouble}")
                still = place.disk_trouble(self.root) or self.engine.trouble()
                trouble = still or (trouble if time.monotonic() < resume else "")
                if self.catalog.stop_asked(self.owner) or not trouble:
                    return self.catalog.release(self.owner)
            except RunError as error:  # the queue itself can't be read or written
                if not place.is_the_places_fault(error):
                    raise
                trouble = str(error)

    def _give_up(self, trouble: str, error: BaseException | None = None) -> NoReturn:
        """End with what stood in the way; no job that failed since the last was finished is blamed for it."""
        with place.passing_over_the_place():
            self._lay_down()
            self.catalog.forgive(self._ordeal.charged)
        raise place.GivenUp(trouble) from error

    def _lay_down(self) -> None:
        """Finish what is at its last step and forget every other open job; what is being done beside the model ends first."""
        wait(list(self._pending))
        try:
            with place.passing_over_the_place():
                for future, (number, step) in list(self._pending.items()):
                    if step is None and future.exception() is None:
                        self._finished(number, future.result())
        finally:
            self._pending.clear()
            for number in self.schedule.numbers():
                self._close(number)

    def _leave(self) -> None:
        """Lay down all jobs, and give them back."""
        self._lay_down()
        with place.passing_over_the_place():
            self.catalog.release(self.owner)
            self._report(last=True)

    # -- telling --------------------------------------------------------------------------------------------

    def _report(self, last: bool = False) -> None:
        now = time.monotonic()
        if not last and now - self._reported < REPORT_S:
            return
        self._reported = now
        busy, swaps = self.engine.figures()
        self.catalog.report_runner(
            self.owner, wall_s=now - self._begun, busy_s=busy, swaps=swaps, jobs=self.jobs_done, ended=last,
        )  # fmt: skip
        self._show("")

    def _show(self, note: str) -> None:
        if self.on_progress is not None:
            now, counts, settled = time.monotonic(), self.catalog.counts(), self.catalog.settled()
            if now - self._estimated[0] >= ESTIMATE_S:
                self._estimated = (now, self.seconds_left())
            done = counts["done"] + counts["quarantined"]
            self.on_progress(Progress(
                done, sum(counts.values()), settled.takes, settled.pairs, now - self._begun, self._estimated[1], note,
            ))  # fmt: skip

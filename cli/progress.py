"""How a run looks while it runs: a bar on a terminal, a line a stage elsewhere. Always on stderr.

Both listen to the same events; neither knows what stages do.
"""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from ..pipeline.events import Event, RunStarted, StageDone, StageStarted, StepDone, TakeDone, Warned
from . import output


class _TakesColumn(ProgressColumn):
    """``2/4 takes · step 5/30``."""

    def render(self, task: Task) -> Text:
        if not task.fields["jobs"]:
            return Text()
        text = f"{task.fields['done']}/{task.fields['jobs']} takes"
        if task.fields["step"]:
            text += f" · step {task.fields['step']}/{task.fields['steps']}"
        return Text(text)


class RunProgress:
    """Base of both displays; remembers the run's id. A listener: call it with events, use it as a context."""

    def __init__(self) -> None:
        self.run_id: str | None = None
        self._stages: tuple[str, ...] = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def __call__(self, event: Event) -> None:
        if isinstance(event, RunStarted):
            self.run_id, self._stages = event.run_id, event.stages
        elif isinstance(event, Warned):
            place = f"stage '{event.stage}': " if event.stage else ""
            output.warn(place + event.message)
        self.show(event)

    def show(self, event: Event) -> None:
        """Display the event."""

    def _place(self, stage: str) -> str:
        number = self._stages.index(stage) + 1 if stage in self._stages else 0
        return f"[{number}/{len(self._stages)}] {stage}" if number else stage

    def _finished(self, event: StageDone) -> str:
        takes = f"{event.takes} take{'s' * (event.takes != 1)}"
        return f"{self._place(event.stage)}: {takes} in {output.seconds(event.seconds)}"


class Lines(RunProgress):
    """For logs: one line when a stage begins, one when it ends, and one every ten seconds of a long one."""

    EVERY_S = 10.0

    def __init__(self) -> None:
        super().__init__()
        self._last = time.monotonic()
        self._done = self._jobs = 0

    def show(self, event: Event) -> None:
        if isinstance(event, StageStarted):
            self._done, self._jobs, self._last = 0, event.jobs, time.monotonic()
        elif isinstance(event, TakeDone):
            self._done += 1
        elif isinstance(event, StepDone) and time.monotonic() - self._last >= self.EVERY_S:
            self._last = time.monotonic()
            output.note(
                f"{self._place(event.stage)}: {self._done}/{self._jobs} takes, "
                f"step {event.step}/{event.steps}"
            )
        elif isinstance(event, StageDone):
            output.note(self._finished(event))


class Bar(RunProgress):
    """For terminals: one bar for the stage at work, with step, takes and the time it will still take."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            _TakesColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        self._task = self._bar.add_task("loading", total=None, done=0, jobs=0, step=0, steps=0, visible=True)
        self._done = 0

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def show(self, event: Event) -> None:
        with self._lock:
            if isinstance(event, StageStarted):
                self._done = 0
                self._bar.reset(
                    self._task,
                    description=self._place(event.stage),
                    total=max(event.jobs, 1),
                    completed=0,
                    done=0,
                    jobs=event.jobs,
                    step=0,
                    steps=0,
                )
            elif isinstance(event, TakeDone):
                self._done += 1
                self._bar.update(self._task, completed=self._done, done=self._done, step=0)
            elif isinstance(event, StepDone):
                part = len(event.takes) * event.step / max(event.steps, 1)
                self._bar.update(self._task, completed=self._done + part, step=event.step, steps=event.steps)
            elif isinstance(event, StageDone):
                self._bar.update(self._task, total=1, completed=1, done=event.takes, jobs=event.takes, step=0)
                self._bar.console.print(self._finished(event), style="dim")


def display() -> RunProgress:
    """The display that fits where stderr goes."""
    console = output.stderr()
    return Bar(console) if console.is_terminal else Lines()

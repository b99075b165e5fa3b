"""In which order the stages of many jobs are carried out: those that need the weights at hand first, so that a variant is
loaded once a window and not once a job.

Pure: knows jobs as numbers and their stages as steps; runs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Step:
    """One stage of a job. `weights` names what it needs loaded (equal text, same weights); None for work beside the model."""

    stage: str
    weights: str | None


@dataclass
class _Job:
    steps: Sequence[Step]
    place: int = 0
    busy: bool = False

    @property
    def next(self) -> Step | None:
        return self.steps[self.place] if self.place < len(self.steps) else None


@dataclass
class Schedule:
    """The jobs that are open, and what may be done next.

    A model step goes to whoever needs the weights at hand (`loaded`), lowest job first; only when nobody does, the weights
    change to those of the lowest job that is ready. So two variants over a window of jobs that use one after the other cost two
    changes, however many jobs the window has.
    """

    loaded: str | None = None
    changes: int = 0
    _jobs: dict[int, _Job] = field(default_factory=dict)

    def add(self, number: int, steps: Sequence[Step]) -> None:
        """Open a job. Raises ValueError when it is open already."""
        if number in self._jobs:
            raise ValueError(f"job {number} is open already")
        self._jobs[number] = _Job(tuple(steps))

    def __len__(self) -> int:
        return len(self._jobs)

    def __contains__(self, number: int) -> bool:
        return number in self._jobs

    def numbers(self) -> tuple[int, ...]:
        return tuple(self._jobs)

    def _ready(self) -> Iterator[tuple[int, Step]]:
        for number in sorted(self._jobs):
            job = self._jobs[number]
            if not job.busy and job.next is not None:
                yield number, job.next

    def beside(self) -> Iterator[tuple[int, Step]]:
        """Every step beside the model that may begin now; each is given once."""
        for number, step in list(self._ready()):
            if step.weights is None:
                self._jobs[number].busy = True
                yield number, step

    def model(self, may: Callable[[str], bool] = lambda weights: True) -> tuple[int, Step] | None:
        """The next step on the model, if any is ready; it is then busy, and its weights count as loaded. `may` says which
        weights there is room for."""
        ready = [(number, step) for number, step in self._ready() if step.weights is not None and may(step.weights)]
        if not ready:
            return None
        number, step = next(((n, s) for n, s in ready if s.weights == self.loaded), ready[0])
        if step.weights != self.loaded:
            self.loaded, self.changes = step.weights, self.changes + 1
        self._jobs[number].busy = True
        return number, step

    def done(self, number: int) -> bool:
        """The job's step is done; gives whether that was its last."""
        job = self._jobs[number]
        job.busy, job.place = False, job.place + 1
        return job.next is None

    def drop(self, number: int) -> None:
        """The job is closed: finished, or failed."""
        del self._jobs[number]

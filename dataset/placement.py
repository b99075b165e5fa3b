"""Which of several processes does a step on the model: whoever holds the weights first, so that they are seldom changed.

Pure: knows jobs, processes and weights by number and name; runs nothing. The plan of a single process is `schedule`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

DEPTH = 2
"""Steps a process has at most: one it works on, and the next, so that it does not wait for the head between them."""


@dataclass
class _Job:
    weights: Sequence[str | None]
    place: int = 0
    busy: bool = False


class Places:
    """`count` processes, each holding the weights of the last step it was given (at first none).

    While there are as many processes as weights, each weights get a process of their own, and what is over helps whom it can.
    Beyond that a process is given other weights only when it has nothing to do and no step that is ready wants those it holds
    (the only holder of weights keeps them, where there are processes enough, as long as an open job will want them).
    """

    def __init__(self, count: int, depth: int = DEPTH) -> None:
        self.holds: list[str | None] = [None] * count
        self.load = [0] * count
        self.away: set[int] = set()  # those that don't answer; they are given nothing
        self._depth = depth
        self._jobs: dict[int, _Job] = {}

    def open(self, number: int, weights: Sequence[str | None]) -> None:
        """A job is open whose steps need these weights, one after the other (None: beside the model)."""
        self._jobs[number] = _Job(tuple(weights))

    def shut(self, number: int) -> None:
        """The job is over; one that is not open is passed over."""
        self._jobs.pop(number, None)

    def choose(self, weights: str) -> int | None:
        """The process that would do a step with these weights now; None where none should."""
        present = [(place, held) for place, held in enumerate(self.holds) if place not in self.away]
        mine = [place for place, held in present if held == weights]
        idle = [place for place in mine if not self.load[place]]
        if idle:
            return idle[0]
        empty = [place for place, held in present if held is None]
        to_come = set(self._left()) - {weights, *(held for _, held in present)}
        if empty and (not mine or len(empty) > len(to_come)):
            return empty[0]
        room = [place for place in mine if self.load[place] < self._depth]
        if room:
            return min(room, key=lambda place: self.load[place])
        return next((place for place, _ in present if self._spare(place)), None)

    def begin(self, number: int, weights: str) -> int:
        """The job's next step begins; gives the process that does it. Raises ValueError where there is no room."""
        place = self.choose(weights)
        if place is None:
            raise ValueError("no process has room for these weights; ask `choose` first")
        self.holds[place], self.load[place] = weights, self.load[place] + 1
        if number in self._jobs:
            self._jobs[number].busy = True
        return place

    def end(self, place: int, number: int, *, done: bool) -> None:
        """The step of the job on that process has ended."""
        self.load[place] -= 1
        self.passed(number, done=done)

    def passed(self, number: int, *, done: bool = True) -> None:
        """A step of the job has ended, on the model or beside it. One that isn't `done` is not ready again either: its job is
        about to be shut."""
        if done and number in self._jobs:
            job = self._jobs[number]
            job.busy, job.place = False, job.place + 1

    def _spare(self, place: int) -> bool:
        held = self.holds[place]
        if self.load[place] or held is None:
            return False
        left, present = set(self._left()), [h for p, h in enumerate(self.holds) if p not in self.away]
        kept = present.count(held) == 1 and len(left) <= len(present)
        return held not in (left if kept else set(self._ready()))

    def _left(self) -> Iterator[str]:
        """Weights of all steps still to be done."""
        for job in self._jobs.values():
            yield from (w for w in job.weights[job.place :] if w is not None)

    def _ready(self) -> Iterator[str]:
        """Weights of the steps that could begin now."""
        for job in self._jobs.values():
            held = job.weights[job.place] if job.place < len(job.weights) and not job.busy else None
            if held is not None:
                yield held

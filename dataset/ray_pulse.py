"""Which of a Ray cluster's processes still answer. Ray starts a process that died anew, and waits without end where there is no
place for it, as after the loss of a machine; somebody must notice. Knows no step and no job.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import Any

PULSE_S = 5.0    # between two questions
LOST_S = 180.0   # silence after which a process counts as lost; a new start with all its imports fits in


class Pulse:
    """Asks processes for a sign of life: `ask` gives a future for process `n`. `lost` are those that have been silent for
    `LOST_S`; one that answers again is lost no more."""

    def __init__(self, ask: Callable[[int], Future[Any]], clock: Callable[[], float] = time.monotonic) -> None:
        self.lost: frozenset[int] = frozenset()
        self._ask, self._clock = ask, clock
        self._asked: dict[int, tuple[float, Future[Any] | None]] = {}
        self._last = clock()

    def feel(self, wanted: Iterable[int]) -> frozenset[int]:
        """Look after the processes in `wanted` and after the lost ones, if it is time; gives those that are lost since now."""
        now, before = self._clock(), self.lost
        if now - self._last < PULSE_S:
            return frozenset()
        self._last, lost = now, set(before)
        for place in {*wanted, *before}:
            since, answer = self._asked.get(place, (now, None))
            if answer is not None and answer.done() and answer.exception() is None:
                del self._asked[place]
                lost.discard(place)
                continue
            if answer is None or answer.done():
                answer = None
                with contextlib.suppress(Exception):  # who can't even be asked is silent
                    answer = self._ask(place)
            self._asked[place] = since, answer
            if now - since > LOST_S:
                lost.add(place)
        self.lost = frozenset(lost)
        return self.lost - before

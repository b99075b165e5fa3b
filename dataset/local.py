"""The local engine: the model on the calling thread, everything else on threads beside it. One process a device.

Knows no queue.
"""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import torch

from ..pipeline.models.memory import free_bytes
from .engine import Kept
from .environment import model_trouble
from .schedule import Step
from .work import Worker


class LocalEngine:
    """Does the steps of a `Worker`'s jobs. `models` (name, folder its path starts from) are looked for when jobs fail."""

    def __init__(self, worker: Worker, models: tuple[tuple[str, Path | None], ...], threads_beside: int = 1) -> None:
        self._worker, self._models = worker, models
        threads = worker.numerics.threads
        self._beside = ThreadPoolExecutor(threads_beside, "beside", initializer=lambda: torch.set_num_threads(threads))
        self._busy_s = 0.0
        self._budget = free_bytes("cpu") // 2  # for the waveforms of open jobs; the other half is for weights and scoring
        self._expected: dict[int, int] = {}
        self._last = 0

    def steps(self, number: int) -> list[Step]:
        steps = self._worker.steps(number)
        self._expected[number] = self._last = self._worker.expected_bytes(number)
        return steps

    def fits(self) -> int:
        """As many as the memory for waveforms has room for, by the last job opened; one where there is none to go by, and
        where none is open."""
        if not self._last:
            return 1
        return max(0 if self._expected else 1, (self._budget - sum(self._expected.values())) // self._last)

    def room(self, weights: str) -> bool:
        return True

    def on_model(self, number: int, step: Step) -> Future[None]:
        """Do the step now, on this thread."""
        future: Future[None] = Future()
        begun = time.monotonic()
        try:
            self._worker.do(number, step.stage)
            future.set_result(None)
        except Exception as error:  # the runner tells the job's own faults from others
            future.set_exception(error)
        self._busy_s += time.monotonic() - begun
        return future

    def beside(self, number: int, step: Step) -> Future[None]:
        return self._beside.submit(self._worker.do, number, step.stage)

    def keep(self, number: int) -> Future[Kept]:
        return self._beside.submit(self._keep, number)

    def _keep(self, number: int) -> Kept:
        result = self._worker.keep(number)
        return Kept(result.model_dump_json(), len(result.scored), self._worker.open(number).seconds)

    def shut(self, number: int) -> None:
        self._expected.pop(number, None)
        self._worker.shut(number)

    def figures(self) -> tuple[float, int]:
        return self._busy_s, self._worker.counts.as_dict()["model_swaps"]

    def trouble(self) -> str | None:
        return model_trouble(self._models, offline=self._worker.options.offline)

    def close(self) -> None:
        """Wait for what is beside the model, and let go of the weights."""
        self._beside.shutdown(wait=True)
        self._worker.close()

"""The Ray engine: the same steps over the processes of a Ray cluster, some with the model and some beside it.

The catalogs stay with the head, which alone writes them; takes travel through the night's folder, which all nodes share. A
process that dies is started again by Ray and does its step again from the store. Knows no queue.
"""

from __future__ import annotations

import contextlib
import dataclasses
import queue
import secrets
import sys
import threading
import time
from collections import deque
from concurrent.futures import Future
from typing import Any

from ..pipeline.catalog import Catalog
from ..pipeline.errors import Cancelled, Problem, RequestError, RunError
from ..pipeline.events import CancelToken, Listener
from .engine import Kept
from .environment import model_trouble
from .jobs import Jobs
from .placement import DEPTH, Places
from .ray_call import RETRIES, Call, told
from .ray_cluster import Need, environment, import_ray, join, leave
from .ray_pulse import LOST_S, Pulse
from .ray_worker import Answer, Brief, RayWorker
from .schedule import Step
from .work import Worker

START_S = 300.0  # patience until every process has begun
_TICK_S = 0.2


class RayEngine:
    """Gives the steps of `jobs` to `workers` processes with the model and to some beside it, at most `placement.DEPTH` at a time
    to each. `worker` is the head's own: it only reads what a job consists of.

    `timings` learns how long takes take. `on_event` hears a stage's events once it is done, single denoising steps not.
    Raises `RequestError` without Ray, on a cluster that is too small or whose nodes lack the folder or have other versions;
    `RunError` where the cluster can't be reached.
    """

    def __init__(
        self, worker: Worker, jobs: Jobs, workers: int, *, timings: Catalog, on_event: Listener | None, cancel: CancelToken,
    ) -> None:  # fmt: skip
        self._worker, self._models = worker, jobs.models()
        self._timings, self._on_event, self._cancel = timings, on_event, cancel
        gpus = _gpus(worker.options.device or "cpu")
        self._ray = import_ray()
        model = [Need(1 if gpus else worker.numerics.threads, gpus)] * workers
        beside = [Need(1)] * (workers if gpus else (workers + 1) // 2)
        self._mine = join(self._ray, [*model, *beside])
        self._places, self._beside_load = Places(workers), [0] * len(beside)
        self._waiting: deque[Call] = deque()
        self._answers: queue.SimpleQueue[tuple[Call, Future[Any]]] = queue.SimpleQueue()
        self._flying: dict[Call, int] = {}  # what is being done, and by which of `actors`
        self._pulse = Pulse(lambda n: self.actors()[n].where.options(concurrency_group="control").remote().future())
        self._seconds: dict[int, float] = {}
        self._busy_s, self._swaps = 0.0, 0
        self._lock, self._closed = threading.RLock(), threading.Event()
        self._with_model: list[Any] = []
        self._beside: list[Any] = []
        self._listener = threading.Thread(target=self._listen, name="ray answers", daemon=True)
        try:
            brief = Brief.of(worker)
            mark = secrets.token_hex(4)  # names are seen in Ray's own tools, and nights may share a cluster
            self._with_model = [self._actor(f"segue {mark} model {n}", need, brief) for n, need in enumerate(model)]
            self._beside = [self._actor(f"segue {mark} beside {n}", need, brief) for n, need in enumerate(beside)]
            self._await_beginning()
            self._listener.start()
        except BaseException:
            self.close()
            raise

    def _actor(self, name: str, need: Need, brief: Brief) -> Any:
        made = self._ray.remote(concurrency_groups={"control": 1})(RayWorker)
        return made.options(
            name=name, num_cpus=need.cpus, num_gpus=need.gpus, max_restarts=-1, max_task_retries=RETRIES,
            runtime_env={"env_vars": environment()},
        ).remote(brief)  # fmt: skip

    def _await_beginning(self) -> None:
        """Every process has looked at the night. Raises what one of them has against it."""
        waiting = begun = [actor.begin.remote() for actor in self.actors()]
        until = time.monotonic() + START_S
        while waiting:
            _, waiting = self._ray.wait(waiting, num_returns=len(waiting), timeout=_TICK_S)
            self._cancel.check()
            if waiting and time.monotonic() > until:
                raise RunError(f"{len(waiting)} of {len(begun)} processes found no place on the Ray cluster within "
                               f"{START_S:.0f} s; see `ray status`, or write fewer --workers")  # fmt: skip
        for ref in begun:
            try:
                answer: Answer = self._ray.get(ref)
            except Exception as error:  # whatever Ray says of a process that could not even be made
                raise RunError(f"a process of the Ray cluster could not begin ({told(error)}). Segue must be installed on every "
                               "node, in one version") from error  # fmt: skip
            problem = answer.raised()
            if problem is not None:
                raise problem

    def actors(self) -> list[Any]:
        """The processes: those with the model first."""
        return [*self._with_model, *self._beside]

    # -- what the runner asks -------------------------------------------------------------------------------

    def steps(self, number: int) -> list[Step]:
        steps = self._worker.steps(number)
        self._worker.shut(number)  # the head keeps no sound
        with self._lock:
            self._places.open(number, [step.weights for step in steps])
            self._seconds[number] = 0.0
        return steps

    def room(self, weights: str) -> bool:
        with self._lock:
            return self._places.choose(weights) is not None

    def on_model(self, number: int, step: Step) -> Future[None]:
        assert step.weights is not None
        with self._lock:
            call = Call(number, step.stage, step.weights, self._places.begin(number, step.weights))
            self._send(call, call.place)
        return call.future

    def beside(self, number: int, step: Step) -> Future[None]:
        return self._queued(Call(number, step.stage, None))

    def keep(self, number: int) -> Future[Kept]:
        return self._queued(Call(number, None, None))

    def fits(self) -> int:
        return sys.maxsize  # the head holds no sound

    def shut(self, number: int) -> None:
        """Processes have let go of the job after every step already."""
        with self._lock:
            self._places.shut(number)
            self._seconds.pop(number, None)

    def figures(self) -> tuple[float, int]:
        """Seconds at work, the mean over the processes with the model; changes of weights, their sum."""
        return self._busy_s / len(self._with_model), self._swaps

    def trouble(self) -> str | None:
        if not self._ray.is_initialized():
            return "the connection to the Ray cluster is lost"
        both = (set(range(len(self._with_model))), set(range(len(self._with_model), len(self.actors()))))
        if any(places <= self._pulse.lost for places in both):
            return f"processes on the Ray cluster have not answered for {LOST_S:.0f} s"
        return model_trouble(self._models, offline=self._worker.options.offline)

    def close(self) -> None:
        """End the processes, and the cluster where it was started here."""
        self._closed.set()
        if self._listener.is_alive():
            self._listener.join()
        for actor in self.actors():
            with contextlib.suppress(Exception):  # gone already, or the cluster is
                self._ray.kill(actor)
        leave(self._ray, self._mine)
        self._worker.close()

    # -- giving away and getting back -----------------------------------------------------------------------

    def _queued(self, call: Call) -> Future[Any]:
        with self._lock:
            self._waiting.append(call)
            self._hand_over()
        return call.future

    def _hand_over(self) -> None:
        """Give waiting steps to processes beside the model that have room."""
        first, load = len(self._with_model), self._beside_load
        present = [place for place in range(len(load)) if first + place not in self._pulse.lost]
        while self._waiting and present:
            place = min(present, key=load.__getitem__)
            if load[place] >= DEPTH:
                return
            call = self._waiting.popleft()
            call.place, load[place] = place, load[place] + 1
            self._send(call, first + place)

    def _send(self, call: Call, place: int) -> None:
        actor = self.actors()[place]
        self._flying[call] = place
        try:
            if call.stage is None:
                ref = actor.keep.remote(call.number)
            else:
                ref = actor.step.remote(call.number, call.stage, call.weights)
            future = ref.future()
        except Exception as error:  # of Ray: the step fails as if its process had
            future = Future()
            future.set_exception(error)
        future.add_done_callback(lambda answer: self._answers.put((call, answer)))

    def _listen(self) -> None:
        """Hear answers, one after the other, and a request to stop; on a thread of its own."""
        told = False
        while not self._closed.is_set():
            with contextlib.suppress(queue.Empty):
                self._settle(*self._answers.get(timeout=_TICK_S))
            if self._cancel.cancelled and not told:
                told = True
                self._stop()
            self._look_after()

    def _stop(self) -> None:
        for actor in self.actors():
            with contextlib.suppress(Exception):  # a process that is gone needs no telling
                actor.stop.options(concurrency_group="control").remote()
        with self._lock:
            waiting, self._waiting = list(self._waiting), deque()
        for call in waiting:
            call.future.set_exception(Cancelled("stopped on request; finished takes are kept"))

    def _look_after(self) -> None:
        """Give up what processes that don't answer have in hand: others do it, and they are given nothing until they answer."""
        with self._lock:
            gone = self._pulse.feel(set(self._flying.values()))
            self._places.away = {place for place in self._pulse.lost if place < len(self._with_model)}
            given_up = [call for call, place in self._flying.items() if place in gone and not call.given_up]
            for call in given_up:
                call.given_up = True
            self._hand_over()
        for call in given_up:
            call.future.set_exception(RunError(f"{call.what()}: its process on Ray has not answered for {LOST_S:.0f} s"))

    def _settle(self, call: Call, answered: Future[Any]) -> None:
        try:
            answer: Answer = answered.result()
            error = answer.raised()
            self._note(answer)
        except Exception as failed:  # of Ray, or of the catalog of timings
            answer, error = Answer(0.0), failed if isinstance(failed, RunError) else call.lost(failed)
        with self._lock:
            del self._flying[call]
            done = error is None and not call.given_up  # of a call given up the job may be under way anew
            if call.weights is None:
                self._beside_load[call.place] -= 1
                self._places.passed(call.number, done=done)
            else:
                self._places.end(call.place, call.number, done=done)
                self._busy_s, self._swaps = self._busy_s + answer.seconds, self._swaps + answer.swaps
            self._hand_over()
            if call.given_up:
                return
            if call.number in self._seconds:
                self._seconds[call.number] += answer.seconds
            seconds = self._seconds.get(call.number, 0.0)
        if error is not None:
            call.future.set_exception(error)
        else:
            call.future.set_result(answer.kept and dataclasses.replace(answer.kept, seconds=seconds))

    def _note(self, answer: Answer) -> None:
        for place, figures in answer.timings:
            self._timings.record_timing(*place, **figures)
        for event in answer.events if self._on_event is not None else ():
            self._on_event(event)  # type: ignore[misc]


def _gpus(device: str) -> int:
    """GPUs a process with the model needs. Raises `RequestError` for a device that can't be one's own."""
    kind, _, number = device.partition(":")
    if number not in ("", "0"):
        raise RequestError(Problem(f"--device {device} names one of several, and Ray gives every process a GPU of its own",
                                   f"write --device {kind}", key="device"))  # fmt: skip
    return 1 if kind == "cuda" else 0

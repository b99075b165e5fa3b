"""The work of a night: jobs opened, their stages carried out one at a time, their takes kept. The same for every engine.

A `Worker` holds weights and store; it is told which stage of which job to do. What an earlier stage made is at hand or comes
out of the store, so any process may do any stage. Knows no queue and no order.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import Any, Literal

from ..pipeline.catalog import Catalog
from ..pipeline.context import Numerics, Result
from ..pipeline.events import CancelToken, Listener
from ..pipeline.models.base import ModelInfo
from ..pipeline.models.pool import Pool
from ..pipeline.models.resolve import weights_mark
from ..pipeline.options import RunOptions
from ..pipeline.pipeline import Pipeline
from ..pipeline.prepare import Prepared, prepare, read_inputs
from ..pipeline.session import Counts, Session, input_take
from ..pipeline.spec import DiffusionStage
from ..pipeline.store import Store
from ..pipeline.tags import take_tags
from ..pipeline.take import Take
from ..pipeline.timings import note_timing
from ..pipeline.walk import StageRunner
from ..pipeline.yaml_text import to_yaml
from .entries import JobResult, Scored, scored_takes
from .folder import NightFolder
from .jobs import Jobs
from .keeping import keep_audio, keep_input, keep_latent, keep_pipeline
from .schedule import Step

Policy = Literal["all", "paired", "none"]
RATE_HZ, CHANNELS, LENGTH_S = 48_000, 2, 60.0  # of takes of which nothing is known beforehand


@dataclass
class OpenJob:
    """One job on its way: its session, and what its stages have made so far."""

    number: int
    prepared: Prepared
    session: Session
    made: dict[str, tuple[Take, ...]]
    seconds: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def inputs(self) -> dict[str, str]:
        """The keys of the job's inputs by name."""
        return {name: self.made[name][0].key for name in self.prepared.graph.inputs}


class Worker:
    """Opens jobs of `jobs`, does their stages, keeps what they made below `folder`.

    `timings` is the catalog that learns how long takes take (None: nobody learns). Threads may share a worker as long as only
    one of them does steps on the model.
    """

    def __init__(
        self, folder: NightFolder, jobs: Jobs, options: RunOptions, numerics: Numerics, *, policy: Policy, created: str,
        timings: Catalog | None = None, on_event: Listener | None = None, cancel: CancelToken | None = None,
    ) -> None:  # fmt: skip
        self.folder, self.jobs, self.options, self.numerics = folder, jobs, options, numerics
        self.policy, self.created = policy, created
        self._timings, self._on_event, self._cancel = timings, on_event, cancel or CancelToken()
        self.counts = Counts()
        self.store = Store(folder.store, durable=False)  # intermediate: what a loss of power damages is made again
        self._pools: dict[str, Pool] = {}
        self._open: dict[int, OpenJob] = {}

    def close(self) -> None:
        """Let go of every weight."""
        for pool in self._pools.values():
            pool.close()
        self._pools.clear()
        self._open.clear()

    # -- jobs -----------------------------------------------------------------------------------------------

    def open(self, number: int) -> OpenJob:
        """The job, prepared and with its inputs read; raises `RequestError` where it can't be carried out."""
        if number not in self._open:
            pipeline = self.jobs.pipeline(number)
            prepared = prepare(pipeline, offline=self.options.offline)
            sounds = read_inputs(prepared)
            writes = any(stage.writes_files for stage in pipeline.stages.values())
            session = Session(
                pipeline, prepared.model, self._pool(pipeline, prepared.model), self.store, self.numerics, self.counts,
                out=self.folder.root / "saved" / f"{number:06d}" if writes else None, created=self.created,
                on_event=self._on_event, cancel=self._cancel, preset=to_yaml(pipeline),
            )  # fmt: skip
            takes = {name: input_take(session, name, audio) for name, audio in sounds.items()}
            for take in takes.values():
                keep_input(self.folder, take.key, take.audio)
            self._open[number] = OpenJob(number, prepared, session, {name: (take,) for name, take in takes.items()})
        return self._open[number]

    def shut(self, number: int) -> None:
        """The job is over; its takes leave the memory."""
        self._open.pop(number, None)

    def steps(self, number: int) -> list[Step]:
        """What the job consists of, in order."""
        job = self.open(number)
        return [Step(name, self._weights(job, name)) for name in job.prepared.graph.order]

    def expected_bytes(self, number: int) -> int:
        """About how much memory the waveforms of a job's takes will fill while it is open (float32)."""
        graph = self.open(number).prepared.graph
        total = 0.0
        for name in graph.order:
            stage, info = graph.stage(name), graph.info(name)
            if not (stage.scores or stage.chooses):
                rate_hz, channels = (info.rate_hz, info.channels) if info is not None else (RATE_HZ, CHANNELS)
                total += graph.takes(name) * (graph.duration_s(name) or LENGTH_S) * rate_hz * channels * 4
        return int(total)

    def _pool(self, pipeline: Pipeline, model: ModelInfo | None) -> Pool | None:
        if model is None:
            return None
        name = f"{pipeline.model}\0{pipeline._base}"
        if name not in self._pools:
            self._pools[name] = Pool(model, self.numerics, self.counts, options=self.options)
        return self._pools[name]

    def _weights(self, job: OpenJob, name: str) -> str | None:
        """What the stage needs loaded. Judging and choosing never need the model, because the stages before them decode what
        they made; any other stage may decode or encode, and stays on the thread that has the model."""
        graph, stage = job.prepared.graph, job.prepared.graph.stage(name)
        if isinstance(stage, DiffusionStage):
            info = graph.info(name)
            assert info is not None
            return weights_mark(info, [(job.session.pipeline.path(a.path), a.scale) for a in stage.adapters])
        if stage.scores or stage.chooses:
            return None
        before = [self._weights(job, source) for source in graph.sources(name).values() if source in job.session.pipeline.stages]
        return next((mark for mark in before if mark), None)

    # -- stages ---------------------------------------------------------------------------------------------

    def do(self, number: int, stage: str) -> None:
        """Carry out a stage of a job; those before it are read back from the store where they are not at hand."""
        job = self.open(number)
        begun = time.perf_counter()
        graph = job.prepared.graph
        with job.lock:
            for name in graph.order[: graph.order.index(stage) + 1]:
                if name not in job.made:
                    runner = StageRunner(job.session, graph, name, job.session.run_seed, self._note(job))
                    job.made[name], _ = runner.run(job.made)
                    self._decode(job, name)
        job.seconds += time.perf_counter() - begun

    def _decode(self, job: OpenJob, name: str) -> None:
        """Decode a stage's takes now, on the model's thread, where something beside the model will ask for their sound."""
        graph = job.prepared.graph
        stages = job.session.pipeline.stages
        readers = [stages[r] for r in graph.digraph.successors(name)]
        if any(not reader.diffuses for reader in readers):
            for take in job.made[name]:
                if take.signal.checkpoint is None:
                    take.signal.audio()

    def _note(self, job: OpenJob) -> Any:
        def note(take: Take, result: Result, seconds: float | None) -> None:
            if seconds is not None and self._timings is not None:
                note_timing(self._timings, job.prepared.graph, self.numerics, take, result, seconds)

        return note

    # -- keeping --------------------------------------------------------------------------------------------

    def keep(self, number: int) -> JobResult:
        """Write what a job made (latents; audio by policy) and give its result. All its stages must be done."""
        job = self.open(number)
        begun = time.perf_counter()
        graph = job.prepared.graph
        scoring = {name: graph.stage(name).key_facts() for name in graph.order if graph.stage(name).scores}
        extra = {"pipeline": keep_pipeline(self.folder, job.session.pipeline), "preset": job.session.pipeline.name}
        found = scored_takes(number, job.made, scoring, job.inputs, self.jobs[number].varied, extra)
        scored = [self._kept(job, take, one) for take, one in found]
        made = {take.key for name in graph.order if graph.diffused(name) for take in job.made[name]}
        job.seconds += time.perf_counter() - begun
        return JobResult(scored=tuple(scored), keys=tuple(sorted(made)))

    def _kept(self, job: OpenJob, take: Take, one: Scored) -> Scored:
        """The entry with the places its files will have. A take that no latent stands for keeps its audio whatever the policy,
        or it would be lost."""
        latent = keep_latent(self.folder, job.number, take, job.session.pipeline.model)
        places: dict[str, str | None] = {"latent_path": None, "audio_path": None}
        if latent is not None:
            places["latent_path"] = self.folder.relative(latent)
        if one.entry.finite and (latent is None or self.policy != "none"):
            session = job.session
            tags = take_tags(take, preset_yaml=session.preset, run_seed=session.run_seed, numerics=session.numerics)
            places["audio_path"] = self.folder.relative(keep_audio(self.folder, job.number, take, tags))
        return one.model_copy(update={"entry": one.entry.model_copy(update=places)})

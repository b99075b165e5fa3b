"""Walk the graph: for every stage plan the jobs, take from the store what is known, make the rest, keep it at once.

Knows no stage type. A finished job is in the store before the next one starts, so a run that is stopped or killed loses
nothing it had finished.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from .context import Job, Result
from .errors import RunError
from .events import StageDone, StageStarted, TakeDone
from .expression import parse
from .graph import Graph
from .jobs import Passing, group_of, holds, plan_jobs
from .keys import canonical_json
from .models.files import path_fingerprint
from .models.pool import is_out_of_memory
from .models.resolve import weights_mark
from .records import StageRecord
from .session import Session, StageContext, StoredViews, ordinary
from .spec import DiffusionStage, Stage
from .store import Entry
from .take import Signal, Take

TakeRecorder = Callable[[Take, Result, float | None], None]
"""Told of every finished take: the take, what it took, and the seconds (None when it came from the store)."""


class StageRunner:
    """One stage of one run: from source takes to its own."""

    def __init__(self, session: Session, graph: Graph, name: str, run_seed: int, record: TakeRecorder) -> None:
        self.session, self.graph, self.name, self.run_seed, self.record = session, graph, name, run_seed, record
        self.stage: Stage = graph.stage(name)
        self.context = StageContext(session, name)

    def run(self, made: dict[str, tuple[Take, ...]]) -> tuple[tuple[Take, ...], StageRecord]:
        """The stage's takes, in order, and its row of the table."""
        begun = time.perf_counter()
        sources = {key: made[name] for key, name in self.stage.references().items()}
        if self.stage.chooses:
            takes, cached, work = self._choose(sources), 0, list[Result]()
        else:
            takes, cached, work = self._make(sources)
        seconds = time.perf_counter() - begun
        self.session.emit(StageDone(self.name, seconds, len(takes)))
        variant = self.stage.variant if isinstance(self.stage, DiffusionStage) else None
        summary = StageRecord(
            self.name, self.stage.type, variant, round(seconds, 4), cached, len(takes),
            max((r.steps_run for r in work), default=0), max((r.forwards for r in work), default=0),
        )
        return takes, summary

    def _choose(self, sources: dict[str, tuple[Take, ...]]) -> tuple[Take, ...]:
        candidates = next(iter(sources.values()))
        self.session.emit(StageStarted(self.name, self.stage.type, len(candidates), 0))
        when = parse(self.stage.when) if self.stage.when else None
        eligible, others = list[Take](), list[Take]()
        for take in candidates:
            (eligible if when is None or holds(when, self.name, take) else others).append(take)
        step = {"stage": self.name, "type": self.stage.type, "of": len(eligible)}
        chosen = [
            t.with_(stage=self.name, prompt=self.stage.prompt.over(t.prompt), lineage=(*t.lineage, step))
            for t in (self.stage.choose(eligible, self.context) if eligible else ())
        ]
        return (*chosen, *(self._passing(Passing(take.index, take)) for take in others))

    def _make(self, sources: dict[str, tuple[Take, ...]]) -> tuple[tuple[Take, ...], int, list[Result]]:
        planned = plan_jobs(
            self.name, self.stage, sources, fan_out=self.graph.fan_out(self.name), prompt=self.session.pipeline.prompt,
            run_seed=self.run_seed, numerics=self.session.numerics, fingerprint=self._fingerprint(),
            when=parse(self.stage.when) if self.stage.when else None,
        )
        jobs = [p for p in planned if isinstance(p, Job)]
        known = {} if self.stage.writes_files else self._known(jobs)
        self.session.emit(StageStarted(self.name, self.stage.type, len(planned), len(known)))
        done: dict[int, tuple[Take, Result]] = {}
        for job in jobs:
            if job.index in known:
                done[job.index] = (self._take(job, known[job.index]), known[job.index])
                self.record(done[job.index][0], known[job.index], None)
                self.session.emit(TakeDone(self.name, job.index, True, 0.0))
        missing = [job for job in jobs if job.index not in known]
        for job, result, seconds in self._work_all(missing):
            done[job.index] = (self._take(job, result), result)
            self.record(done[job.index][0], result, seconds)
            self.session.emit(TakeDone(self.name, job.index, False, seconds))
        takes = []
        for p in planned:
            takes.append(self._passing(p) if isinstance(p, Passing) else done[p.index][0])
        return tuple(takes), len(known), [result for _, result in done.values()]

    def _fingerprint(self) -> str:
        """What the weights are by content: variant and adapters, or the files the stage itself names."""
        if not isinstance(self.stage, DiffusionStage):
            return "+".join(path_fingerprint(path) for path in map(self.context.path, self.stage.weight_paths()) if path.exists())
        info = self.session.info(self.stage.variant, self.stage.task)
        return weights_mark(info, [(self.context.path(a.path), a.scale) for a in self.stage.adapters])

    def _known(self, jobs: Sequence[Job]) -> dict[int, Result]:
        found = {}
        for job in jobs:
            entry = self.session.store.get(job.key)
            if entry is not None:
                found[job.index] = entry.result()
        return found

    def _work_all(self, jobs: Sequence[Job]) -> Iterator[tuple[Job, Result, float]]:
        """Every job, in micro-batches; out of memory halves the batch from there on, says so and marks the results."""
        size = whole = self.session.numerics.micro_batch if self.stage.diffuses else 1
        start = 0
        while start < len(jobs):
            batch = jobs[start : start + size]
            try:
                made = self._work(batch, retried=size < whole)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                if len(batch) == 1:
                    raise RunError(
                        f"stage '{self.name}': out of memory with a single take ({error}). Make it shorter, free memory, or "
                        "write --cpu-offload, a smaller --tile-frames, --dtype bfloat16."
                    ) from error
                size = len(batch) // 2
                self.session.warn(f"out of memory with {len(batch)} takes at once; goes on with {size}, and marks it", self.name)
                continue
            yield from made
            start += len(batch)

    def _work(self, jobs: Sequence[Job], retried: bool) -> list[tuple[Job, Result, float]]:
        """Run one micro-batch. Each result is kept before anything else happens."""
        self.session.cancel.check()
        begun = time.perf_counter()
        with torch.inference_mode():
            results = [_ordinary(result) for result in self.stage.run(jobs, self.context)]
        seconds = (time.perf_counter() - begun) / len(jobs)
        made = []
        for job, given in zip(jobs, results, strict=True):
            result = replace(given, facts={**given.facts, "retried_micro_batch": len(jobs)}) if retried else given
            if not self.stage.writes_files:
                self.session.store.put(job.key, Entry.of(result))
            self.session.counts.add("forwards", result.forwards)
            made.append((job, result, seconds))
        return made

    def _take(self, job: Job, result: Result) -> Take:
        """The job's take: signal, prompt, report, lineage."""
        main = job.main
        if result.same_signal:
            assert main is not None
            signal, report = main.signal, main.report
        else:
            signal = Signal(result.audio, result.latent, StoredViews(self.session, job.key), decodes=result.decodes)
            report = main.report if main is not None and self.stage.keeps_report else None
        reports = dict(main.reports) if main is not None else {}
        if result.report is not None:
            report = result.report
            reports[self.name] = result.report
        facts = json.loads(canonical_json(result.facts))  # the same order and types, fresh or read back
        step: dict[str, Any] = {"stage": self.name, "type": self.stage.type, "seed": job.seed, **facts}
        if isinstance(self.stage, DiffusionStage):
            step["weights"] = self._fingerprint()
        if len(job.sources) > 1:
            step["sources"] = {key: take.key for key, take in job.sources.items()}
        diffused = any(map(self.graph.diffused, self.graph.sources(self.name).values()))
        return Take(
            stage=self.name, index=job.index, seed=job.seed if self.stage.draws or main is None else main.seed,
            prompt=result.prompt.over(job.prompt) if result.prompt else job.prompt, key=job.key, signal=signal, report=report,
            reports=reports, lineage=(*(main.lineage if main is not None else ()), step),
            group=group_of(self.stage, job, diffused),
        )

    def _passing(self, passing: Passing) -> Take:
        step = {"stage": self.name, "type": self.stage.type, "passed_by": True, "when": self.stage.when}
        take = passing.take
        self.session.emit(TakeDone(self.name, passing.index, True, 0.0))
        return take.with_(stage=self.name, index=passing.index, lineage=(*take.lineage, step))


def _ordinary(result: Result) -> Result:
    """The result with tensors that may be changed and differentiated, as those read back from the store may."""
    audio, latent = result.audio, result.latent
    if audio is not None:
        audio = replace(audio, samples=ordinary(audio.samples))
    if latent is not None:
        state = {name: ordinary(tensor) for name, tensor in latent.state.items()}
        latent = replace(latent, frames=ordinary(latent.frames), state=state)
    return replace(result, audio=audio, latent=latent, decodes=audio is None and latent is not None)


After = Callable[[str, tuple[Take, ...], StageRecord], None]


def walk(
    session: Session, graph: Graph, inputs: Mapping[str, Take], run_seed: int, after: After, on_take: TakeRecorder
) -> tuple[dict[str, tuple[Take, ...]], list[StageRecord]]:
    """Every stage in order. `after(name, takes, record)` is called as soon as a stage is done (files, catalog), `on_take`
    as soon as a take is."""
    made: dict[str, tuple[Take, ...]] = {name: (take,) for name, take in inputs.items()}
    records = []
    for name in graph.order:
        session.cancel.check()
        made[name], record = StageRunner(session, graph, name, run_seed, on_take).run(made)
        records.append(record)
        after(name, made[name], record)
    return {name: made[name] for name in graph.order}, records

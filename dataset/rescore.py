"""Old takes under a new scorer: every take of a night's record is judged again as its own scoring stage would judge it now, the
groups are written anew and the pairs derived from them. Nothing is generated.

Knows the record, the plan's presets and the decoder; not what is measured.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from ..pipeline.atomic import write_atomic
from ..pipeline.audio_file import read_audio
from ..pipeline.context import Job, Numerics
from ..pipeline.errors import Problem, RequestError, RunError
from ..pipeline.prepare import prepare
from ..pipeline.prompt import Prompt
from ..pipeline.session import Counts, Session, StageContext, input_take, threads
from ..pipeline.spec import Stage
from ..pipeline.store import Store
from ..pipeline.take import Audio, Signal, Take
from ..pipeline.yaml_text import to_yaml
from ..scoring.groups import Group, GroupEntry
from ..scoring.report import QualityReport
from .account import in_force, pairs_written, write_account
from .catalog import NightCatalog, Settled
from .entries import JobResult, Scored, chance_of, in_one_order, steps_made
from .folder import NightFolder
from .jobs import Jobs
from .ledger import Ledger, entry_place
from .pairing import write_pairs
from .plan import load_plan
from .redecode import Decoder


@dataclass(frozen=True)
class Rescored:
    """What a rescoring did. `kept` is where the record lies as it was; None where it is byte for byte the same. `pairs_before`
    and `pairs` are those that were and are written, judgements among them."""

    takes: int
    scored: int
    scorer: str
    pairs_before: int
    pairs: int
    kept: str | None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def rescore(out: str | Path, *, every: bool = False) -> Rescored:
    """Score the takes of the night in `out` anew where the scorer or what it is told has changed since (`every`: all of them),
    write the record and the pairs anew. Judgements follow their groups.

    Raises `RequestError` where there is no night, or processes work on it, or a take was scored against something that is not
    kept; `RunError` where neither latent nor audio of a take is left. The old record stands until the new one is whole. A night
    that is begun meanwhile goes on working and settles its prompts into the new record.
    """
    folder = NightFolder(Path(out).absolute())
    folder.must_exist()
    with NightCatalog(folder.database) as catalog:
        _must_be_at_rest(folder, catalog)
        plan = in_force(load_plan(folder.plan), catalog)
        jobs = Jobs(plan, folder.prompts)
        ledger = Ledger(folder, catalog, plan, jobs, Store(folder.store), catalog.fact("night"))
        ledger.settle()
        judge = Judge(folder, jobs, Numerics(**catalog.fact("numerics")), every)
        copy, pairs_before = _Copy(folder), 0

        def blocks(settled: Settled) -> Iterator[list[JobResult]]:
            nonlocal pairs_before
            _must_be_at_rest(folder, catalog)  # a night may have begun since; one that begins from here on settles afterwards
            pairs_before = pairs_written(folder)
            copy.make()
            yield from judge.blocks(settled.blocks)

        try:
            with threads(judge.numerics.threads):
                after = ledger.replace(blocks, judge.names)
        finally:
            judge.close()
            ledger.close()
        kept = copy.place_if_changed(after.bytes)
        pairs = sum(write_pairs(folder, plan.strategies, plan.quotas).values())
        write_account(folder, plan, catalog)
    return Rescored(after.takes, judge.scored, "+".join(sorted(judge.scorers)), pairs_before, pairs, kept)


def _must_be_at_rest(folder: NightFolder, catalog: NightCatalog) -> None:
    """Raise `RequestError` where processes work on the night: what they know of the record would not be true any more."""
    busy = sum(1 for runner in catalog.runners() if runner["alive"])
    if busy:
        raise RequestError(Problem(f"{busy} processes work on the night in {folder.root}", f"segue night stop {folder.root}"))


class _Copy:
    """The record as it was, under a name by its bytes, which are what tells one scoring from another."""

    def __init__(self, folder: NightFolder) -> None:
        self._folder, self._mark, self._made = folder, "", False

    @property
    def _place(self) -> Path:
        return self._folder.root / f"groups-{self._mark}.jsonl"

    def make(self) -> None:
        """Copy the record, unless these very bytes were kept before. Raises `RunError` when the disk refuses."""
        self._mark = _digest(self._folder.groups, self._folder.groups.stat().st_size)
        self._made = not self._place.exists()
        if self._made:
            with self._folder.groups.open("rb") as file:
                write_atomic(self._place, iter(lambda: file.read(1 << 20), b""), "the record as it was")

    def place_if_changed(self, size: int) -> str | None:
        """Where the copy lies; None where the new record, `size` bytes long, has come out the same, and then a copy made for
        nothing is removed."""
        if _digest(self._folder.groups, size) != self._mark:
            return str(self._place)
        if self._made:
            self._place.unlink()
        return None


def _digest(groups: Path, size: int) -> str:
    """Of the record's first `size` bytes; a night may have written more."""
    found, left = hashlib.sha256(), size
    with groups.open("rb") as file:
        while left and (data := file.read(min(left, 1 << 20))):
            found.update(data)
            left -= len(data)
    return found.hexdigest()[:12]


class Judge:
    """Scores the takes of a record again, prompt by prompt. `names` tells which group became which."""

    def __init__(self, folder: NightFolder, jobs: Jobs, numerics: Numerics, every: bool) -> None:
        self.folder, self.jobs, self.numerics, self.every = folder, jobs, numerics, every
        self.names: dict[str, str] = {}
        self.scorers: set[str] = set()
        self.scored = 0
        self._decoder = Decoder(numerics)
        self._contexts: dict[tuple[str, str], tuple[Stage, StageContext]] = {}
        self._places: dict[str, dict[str, int]] = {}

    def close(self) -> None:
        self._decoder.close()

    def blocks(self, count: int) -> Iterator[list[JobResult]]:
        """What the jobs of each settled prompt give now, as one result a prompt."""
        groups = self._groups()
        group = next(groups, None)
        for block in range(count):
            scored: list[Scored] = []
            while group is not None and self._block(group) == block:
                scored += [self._anew(group, entry) for entry in group.entries]
                group = next(groups, None)
            scored.sort(key=lambda one: self._order(one.entry))
            yield [JobResult(scored=tuple(scored), keys=())]

    def _groups(self) -> Iterator[Group]:
        with self.folder.groups.open("rb") as file:
            yield from map(Group.from_json, file)

    def _block(self, group: Group) -> int:
        return self.jobs.block_of(entry_place(group.entries[0])[0])

    def _order(self, entry: GroupEntry) -> tuple[int, int, int]:
        """Where a take stands among those of its prompt: job, stage, index."""
        job, stage, index = entry_place(entry)
        return job, self._places[self.jobs.kind(job)][stage], index

    def _anew(self, group: Group, entry: GroupEntry) -> Scored:
        """The take with the report it gets now; as it was where the scorer has not changed."""
        job, name, _ = entry_place(entry)
        stage, ctx = self._context(job, name)
        conditioning = group.inputs["conditioning"]
        made = steps_made(entry.generation.extra.get("lineage", ()))
        chance = chance_of(conditioning, group.prompt, stage.key_facts(), made)
        self.names[group.id] = chance
        if chance != group.id or self.every:
            report = self._report(stage, ctx, group, entry)
            loudness = report.metrics.get("integrated_lufs")
            entry = in_one_order(entry.model_copy(update={
                "report": report, "overall": report.overall, "loudness_lufs": loudness.value if loudness else None,
            }))  # fmt: skip
            self.scored += 1
        if entry.report is not None:
            self.scorers.add(entry.report.scorer)
        return Scored(chance=chance, prompt=group.prompt, inputs=group.inputs, entry=entry.model_copy(update={"refused": None}))

    def _context(self, job: int, name: str) -> tuple[Stage, StageContext]:
        """The scoring stage of a job, and what it may ask for. One of each for all jobs of a kind: what a stage keeps loaded
        is loaded once."""
        kind = self.jobs.kind(job)
        if (kind, name) not in self._contexts:
            pipeline = self.jobs.pipeline(job)
            prepared = prepare(pipeline, offline=True)
            session = Session(pipeline, prepared.model, None, Store(self.folder.store), self.numerics, Counts(), out=None,
                              created="", on_event=None, cancel=None, preset=to_yaml(pipeline))  # fmt: skip
            self._contexts[kind, name] = prepared.graph.stage(name), StageContext(session, name)
            self._places[kind] = {stage: place for place, stage in enumerate(prepared.graph.order)}
        return self._contexts[kind, name]

    def _report(self, stage: Stage, ctx: StageContext, group: Group, entry: GroupEntry) -> QualityReport:
        job, name, index = entry_place(entry)
        references = stage.references()
        prompt = Prompt(**group.prompt)
        take = Take(
            stage=references["source"], index=index, seed=entry.seed, prompt=prompt, key=entry.key,
            signal=Signal(self._audio(entry)), lineage=tuple(entry.generation.extra.get("lineage", ())),
            group=group.inputs["conditioning"],
        )  # fmt: skip
        others = {key: self._input(ctx, source, group.inputs) for key, source in references.items() if key != "source"}
        with torch.inference_mode():
            (result,) = stage.run([Job(index, entry.seed, prompt, {"source": take, **others}, entry.key)], ctx)
        if result.report is None:
            raise RunError(f"stage '{name}' of job {job} gives no report any more, so {entry.take} can't be scored anew")
        return result.report

    def _audio(self, entry: GroupEntry) -> Audio:
        if entry.latent_path is not None and (self.folder.root / entry.latent_path).is_file():
            return self._decoder.audio(self.folder.root / entry.latent_path)
        if entry.audio_path is not None and (self.folder.root / entry.audio_path).is_file():
            return read_audio(self.folder.root / entry.audio_path)
        raise RunError(f"neither latent nor audio of {entry.take} is left in {self.folder.root}: it can't be scored anew")

    def _input(self, ctx: StageContext, name: str, inputs: Mapping[str, str]) -> Take:
        """The take of an input that takes were scored against, from what the night kept of it."""
        if name not in inputs:
            raise RequestError(Problem(
                f"takes were scored against '{name}', a stage whose sounds are not kept",
                "generate them anew: begin another night", stage=ctx.stage,
            ))  # fmt: skip
        return input_take(ctx.session, name, read_audio(self.folder.root / "inputs" / f"{inputs[name]}.flac"))


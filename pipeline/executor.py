"""Start, resume and repeat runs: check, load, walk, write. What `Pipeline.run` calls.

Knows no stage type; presets come as objects or through a `load` function it is handed.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..scoring.preferences import pairs_best_worst
from .catalog import Catalog, RunRecord, StageRecord
from .context import Result
from .errors import Cancelled, Problem, RequestError, SegueError
from .events import CancelToken, FileWritten, Listener, RunDone, RunStarted
from .home import segue_home
from .keys import audio_key
from .models.pool import Pool
from .models.resolve import adapter_fingerprint
from .options import RunOptions, decide, numerics_of
from .outputs import prepare_folder, write_document, write_take
from .preference_log import PreferenceLog
from .prepare import Prepared, prepare, read_inputs, with_choices
from .run import Run
from .scored_groups import groups_of
from .session import Counts, Session, StoredViews, threads
from .spec import SEED_MAX, DiffusionStage, Pipeline
from .store import Store
from .tags import read_take_tags, take_tags
from .take import Audio, Signal, Take
from .walk import walk

Load = Callable[[str], Pipeline]


def execute(
    pipeline: Pipeline,
    out: str | Path | None = None,
    *,
    seed: int | None = None,
    takes: int | None = None,
    inputs: Mapping[str, str | Path] | None = None,
    on_event: Listener | None = None,
    cancel: CancelToken | None = None,
    options: RunOptions | None = None,
    home: str | Path | None = None,
) -> Run:
    """Run a pipeline. `out` is the folder for audio, report and preference log ("{run_id}" in it stands for the run's id;
    None writes no files). Raises `RequestError` before anything is computed when the request can't be carried out,
    `RunError` when it fails on the way, `Cancelled` after `cancel.cancel()`; finished takes are kept in every case."""
    chosen = with_choices(pipeline, seed=seed, takes=takes, inputs=inputs)
    if chosen.seed is None:
        chosen = with_choices(chosen, seed=secrets.randbelow(SEED_MAX))
    decided, _ = decide(options or RunOptions())
    prepared = prepare(chosen, offline=decided.offline)
    if out is None:
        _no_folder_needed(prepared)
    sounds = read_inputs(prepared)
    with Catalog(segue_home(home) / "catalog.sqlite3") as catalog:
        numerics = numerics_of(decided)
        assert chosen.seed is not None
        facts = {"out": None if out is None else str(Path(out).absolute()), "options": decided.model_dump(),
                 "base": str((chosen._base or Path.cwd()).absolute()), "inputs": _input_keys(sounds),
                 "weights": _weights(prepared)}
        if out is not None and "{run_id}" not in str(out):
            prepare_folder(Path(out).absolute())
        record = catalog.begin_run(chosen.name, chosen.to_yaml(), chosen.seed, numerics, facts)
        return _Execution(prepared, sounds, record, catalog, segue_home(home), decided, on_event, cancel).carry_out()


def resume(
    run_id: str,
    *,
    load: Load,
    home: str | Path | None = None,
    on_event: Listener | None = None,
    cancel: CancelToken | None = None,
) -> Run:
    """Go on with a run that was stopped or killed: same preset, seed, numerics, folder; what was finished is not made
    again, and the files become what an uninterrupted run would have made. A finished run is gone through again (all from
    the store). Raises `RequestError` for an unknown id, or while another process works on it."""
    with Catalog(segue_home(home) / "catalog.sqlite3") as catalog:
        record = catalog.run(run_id)
        pipeline = load(record.yaml).placed(Path(record.options["base"]), None, {})
        options = RunOptions(**record.options["options"])
        if numerics_of(options) != record.numerics:
            raise RequestError(Problem(
                f"run {record.id} was made with other library versions or processor ({_changed(record, options)}), so its "
                "takes can't be finished with the same bytes", "run the preset anew, or restore those versions",
            ))
        prepared = prepare(with_choices(pipeline, seed=record.seed), offline=options.offline)
        sounds = read_inputs(prepared)
        _same_inputs(record, sounds)
        _same_weights(record, prepared)
        record = catalog.reopen_run(record.id)
        return _Execution(prepared, sounds, record, catalog, segue_home(home), options, on_event, cancel).carry_out()


def rerun(
    file: str | Path,
    *,
    load: Load,
    out: str | Path | None = None,
    inputs: Mapping[str, str | Path] | None = None,
    on_event: Listener | None = None,
    cancel: CancelToken | None = None,
    options: RunOptions | None = None,
    home: str | Path | None = None,
) -> Run:
    """Make the take of a tagged audio file again, from the preset and seed in its tags. Input files are looked for where
    the preset says; give `inputs` when they moved. Raises `RequestError` for a file without Segue's tags."""
    tags = read_take_tags(Path(file))
    pipeline = load(tags.preset)
    if tags.base is not None:
        pipeline = pipeline.placed(Path(tags.base), None, {})
    return execute(pipeline, out, seed=tags.run_seed, inputs=inputs, on_event=on_event, cancel=cancel, options=options, home=home)


def _no_folder_needed(prepared: Prepared) -> None:
    """Raise `RequestError` when a stage writes files and the run has no folder."""
    writers = [name for name, stage in prepared.pipeline.stages.items() if stage.writes_files]
    if writers:
        raise RequestError([
            Problem("this stage writes files, and the run has no folder", "give one: pipe.run(out=FOLDER), or --out", stage=name)
            for name in writers
        ])


def _input_keys(sounds: Mapping[str, Audio]) -> dict[str, str]:
    return {name: audio_key(audio.samples, audio.rate_hz) for name, audio in sounds.items()}


def _weights(prepared: Prepared) -> dict[str, str]:
    """The weights each denoising stage uses: their fingerprint and those of its adapters."""
    graph, found = prepared.graph, {}
    for name in graph.order:
        info, stage = graph.info(name), graph.stage(name)
        if info is not None and isinstance(stage, DiffusionStage):
            laid = [adapter_fingerprint(prepared.pipeline.path(a.path)) for a in stage.adapters]
            found[name] = "+".join([info.fingerprint, *laid])
    return found


def _same_weights(record: RunRecord, prepared: Prepared) -> None:
    """Raise `RequestError` for weights that are not what they were when the run began."""
    before = record.options.get("weights", {})
    other = [name for name, mark in _weights(prepared).items() if before.get(name, mark) != mark]
    if other:
        raise RequestError([
            Problem(f"the weights or adapters are not those run {record.id} began with, so its takes can't be finished with the "
                    "same bytes", "put the old ones back, or run the preset anew", stage=name)
            for name in other
        ])


def _same_inputs(record: RunRecord, sounds: Mapping[str, Audio]) -> None:
    """Raise `RequestError` for input files that are not what they were when the run began."""
    before = record.options.get("inputs", {})
    other = [name for name, key in _input_keys(sounds).items() if name in before and before[name] != key]
    if other:
        raise RequestError([
            Problem(f"the input '{name}' is another sound than when run {record.id} began, so its takes can't be finished with "
                    "the same bytes", "put the old file back, or run the preset anew", key=f"inputs.{name}")
            for name in other
        ])


def _changed(record: RunRecord, options: RunOptions) -> str:
    now = numerics_of(options).versions
    changed = {k: v for k, v in record.numerics.versions.items() if now.get(k) != v}
    return ", ".join(f"{k}: then {v}, now {now.get(k)}" for k, v in changed.items()) or "numerics"


@dataclass
class _Execution:
    """One run being carried out: the state that files, catalog and log need while the stages go by."""

    prepared: Prepared
    sounds: Mapping[str, Audio]
    record: RunRecord
    catalog: Catalog
    home: Path
    options: RunOptions
    on_event: Listener | None
    cancel: CancelToken | None
    files: list[Path] = field(default_factory=list)
    audio_paths: dict[tuple[str, int], Path] = field(default_factory=dict)
    pairs: int = 0

    def carry_out(self) -> Run:
        """The whole run; its end is noted in the catalog, however it ends."""
        begun = time.perf_counter()
        try:
            session = self._session()
        except SegueError as error:  # the folder named after the run can't be made
            self.catalog.finish_run(self.record.id, "failed", str(error))
            raise
        try:
            with threads(self.record.numerics.threads):
                run = self._run(session, begun)
        except Cancelled as error:
            self.catalog.finish_run(self.record.id, "cancelled", str(error))
            session.close()
            raise Cancelled(f"{error}; go on with: segue runs resume {self.record.id}") from None
        except SegueError as error:
            self.catalog.finish_run(self.record.id, "failed", str(error))
            session.close()
            raise
        except BaseException as error:
            self.catalog.finish_run(self.record.id, "failed", f"{type(error).__name__}: {error}")
            session.close()
            raise
        session.close()  # takes keep the session, and would keep the weights; a view made later loads what it needs
        self.catalog.finish_run(self.record.id, "done")
        session.emit(RunDone(self.record.id, run.seconds))
        return run

    def _session(self) -> Session:
        counts = Counts()
        out = self.record.options["out"]
        folder = prepare_folder(Path(out.replace("{run_id}", self.record.id))) if out else None
        model = self.prepared.model
        pool = Pool(model, self.record.numerics, counts, options=self.options) if model else None
        warn: list[Any] = []
        store = Store(self.home / "store", on_warning=lambda text: warn[0](text))
        session = Session(
            self.prepared.pipeline, model, pool, store, self.record.numerics, counts, out=folder, created=self.record.created,
            on_event=self.on_event, cancel=self.cancel,
        )
        warn.append(session.warn)
        return session

    def _run(self, session: Session, begun: float) -> Run:
        pipeline, graph = self.prepared.pipeline, self.prepared.graph
        session.emit(RunStarted(self.record.id, tuple(graph.order)))
        for text in self.prepared.warnings:
            session.warn(text)
        inputs = {name: self._input(session, name) for name in graph.inputs}
        made, stages = walk(session, graph, inputs, self.record.seed, lambda *done: self._after(session, *done), self._note)
        outputs = tuple(graph.outputs)
        run = Run(
            id=self.record.id, preset=pipeline.name, out=session.out, stages=tuple(stages), takes=made, inputs=inputs,
            outputs=outputs, counts=session.counts.as_dict(), pairs=self.pairs, seed=self.record.seed,
            seconds=time.perf_counter() - begun, training=_training(self.prepared),
            audio_paths=dict(self.audio_paths), warnings=tuple(session.warnings),
        )
        if session.out is not None:
            written = write_document(session.out, run.document(), pipeline.to_yaml(), run.output_takes())
            run.files = (*self.files, *written)
            log = [session.out / name for name in ("groups.jsonl", "pairs.jsonl")]
            run.files += tuple(path for path in log if path.exists())
        return run

    def _input(self, session: Session, name: str) -> Take:
        audio = self.sounds[name]
        key = audio_key(audio.samples, audio.rate_hz)
        return Take(
            stage=name, index=0, seed=self.record.seed, prompt=session.pipeline.prompt, key=key,
            signal=Signal(audio, None, StoredViews(session, key)), lineage=({"stage": name, "type": "input", "key": key},),
        )

    def _note(self, take: Take, result: Result, seconds: float | None) -> None:
        """A take is in the store: the catalog keeps it from being collected, and learns how long such things take."""
        self.catalog.record_take(self.record.id, take, cached=seconds is None)
        if seconds is not None:
            spec = self.prepared.graph.stage(take.stage)
            info = self.prepared.graph.info(take.stage)
            frames = round(take.duration_s * (info.frame_rate_hz if info else 25))
            self.catalog.record_timing(
                spec.type, getattr(spec, "variant", None), self.record.numerics.device.split(":")[0], steps=result.steps_run,
                frames=frames, seconds=seconds,
            )

    def _after(self, session: Session, name: str, takes: tuple[Take, ...], stage: StageRecord) -> None:
        """Files, catalog and preference log of a stage that is done."""
        spec = session.pipeline.stages[name]
        for take in takes:
            path = None
            if session.out is not None and (name in self.prepared.graph.outputs or spec.scores or spec.writes_files):
                path = self._file_of(session, take, session.out)
                self.files.append(path)
                self.audio_paths[(take.stage, take.index)] = path
                session.emit(FileWritten(name, take.index, str(path)))
            self.catalog.record_take(self.record.id, take, audio=path)
        self.catalog.record_stage(self.record.id, stage)
        if spec.scores:
            self._log_groups(session, name, takes)

    def _file_of(self, session: Session, take: Take, out: Path) -> Path:
        """The take's sound file: the one its stage wrote, else one written now."""
        own = take.lineage[-1].get("file") if session.pipeline.stages[take.stage].writes_files else None
        if isinstance(own, str):
            return out / own
        tags = take_tags(take, preset_yaml=session.pipeline.to_yaml(), run_seed=self.record.seed)
        return write_take(take, out, tags).path

    def _log_groups(self, session: Session, name: str, takes: tuple[Take, ...]) -> None:
        groups = groups_of(
            name, takes, facts=session.pipeline.stages[name].key_facts(), audio_paths=self.audio_paths, run_id=self.record.id,
            folder=session.out,
        )
        self.pairs += sum(len(pairs_best_worst(group)) for group in groups)  # this run's; the folder may hold older ones
        if session.out is None:
            return
        log = PreferenceLog(session.out, on_warning=session.warn)
        for group in groups:
            log.append(group)
        log.write_pairs()


def _training(prepared: Prepared) -> str | None:
    if prepared.model is None:
        return None
    used = [prepared.graph.info(name) for name in prepared.graph.order]
    states = {info.training for info in used if info is not None}
    return next((s for s in ("untrained", "preliminary") if s in states), "trained")

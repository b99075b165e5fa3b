"""One run being carried out: its session, and files, catalog and preference log as the stages go by.

Knows no stage type, and not how a run came to be (that is `executor`'s part).
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..scoring.preferences import pairs_best_worst
from .catalog import Catalog
from .context import Result
from .errors import Cancelled, SegueError
from .events import CancelToken, FileWritten, Listener, RunDone, RunStarted
from .models.pool import Pool
from .options import RunOptions
from .outputs import prepare_folder, write_document, write_take
from .preference_log import PreferenceLog
from .prepare import Prepared
from .records import RunRecord, StageRecord
from .repetition import Expected
from .run import Run
from .scored_groups import groups_of
from .session import Counts, Session, input_take, threads
from .store import Store
from .tags import take_tags
from .take import Audio, Take
from .timings import note_timing
from .walk import walk


@dataclass
class Execution:
    """One run being carried out: the state that files, catalog and log need while the stages go by. `notes` are warnings to
    begin with; `expected` is the take that a rerun is to give."""

    prepared: Prepared
    sounds: Mapping[str, Audio]
    record: RunRecord
    catalog: Catalog
    home: Path
    options: RunOptions
    on_event: Listener | None
    cancel: CancelToken | None
    expected: Expected | None = None
    notes: Sequence[str] = ()
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
            on_event=self.on_event, cancel=self.cancel, preset=self.record.options.get("preset") or self.record.yaml,
        )
        warn.append(session.warn)
        return session

    def _run(self, session: Session, begun: float) -> Run:
        pipeline, graph = self.prepared.pipeline, self.prepared.graph
        session.emit(RunStarted(self.record.id, tuple(graph.order)))
        for text in (*self.notes, *self.prepared.warnings):
            session.warn(text)
        inputs = {name: input_take(session, name, self.sounds[name]) for name in graph.inputs}
        made, stages = walk(session, graph, inputs, self.record.seed, lambda *done: self._after(session, *done), self._note)
        outputs = tuple(graph.outputs)
        run = Run(
            id=self.record.id, preset=pipeline.name, out=session.out, stages=tuple(stages), takes=made, inputs=inputs,
            outputs=outputs, counts=session.counts.as_dict(), pairs=self.pairs, seed=self.record.seed,
            seconds=time.perf_counter() - begun, training=_training(self.prepared),
            audio_paths=dict(self.audio_paths), warnings=tuple(session.warnings),
        )
        if session.out is not None:
            written = write_document(session.out, run.document(), session.preset, run.output_takes())
            run.files = (*self.files, *written)
            log = [session.out / name for name in ("groups.jsonl", "pairs.jsonl")]
            run.files += tuple(path for path in log if path.exists())
        return run

    def _note(self, take: Take, result: Result, seconds: float | None) -> None:
        """A take is in the store: the catalog keeps it from being collected, and learns how long such things take."""
        self.catalog.record_take(self.record.id, take, cached=seconds is None)
        if seconds is not None:
            note_timing(self.catalog, self.prepared.graph, self.record.numerics, take, result, seconds)

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
        told = self.expected.compare(name, takes) if self.expected is not None else None
        if told is not None:
            session.warn(told, name)
        if spec.scores:
            self._log_groups(session, name, takes)

    def _file_of(self, session: Session, take: Take, out: Path) -> Path:
        """The take's sound file: the one its stage wrote, else one written now."""
        own = take.lineage[-1].get("file") if session.pipeline.stages[take.stage].writes_files else None
        if isinstance(own, str):
            return out / own
        tags = take_tags(take, preset_yaml=session.preset, run_seed=self.record.seed, numerics=session.numerics)
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

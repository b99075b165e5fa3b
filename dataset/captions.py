"""Prompts heard out of a folder of sounds, by the caption stage. Carried out before any audio is made: a captioner is loaded once
for all files, and let go of with the last. Knows nothing of what the prompts are used for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from ..pipeline.audio_file import probe_audio, read_audio
from ..pipeline.errors import Problem, RequestError
from ..pipeline.home import exists, segue_home
from ..pipeline.options import RunOptions, decide
from ..pipeline.pipeline import Pipeline
from ..pipeline.prepare import prepare
from ..pipeline.session import Counts, Session, input_take, threads
from ..pipeline.store import Store
from ..pipeline.take import Audio
from ..pipeline.walk import StageRunner
from ..stages.caption import Caption
from ..stages.score_judges import clip_files
from .plan import Plan
from .prompt_sources import TaggedPrompt

BATCH_S = 600.0
"""Seconds of sound held in memory at once (a longer file is a batch of its own)."""

_KEY = ("prompts", "captions", "folder")


def captioned(plan: Plan) -> Iterator[TaggedPrompt]:
    """One prompt a sound file, in the order of their paths, with the path below the folder as its origin: the plan's own fields
    where it gives them, the others as the caption stage hears them (signal engine, or the plan's captioner).

    Raises RequestError when there is no sound, and with every file that can't be read; what the caption stage raises.
    """
    asked = plan.prompts.captions
    assert asked is not None
    folder = plan.path(asked.folder)
    batches = _batches(plan, _files(plan, folder))
    stage = Caption(source="sound", by=asked.by, model=asked.captioner)
    pipeline = Pipeline(
        name="captions", prompt=asked.given(), seed=0, inputs={"sound": str(batches[0][0].absolute())}, stages={"heard": stage}
    )
    prepared = prepare(pipeline.placed(plan._base, plan._file))
    _, numerics = decide(RunOptions())
    session = Session(
        pipeline, None, None, Store(segue_home() / "store"), numerics, Counts(), out=None, created="", on_event=None, cancel=None,
        preset="",
    )  # fmt: skip
    runner = StageRunner(session, prepared.graph, "heard", 0, lambda *_: None)
    for batch in batches:
        sounds = _read(plan, batch)
        takes = tuple(replace(input_take(session, "sound", audio), index=i) for i, audio in enumerate(sounds))
        with threads(numerics.threads):
            heard, _ = runner.run({"sound": takes})
        for file, take in zip(batch, heard, strict=True):
            yield TaggedPrompt(**take.prompt.facts(), origin=file.relative_to(folder).as_posix()[:4000])


def _files(plan: Plan, folder: Path) -> list[Path]:
    if not folder.is_dir():
        what = "is no folder" if exists(folder) else "does not exist"
        raise RequestError(plan.problem(f"{folder} {what}", "name a folder of sound files", *_KEY))
    files = clip_files(folder)
    if not files:
        raise RequestError(plan.problem(f"{folder} holds no sound file", "name a folder of them", *_KEY))
    return files


def _batches(plan: Plan, files: list[Path]) -> list[list[Path]]:
    """The files in order, in batches of at most `BATCH_S`. Raises RequestError with every file whose header can't be read."""
    problems: list[Problem] = []
    batches: list[list[Path]] = []
    held = BATCH_S
    for file in files:
        try:
            length = probe_audio(file).duration_s
        except RequestError as error:
            problems += error.problems
            continue
        length = BATCH_S if length is None else length
        if held + length > BATCH_S:
            batches.append([])
            held = 0.0
        batches[-1].append(file)
        held += length
    _raise(plan, problems)
    return batches


def _read(plan: Plan, files: list[Path]) -> list[Audio]:
    sounds, problems = [], []
    for file in files:
        try:
            sounds.append(read_audio(file))
        except RequestError as error:
            problems += error.problems
    _raise(plan, problems)
    return sounds


def _raise(plan: Plan, problems: list[Problem]) -> None:
    if problems:
        raise RequestError([plan.problem(str(problem), "mend the file, or take it out", *_KEY) for problem in problems])

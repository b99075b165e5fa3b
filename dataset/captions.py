"""Prompts heard out of a folder of sounds, by the caption stage. Carried out before any audio is made; the captioner is let go
of with each batch of files. Knows nothing of what the prompts are used for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ..pipeline.audio_file import probe_audio
from ..pipeline.errors import Problem, RequestError
from ..pipeline.home import exists
from ..pipeline.pipeline import Pipeline
from ..pipeline.spec import Stage
from ..stages.caption import Caption
from ..stages.score_judges import clip_files
from .plan import Plan
from .prompt_sources import TaggedPrompt

BATCH_S = 600.0
"""Seconds of sound held in memory at once (a longer file is a batch of its own)."""

BATCH_FILES = 200


def captioned(plan: Plan) -> Iterator[TaggedPrompt]:
    """One prompt a sound file, in the order of their paths, with the path below the folder as its origin: the plan's own fields
    where it gives them, the others as the caption stage hears them.

    Raises RequestError when there is no sound, and with every file that can't be read; what the caption stage raises.
    """
    asked = plan.prompts.captions
    assert asked is not None
    folder = plan.path(asked.folder)
    files = _files(plan, folder)
    for batch in _batches(plan, files):
        yield from _described(plan, folder, batch)


_KEY = ("prompts", "captions", "folder")


def _files(plan: Plan, folder: Path) -> list[Path]:
    if not folder.is_dir():
        what = "is no folder" if exists(folder) else "does not exist"
        raise RequestError(plan.problem(f"{folder} {what}", "name a folder of sound files", *_KEY))
    files = clip_files(folder)
    if not files:
        raise RequestError(plan.problem(f"{folder} holds no sound file", "name a folder of them", *_KEY))
    return files


def _batches(plan: Plan, files: list[Path]) -> list[list[Path]]:
    """The files in order, in batches of at most `BATCH_S` and `BATCH_FILES`. Raises RequestError with every file whose header
    can't be read."""
    problems: list[Problem] = []
    batches: list[list[Path]] = []
    held = 0.0
    for file in files:
        try:
            length = probe_audio(file).duration_s
        except RequestError as error:
            problems += error.problems
            continue
        length = BATCH_S if length is None else length
        if not batches or held + length > BATCH_S or len(batches[-1]) >= BATCH_FILES:
            batches.append([])
            held = 0.0
        batches[-1].append(file)
        held += length
    if problems:
        raise RequestError([plan.problem(str(p), "mend the file, or take it out", *_KEY) for p in problems])
    return batches


def _described(plan: Plan, folder: Path, files: list[Path]) -> Iterator[TaggedPrompt]:
    asked = plan.prompts.captions
    assert asked is not None
    stages: dict[str, Stage] = {
        f"heard{i}": Caption(source=f"sound{i}", by=asked.by, model=asked.captioner) for i in range(len(files))
    }
    inputs = {f"sound{i}": str(file.absolute()) for i, file in enumerate(files)}
    pipeline = Pipeline(name="captions", prompt=asked.given(), inputs=inputs, stages=stages, seed=0).placed(plan._base)
    run = pipeline.run()
    for file, name in zip(files, stages, strict=True):
        yield TaggedPrompt(**run[name][0].prompt.facts(), origin=file.relative_to(folder).as_posix()[:4000])

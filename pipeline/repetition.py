"""Making the take of a tagged file again: under which options, from the same inputs and weights, and whether it came out.

A file's tags say how its take was made. What can't be the same here is an error where the take would be another one (input,
weights, device), and a warning where only rounding may differ (library versions, options that were asked for). Knows no
stage type and runs nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from .context import Numerics
from .errors import Problem, RequestError
from .options import RunOptions, decide, numerics_of
from .spec import Preset
from .tags import TakeTags
from .take import Take

_DECIDING = ("device", "dtype", "threads", "micro_batch", "tile_frames")  # what of the options decides bytes
_ROUNDING = "so its samples may differ in rounding"


def options_then(file: Path, tags: TakeTags, given: RunOptions | None) -> tuple[RunOptions, list[str]]:
    """The options under which the file's take was made, those `given` laid over them, and warnings of what is not as then.

    Raises RequestError when the device it was made on is not there, or the tag can't be understood."""
    given = given or RunOptions()
    if tags.numerics is None:
        told = (f"'{file}' does not say with which threads, dtype, micro-batch and tile it was made (an older Segue wrote it); "
                f"it is made again with those of this machine, {_ROUNDING}")
        return decide(given)[0], [told]
    own = {name: value for name in _DECIDING if (value := getattr(given, name)) is not None}
    try:
        then = RunOptions.model_validate({name: getattr(tags.numerics, name) for name in _DECIDING})
    except ValidationError as error:
        raise RequestError(Problem(
            f"tag SEGUE_NUMERICS of '{file}' can't be understood: {error.errors()[0]['msg']}", "use the file as Segue wrote it",
        )) from error
    try:
        options = decide(given.model_copy(update={**{name: getattr(then, name) for name in _DECIDING}, **own}))[0]
    except RequestError as error:
        if "device" in own:
            raise
        raise RequestError(Problem(
            f"the take in '{file}' was made on {then.device}, which is not here ({error.problems[0].cause}): the same bytes come "
            "only from the same kind of device",
            "run it where there is one, or give another, e.g. --device cpu: the take then agrees to about 1e-4", key="device",
        )) from error
    return options, list(_not_as_then(file, tags, numerics_of(options)))


def _not_as_then(file: Path, tags: TakeTags, now: Numerics) -> Iterator[str]:
    """What is known to be another than when the file was made, one sentence each."""
    then, now = tags.numerics, now.portable()
    assert then is not None
    other = [f"{n} {getattr(now, n)} in place of {getattr(then, n)}" for n in _DECIDING if getattr(now, n) != getattr(then, n)]
    if other:
        yield f"'{file}' is made again with {', '.join(other)}, {_ROUNDING}"
    names = sorted({*then.versions, *now.versions})
    changed = [f"{n} {then.versions.get(n, 'unknown')} (now {now.versions.get(n, 'unknown')})"
               for n in names if then.versions.get(n) != now.versions.get(n)]
    if changed:
        yield f"'{file}' was made with {', '.join(changed)}, {_ROUNDING}"
    halved = next((step["retried_micro_batch"] for step in tags.lineage if "retried_micro_batch" in step), None)
    if halved is not None:
        yield (f"'{file}' was made {halved} takes at a time after memory ran out with {then.micro_batch}; where it does not run "
               f"out again, other takes share its forwards, {_ROUNDING}")


def lost_inputs(file: Path, pipeline: Preset, given: Mapping[str, Any]) -> list[Problem]:
    """Input files that are not where the preset in the file's tags says, and were not given."""
    return [
        Problem(f"the take in '{file}' was made from {text}, and there is no {pipeline.path(text)}",
                f"say where the file is now: --input {name}=FILE", key=f"inputs.{name}")
        for name, text in pipeline.inputs.items() if name not in given and not pipeline.path(text).exists()
    ]


def other_sources(
    file: Path, tags: TakeTags, pipeline: Preset, inputs: Mapping[str, str], weights: Mapping[str, str]
) -> list[Problem]:
    """Inputs and weights that are not those the take was made from: `inputs` are the keys of the sounds there are now,
    `weights` the marks of each denoising stage's weights, by name."""
    problems = []
    for name, key in _inputs_then(tags, pipeline).items():
        if name in inputs and inputs[name] != key:
            problems.append(Problem(
                f"the input '{name}' is another sound than the one the take in '{file}' was made from",
                "give that file, or run the preset on the new one: segue run", key=f"inputs.{name}",
            ))
    for step in tags.lineage:
        stage, mark = str(step.get("stage")), step.get("weights")
        if mark is not None and stage in weights and weights[stage] != mark:
            problems.append(Problem(
                f"the weights or adapters are not those the take in '{file}' was made with",
                "put the old ones back, or run the preset anew: segue run", stage=stage,
            ))
    return problems


def _inputs_then(tags: TakeTags, pipeline: Preset) -> dict[str, str]:
    """The keys of the inputs the take came from, by name, as far as its lineage tells."""
    found: dict[str, str] = {}
    for step in tags.lineage:
        if step.get("type") == "input":
            found[str(step["stage"])] = str(step["key"])
        stage = pipeline.stages.get(str(step.get("stage")))
        keys = step.get("sources")
        if stage is not None and isinstance(keys, Mapping):
            read = stage.references()
            found |= {read[ref]: str(key) for ref, key in keys.items() if read.get(ref) in pipeline.inputs}
    return found


@dataclass(frozen=True)
class Expected:
    """The take a file holds, to be held against the one made again. `excused`: a warning has said why it may differ."""

    file: Path
    tags: TakeTags
    excused: bool

    def compare(self, stage: str, takes: tuple[Take, ...]) -> str | None:
        """What to say when `stage` is done, should its take not be the one expected; None where there is nothing to say."""
        if stage != self.tags.stage:
            return None
        made = next((take for take in takes if take.index == self.tags.index), None)
        if made is None:
            return (f"take {self.tags.stage}/{self.tags.index} of '{self.file}' was not made again: the stages before it chose "
                    "other takes this time")
        if made.key == self.tags.key or self.excused:
            return None
        return (f"{made.id} is not known to be the take in '{self.file}': its key is {made.key[:12]}, the file's is "
                f"{self.tags.key[:12]} (something it depends on, or Segue itself, has changed since)")

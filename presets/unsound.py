"""What can still be told of a preset in which something is wrong in itself: a value of the wrong kind, a key nobody knows.

Whoever mends one mistake should not meet the next only then: names and references, what the model's variants can do, lengths,
files and adapters are judged too, as far as they don't hang on what is wrong. Knows no stage type.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import Field, PrivateAttr, ValidationError

from ..pipeline.errors import Problem, RequestError, did_you_mean
from ..pipeline.graph import Graph, GraphScope, InputFacts
from ..pipeline.graph_checks import every_problem, structure_problems
from ..pipeline.home import exists
from ..pipeline.model_checks import adapter_problems, length_problems, variant_problems
from ..pipeline.models.base import ModelInfo
from ..pipeline.pipeline import Pipeline
from ..pipeline.places import located
from ..pipeline.spec import NAME_PATTERN, DiffusionStage, Stage
from .overrides import mapping_under

_SCHEDULE = {"steps", "shift", "schedule", "timesteps"}  # keys that are judged together

StageClass = type[Stage]


class Unready(Stage):
    """Stands for a stage that is wrong in itself, so that the rest of the graph can still be checked.

    `_likely` is the stage without its wrong keys (`_wrong`), where that is a stage.
    """

    scores: ClassVar[bool] = True

    reads: dict[str, str] = Field(default_factory=dict)

    _likely: Stage | None = PrivateAttr(None)
    _wrong: frozenset[str] = PrivateAttr(frozenset())

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> Self:
        """What a broken stage seems to read, by key, so that its neighbours are judged as if it were whole. What is no name at
        all has been complained of already."""
        many = raw.get("sources")
        named = {key: raw.get(key) for key in ("source", "timbre", "reference")}
        named |= {f"sources[{i}]": item for i, item in enumerate(many if isinstance(many, list) else [])}
        stems = raw.get("stems")
        named |= {f"stems[{track}]": item for track, item in (stems if isinstance(stems, dict) else {}).items()}
        reads = {key: item for key, item in named.items() if isinstance(item, str) and re.fullmatch(NAME_PATTERN, item)}
        return cls(type="?", reads=reads)

    def meant(self, raw: Mapping[str, Any], as_class: StageClass, error: ValidationError) -> Self:
        """The same, with the stage that is left without the keys complained of; returns self."""
        self._wrong = frozenset(str(one["loc"][0]) for one in error.errors(include_url=False) if one["loc"])
        try:
            self._likely = as_class.model_validate({key: value for key, value in raw.items() if key not in self._wrong})
        except ValidationError:
            self._likely = None  # a key it can't be without
        return self

    def references(self) -> dict[str, str]:
        return {f"reads[{i}]": name for i, name in enumerate((*self.reads.values(), "?"))}


def problems_of_the_rest(
    data: Mapping[str, Any], stages: Mapping[str, Stage], *, base: Path | None, file: str | None,
    lines: dict[tuple[str, ...], int],
) -> list[Problem]:
    """Everything else that is wrong: `data` is the preset's text as it was read, `stages` its stages, broken ones `Unready`."""
    pipeline, dropped = _without_the_wrong(data, stages)
    rest = (pipeline or _skeleton(data, stages)).placed(base, file, lines)
    lost = _lost_inputs(data, rest) if base else []
    if pipeline is None:
        return [*lost, *located(_of_sound_stages(structure_problems(Graph(rest)), rest), rest)]
    from ..pipeline.prepare import input_facts  # here: sound presets load without torch

    model, found = (None, list[Problem]()) if "model" in dropped else _model(rest)
    there = {name: rest.path(text) for name, text in rest.inputs.items() if text}
    facts = {name: input_facts(path) for name, path in there.items() if exists(path)}
    found += _of_sound_stages(every_problem(Graph(rest, model, facts), lambda warning: None), rest)
    found += _of_broken_stages(rest, model, facts)
    hang = tuple(dropped)
    return [*lost, *located((p for p in found if not (p.key or "").startswith(hang)), rest)]


def _without_the_wrong(data: Mapping[str, Any], stages: Mapping[str, Stage]) -> tuple[Pipeline | None, frozenset[str]]:
    """The preset without the values of its own that can't be, and their dotted keys; None where that is no preset."""
    named = {name: stage for name, stage in stages.items() if re.fullmatch(NAME_PATTERN, name)}
    kept = {key: dict(value) if isinstance(value, dict) else value for key, value in data.items()} | {"stages": named}
    try:
        return Pipeline.model_validate(kept), frozenset()
    except ValidationError as error:
        paths = {tuple(str(part) for part in one["loc"][:2]) for one in error.errors(include_url=False) if one["loc"]}
    for path in paths:
        inner = kept.get(path[0])
        if len(path) > 1 and isinstance(inner, dict) and path[1] in inner:
            if path[0] == "inputs" and re.fullmatch(NAME_PATTERN, path[1]):
                inner[path[1]] = ""  # its name may still be read
            else:
                del inner[path[1]]
        else:
            kept.pop(path[0], None)
    try:
        return Pipeline.model_validate(kept), frozenset(".".join(path) for path in paths)
    except ValidationError:
        return None, frozenset()


def _skeleton(data: Mapping[str, Any], stages: Mapping[str, Stage]) -> Pipeline:
    """Names and stages alone, for a preset whose own keys are wrong beyond that; not validated as a whole."""
    named = {name: stage for name, stage in stages.items() if re.fullmatch(NAME_PATTERN, name)}
    files = {name: "" for name in mapping_under(data, "inputs") if re.fullmatch(NAME_PATTERN, name)}
    return Pipeline.model_construct(stages=named, inputs=files)


def _of_sound_stages(found: Iterator[Problem], pipeline: Pipeline) -> Iterator[Problem]:
    """What a graph tells of the sound stages, and which sources of the broken ones don't exist."""
    unready = {name: stage for name, stage in pipeline.stages.items() if isinstance(stage, Unready)}
    yield from (problem for problem in found if problem.stage not in unready)
    known = [*pipeline.inputs, *pipeline.stages]
    fix = f"there is {', '.join(known)}"
    for name, stage in unready.items():
        for key, read in stage.reads.items():
            if read not in known:
                yield Problem(f"'{read}' is neither an input nor a stage.{did_you_mean(read, known)}", fix, name, key)


def _of_broken_stages(pipeline: Pipeline, model: ModelInfo | None, facts: Mapping[str, InputFacts]) -> Iterator[Problem]:
    """What the model can't do for the broken stages, as far as their wrong keys have no part in it."""
    broken = {name: stage for name, stage in pipeline.stages.items() if isinstance(stage, Unready)}
    likely = _likely_stages(pipeline)
    guess = pipeline.model_copy(update={"stages": likely}).placed(pipeline._base, pipeline._file, pipeline._lines)
    graph = Graph(guess, model, facts)
    for name, unready in broken.items():
        stage, wrong, scope = likely[name], set(unready._wrong), GraphScope(graph, name)
        if not isinstance(stage, DiffusionStage):
            continue
        yield from (p for p in adapter_problems(scope, stage) if "adapters" not in wrong)
        if "variant" in wrong:
            continue
        if wrong & _SCHEDULE:
            wrong |= _SCHEDULE
        for problem in (*variant_problems(model, scope, stage), *length_problems(graph, scope)):
            if re.split(r"[.\[]", problem.key or "")[0] not in wrong:
                yield problem


def _likely_stages(pipeline: Pipeline) -> dict[str, Stage]:
    return {name: (s._likely or s) if isinstance(s, Unready) else s for name, s in pipeline.stages.items()}


def _model(pipeline: Pipeline) -> tuple[ModelInfo | None, list[Problem]]:
    """The model's facts, as far as they are on this machine: the hub is not asked about a preset that can't run anyway."""
    from ..pipeline.models.resolve import may_be_on_the_hub
    from ..pipeline.prepare import model_facts

    try:
        return model_facts(pipeline, _likely_stages(pipeline).values(), offline=True), []
    except RequestError as error:
        unknown = may_be_on_the_hub(pipeline.model)
        return None, [] if unknown else [problem.at(key="model") for problem in error.problems]


def _lost_inputs(data: Mapping[str, Any], pipeline: Pipeline) -> list[Problem]:
    """Input files that are not there, told together with what else is wrong."""
    named = {name: text for name, text in mapping_under(data, "inputs").items() if isinstance(text, str) and text}
    fix = "correct the path (relative ones start at the preset)"
    lost = {name: pipeline.path(text) for name, text in named.items() if not exists(pipeline.path(text))}
    return located((Problem(f"the file {p} does not exist", fix, key=f"inputs.{name}") for name, p in lost.items()), pipeline)

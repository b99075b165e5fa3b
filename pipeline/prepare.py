"""Everything that can be known before a weight is loaded: model facts, input headers, the checked graph; all problems at once.

`read_inputs` then reads the input files, which is the last thing that can show a request to be wrong. Knows no stage type;
loads no weight.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from .audio_file import probe_audio, read_audio
from .errors import Problem, RequestError
from .graph import Graph
from .graph_checks import build_graph
from .home import expanded
from .models.base import ModelInfo
from .models.resolve import LocatedModel, describe_model
from .places import located
from .scope import InputFacts
from .spec import DiffusionStage, Preset, Stage
from .take import Audio


@dataclass(frozen=True, eq=False)
class Prepared:
    """A pipeline that may run: its graph, and its model's facts (None where no stage diffuses)."""

    pipeline: Preset
    graph: Graph
    model: ModelInfo | None

    @property
    def warnings(self) -> list[str]:
        return [str(problem) for problem in self.graph.warnings]


def with_choices(
    pipeline: Preset, *, seed: int | None = None, takes: int | None = None, inputs: Mapping[str, str | Path] | None = None
) -> Preset:
    """The pipeline with a run's own choices laid over it. Input paths given here are relative to the working folder.

    Raises `RequestError` for an input the pipeline does not name, a seed or takes out of range."""
    given = {name: str(expanded(path).absolute()) for name, path in (inputs or {}).items()}
    unknown = [name for name in given if name not in pipeline.inputs]
    if unknown:
        known = ", ".join(pipeline.inputs) or "none"
        raise RequestError([
            Problem(f"there is no input '{name}' in '{pipeline.name}'", f"its inputs: {known}", key=f"inputs.{name}")
            for name in unknown
        ])
    problems = []
    if seed is not None and not 0 <= seed < 2**63:
        problems.append(Problem(f"seed {seed} is out of range", "write 0 to 9223372036854775807", key="seed"))
    if takes is not None and not 1 <= takes <= 10_000:
        problems.append(Problem(f"takes {takes} is out of range", "write 1 to 10000", key="takes"))
    if problems:
        raise RequestError(problems)
    changes: dict[str, object] = {"inputs": {**pipeline.inputs, **given}}
    if seed is not None:
        changes["seed"] = seed
    if takes is not None:
        changes["takes"] = takes
    chosen = pipeline.model_copy(update=changes)
    return chosen.placed(pipeline._base, pipeline._file, pipeline._lines)


def prepare(pipeline: Preset, *, offline: bool = False) -> Prepared:
    """Check the whole pipeline. Raises one `RequestError` with every problem of model, inputs, graph and stages."""
    problems: list[Problem] = []
    model = None
    try:
        model = model_facts(pipeline, pipeline.stages.values(), offline=offline)
    except RequestError as error:
        problems += [p.at(key="model", file=pipeline._file, line=pipeline._lines.get(("model",))) for p in error.problems]
    facts = {name: input_facts(pipeline.path(text)) for name, text in pipeline.inputs.items()}
    try:
        graph = build_graph(pipeline, model=model, facts=facts)
    except RequestError as error:
        raise RequestError([*problems, *error.problems]) from None
    if problems:
        raise RequestError(problems)
    return Prepared(pipeline, graph, model)


def model_facts(pipeline: Preset, stages: Iterable[Stage], *, offline: bool = False) -> LocatedModel | None:
    """What is known of the pipeline's model and of the variants these stages ask for; None where none of them denoises. Raises
    `RequestError` for a model or variant that can't be used. (A variant it does not have is the graph's matter.)"""
    denoising = [stage for stage in stages if isinstance(stage, DiffusionStage)]
    if not denoising:
        return None
    model = describe_model(pipeline.model, base=pipeline._base, offline=offline)
    for stage in denoising:
        with contextlib.suppress(KeyError):
            model.variant(stage.variant, stage.task)
    return model


def input_facts(path: Path) -> InputFacts:
    """What an input file's header says, with the problem when it can't be read."""
    try:
        probed = probe_audio(path)
    except RequestError as error:
        return InputFacts(path, exists=path.exists(), problem=error.problems[0])
    return InputFacts(path, True, probed.duration_s, probed.rate_hz, probed.channels)


def read_inputs(prepared: Prepared) -> dict[str, Audio]:
    """The samples of every input the graph uses, by name. Raises one `RequestError` with every file that can't be used (cut
    short, damaged, too short, no numbers), so that nothing is recorded or written for a run that can't begin."""
    pipeline = prepared.pipeline
    sounds: dict[str, Audio] = {}
    problems: list[Problem] = []
    for name in prepared.graph.inputs:
        try:
            sounds[name] = read_audio(pipeline.path(pipeline.inputs[name]))
        except RequestError as error:
            problems += [problem.at(key=f"inputs.{name}") for problem in error.problems]
    if problems:
        raise RequestError(located(problems, pipeline))
    return sounds

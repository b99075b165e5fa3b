"""Wrong types and ranges for every field of every stage, of the prompt and of the preset: each refused, stage and key named.

The cases are read from the specs themselves, so a new field is tried without a line here. What depends on several fields at
once stands in a list at the end.
"""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Iterator
from typing import Any

import annotated_types as limits
import pytest
from pydantic import AfterValidator, BaseModel
from pydantic.fields import FieldInfo
from segue.pipeline.errors import RequestError
from segue.pipeline.graph_checks import build_graph
from segue.pipeline.pipeline import Pipeline
from segue.pipeline.spec import Adapter, DiffusionStage, Stage
from segue.presets.loader import load
from segue.stages import STAGES
from segue.stages.cover import TimelineEntry
from segue.stages.degrade import Noise
from segue.stages.score_judges import ScoreAdapter
from segue.stages.score_stems import StemSeparator

MINIMAL: dict[str, dict[str, Any]] = {
    "generate": {"prompt": {"duration_s": 1}},
    "cover": {"source": "clip"},
    "degrade": {"source": "clip", "bit_depth": 8},
    "repaint": {"source": "clip", "start_s": 0.1, "end_s": 0.2},
    "extract": {"source": "clip", "track": "drums"},
    "lego": {"source": "clip", "track": "drums"},
    "complete": {"source": "clip", "tracks": ["drums"]},
    "separate": {"source": "clip", "stem": "drums"},
    "wiener": {"source": "clip", "estimates": ["judged"]},
    "mix": {"sources": ["clip", "judged"]},
    "select": {"source": "judged"},
}
INSIDE: dict[type[BaseModel], dict[str, Any]] = {
    Noise: {"snr_db": 20}, Adapter: {"path": "x"}, TimelineEntry: {"until": 1.0}, ScoreAdapter: {"name": "clap"},
    StemSeparator: {"name": "hdemucs"},
}  # fmt: skip
POOL: tuple[Any, ...] = ("eight", 5, 1, 1.5, True, None, [], {"a": 1}, [[[]]])
FAR = (1e12, -1e12)

Case = tuple[tuple[str, ...], Any]
"""Where inside the field the wrong value stands, and the value."""


def branches(annotation: Any) -> list[Any]:
    """The members of a union, without what is written around them."""
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return branches(typing.get_args(annotation)[0])
    if origin in (typing.Union, types.UnionType):
        return [b for arg in typing.get_args(annotation) for b in branches(arg)]
    return [annotation]


def rules(annotation: Any) -> Iterator[Any]:
    """Limits and validators written around a value (not around the items of a list)."""
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        inner, *around = typing.get_args(annotation)
        for rule in around:
            yield from rule.metadata if isinstance(rule, FieldInfo) else (rule,)
        yield from rules(inner)
    elif origin in (typing.Union, types.UnionType):
        for arg in typing.get_args(annotation):
            yield from rules(arg)


def takes(branch: Any, value: Any) -> bool:
    """Whether a value is of the kind a branch wants; ranges apart."""
    origin = typing.get_origin(branch)
    if branch is float or branch is int:
        return isinstance(value, int | float) and not isinstance(value, bool) and (branch is float or value == int(value))
    if origin is typing.Literal:
        return value in typing.get_args(branch)
    if origin is tuple:
        return value == [] and typing.get_args(branch)[-1] is Ellipsis
    if origin is dict:
        return isinstance(value, dict)
    if branch is type(None):
        return value is None
    return isinstance(branch, type) and branch in (bool, str) and isinstance(value, branch)


def wrong_values(annotation: Any, around: tuple[Any, ...] = (), deep: bool = True) -> Iterator[Case]:
    """Values a field must refuse: of a wrong kind, out of range, too long or too short, and (`deep`) wrong ones further in."""
    kinds = branches(annotation)
    yield from (((), value) for value in POOL if not any(takes(kind, value) for kind in kinds))
    for rule in (*around, *rules(annotation)):
        yield from (((), value) for value in outside(rule, kinds))
    for kind in kinds if deep else ():
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            for name, info in kind.model_fields.items():
                for path, value in wrong_values(info.annotation, tuple(info.metadata)):
                    yield (name, *path), value
            yield ("no_such_key",), 1
        if typing.get_origin(kind) is tuple and not any(k in (int, float) for k in kinds):
            item = typing.get_args(kind)[0]
            if len(typing.get_args(kind)) == 2 and typing.get_args(kind)[1] is Ellipsis:
                yield from ((("0", *path), value) for path, value in wrong_values(item))


def outside(rule: Any, kinds: list[Any]) -> Iterator[Any]:
    numbers = any(k in (int, float) for k in kinds)
    lists = any(typing.get_origin(k) is tuple for k in kinds)
    if isinstance(rule, limits.Interval | limits.Len):
        for single in rule:
            yield from outside(single, kinds)
    elif isinstance(rule, limits.Ge) and numbers:
        yield rule.ge - 1
    elif isinstance(rule, limits.Gt) and numbers:
        yield rule.gt
    elif isinstance(rule, limits.Le) and numbers:
        yield rule.le + 1
    elif isinstance(rule, limits.Lt) and numbers:
        yield rule.lt
    elif isinstance(rule, limits.MinLen) and rule.min_length > 0:
        yield [] if lists else ""
    elif isinstance(rule, limits.MaxLen) and rule.max_length <= 100_000:
        yield ["clip"] * (rule.max_length + 1) if lists else "x" * (rule.max_length + 1)
    elif isinstance(rule, AfterValidator):
        yield from FAR if numbers else ["../no name 🎵"]


def laid(annotation: Any, path: tuple[str, ...], value: Any) -> Any:
    """The field's value with `value` at `path` in it, and whatever else is needed there."""
    if not path:
        return value
    for kind in branches(annotation):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            info = kind.model_fields.get(path[0])
            inner = laid(info.annotation, path[1:], value) if info else value
            return {**INSIDE.get(kind, {}), path[0]: inner}
        if typing.get_origin(kind) is tuple:
            return [laid(typing.get_args(kind)[0], path[1:], value)]
    raise AssertionError(f"no place {path} in {annotation}")


def problems_of(text: dict[str, Any], graph: bool = False) -> list[Any]:
    try:
        pipe = load(json.dumps(text, indent=1) + "\n")
        if graph:
            build_graph(pipe, model=None)
    except RequestError as error:
        assert error.exit_code == 2
        return error.problems
    return []


def preset(stage: dict[str, Any]) -> dict[str, Any]:
    return {"inputs": {"clip": "clip.wav"}, "stages": {"judged": {"type": "score", "source": "clip"}, "it": stage}}


def faults(key: str, value: Any, problems: list[Any], stage: str | None) -> Iterator[str]:
    shown = f"{key} = {str(value)[:60]!r}"
    if not problems:
        yield f"{shown} was taken"
    for problem in problems:
        if problem.stage != stage or not (problem.key or "").startswith(key.split(".")[0]) or not problem.cause:
            yield f"{shown}: {problem}"
        elif problem.line is None and stage is not None:
            yield f"{shown}: no line in {problem}"
    if problems and not any(p.fix or "takes" in p.cause or "names start" in p.cause for p in problems):
        yield f"{shown}: no way out is told in {problems[0]}"
    if len(problems) > 1 and value != {"a": 1}:  # an unknown key, and those that are missing beside it
        yield f"{shown}: {len(problems)} problems for one slip: {[str(p) for p in problems]}"


def cases_of(cls: type[BaseModel], skip: tuple[str, ...] = ()) -> Iterator[tuple[str, tuple[str, ...], Any, Any]]:
    """Field, path inside it, wrong value, and the field's value with it. What every denoising stage inherits is looked into
    to the bottom on one of them."""
    inherited = DiffusionStage.model_fields if issubclass(cls, Stage) and cls is not STAGES["generate"] else {}
    for name, info in cls.model_fields.items():
        if name not in skip:
            for path, value in wrong_values(info.annotation, tuple(info.metadata), deep=name not in inherited):
                yield name, path, value, laid(info.annotation, path, value)


@pytest.mark.parametrize("name", list(STAGES))
def test_every_field_of_a_stage(name: str) -> None:
    cls: type[Stage] = STAGES[name]
    least = {"type": name, **MINIMAL.get(name, {"source": "clip"})}
    assert problems_of(preset(least)) == [] or name == "separate", "the preset without a slip is sound"
    found, tried = [], 0
    for field, path, value, whole in cases_of(cls, skip=("type",)):
        given = {**least, field: whole}
        if field == "prompt" and isinstance(whole, dict):
            given["prompt"] = {**least.get("prompt", {}), **whole}
        found += faults(".".join((field, *path)), value, problems_of(preset(given)), "it")
        tried += 1
    for wrong in (5, None, "no_such_type", ["x"]):
        found += faults("type", wrong, problems_of(preset({**least, "type": wrong})), "it")
    assert tried > 5 * (len(cls.model_fields) - 1)
    assert found == [], "\n".join(found)


def test_every_key_of_a_preset() -> None:
    found = []
    for field, path, value, whole in cases_of(Pipeline, skip=("stages", "inputs")):
        given = {**preset({"type": "score", "source": "clip"}), field: whole}
        found += faults(".".join((field, *path)), value, problems_of(given), None)
    for wrong in (5, "clip.wav", [], {"no name": "x"}, {"clip": 5}, {"clip": None}):
        given = {**preset({"type": "score", "source": "clip"}), "inputs": wrong}
        assert any((p.key or "").startswith("inputs") for p in problems_of(given)) or wrong == [], wrong
    for wrong in (5, "draft", [], {}, None, {"it": 5}, {"it": None}, {"it": []}):
        (problem, *_) = problems_of({"stages": wrong})
        assert problem.fix and (problem.stage == "it" or problem.key == "stages"), wrong
    assert found == [], "\n".join(found)


@pytest.mark.parametrize(
    ("stage", "said"),
    [
        ({"type": "repaint", "source": "clip", "start_s": 2, "end_s": 1}, "end after it starts"),
        ({"type": "repaint", "source": "clip", "start_s": 1}, "both start_s and end_s"),
        ({"type": "repaint", "source": "clip"}, "needs a window"),
        ({"type": "repaint", "source": "clip", "windows": [[2, 3], [1, 1.5]]}, "rise apart"),
        ({"type": "repaint", "source": "clip", "windows": [[-1, 1]]}, "must start at 0"),
        ({"type": "mix", "sources": ["clip", "judged"], "gains_db": [0]}, "one gain for each source"),
        ({"type": "mix", "sources": ["clip", "judged"], "gains_db": [0, 99]}, "outside"),
        ({"type": "cover", "source": "clip", "strength": 0.5, "timeline": [{"until": 1.0}]}, "strength and timeline"),
        ({"type": "cover", "source": "clip", "timeline": [{"until": 0.5}]}, "must rise"),
        ({"type": "cover"}, "exactly one of source"),
        ({"type": "refine", "source": "clip", "timesteps": [0.5, 0.9]}, "fall strictly"),
        ({"type": "refine", "source": "clip", "schedule": "custom"}, "needs timesteps"),
        ({"type": "refine", "source": "clip", "guidance": {"interval": [0.9, 0.1]}}, "runs backwards"),
        ({"type": "degrade", "source": "clip"}, "nothing to do"),
        ({"type": "degrade", "source": "clip", "low_pass": {"cutoff_hz": [8000, 4000]}}, "runs backwards"),
        ({"type": "save", "source": "clip", "format": "mp3", "subtype": "PCM_24"}, "holds no PCM_24"),
        ({"type": "save", "source": "clip", "directory": "../elsewhere"}, "leads out of"),
        ({"type": "score", "source": "clip", "weights": {"no_such_term": 1}}, "no_such_term"),
        ({"type": "refine", "source": "judged", "when": "judged.overall <"}, "when"),
        ({"type": "refine", "source": "judged", "when": "__import__('os')"}, "when"),
    ],
)
def test_what_depends_on_several_keys(stage: dict[str, Any], said: str) -> None:
    (problem,) = problems_of(preset(stage), graph=True)
    assert problem.stage == "it" and said in str(problem)


def test_a_stage_with_a_slip_still_says_what_it_can_not_read() -> None:
    stage = {"type": "refine", "source": "clip", "timbre": "colour", "steps": "eight"}
    assert {(p.stage, p.key) for p in problems_of(preset(stage))} == {("it", "steps"), ("it", "timbre")}


def test_a_slip_in_a_list_is_told_by_its_own_keys() -> None:
    (problem,) = problems_of(preset({"type": "cover", "source": "clip", "adapters": [{"path": "x", "scael": 1}]}))
    assert problem.key == "adapters.0.scael" and "path, scale" in problem.fix

"""A preset's name, file or text to a `Pipeline`: the one place that knows every stage type.

Everything wrong with the text is reported at once, with its line, and with it what graph, model and input files can tell of
the rest (`unsound`). Of a text that is right in itself, `pipeline.prepare` tells that.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ..pipeline.errors import Problem, RequestError, did_you_mean
from ..pipeline.home import exists, expanded
from ..pipeline.pipeline import Pipeline
from ..pipeline.places import COMMAND_LINE, located, nearest_line
from ..pipeline.spec import Stage
from .overrides import apply_overrides, mapping_under
from .shipped import FOLDER, PresetInfo, presets
from .spec_problems import spec_problems
from .unsound import Unready, problems_of_the_rest
from .yaml_reader import read_file, read_yaml


def load(
    preset: str | Path,
    *,
    overrides: Mapping[str, str] | None = None,
    inputs: Mapping[str, str | Path] | None = None,
    types: Mapping[str, type[Stage]] | None = None,
) -> Pipeline:
    """The pipeline a preset declares.

    `preset` is a shipped preset's name, a path, or YAML text (anything with a line break). `overrides` are dotted paths
    and values as text (``{"prompt.caption": "…", "draft.steps": "8"}``). `inputs` replaces input files; these paths start
    at the working folder, where those in the preset start at its own. `types` are the stage types known (all by default).
    Raises RequestError with every problem, each with file, line, stage and key.
    """
    known = types if types is not None else all_types()
    text, path = _found(preset)
    file = str(path) if path else None
    document, problems = apply_overrides(read_yaml(text, file), overrides or {}, known)
    if not isinstance(document.data, dict):
        what = "is empty" if document.data is None else f"holds {_kind(document.data)}"
        fix = "write keys such as prompt: and stages: at the left margin"
        raise RequestError([*problems, Problem(f"the preset {what}, and a preset is a mapping of keys", fix, file=file)])
    data = dict(document.data)
    problems += _replace_inputs(data, document.lines, inputs or {})
    if path and "name" not in data:
        data["name"] = path.stem[:120]
    stages, wrong = _stages(data, document.lines, known)
    pipeline = None
    try:
        pipeline = Pipeline.model_validate({**data, "stages": stages})
    except ValidationError as error:
        wrong += spec_problems(error, Pipeline, {**data, "stages": stages}, document.lines)
    problems += [_placed(p, file) for p in wrong]
    base = path.parent.absolute() if path else None
    if pipeline is not None and not problems:
        return pipeline.placed(base, file, document.lines)
    problems += problems_of_the_rest(data, stages, base=base, file=file, lines=document.lines)
    raise RequestError(sorted(dict.fromkeys(problems), key=lambda p: (p.line is not None, p.line or 0)))


def all_types() -> Mapping[str, type[Stage]]:
    from ..stages import STAGES

    return STAGES


def _found(preset: str | Path) -> tuple[str, Path | None]:
    """The text, and the file it came from."""
    if isinstance(preset, str) and "\n" in preset:
        return preset, None
    shipped = {path.stem: path for path in FOLDER.glob("*.yaml")}
    if isinstance(preset, str) and preset in shipped:
        return read_file(shipped[preset]), shipped[preset]
    path = expanded(preset)
    if isinstance(preset, str) and len(path.parts) == 1 and not path.suffix and not exists(path):
        near = did_you_mean(preset, shipped)
        raise RequestError(
            Problem(f"there is no preset and no file '{preset}'.{near}", f"presets are {', '.join(sorted(shipped))}")
        )
    return read_file(path), path


def _replace_inputs(data: dict[str, Any], lines: dict[tuple[str, ...], int], inputs: Mapping[str, str | Path]) -> list[Problem]:
    declared = mapping_under(data, "inputs")
    problems = []
    for name, path in inputs.items():
        if name not in declared:
            fix = f"its inputs are {', '.join(declared)}" if declared else "it has none: add inputs: {name: file} to the preset"
            problems.append(
                Problem(f"the preset has no input '{name}'.{did_you_mean(name, declared)}", fix, file=f"--input {name}={path}")
            )
            continue
        data["inputs"] = {**data["inputs"], name: str(expanded(path).absolute())}
        lines[("inputs", name)] = COMMAND_LINE
    return problems


def _placed(problem: Problem, file: str | None) -> Problem:
    if problem.line == COMMAND_LINE:
        return Problem(problem.cause, problem.fix, problem.stage, problem.key, "--set")
    return problem.at(file=file)


def _stages(
    data: Mapping[str, Any], lines: Mapping[tuple[str, ...], int], types: Mapping[str, type[Stage]]
) -> tuple[dict[str, Stage], list[Problem]]:
    """Every stage as its class, wrong ones as `Unready`, and what is wrong with them."""
    given = data.get("stages")
    if not isinstance(given, dict) or not given:
        cause = f"a preset needs stages, and this has {_kind(given)}" if given else "the preset has no stages"
        fix = "write stages: {draft: {type: generate}} (a name for each stage, with its type)"
        return {"pending": Unready(type="?")}, [Problem(cause, fix, key="stages", line=lines.get(("stages",)))]
    stages: dict[str, Stage] = {}
    problems: list[Problem] = []
    for name, raw in given.items():
        stages[name], wrong = _stage(name, raw, types, lines)
        problems += wrong
    return stages, problems


def _stage(
    name: str, raw: Any, types: Mapping[str, type[Stage]], lines: Mapping[tuple[str, ...], int]
) -> tuple[Stage, list[Problem]]:
    line = nearest_line(dict(lines), ("stages", name, "type"))
    if not isinstance(raw, dict):
        cause = f"a stage is a mapping with a type, this is {_kind(raw)}"
        return Unready(type="?"), [Problem(cause, f"write {name}: {{type: …}}", name, line=line)]
    named = raw.get("type")
    cls = types.get(named) if isinstance(named, str) else None
    unready = Unready.of(raw)
    if cls is None:
        cause = "the stage has no type" if "type" not in raw else f"'{named}' is no stage type.{did_you_mean(str(named), types)}"
        return unready, [Problem(cause, f"types are {', '.join(types)}", name, "type", line=line)]
    try:
        return cls.model_validate(raw), []
    except ValidationError as error:
        unready = unready.meant(raw, cls, error)
        return unready, spec_problems(error, cls, raw, lines, ("stages", name))


def _kind(value: Any) -> str:
    if isinstance(value, dict):
        return "a mapping"
    return "a list" if isinstance(value, list) else "nothing" if value is None else f"{value!r}"[:60]


__all__ = ["FOLDER", "PresetInfo", "load", "located", "presets"]

"""A planned run to its variations: the preset loaded once for each combination of what varies.

Whatever is wrong with preset or settings is told at the place in the plan that brought it about. Knows no prompt.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..pipeline.errors import Problem, RequestError, did_you_mean
from ..pipeline.home import exists
from ..pipeline.pipeline import Pipeline
from ..presets.loader import load
from .plan import PRESETS, Plan, PlannedRun, is_shipped
from .prompt_sources import as_text

MAX_VARIATIONS = 1000
_OURS = {
    "seed": "the night gives every job its seed (the plan's key seed)",
    "takes": "write takes beside preset",
    "prompt": "prompts are the plan's own (prompts)",
    "inputs": "write inputs beside preset",
    "name": "leave it out",
}


@dataclass(frozen=True)
class Variation:
    """One way to carry out run `run` of the plan: `settings` by path, values as text."""

    run: int
    settings: Mapping[str, str]
    values: Mapping[str, Any]


def variations(plan: Plan) -> tuple[Variation, ...]:
    """Every variation of every run, in the plan's order, the last varied setting changing fastest. Raises RequestError where
    they are too many or a run varies what it can't."""
    problems: list[Problem] = []
    found: list[Variation] = []
    for number, run in enumerate(plan.runs):
        problems += _refused(plan, number, run)
        total = 1
        for values in run.vary.values():
            total *= len(values)
        if total > MAX_VARIATIONS:
            cause = f"vary makes {total} variations of this run, at most {MAX_VARIATIONS} are carried out"
            problems.append(plan.problem(cause, "leave values out, or write several plans", "runs", number, "vary"))
            continue
        for chosen in itertools.product(*run.vary.values()):
            settings = dict(zip(run.vary, chosen, strict=True))
            found.append(Variation(number, {path: _shown(value) for path, value in settings.items()}, settings))
    if problems:
        raise RequestError(problems)
    return tuple(found)


def _refused(plan: Plan, number: int, run: PlannedRun) -> list[Problem]:
    problems = []
    for where in ("set", "vary"):
        for path in getattr(run, where):
            root = re.split(r"[.\[]", path)[0]
            if root in _OURS and not (where == "set" and root == "prompt"):
                cause = f"{where} names '{path}', which the plan decides itself"
                problems.append(plan.problem(cause, _OURS[root], "runs", number, where))
    both = [path for path in run.vary if path in run.set]
    for path in both:
        problems.append(plan.problem(f"'{path}' is set and varied", "write it in one of set and vary", "runs", number, "vary"))
    return problems


def base_pipeline(plan: Plan, variation: Variation) -> Pipeline:
    """The preset of a variation with its settings, inputs and the plan's model. Raises RequestError, its problems at their
    places in the plan where it is the plan that is wrong, and in the preset's file otherwise."""
    run = plan.runs[variation.run]
    preset = plan.preset_name(run.preset)
    if not is_shipped(preset, PRESETS) and not exists(Path(preset)):
        near = did_you_mean(run.preset, [path.stem for path in PRESETS.glob("*.yaml")])
        cause = f"there is no preset and no file '{run.preset}'.{near}"
        fix = "name a shipped preset, or a file (relative paths start at the plan)"
        raise RequestError(plan.problem(cause, fix, "runs", variation.run, "preset"))
    settings = {**run.set, **variation.values}
    overrides = {path: _as_override(value) for path, value in settings.items()}
    model = plan.model_name()
    if model is not None:
        overrides["model"] = _as_override(model)
    inputs = {name: str(plan.path(file).absolute()) for name, file in run.inputs.items()}
    try:
        made = load(preset, overrides=overrides, inputs=inputs)
    except RequestError as error:
        raise RequestError([placed(plan, variation, problem) for problem in error.problems]) from None
    return made if run.takes is None else made.model_copy(update={"takes": run.takes}).placed(made._base, made._file, made._lines)


def placed(plan: Plan, variation: Variation, problem: Problem) -> Problem:
    """A problem of the run's preset, at the plan's line where a setting or input of the plan brought it about."""
    run = plan.runs[variation.run]
    base = ("runs", variation.run)
    file = problem.file or ""
    if file.startswith("--input "):
        return _at(plan, problem, *base, "inputs", file.removeprefix("--input ").split("=")[0])
    if not file.startswith("--set"):
        return problem if file else _at(plan, problem, *base, "preset")
    told = file.removeprefix("--set").strip().split("=")[0]
    if not told and problem.stage is None and (problem.key or "").split(".")[0] == "inputs":
        return _at(plan, problem, *base, "inputs", *(problem.key or "").split(".")[1:2])
    if told == "model" or (not told and problem.stage is None and problem.key == "model"):
        return _at(plan, problem, "model")
    for where in ("vary", "set"):
        for path in getattr(run, where):
            if path == told or (not told and _names(path, problem)):
                return _at(plan, problem, *base, where, path)
    return _at(plan, problem, *base)


def _names(path: str, problem: Problem) -> bool:
    """Whether a setting's path is, or stands above, the key a problem is about."""
    parts = re.findall(r"[^.\[\]]+", path.removeprefix("stages."))
    about = [*([problem.stage] if problem.stage else []), *re.findall(r"[^.\[\]]+", problem.key or "")]
    shorter = min(len(parts), len(about))
    return shorter > 0 and parts[:shorter] == about[:shorter] and len(about) >= min(2, len(parts))


def _at(plan: Plan, problem: Problem, *path: str | int) -> Problem:
    where = plan.problem("", "", *path)
    return Problem(problem.cause, problem.fix, problem.stage, problem.key or where.key, where.file, where.line)


def _as_override(value: Any) -> str:
    """A value as text that the presets' overrides read as that value: JSON is YAML, and quoted text stays text."""
    return json.dumps(value).replace("\x7f", "\\u007f")  # escapes only: YAML reads some characters as line ends


def _shown(value: Any) -> str:
    return as_text(value) if isinstance(value, str | int | float) else json.dumps(value, ensure_ascii=False)

"""What can be known wrong about a denoising stage when the model's facts are there: variant, task, steps, length, adapters.

Knows variants by their `VariantInfo` only; no weights, no concrete stage type.
"""

from __future__ import annotations

from collections.abc import Iterator

from .conditioning import triggers_cover
from .diffusion.schedules import timesteps
from .errors import Problem, RequestError, did_you_mean
from .graph import Graph
from .models.base import ModelInfo, VariantInfo
from .scope import Scope
from .spec import DiffusionStage

SHOWING = frozenset({"cover", "repaint", "extract", "lego", "complete"})  # tasks in which the decoder sees a source


def variant_problems(model: ModelInfo | None, scope: Scope, stage: DiffusionStage) -> Iterator[Problem]:
    if model is None:
        return
    info = scope.info
    if info is None:
        yield scope.problem(
            f"model '{model.name}' has no variant '{stage.variant}'.{did_you_mean(stage.variant or '', model.variants)}",
            f"its variants are {listed(model.variants)}",
            "variant",
        )
        return
    if stage.task is not None and stage.task not in info.tasks:
        yield _wrong_task(model, info, scope, stage.task)
    if stage.guidance.kind == "multi" and ("empty" not in info.branches or stage.task not in SHOWING):
        why = f"and {stage.task} shows variant" if "empty" in info.branches else "and it can't be told apart by variant"
        yield scope.problem(
            f"guidance 'multi' weighs what a model is shown against the text, {why} '{info.variant}' of {info.model}"
            f"{' nothing' if 'empty' in info.branches else ''}",
            f"write guidance: {{kind: cfg}}; multi is for {', '.join(sorted(SHOWING))} on ACE-Step models",
            "guidance.kind",
        )
    steps = scope.spec.steps if isinstance(scope.spec, DiffusionStage) else None
    if steps is not None and not info.min_steps <= steps <= info.max_steps:
        key = "timesteps" if stage.timesteps is not None else "steps"
        yield scope.problem(
            f"{steps} steps; variant '{info.variant}' takes {info.min_steps} to {info.max_steps}",
            f"write {key} within these, or another variant",
            key,
        )
    else:
        yield from _schedule_problems(scope)


def _schedule_problems(scope: Scope) -> Iterator[Problem]:
    """A schedule that can't have these steps or this shift (turbo's table ends at 20)."""
    spec = scope.spec
    if not isinstance(spec, DiffusionStage) or not spec.schedule or not spec.steps or spec.shift is None:
        return
    try:
        timesteps(spec.schedule, spec.steps, spec.shift, spec.timesteps)
    except RequestError as error:
        yield from (scope.problem(p.cause, p.fix, p.key) for p in error.problems)


def _wrong_task(model: ModelInfo, info: VariantInfo, scope: Scope, task: str) -> Problem:
    able = [name for name, other in model.variants.items() if task in other.tasks]
    if not able:
        return scope.problem(f"no variant of model '{model.name}' can do {task}", "take another model", "type")
    lacking = sorted(t for t in model.variants[able[0]].tasks - info.tasks)
    want = "wants" if len(lacking) == 1 else "want"
    return scope.problem(
        f"variant '{info.variant}' can't do {task}: {listed(lacking, 'and')} {want} {listed(able, 'or')}",
        f"write variant: {able[0]}",
        "variant",
    )


def length_problems(graph: Graph, scope: Scope) -> Iterator[Problem]:
    """Once for each length that is too long: where it first meets a model."""
    info, name = scope.info, scope.stage
    if info is None:
        return
    limit = info.max_duration_s
    told = f"variant '{info.variant}' of {info.model} takes at most {limit:g} s"
    too_long = {n: d for n in graph.sources(name).values() if (d := graph.duration_s(n)) is not None and d > limit}
    for source, duration in too_long.items():
        if source in graph.pipeline.inputs or not _meets_model(graph, source):
            key = next(k for k, s in graph.sources(name).items() if s == source)
            yield scope.problem(f"'{source}' lasts {duration:g} s; {told}", f"cut it to {limit:g} s or less", key)
    own = graph.duration_s(name)
    if own is not None and own > limit and not too_long:
        asked = "prompt.duration_s" if scope.prompt.duration_s == own else None
        yield scope.problem(f"it would make {own:g} s; {told}", f"ask for {limit:g} s or less", asked)


def _meets_model(graph: Graph, name: str) -> bool:
    stages = graph.pipeline.stages
    return any(graph.info(n) is not None for n in {name, *graph.ancestors(name)} if n in stages)


def adapter_problems(scope: Scope, stage: DiffusionStage) -> Iterator[Problem]:
    for i, adapter in enumerate(stage.adapters):
        path = scope.path(adapter.path)
        if not path.exists():
            yield scope.problem(
                f"there is no adapter at {path}", "correct the path (relative ones start at the preset)", f"adapters[{i}].path"
            )
            continue
        from .models.adapters import adapter_file

        try:
            adapter_file(path)
        except RequestError as error:
            yield from (scope.problem(p.cause, p.fix, f"adapters[{i}].path") for p in error.problems)


def warn_of_weak_points(scope: Scope, stage: DiffusionStage) -> None:
    """Warnings: allowed, and probably not what was meant."""
    if stage.instruction is not None and stage.task != "cover" and triggers_cover(stage.instruction):
        scope.warn(
            "this instruction holds the words by which ACE-Step knows a cover, and this stage is none: upstream's own "
            "code would take it for one, and the model may follow it",
            "say it in other words, or use a cover stage",
            "instruction",
        )
    strength, resolved = getattr(stage, "strength", None), scope.spec
    steps = resolved.steps if isinstance(resolved, DiffusionStage) else None
    if scope.info is not None and isinstance(resolved, DiffusionStage):
        _warn_of_other_than_written(scope, stage, resolved)
    if isinstance(strength, float) and steps is not None and strength > 0 and int(steps * strength) == 0:
        scope.warn(
            f"strength {strength:g} of {steps} steps is less than one step: the source will not be followed at all",
            f"write strength: {1 / steps:.3g} or more, more steps, or strength: 0",
            "strength",
        )


def _warn_of_other_than_written(scope: Scope, stage: DiffusionStage, resolved: DiffusionStage) -> None:
    """Values that were written and will not be what runs."""
    if stage.shift is not None and stage.shift != resolved.shift:
        scope.warn(
            f"shift {stage.shift:g} becomes {resolved.shift:g}: turbo's tables exist for the shifts 1, 2 and 3",
            f"write shift: {resolved.shift:g}, or schedule: continuous for any other",
            "shift",
        )
    written, guidance = stage.guidance, resolved.guidance
    if guidance.kind == "none" and written.scale not in (None, 1.0):
        why = "kind none" if written.kind else f"kind none, the default of variant '{resolved.variant}',"
        scope.warn(
            f"guidance scale {written.scale:g} has no effect: {why} is no guidance",
            "write kind: apg (or cfg, adg) beside it, or leave scale out",
            "guidance.scale",
        )
    elif written.kind in ("cfg", "apg", "adg") and written.scale is None and guidance.scale == 1.0:
        scope.warn(
            f"guidance '{written.kind}' has no effect: scale 1, the default of variant '{resolved.variant}', is no guidance",
            "write a scale beside it, e.g. scale: 3",
            "guidance.kind",
        )


def listed(names: object, word: str = "") -> str:
    """Names for a message, the first twelve; with `word` before the last."""
    known = [str(n) for n in names]  # type: ignore[attr-defined]
    if word and len(known) > 1:
        return f"{', '.join(known[:-1])} {word} {known[-1]}"
    return ", ".join(known[:12]) + (f" and {len(known) - 12} more" if len(known) > 12 else "")

"""Everything about a pipeline that can be known wrong before a run, each as a `Problem` that says what to write instead.

One generator a kind of fault; `every_problem` runs them all. This module knows no stage type, only class facts of `Stage`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import networkx as nx

from .conditioning import triggers_cover
from .errors import Problem, did_you_mean
from .expression import Expression, ExpressionError, parse
from .models.base import ModelInfo, VariantInfo
from .scope import Scope
from .spec import DiffusionStage, Prompt, Stage

if TYPE_CHECKING:
    from .graph import Graph

Warn = Callable[[Problem], None]

MAX_TAKES = 100_000
"""Takes one stage may fan out to. More is a slip of the pen: an overnight run is many runs."""


def every_problem(graph: Graph, warn: Warn) -> Iterator[Problem]:
    """All problems of the graph; `warn` is called with what does not keep it from running."""
    yield from structure_problems(graph)
    yield from _inputs(graph, warn)
    for name, stage in graph.pipeline.stages.items():
        scope = Scope(graph, name, warn)
        yield from _takes(graph, scope, stage)
        if isinstance(stage, DiffusionStage):
            yield from _variant(graph.model, scope, stage)
            yield from _length(graph, scope)
            yield from _adapters(scope, stage)
            _weak_points(scope, stage)
        yield from stage.check(scope)


def structure_problems(graph: Graph) -> Iterator[Problem]:
    """Problems of names and references alone: what can be told also while values elsewhere in the preset are wrong."""
    yield from _names(graph)
    yield from _cycles(graph)
    yield from _outputs(graph)
    for name, stage in graph.pipeline.stages.items():
        scope = Scope(graph, name)
        yield from _references(graph, scope, stage)
        yield from _when(graph, scope, stage)
        yield from _report(graph, scope, stage)


def _names(graph: Graph) -> Iterator[Problem]:
    pipeline = graph.pipeline
    for name in pipeline.inputs:
        if name in pipeline.stages:
            yield Problem(
                f"'{name}' names an input and a stage, so a source '{name}' could mean either", "rename one of them",
                stage=name,
            )  # fmt: skip
    for name in (*pipeline.inputs, *pipeline.stages):
        if name == "prompt":
            key = "inputs.prompt" if name in pipeline.inputs else "stages.prompt"
            yield Problem("'prompt' is the take's prompt in `when` and can name nothing else", "rename it", key=key)


def _inputs(graph: Graph, warn: Warn) -> Iterator[Problem]:
    read = {source for stage in graph.pipeline.stages.values() for source in stage.references().values()}
    for name in graph.pipeline.inputs:
        key = f"inputs.{name}"
        facts = graph.facts.get(name)
        if facts is not None and not facts.exists:
            yield Problem(
                f"the file {facts.path} does not exist",
                "correct the path (relative ones start at the preset)",
                key=key,
            )
        elif facts is not None and facts.problem is not None:
            yield facts.problem.at(key=key)
        if name not in read:
            warn(Problem(f"no stage reads the input '{name}'", "name it in a source, or leave it out", key=key))


def _cycles(graph: Graph) -> Iterator[Problem]:
    for component in nx.strongly_connected_components(graph.digraph):
        if len(component) < 2:
            continue
        ring = [a for a, _ in nx.find_cycle(graph.digraph.subgraph(component))]
        first = min(range(len(ring)), key=lambda i: list(graph.pipeline.stages).index(ring[i]))
        ring = ring[first:] + ring[:first]
        text = " → ".join([*ring, ring[0]])
        key = next(k for k, s in graph.sources(ring[0]).items() if s == ring[-1])
        yield Problem(
            f"the stages go in a circle: {text} (each feeds the next)", "let one of them read an input or an earlier stage",
            stage=ring[0], key=key,
        )  # fmt: skip


def _outputs(graph: Graph) -> Iterator[Problem]:
    stages = graph.pipeline.stages
    for i, name in enumerate(graph.pipeline.outputs):
        if name not in stages:
            what = "an input; outputs are stages" if name in graph.pipeline.inputs else "no stage of this preset"
            yield Problem(
                f"output '{name}' is {what}.{did_you_mean(name, stages)}",
                f"stages are {_listed(stages)}",
                key=f"outputs[{i}]",
            )
        elif name in graph.pipeline.outputs[:i]:
            yield Problem(f"output '{name}' stands twice", "leave one out", key=f"outputs[{i}]")


def _references(graph: Graph, scope: Scope, stage: Stage) -> Iterator[Problem]:
    known = [n for n in (*graph.pipeline.inputs, *graph.pipeline.stages) if n != scope.stage]
    for key, source in stage.references().items():
        if source == scope.stage:
            yield scope.problem("the stage reads itself", f"name another stage or input: {_listed(known)}", key)
        elif source not in known:
            yield scope.problem(
                f"'{source}' is no input and no stage of this preset.{did_you_mean(source, known)}",
                f"write one of {_listed(known)}" if known else "add an input or a stage to read from", key,
            )  # fmt: skip


def _takes(graph: Graph, scope: Scope, stage: Stage) -> Iterator[Problem]:
    name = scope.stage
    counts = {source: graph.takes(source) for source in graph.sources(name).values()}
    if not stage.chooses and len({n for n in counts.values() if n > 1}) > 1:
        said = ", ".join(f"'{source}' gives {n}" for source, n in counts.items())
        yield scope.problem(
            f"its sources give different numbers of takes: {said}", "let them agree, or let all but one kind give one take",
            next(iter(graph.sources(name))),
        )  # fmt: skip
    if stage.chooses and stage.takes is not None:
        yield scope.problem(
            "a stage that chooses among takes makes none",
            "leave takes out (keep says how many go on)",
            "takes",
        )
    if graph.takes(name) > MAX_TAKES and all(n <= MAX_TAKES for n in counts.values()):
        yield scope.problem(
            f"takes multiply to {graph.takes(name)} here, more than {MAX_TAKES}",
            "lower takes, or choose between stages",
            "takes",
        )


def _when(graph: Graph, scope: Scope, stage: Stage) -> Iterator[Problem]:
    if stage.when is None:
        return
    if not stage.references():
        yield scope.problem("`when` decides over the takes of a source, and this stage has none", "leave when out", "when")
        return
    try:
        expression = parse(stage.when)
    except ExpressionError as wrong:
        yield scope.problem(wrong.cause, wrong.fix, "when")
        return
    yield from _when_names(graph, scope, expression)


def _when_names(graph: Graph, scope: Scope, expression: Expression) -> Iterator[Problem]:
    stages, above = graph.pipeline.stages, graph.ancestors(scope.stage)
    scorers = [n for n in graph.order if n in above and stages[n].scores]
    choice = f"upstream scoring stages are {_listed(scorers)}" if scorers else "put a score stage upstream"
    for root, field in sorted(expression.names()):
        if root == "prompt":
            if field not in Prompt.model_fields:
                near = did_you_mean(field, Prompt.model_fields)
                yield scope.problem(
                    f"`when` reads prompt.{field}, and a prompt has no '{field}'.{near}",
                    f"its fields are {_listed(Prompt.model_fields)}", "when",
                )  # fmt: skip
        elif root not in stages:
            near = did_you_mean(root, [*scorers, "prompt"])
            yield scope.problem(f"`when` reads {root}.{field}, and there is no stage '{root}'.{near}", choice, "when")
        elif root not in above:
            where = "is this stage itself" if root == scope.stage else "does not come before this stage"
            yield scope.problem(f"`when` reads {root}.{field}, and '{root}' {where}", choice, "when")
        elif not stages[root].scores:
            yield scope.problem(
                f"`when` reads {root}.{field}, and '{root}' ({stages[root].type}) scores nothing",
                choice,
                "when",
            )
        else:
            known = stages[root].report_fields()
            if known is not None and field not in known:
                yield scope.problem(
                    f"`when` reads {root}.{field}, and its report has no '{field}'.{did_you_mean(field, known)}",
                    f"its fields are {_listed(sorted(known))}", "when",
                )  # fmt: skip


def _report(graph: Graph, scope: Scope, stage: Stage) -> Iterator[Problem]:
    main = graph.main_source(scope.stage)
    if not stage.needs_report or main is None or graph.has_report(main):
        return
    above = graph.pipeline.stages.get(main)
    scorers = [n for n in graph.order if n in graph.ancestors(scope.stage) and graph.pipeline.stages[n].scores]
    if above is not None and above.scores:
        why = f"'{main}' scores only the takes for which its `when` holds"
    elif scorers:
        why = f"the audio was changed after '{scorers[-1]}' scored it"
    else:
        why = "nothing upstream scores it"
    yield scope.problem(
        f"{stage.type} needs a report, and the takes of '{main}' have none: {why}",
        f"put a score stage after '{main}'",
        "source",
    )


def _variant(model: ModelInfo | None, scope: Scope, stage: DiffusionStage) -> Iterator[Problem]:
    if model is None:
        return
    info = scope.info
    if info is None:
        yield scope.problem(
            f"model '{model.name}' has no variant '{stage.variant}'.{did_you_mean(stage.variant or '', model.variants)}",
            f"its variants are {_listed(model.variants)}", "variant",
        )  # fmt: skip
        return
    if stage.task is not None and stage.task not in info.tasks:
        yield _wrong_task(model, info, scope, stage.task)
    steps = scope.spec.steps if isinstance(scope.spec, DiffusionStage) else None
    if steps is not None and not info.min_steps <= steps <= info.max_steps:
        key = "timesteps" if stage.timesteps is not None else "steps"
        yield scope.problem(
            f"{steps} steps; variant '{info.variant}' takes {info.min_steps} to {info.max_steps}",
            f"write {key} within these, or another variant", key,
        )  # fmt: skip


def _wrong_task(model: ModelInfo, info: VariantInfo, scope: Scope, task: str) -> Problem:
    able = [name for name, other in model.variants.items() if task in other.tasks]
    if not able:
        return scope.problem(f"no variant of model '{model.name}' can do {task}", "take another model", "type")
    lacking = sorted(t for t in model.variants[able[0]].tasks - info.tasks)
    want = "wants" if len(lacking) == 1 else "want"
    return scope.problem(
        f"variant '{info.variant}' can't do {task}: {_listed(lacking, 'and')} {want} {_listed(able, 'or')}",
        f"write variant: {able[0]}", "variant",
    )  # fmt: skip


def _length(graph: Graph, scope: Scope) -> Iterator[Problem]:
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
        key = "prompt.duration_s" if scope.prompt.duration_s == own else None
        yield scope.problem(f"it would make {own:g} s; {told}", f"ask for {limit:g} s or less", key)


def _meets_model(graph: Graph, name: str) -> bool:
    stages = graph.pipeline.stages
    return any(graph.info(n) is not None for n in {name, *graph.ancestors(name)} if n in stages)


def _adapters(scope: Scope, stage: DiffusionStage) -> Iterator[Problem]:
    for i, adapter in enumerate(stage.adapters):
        if not scope.path(adapter.path).exists():
            yield scope.problem(
                f"there is no adapter at {scope.path(adapter.path)}", "correct the path (relative ones start at the preset)",
                f"adapters[{i}].path",
            )  # fmt: skip


def _weak_points(scope: Scope, stage: DiffusionStage) -> None:
    """Warnings: allowed, and probably not what was meant."""
    if stage.instruction is not None and stage.task != "cover" and triggers_cover(stage.instruction):
        scope.warn(
            "this instruction holds the words by which ACE-Step knows a cover, and this stage is none: upstream's own "
            "code would take it for one, and the model may follow it",
            "say it in other words, or use a cover stage", "instruction",
        )  # fmt: skip
    strength, resolved = getattr(stage, "strength", None), scope.spec
    steps = resolved.steps if isinstance(resolved, DiffusionStage) else None
    if isinstance(strength, float) and steps is not None and strength > 0 and int(steps * strength) == 0:
        scope.warn(
            f"strength {strength:g} of {steps} steps is less than one step: the source will not be followed at all",
            f"write strength: {1 / steps:.3g} or more, more steps, or strength: 0", "strength",
        )  # fmt: skip


def _listed(names: object, word: str = "") -> str:
    known = [str(n) for n in names]  # type: ignore[attr-defined]
    if word and len(known) > 1:
        return f"{', '.join(known[:-1])} {word} {known[-1]}"
    return ", ".join(known[:12]) + (f" and {len(known) - 12} more" if len(known) > 12 else "")

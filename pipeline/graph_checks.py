"""Everything about a pipeline that can be known wrong before a run, each as a `Problem` that says what to write instead.

`build_graph` gives the graph of a sound preset. One generator a kind of fault; `every_problem` runs them all. This module
knows no stage type, only class facts of `Stage`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial

import networkx as nx

from .checkpoint_checks import checkpoint_outputs, checkpoint_readers
from .errors import Problem, RequestError, did_you_mean
from .expression import Expression, ExpressionError, parse
from .graph import Graph, GraphScope, InputFacts
from .model_checks import adapter_problems, length_problems, listed, variant_problems, warn_of_weak_points
from .models.base import ModelInfo
from .places import located
from .plain_kinds import kinds_in
from .scope import Scope
from .spec import DiffusionStage, Preset, Prompt, Stage

Warn = Callable[[Problem], None]

_WORDS = {str: "text", int: "a number", float: "a number", bool: "true/false"}
_PROMPT_KINDS = {
    name: _WORDS[kind] for name, info in Prompt.model_fields.items() for kind in kinds_in(info.annotation) if kind in _WORDS
}

MAX_TAKES = 100_000
"""Takes one stage may fan out to. More is a slip of the pen: an overnight run is many runs."""


def build_graph(pipeline: Preset, *, model: ModelInfo | None, facts: Mapping[str, InputFacts] | None = None) -> Graph:
    """Check the whole pipeline and give its graph; `Graph.warnings` holds what does not keep it from running.

    `model` is the resolved model (None: what depends on it is not checked); `facts` are the input files' headers by input
    name (an input nobody looked at is not checked). Raises RequestError with **every** problem found.
    """
    graph = Graph(pipeline, model, facts)
    warnings: list[Problem] = []
    problems = located(dict.fromkeys(every_problem(graph, warnings.append)), pipeline)
    if problems:
        raise RequestError(sorted(problems, key=lambda p: p.line or 0))
    graph.warnings = tuple(located(dict.fromkeys(warnings), pipeline))
    return graph


def every_problem(graph: Graph, warn: Warn) -> Iterator[Problem]:
    """All problems of the graph; `warn` is called with what does not keep it from running."""
    yield from structure_problems(graph)
    yield from _inputs(graph, warn)
    for name, stage in graph.pipeline.stages.items():
        scope = GraphScope(graph, name, warn)
        yield from _takes(graph, scope, stage)
        if isinstance(stage, DiffusionStage):
            yield from variant_problems(graph.model, scope, stage)
            yield from length_problems(graph, scope)
            yield from adapter_problems(scope, stage)
            warn_of_weak_points(scope, stage)
        yield from stage.check(scope)


def structure_problems(graph: Graph) -> Iterator[Problem]:
    """Problems of names and references alone: what can be told also while values elsewhere in the preset are wrong."""
    yield from _names(graph)
    yield from _cycles(graph)
    yield from _outputs(graph)
    yield from checkpoint_outputs(graph)
    for name, stage in graph.pipeline.stages.items():
        scope = GraphScope(graph, name)
        yield from _references(graph, scope, stage)
        yield from _when(graph, scope, stage)
        yield from _report(graph, scope, stage)
        yield from checkpoint_readers(graph, scope, stage)


def _names(graph: Graph) -> Iterator[Problem]:
    pipeline = graph.pipeline
    for name in pipeline.inputs:
        if name in pipeline.stages:
            yield Problem(
                f"'{name}' names an input and a stage, so a source '{name}' could mean either",
                "rename one of them",
                stage=name,
            )
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
            f"the stages go in a circle: {text} (each feeds the next)",
            "let one of them read an input or an earlier stage",
            stage=ring[0],
            key=key,
        )


def _outputs(graph: Graph) -> Iterator[Problem]:
    stages = graph.pipeline.stages
    for i, name in enumerate(graph.pipeline.outputs):
        if name not in stages:
            what = "an input; outputs are stages" if name in graph.pipeline.inputs else "no stage of this preset"
            yield Problem(
                f"output '{name}' is {what}.{did_you_mean(name, stages)}",
                f"stages are {listed(stages)}",
                key=f"outputs[{i}]",
            )
        elif name in graph.pipeline.outputs[:i]:
            yield Problem(f"output '{name}' stands twice", "leave one out", key=f"outputs[{i}]")


def _references(graph: Graph, scope: Scope, stage: Stage) -> Iterator[Problem]:
    known = [n for n in (*graph.pipeline.inputs, *graph.pipeline.stages) if n != scope.stage]
    for key, source in stage.references().items():
        if source == scope.stage:
            yield scope.problem("the stage reads itself", f"name another stage or input: {listed(known)}", key)
        elif source not in known:
            yield scope.problem(
                f"'{source}' is no input and no stage of this preset.{did_you_mean(source, known)}",
                f"write one of {listed(known)}" if known else "add an input or a stage to read from",
                key,
            )


def _takes(graph: Graph, scope: Scope, stage: Stage) -> Iterator[Problem]:
    name = scope.stage
    counts = {source: graph.takes(source) for source in graph.sources(name).values()}
    if not stage.chooses and len({n for n in counts.values() if n > 1}) > 1:
        said = ", ".join(f"'{source}' gives {n}" for source, n in counts.items())
        yield scope.problem(
            f"its sources give different numbers of takes: {said}",
            "let them agree, or let all but one kind give one take",
            next(iter(graph.sources(name))),
        )
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
    choice = f"upstream scoring stages are {listed(scorers)}" if scorers else "put a score stage upstream"
    for root, field in sorted(expression.names()):
        if root == "prompt":
            if field not in Prompt.model_fields:
                near = did_you_mean(field, Prompt.model_fields)
                yield scope.problem(
                    f"`when` reads prompt.{field}, and a prompt has no '{field}'.{near}",
                    f"its fields are {listed(Prompt.model_fields)}",
                    "when",
                )
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
                    f"its fields are {listed(sorted(known))}",
                    "when",
                )
    yield from (scope.problem(wrong.cause, wrong.fix, "when") for wrong in expression.clashes(partial(_kind_of_field, stages)))


def _kind_of_field(stages: Mapping[str, Stage], root: str, field: str) -> str | None:
    """What a field of a report or the prompt holds, in the words of `when`; None where that is not known."""
    if root == "prompt":
        return _PROMPT_KINDS.get(field)
    known = stages[root].report_fields() if root in stages and stages[root].scores else None
    if known is None or field not in known:
        return None
    return "a list" if field == "defects" else "a number"


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

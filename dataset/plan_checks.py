"""What strategies and quotas ask of a plan's runs, checked before anything is made: a strategy that could never find a pair is
told, not left to disappoint in the morning. Knows graphs by their facts, no stage type."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ..pipeline.errors import Problem, did_you_mean
from ..pipeline.graph import Graph
from ..pipeline.keys import canonical_json
from ..scoring.pair_strategy import PairStrategy
from .plan import Plan
from .variations import Variation

Graphs = Sequence[tuple[Variation, Graph]]


def strategy_problems(plan: Plan, graphs: Graphs, strata: Mapping[str, str], *, whole: bool = True) -> Iterator[Problem]:
    """Problems of runs without a scoring stage, strategies that can't find a pair, quotas over strata that no prompt has.
    `graphs` are those of the sound variations, `strata` the first prompt's. Without `whole` some variations are missing, and
    only what concerns those at hand is told."""
    scoreless = {v.run for v, graph in graphs if not _scorers(graph)}
    for run in sorted(scoreless):
        cause = f"preset '{plan.runs[run].preset}' scores nothing, and pairs come from scores"
        yield plan.problem(cause, "choose a preset with a score stage, or add one to yours", "runs", run, "preset")
    if whole and not scoreless:
        for number, strategy in enumerate(plan.strategies):
            wrong = _wrong(strategy, graphs)
            if wrong is not None:
                yield plan.problem(*wrong, *(("strategies", number) if "strategies" in plan.model_fields_set else ("runs",)))
    if plan.quotas is not None:
        for key in plan.quotas.by:
            if key not in strata:
                known = ", ".join(strata) or "none: give the prompts tags"
                cause = f"quotas go by '{key}', which the first prompt has not.{did_you_mean(key, strata)}"
                yield plan.problem(cause, f"its strata are {known}", "quotas", "by")


def _scorers(graph: Graph) -> list[str]:
    return [name for name in graph.order if graph.stage(name).scores]


def _wrong(strategy: PairStrategy, graphs: Graphs) -> tuple[str, str] | None:
    """Why this strategy can never find a pair, and what to do."""
    compare = strategy.compare
    takes = [max(graph.takes(name) for name in _scorers(graph)) for _, graph in graphs]
    if compare == "seeds" and max(takes) < 2:
        return "compare: seeds needs two takes of one setting, and every run makes one", "write takes: 2 or more in a run"
    if compare == "params" and len(graphs) < 2:
        return "compare: params needs two settings, and there is one run and nothing varies", "add vary, or another run"
    if compare == "params" and len({_prompt_facts(graph) for _, graph in graphs}) == len(graphs):
        cause = "compare: params needs two settings of one prompt, and each preset fills in what the prompts leave out otherwise"
        return cause, "write those fields (bpm, keyscale, duration_s …) in the prompts"
    if compare == "repair" and not any(_repairs(graph) for _, graph in graphs):
        cause = "compare: repair needs takes scored before and after, and no run scores twice along one way"
        return cause, "choose a preset that scores, works on, and scores again by the same rules (as quality-ladder does)"
    if compare == "any" and max(takes) < 2 and len(graphs) < 2 and not any(_repairs(graph) for _, graph in graphs):
        return "every prompt gives one take, and a pair needs two", "write takes: 2 or more, add vary, or another run"
    metrics = strategy.metrics or (strategy.ranked_by,)
    for metric in metrics if compare != "human" else ():
        if not any(_has(graph, metric) for _, graph in graphs):
            clips = metric == "reference_distance"
            fix = "set {STAGE.reference_clips: [FOLDER]} in a run, STAGE its score stage" if clips else "choose another metric"
            return f"pairs go by {metric}, and no run's report holds it", fix
    return None


def _prompt_facts(graph: Graph) -> str:
    return canonical_json(graph.pipeline.prompt.facts())


def _has(graph: Graph, metric: str) -> bool:
    fields = [graph.stage(name).report_fields() for name in _scorers(graph)]
    return any(known is None or metric in known for known in fields)


def _repairs(graph: Graph) -> bool:
    """Whether takes are scored, changed, and scored again by the same rules."""
    scorers = _scorers(graph)
    return any(
        graph.stage(before).key_facts() == graph.stage(after).key_facts() and _changes(graph, before, after)
        for after in scorers
        for before in graph.ancestors(after) & set(scorers)
    )


def _changes(graph: Graph, before: str, after: str) -> bool:
    """Whether a stage between the two makes another sound."""
    between = graph.descendants(before) & graph.ancestors(after)
    return any(not (graph.stage(name).keeps_report or graph.stage(name).chooses or graph.stage(name).scores) for name in between)

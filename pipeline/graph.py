"""Stages as a DAG, and what follows from it before anything runs: order, takes, prompts, lengths, reports.

A `Graph` can be had of any preset, also of a wrong one; `graph_checks.build_graph` gives one that the executor can walk
without asking again. The rules of fanning out live here (`Graph.takes`). This module knows no stage type, only the class
facts of `Stage`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import networkx as nx

from .errors import Problem
from .models.base import ModelInfo, VariantInfo
from .scope import InputFacts, Scope
from .spec import DiffusionStage, Preset, Prompt, Stage

__all__ = ["Graph", "GraphScope", "InputFacts", "Scope"]


class Graph:
    """Inputs and stages as a DAG (`digraph`, edges from source to reader), and what follows from it.

    Fan-out: a diffusing stage none of whose ancestors diffuses makes ``stage.takes or pipeline.takes`` takes per input
    take; every other stage ``stage.takes or 1``; a choosing stage gives at most its `keep` (and what passes it by).
    Sources with one take are broadcast, others must agree. Take i of a stage with fan-out f comes from take i // f of
    each source that is not broadcast; a take for which `when` is false passes once, so `takes` is the most there can be.

    Building a Graph never fails: references that lead nowhere have no edge, and unknown things are None. Whether the
    preset may run is what `graph_checks.build_graph` says.
    """

    def __init__(
        self,
        pipeline: Preset,
        model: ModelInfo | None = None,
        facts: Mapping[str, InputFacts] | None = None,
    ) -> None:
        self.pipeline, self.model, self.facts = pipeline, model, dict(facts or {})
        self.warnings: tuple[Problem, ...] = ()
        self.inputs = tuple(name for name in pipeline.inputs if name not in pipeline.stages)
        self.digraph: nx.DiGraph = nx.DiGraph()
        self.digraph.add_nodes_from([*self.inputs, *pipeline.stages])
        for name, stage in pipeline.stages.items():
            for key, source in stage.references().items():
                if source in self.digraph and source != name:
                    self.digraph.add_edge(source, name, key=key)
        self.unsure = self._unsure()
        self.order = self._order()
        self._infos = {name: self._info(stage) for name, stage in pipeline.stages.items()}
        self._takes: dict[str, int] = dict.fromkeys(self.inputs, 1)
        self._prompts: dict[str, Prompt] = dict.fromkeys(self.inputs, pipeline.prompt)
        self._durations: dict[str, float | None] = {n: f.duration_s for n, f in self.facts.items()}
        self._reporters: dict[str, str | None] = {}
        for name in self.order:
            main = self.main_source(name)
            below = self._prompts.get(main, pipeline.prompt) if main else pipeline.prompt
            self._prompts[name] = pipeline.stages[name].prompt.over(below)
            self._takes[name] = self._count(name)
            self._reporters[name] = self._reporter(name)
            self._durations[name] = pipeline.stages[name].expected_duration_s(GraphScope(self, name))

    def _unsure(self) -> frozenset[str]:
        """Stages in a circle or after one (`_round`), and those that read something that does not exist or come after
        such a stage: what follows from the graph is not known for them."""
        rings = [c for c in nx.strongly_connected_components(self.digraph) if len(c) > 1]
        self._round = self._with_descendants(set().union(*rings))
        stages = self.pipeline.stages.items()
        lost = {n for n, s in stages if any(not self.digraph.has_edge(r, n) for r in s.references().values())}
        return frozenset(self._round | self._with_descendants(lost))

    def _with_descendants(self, names: set[str]) -> set[str]:
        return names.union(*(nx.descendants(self.digraph, n) for n in names))

    def _order(self) -> tuple[str, ...]:
        """Stages only, sources before readers, as declared where the edges leave a choice."""
        stages = self.pipeline.stages
        place = {name: i for i, name in enumerate(self.digraph)}
        firm = self.digraph.subgraph(n for n in self.digraph if n not in self._round)
        walk = nx.lexicographical_topological_sort(firm, key=place.__getitem__)
        return tuple(n for n in (*walk, *(n for n in self.digraph if n in self._round)) if n in stages)

    def _info(self, stage: Stage) -> VariantInfo | None:
        if self.model is None or not isinstance(stage, DiffusionStage):
            return None
        try:
            return self.model.variant(stage.variant, stage.task)
        except KeyError:
            return None

    def _count(self, name: str) -> int:
        stage = self.pipeline.stages[name]
        counts = [self.takes(source) for source in self.sources(name).values()]
        if stage.chooses:
            total, keep = sum(counts) or 1, getattr(stage, "keep", None)
            return min(total, keep) if isinstance(keep, int) and stage.when is None else total
        return max(counts, default=1) * self.fan_out(name)

    def stage(self, name: str) -> Stage:
        """The stage with every default of its variant filled in (as written when the model or variant is unknown)."""
        stage, info = self.pipeline.stages[name], self._infos[name]
        return stage.resolved(info) if info is not None and isinstance(stage, DiffusionStage) else stage

    def info(self, name: str) -> VariantInfo | None:
        """Facts of the stage's variant; None when it does not diffuse or the model is not known."""
        return self._infos.get(name)

    def sources(self, name: str) -> dict[str, str]:
        """Names of the inputs and stages this stage reads, by key, those that exist."""
        return {k: s for k, s in self.pipeline.stages[name].references().items() if self.digraph.has_edge(s, name)}

    def main_source(self, name: str) -> str | None:
        """The source whose prompt, reports and index a stage's takes go on from: `source`, else the first of `sources`;
        None for a stage that starts from nothing (a timbre reference is not worked on)."""
        found = self.sources(name)
        return found.get("source") or found.get("sources[0]")

    def ancestors(self, name: str) -> frozenset[str]:
        """Every input and stage this one depends on."""
        return frozenset(nx.ancestors(self.digraph, name)) - {name}

    def descendants(self, name: str) -> frozenset[str]:
        """Every stage that depends on this one."""
        return frozenset(nx.descendants(self.digraph, name)) - {name}

    @property
    def leaves(self) -> tuple[str, ...]:
        """Stages nothing else reads, in order."""
        return tuple(name for name in self.order if self.digraph.out_degree(name) == 0)

    @property
    def outputs(self) -> tuple[str, ...]:
        """Stages whose takes are written out: those the preset names, else the leaves."""
        return self.pipeline.outputs or self.leaves

    def fan_out(self, name: str) -> int:
        """Takes this stage makes per input take (1 for choosing stages)."""
        stage = self.pipeline.stages[name]
        if stage.chooses:
            return 1
        if stage.takes is not None:
            return stage.takes
        return self.pipeline.takes if self.fans_out_first(name) else 1

    def fans_out_first(self, name: str) -> bool:
        """Whether the pipeline's `takes` is spread here: a diffusing stage with no diffusing ancestor."""
        stages = self.pipeline.stages
        if not stages[name].diffuses:
            return False
        return not any(stages[other].diffuses for other in self.ancestors(name) if other in stages)

    def takes(self, name: str) -> int:
        """Takes an input (1) or stage gives when nothing is dropped on the way."""
        return self._takes.get(name, 1)

    def prompt(self, name: str) -> Prompt:
        """The stage's prompt as far as it stands before the run."""
        return self._prompts.get(name, self.pipeline.prompt)

    def duration_s(self, name: str) -> float | None:
        """Length of the takes in seconds, as far as it is known before the run."""
        return self._durations.get(name)

    def _reporter(self, name: str) -> str | None:
        stage = self.pipeline.stages[name]
        main = self.main_source(name)
        passed = self._reporters.get(main) if main else None
        own = name if stage.scores else passed if stage.keeps_report or stage.chooses else None
        return own if stage.when is None or passed is not None else None

    def reporter(self, name: str) -> str | None:
        """The scoring stage whose report the takes of `name` carry for sure; None when some or all carry none."""
        return self._reporters.get(name)

    def has_report(self, name: str) -> bool:
        """Whether every take of `name` will carry a report of its own audio (true where the graph itself is broken)."""
        return name in self.unsure or name not in self.digraph or self.reporter(name) is not None

    def report_fields(self, name: str) -> frozenset[str] | None:
        """Fields of the report the takes of `name` carry; None when not known beforehand."""
        reporter = self.reporter(name)
        return self.pipeline.stages[reporter].report_fields() if reporter else None

    def diffused(self, name: str) -> bool:
        """Whether a stage diffuses, or one it depends on does."""
        stages = self.pipeline.stages
        if name not in self.digraph:
            return False
        return any(stages[other].diffuses for other in {name, *self.ancestors(name)} if other in stages)


@dataclass(frozen=True)
class GraphScope:
    """`Scope` of one stage of a graph."""

    graph: Graph
    stage: str
    warn_with: Callable[[Problem], None] | None = None

    @property
    def stages(self) -> Mapping[str, Stage]:
        return self.graph.pipeline.stages

    @property
    def spec(self) -> Stage:
        return self.graph.stage(self.stage)

    @property
    def info(self) -> VariantInfo | None:
        return self.graph.info(self.stage)

    @property
    def prompt(self) -> Prompt:
        return self.graph.prompt(self.stage)

    def duration_s(self, name: str) -> float | None:
        return self.graph.duration_s(name)

    def input(self, name: str) -> InputFacts | None:
        return self.graph.facts.get(name)

    def has_report(self, name: str) -> bool:
        return self.graph.has_report(name)

    def report_fields(self, name: str) -> frozenset[str] | None:
        return self.graph.report_fields(name)

    def takes(self, name: str) -> int:
        return self.graph.takes(name)

    def diffused(self, name: str) -> bool:
        return self.graph.diffused(name)

    def path(self, text: str) -> Path:
        return self.graph.pipeline.path(text)

    def problem(self, cause: str, fix: str = "", key: str | None = None) -> Problem:
        return Problem(cause, fix, stage=self.stage, key=key)

    def warn(self, cause: str, fix: str = "", key: str | None = None) -> None:
        if self.warn_with is not None:
            self.warn_with(self.problem(cause, fix, key))

"""From stages to a graph: order, fan-out, prompts, durations and reports carried along the edges."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
from helpers.toy_variants import variant
from hypothesis import given
from hypothesis import strategies as st
from segue.pipeline.graph import Graph, InputFacts
from segue.pipeline.graph_checks import build_graph
from segue.pipeline.models.base import ModelInfo
from segue.pipeline.pipeline import Pipeline
from segue.pipeline.spec import DiffusionStage, Name, Prompt, Stage


class Draft(DiffusionStage):
    task: ClassVar[str | None] = "draft"
    type: Literal["draft"] = "draft"
    source: Name | None = None
    timbre: Name | None = None

    def references(self) -> dict[str, str]:
        return {k: v for k, v in (("source", self.source), ("timbre", self.timbre)) if v}


class Worse(Stage):
    type: Literal["worse"] = "worse"
    source: Name


class Join(Stage):
    type: Literal["join"] = "join"
    sources: tuple[Name, ...]


class Judge(Stage):
    scores: ClassVar[bool] = True
    type: Literal["judge"] = "judge"
    source: Name


class Best(Stage):
    chooses: ClassVar[bool] = True
    needs_report: ClassVar[bool] = True
    keeps_report: ClassVar[bool] = True
    type: Literal["best"] = "best"
    source: Name
    keep: int = 1


MODEL = ModelInfo("toy", "toy", {"fast": variant("fast", {"draft"})}, {"": "fast"})


def graph_of(stages: dict[str, Stage], inputs: dict[str, str] | None = None, **more: Any) -> Graph:
    return build_graph(Pipeline(stages=stages, inputs=inputs or {}, **more), model=None)


def test_order_follows_edges_and_otherwise_the_declaration() -> None:
    graph = graph_of(
        {"z": Judge(source="y"), "b": Draft(), "y": Worse(source="clip"), "a": Draft(), "m": Join(sources=("a", "b", "y"))},
        {"clip": "x.wav"},
    )
    assert graph.order == ("b", "y", "z", "a", "m")
    assert graph.leaves == ("z", "m") == graph.outputs
    assert graph.ancestors("m") == {"a", "b", "y", "clip"}
    assert graph.descendants("clip") == {"y", "z", "m"}
    assert graph.sources("m") == {"sources[0]": "a", "sources[1]": "b", "sources[2]": "y"}
    assert graph.main_source("m") == "a" and graph.main_source("a") is None


def test_takes_fan_out_at_the_first_diffusing_stage_only() -> None:
    graph = graph_of(
        {
            "bad": Worse(source="clip"),
            "up": Draft(source="bad"),
            "polish": Draft(source="up"),
            "judged": Judge(source="polish"),
            "best": Best(source="judged", keep=2),
            "more": Draft(source="best", takes=3),
        },
        {"clip": "x.wav"},
        takes=4,
    )
    assert {n: graph.takes(n) for n in graph.order} == {"bad": 1, "up": 4, "polish": 4, "judged": 4, "best": 2, "more": 6}
    assert graph.takes("clip") == 1
    assert [graph.fan_out(n) for n in graph.order] == [1, 4, 1, 1, 1, 3]


def test_explicit_takes_win_and_any_stage_may_fan_out() -> None:
    graph = graph_of(
        {"bad": Worse(source="clip", takes=3), "up": Draft(source="bad", takes=2), "next": Draft(source="up")},
        {"clip": "x.wav"},
        takes=5,
    )
    assert [graph.takes(n) for n in graph.order] == [3, 6, 6]


def test_each_parallel_branch_gets_the_pipelines_takes_and_single_sources_are_broadcast() -> None:
    graph = graph_of(
        {"a": Draft(), "b": Draft(), "m": Join(sources=("a", "clip", "b")), "late": Draft(source="m")}, {"clip": "x.wav"}, takes=4
    )
    assert [graph.takes(n) for n in graph.order] == [4, 4, 4, 4]


@given(
    st.lists(st.tuples(st.sampled_from(["draft", "worse", "best"]), st.none() | st.integers(1, 4)), max_size=6), st.integers(1, 5)
)
def test_takes_multiply_along_a_chain(links: list[tuple[str, int | None]], takes: int) -> None:
    stages: dict[str, Stage] = {"s0": Draft()}
    expected, diffused = takes, True
    for i, (kind, own) in enumerate(links, start=1):
        source = f"s{i - 1}"
        if kind == "best":
            stages[f"j{i}"] = Judge(source=source)
            stages[f"s{i}"] = Best(source=f"j{i}", keep=own or 1)
            expected = min(expected, own or 1)
        else:
            stages[f"s{i}"] = (Draft if kind == "draft" else Worse)(source=source, takes=own)
            expected *= own or 1
    assert diffused
    assert graph_of(stages, takes=takes).takes(f"s{len(links)}") == expected


def test_prompts_are_laid_over_along_the_main_source() -> None:
    graph = graph_of(
        {"a": Draft(prompt=Prompt(caption="x", bpm=90)), "b": Draft(source="a", prompt=Prompt(caption="")), "c": Draft()},
        prompt=Prompt(caption="p", lyrics="l"),
    )
    assert graph.prompt("a").facts() == {"caption": "x", "bpm": 90, "lyrics": "l"}
    assert graph.prompt("b").facts() == {"caption": "", "bpm": 90, "lyrics": "l"}  # empty means empty, not "inherit"
    assert graph.prompt("c").facts() == {"caption": "p", "lyrics": "l"}


def test_durations_come_from_headers_and_prompts() -> None:
    pipeline = Pipeline(
        inputs={"clip": "x.wav", "other": "y.wav"},
        prompt=Prompt(duration_s=8),
        stages={
            "bad": Worse(source="clip"),
            "made": Draft(timbre="clip"),
            "m": Join(sources=("bad", "made")),
            "n": Join(sources=("other", "made")),
        },
    )
    graph = build_graph(pipeline, model=None, facts={"clip": InputFacts(Path("x.wav"), duration_s=12.5)})
    assert graph.duration_s("clip") == graph.duration_s("bad") == graph.duration_s("m") == 12.5
    assert graph.duration_s("made") == 8
    assert graph.duration_s("other") is None and graph.duration_s("n") is None


def test_a_report_holds_until_the_audio_changes() -> None:
    graph = graph_of(
        {
            "a": Draft(),
            "judged": Judge(source="a"),
            "best": Best(source="judged"),
            "again": Draft(source="best"),
            "judged2": Judge(source="again", when="judged.overall < 5"),
            "part": Worse(source="judged", when="judged.overall < 5"),
        }
    )
    assert [graph.has_report(n) for n in ("a", "judged", "best", "again", "judged2", "part")] == [
        False,
        True,
        True,
        False,
        False,
        False,
    ]
    assert graph.reporter("best") == "judged"


def test_stages_are_resolved_with_the_variants_defaults() -> None:
    pipeline = Pipeline(stages={"a": Draft(), "b": Draft(source="a", steps=4), "c": Judge(source="b")})
    graph = build_graph(pipeline, model=MODEL)
    a, b = graph.stage("a"), graph.stage("b")
    assert isinstance(a, Draft) and isinstance(b, Draft)
    assert (a.variant, a.steps, a.shift, a.schedule, a.solver) == ("fast", 8, 3.0, "linear", "euler")
    assert b.steps == 4
    assert graph.stage("c") is pipeline.stages["c"] and graph.info("c") is None
    assert graph.info("a") is MODEL.variants["fast"]


def test_a_graph_of_500_stages_is_quick_and_deep_enough() -> None:
    stages: dict[str, Stage] = {"s0": Draft()}
    stages |= {f"s{i}": Draft(source=f"s{i - 1}") for i in range(1, 500)}
    graph = graph_of(stages, takes=2)
    assert graph.order[-1] == "s499" and graph.takes("s499") == 2


def test_a_graph_can_be_made_of_a_broken_pipeline() -> None:
    stages = {"a": Draft(source="b"), "b": Draft(source="a"), "c": Judge(source="a"), "d": Draft(source="nowhere"), "e": Draft()}
    graph = Graph(Pipeline(stages=stages))
    assert set(graph.order) == set(stages) and graph.order[0] == "d"
    assert graph.unsure == {"a", "b", "c", "d"}
    assert graph.has_report("a")  # unknown: no second complaint


@pytest.mark.parametrize("inputs", [{}, {"clip": "x.wav"}])
def test_unread_inputs_are_a_warning(inputs: dict[str, str]) -> None:
    graph = graph_of({"a": Draft()}, inputs)
    assert [w.key for w in graph.warnings] == [f"inputs.{n}" for n in inputs]

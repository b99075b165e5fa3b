"""Faults of existing executors (docs/faults.md) that the graph and the specs keep out, by number."""

from __future__ import annotations

import pytest
from segue.pipeline.errors import RequestError
from segue.pipeline.graph_checks import build_graph
from segue.pipeline.pipeline import Pipeline
from segue.presets.loader import load


@pytest.mark.parametrize("stage", ["cover", "repaint, start_s: 0, end_s: 1", "extract, track: vocals", "refine", "super_resolve"])
def test_fault_08_an_unresolved_source_is_an_error_never_a_quiet_text2music(stage: str) -> None:
    text = f"prompt: {{caption: x, duration_s: 8}}\ninputs: {{clip: x.wav}}\nstages:\n  a: {{type: {stage}, source: clib}}\n"
    with pytest.raises(RequestError) as caught:
        build_graph(load(text), model=None)
    [problem] = caught.value.problems
    assert (problem.stage, problem.key, problem.line) == ("a", "source", 4)
    assert "Did you mean 'clip'?" in problem.cause


@pytest.mark.parametrize("stage", ["cover", "repaint, start_s: 0, end_s: 1", "extract, track: vocals", "refine", "super_resolve"])
def test_fault_08_a_missing_source_is_an_error(stage: str) -> None:
    with pytest.raises(RequestError) as caught:
        load(f"prompt: {{caption: x, duration_s: 8}}\nstages:\n  a: {{type: {stage}}}\n")
    assert "source" in str(caught.value)


def test_fault_07_a_repaint_without_an_end_is_refused_with_its_line() -> None:
    with pytest.raises(RequestError) as caught:
        load("inputs: {clip: x.wav}\nstages:\n  a: {type: repaint, source: clip, start_s: 2}\n")
    [problem] = caught.value.problems
    assert (problem.stage, problem.line) == ("a", 3) and "end_s" in problem.cause


def test_fault_07_windows_are_taken_as_they_are_written() -> None:
    pipeline = load("inputs: {clip: x.wav}\nstages:\n  a: {type: repaint, source: clip, start_s: 2, end_s: 3}\n")
    assert isinstance(pipeline, Pipeline) and pipeline.stages["a"].spans() == ((2.0, 3.0),)  # type: ignore[attr-defined]

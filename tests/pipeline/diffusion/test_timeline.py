"""Which segment is in force at which step."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from segue.pipeline.diffusion.timeline import Segment, Timeline
from segue.pipeline.errors import RequestError


@pytest.mark.parametrize(
    ("steps", "strength", "starts"), [(20, 0.5, [0, 10]), (8, 0.3, [0, 2]), (8, 0.99, [0, 7]), (50, 0.25, [0, 12])]
)
def test_a_cover_switches_at_int_of_steps_times_strength(steps: int, strength: float, starts: list[int]) -> None:
    timeline = Timeline.cover("source", "silence", strength)
    assert timeline.starts(steps) == starts
    assert [s.segment.condition for s in timeline.spans(steps)] == ["source", "silence"]
    assert timeline.warnings(steps) == []


def test_a_cover_of_full_strength_never_leaves_its_source() -> None:
    timeline = Timeline.cover("source", "silence", 1.0)
    assert timeline.starts(8) == [0] and timeline.segments[0].condition == "source"


def test_a_cover_of_no_strength_is_the_later_condition_without_a_warning() -> None:
    timeline = Timeline.cover("source", "silence", 0.0)
    (span,) = timeline.spans(8)
    assert (span.segment.condition, span.start, span.stop) == ("silence", 0, 8)
    assert timeline.warnings(8) == []


def test_a_strength_below_one_step_is_warned_about() -> None:
    timeline = Timeline.cover("source", "silence", 0.1)
    assert timeline.starts(8) == [0]
    (warning,) = timeline.warnings(8)
    assert "cover" in warning and "8 steps" in warning
    assert timeline.warnings(10) == []


@given(st.lists(st.floats(0.0, 1.0), max_size=6), st.integers(0, 60))
def test_spans_tile_the_steps(ends: list[float], steps: int) -> None:
    timeline = Timeline([Segment(i, until) for i, until in enumerate([*sorted(ends), 1.0])])
    spans = timeline.spans(steps)
    covered = [step for span in spans for step in range(span.start, span.stop)]
    assert covered == list(range(steps))
    assert timeline.starts(steps) == [span.start for span in spans]
    assert all(span.stop == int(steps * span.segment.until) for span in spans)


@pytest.mark.parametrize("ends", [[], [0.5], [0.6, 0.4, 1.0], [-0.1, 1.0], [1.0, 1.5]])
def test_segments_must_rise_to_one(ends: list[float]) -> None:
    with pytest.raises(RequestError, match="timeline"):
        Timeline([Segment("a", e) for e in ends])


def test_strength_outside_its_range_is_refused() -> None:
    with pytest.raises(RequestError, match="strength"):
        Timeline.cover("a", "b", 1.5)

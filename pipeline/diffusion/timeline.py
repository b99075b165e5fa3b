"""Conditions over the denoising steps: what the network sees, and from which step on.

A cover at strength s is two segments: the source's structure for the first int(steps·s) steps, the caption
alone after them. This module looks into no condition and knows no network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import Problem, RequestError


@dataclass(frozen=True, eq=False)
class Segment:
    """One condition, in force until the fraction `until` of the executed steps; `name` shows in traces."""

    condition: Any
    until: float = 1.0
    name: str = ""


@dataclass(frozen=True, eq=False)
class Span:
    """A segment laid over the steps start <= step < stop; `index` is its place in the timeline."""

    segment: Segment
    index: int
    start: int
    stop: int

    @property
    def name(self) -> str:
        return self.segment.name or str(self.index)


@dataclass(frozen=True, eq=False, init=False)
class Timeline:
    """Any number of segments, in order; their `until` never falls and the last one's is 1."""

    segments: tuple[Segment, ...]

    def __init__(self, segments: Sequence[Segment]) -> None:
        """Raises `RequestError` unless there is a segment and the `until`s rise inside [0, 1] to 1."""
        object.__setattr__(self, "segments", tuple(segments))
        ends = [s.until for s in self.segments]
        if not ends or ends[-1] != 1.0 or not all(0.0 <= e <= 1.0 for e in ends) or ends != sorted(ends):
            raise RequestError(
                Problem(
                    f"the timeline's segments end at {ends}, which does not rise to 1 inside [0, 1].",
                    fix="give each segment the fraction of the steps at which it ends, e.g. 0.3, 0.6, 1.0.",
                    key="timeline",
                )
            )

    @classmethod
    def single(cls, condition: Any) -> Timeline:
        """One condition from the first step to the last."""
        return cls((Segment(condition),))

    @classmethod
    def cover(cls, cover_condition: Any, later_condition: Any, strength: float) -> Timeline:
        """`cover_condition` for the first int(steps·strength) steps, then `later_condition`."""
        if not 0.0 <= strength <= 1.0:
            raise RequestError(
                Problem(
                    f"cover strength {strength} lies outside [0, 1].",
                    fix="0.3 (loose) to 0.9 (close).",
                    key="strength",
                )
            )
        if strength == 1.0:
            return cls((Segment(cover_condition, 1.0, "cover"),))
        return cls((Segment(cover_condition, strength, "cover"), Segment(later_condition, 1.0, "later")))

    def spans(self, executed_steps: int) -> list[Span]:
        """The segments that get steps, each with its steps; one that gets none is left out.

        A segment ends at step int(executed_steps·until), the way ACE-Step counts a cover's steps.
        """
        spans, start = [], 0
        for i, segment in enumerate(self.segments):
            stop = int(executed_steps * segment.until)
            if stop > start:
                spans.append(Span(segment, i, start, stop))
                start = stop
        return spans

    def starts(self, executed_steps: int) -> list[int]:
        """The first step of each segment that gets any."""
        return [span.start for span in self.spans(executed_steps)]

    def warnings(self, executed_steps: int) -> list[str]:
        """One sentence for every segment that was asked for and gets no step because there are too few."""
        if executed_steps == 0:
            return []
        given = {span.index for span in self.spans(executed_steps)}
        starts = [0.0, *(s.until for s in self.segments[:-1])]
        return [
            f"segment '{s.name or i}' covers {start:g} to {s.until:g} of {executed_steps} steps, which is no "
            "whole step, so it has no effect; raise the strength or the steps."
            for i, (s, start) in enumerate(zip(self.segments, starts, strict=True))
            if i not in given and s.until > start
        ]

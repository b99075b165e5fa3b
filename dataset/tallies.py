"""What a card tells in numbers: counts over the groups of a night, and over the pairs that are exported.

Streaming: a group or a pair is counted and let go. Knows no file and no Markdown.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..scoring.groups import GroupFacts
from ..scoring.pair_audit import Auditor
from ..scoring.pair_schema import Pair

MARKS = 0.5
"""Width of a step of the histogram of marks, 0 to 10."""


@dataclass
class NightTally:
    """What one night's groups hold. `seconds` is how long its takes last together."""

    name: str
    created: str
    seed: int | None
    about: str = ""
    numerics: Mapping[str, Any] = field(default_factory=dict)
    groups: int = 0
    takes: int = 0
    scored: int = 0
    refused: int = 0
    silent: int = 0
    broken: int = 0
    seconds: float = 0.0
    marks: Counter[int] = field(default_factory=Counter)
    defects: Counter[str] = field(default_factory=Counter)
    scorers: set[str] = field(default_factory=set)

    def add(self, group: GroupFacts) -> None:
        """Count a group."""
        self.groups += 1
        for entry in group.entries:
            self.takes += 1
            self.seconds += entry.duration_s
            self.refused += entry.refused is not None
            self.broken += not entry.finite
            self.silent += entry.finite and entry.silent
            self.scored += entry.overall is not None
            if entry.overall is not None:
                self.marks[_step(entry.overall)] += 1
            if entry.report is not None:
                self.scorers.add(entry.report.scorer)
            self.defects.update(entry.defects)


@dataclass
class PairTally:
    """What the pairs that are exported hold. `auditor` is shown the groups by whoever reads them."""

    auditor: Auditor = field(default_factory=Auditor)
    pairs: int = 0
    prompts: set[str] = field(default_factory=set)
    chosen: Counter[int] = field(default_factory=Counter)
    rejected: Counter[int] = field(default_factory=Counter)
    models: set[str] = field(default_factory=set)
    example: dict[str, Any] | None = None

    def add(self, pair: Pair, prompt: str) -> None:
        """Count a pair; `prompt` is a digest of its prompt."""
        self.pairs += 1
        self.prompts.add(prompt)
        self.auditor.pair(pair)
        self.chosen[_step(pair.chosen.quality_score)] += 1
        self.rejected[_step(pair.rejected.quality_score)] += 1
        for side in (pair.chosen, pair.rejected):
            if side.provenance is not None and side.provenance.model_id:
                self.models.add(side.provenance.model_id)
        if self.example is None:
            self.example = _example(pair)


def _step(mark: float) -> int:
    """The step of the histogram that a mark belongs to; 10 belongs to the last one."""
    return min(int(10 / MARKS) - 1, max(0, int(mark / MARKS)))


def _example(pair: Pair) -> dict[str, Any]:
    """The fixed keys of a pair, each report cut to a few metrics."""
    data = pair.model_dump(mode="json", include=set(Pair.schema_keys))
    for name in ("chosen", "rejected"):
        data[name].pop("provenance", None)
        data[name]["quality_report"] = dict(sorted(data[name]["quality_report"].items())[:4])
        data[name].pop("audio_path", None)
    return data

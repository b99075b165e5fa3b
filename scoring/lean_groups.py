"""Logged groups, read for pairs: the same facts, of the reports only metrics' values, defects and scorer.

A log of 100,000 takes is some hundred megabytes, and most of the cost of reading it whole is in parts that pairs do not need.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from .groups import GroupFacts, TakeFacts
from .report import worst_first


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")  # the rest is passed over


class _Metric(_Part):
    value: float | None


class _Defect(_Part):
    type: str
    severity: float


class LeanReport(_Part):
    """What pairs need of a `QualityReport`."""

    scorer: str
    metrics: dict[str, _Metric] = Field(default_factory=dict)
    defects: tuple[_Defect, ...] = ()

    def defect_types(self) -> tuple[str, ...]:
        """Names of the defects found, each once, worst first."""
        return worst_first((d.type, d.severity) for d in self.defects)


class LeanEntry(TakeFacts):
    """One take of a `LeanGroup`."""

    report: LeanReport | None = None


class LeanGroup(GroupFacts):
    """A logged `Group` as pairs need it. It can't be written back: parts of the reports are missing."""

    entries: tuple[LeanEntry, ...] = ()

    @classmethod
    def from_json(cls, text: str | bytes) -> LeanGroup:
        """A line that `Group.to_json` wrote. Raises pydantic's ValidationError."""
        return cls.model_validate_json(text)

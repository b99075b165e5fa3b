"""Logged groups, read for pairs: the same facts, of the reports only metrics' values, defects and scorer.

A log of 100,000 takes is some hundred megabytes; making every metric of every report an object is most of the cost of
reading it whole.
"""

from __future__ import annotations

from math import isfinite

from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypedDict

from .groups import GroupFacts, TakeFacts
from .report import worst_first


class _Value(TypedDict):
    value: float | None


class _Defect(TypedDict):
    type: str
    severity: float


class LeanReport(BaseModel):
    """What pairs need of a `QualityReport`; the rest is passed over unread."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    scorer: str
    metrics: dict[str, _Value] = Field(default_factory=dict)
    defects: tuple[_Defect, ...] = ()

    def defect_types(self) -> tuple[str, ...]:
        """Names of the defects found, each once, worst first."""
        return worst_first((d["type"], d["severity"]) for d in self.defects)


class LeanEntry(TakeFacts):
    """One take of a `LeanGroup`."""

    report: LeanReport | None = None

    def measured(self) -> dict[str, float | None]:
        metrics = self.report.metrics if self.report else {}
        return {n: v if (v := metric["value"]) is not None and isfinite(v) else None for n, metric in metrics.items()}

    def value(self, metric: str) -> float | None:
        if metric == "overall":
            return self.overall
        found = self.report.metrics.get(metric) if self.report else None
        value = found["value"] if found else None
        return value if value is not None and isfinite(value) else None


class LeanGroup(GroupFacts):
    """A logged `Group` as pairs need it. It can't be written back: parts of the reports are missing."""

    entries: tuple[LeanEntry, ...] = ()

    @classmethod
    def from_json(cls, text: str | bytes) -> LeanGroup:
        """A line that `Group.to_json` wrote. Raises pydantic's ValidationError."""
        return cls.model_validate_json(text)

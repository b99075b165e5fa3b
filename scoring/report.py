"""`QualityReport`: what scoring found in one take. Plain frozen data; knows no detector and no file."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Metric(_Record):
    """One measured quantity. `value` is None where it does not exist for this signal (e.g. loudness of silence)."""

    value: float | None
    unit: str = ""
    higher_is_better: bool | None = Field(default=None, description="None: neither way, there is a good band")


class Defect(_Record):
    """One fault at one place. `severity` in [0, 1] grows with the fault's strength; times in seconds."""

    type: str
    severity: float = Field(ge=0, le=1)
    start_s: float = Field(ge=0)
    end_s: float = Field(ge=0)
    evidence: dict[str, Any] = Field(default_factory=dict)


class QualityReport(_Record):
    """Overall 0–10, metrics with units, defects with spans. `scorer` names and versions what made it."""

    overall: float = Field(ge=0, le=10)
    metrics: dict[str, Metric] = Field(default_factory=dict)
    defects: tuple[Defect, ...] = ()
    stems: dict[str, QualityReport] = Field(default_factory=dict, description="reports of the stems, by track")
    scorer: str
    duration_s: float
    rate_hz: int
    model_training: str | None = Field(
        default=None, description="'untrained' or 'preliminary' while the model that made the audio is not trained"
    )

    def defect_types(self) -> tuple[str, ...]:
        """Names of the defects found, each once, worst first."""
        return worst_first((d.type, d.severity) for d in self.defects)

    def field(self, path: str) -> float | tuple[str, ...] | None:
        """A field by name, as `select` and `when` use it: ``overall``, ``defects`` or any metric.

        Raises KeyError with the known names when there is no such field.
        """
        if path == "overall":
            return self.overall
        if path == "defects":
            return self.defect_types()
        if path in self.metrics:
            return self.metrics[path].value
        raise KeyError(f"no field '{path}' in the report; there is overall, defects, {', '.join(sorted(self.metrics))}")


def worst_first(found: Iterable[tuple[str, float]]) -> tuple[str, ...]:
    """Names of (name, severity), each once, by their largest severity; equal ones by name.

    >>> worst_first([("hum", 0.2), ("clipping", 0.5), ("hum", 0.9)])
    ('hum', 'clipping')
    """
    worst: dict[str, float] = {}
    for name, severity in found:
        worst[name] = max(worst.get(name, 0.0), severity)
    return tuple(sorted(worst, key=lambda t: (-worst[t], t)))

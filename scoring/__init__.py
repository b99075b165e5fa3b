"""Pure functions over samples, defect detectors, the quality report, and preferences.

Names are loaded when they are first used, so that importing the report's plain data does not bring scipy
along. Knows nothing of pipelines.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .expected import Expected as Expected
    from .metrics import METRICS as METRICS
    from .report import Defect as Defect
    from .report import Metric as Metric
    from .report import QualityReport as QualityReport
    from .scorer import SCORER_VERSION as SCORER_VERSION
    from .scorer import score as score
    from .scorer import score_batch as score_batch

_HOME_OF = {
    "METRICS": "metrics",
    "Expected": "expected",
    **dict.fromkeys(("Defect", "Metric", "QualityReport"), "report"),
    **dict.fromkeys(("SCORER_VERSION", "score", "score_batch"), "scorer"),
}

__all__ = ["METRICS", "SCORER_VERSION", "Defect", "Expected", "Metric", "QualityReport", "score", "score_batch"]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_HOME_OF[name]}", __name__), name)
    globals()[name] = value
    return value

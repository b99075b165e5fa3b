"""Segue: staged audio generation. This module is the whole public surface.

A declared graph of stages runs on flow-matching audio models, scores every take and writes down which was
better.

    from segue import Pipeline, Prompt
    from segue.stages import Generate, Score

Names are loaded when they are first used (PEP 562): ``import segue`` costs milliseconds, torch comes with the
first name that needs it. This module knows where things live, and nothing else.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .pipeline.errors import Cancelled as Cancelled
    from .pipeline.errors import Problem as Problem
    from .pipeline.errors import RequestError as RequestError
    from .pipeline.errors import RunError as RunError
    from .pipeline.errors import SegueError as SegueError
    from .pipeline.events import CancelToken as CancelToken
    from .pipeline.events import Event as Event
    from .pipeline.events import Listener as Listener
    from .pipeline.options import RunOptions as RunOptions
    from .pipeline.pipeline import Pipeline as Pipeline
    from .pipeline.run import Run as Run
    from .pipeline.spec import Adapter as Adapter
    from .pipeline.spec import Guidance as Guidance
    from .pipeline.spec import Prompt as Prompt
    from .pipeline.spec import Stage as Stage
    from .pipeline.take import Audio as Audio
    from .pipeline.take import Latent as Latent
    from .pipeline.take import Take as Take
    from .presets.again import rerun as rerun
    from .presets.again import resume as resume
    from .presets.loader import load as load
    from .scoring import score as score
    from .scoring.report import Defect as Defect
    from .scoring.report import Metric as Metric
    from .scoring.report import QualityReport as QualityReport

__version__ = "0.1.0"

_HOME_OF = {
    **dict.fromkeys(("Cancelled", "Problem", "RequestError", "RunError", "SegueError"), "pipeline.errors"),
    **dict.fromkeys(("CancelToken", "Event", "Listener"), "pipeline.events"),
    **dict.fromkeys(("rerun", "resume"), "presets.again"),
    "RunOptions": "pipeline.options",
    "Run": "pipeline.run",
    "Pipeline": "pipeline.pipeline",
    **dict.fromkeys(("Adapter", "Guidance", "Prompt", "Stage"), "pipeline.spec"),
    **dict.fromkeys(("Audio", "Latent", "Take"), "pipeline.take"),
    "load": "presets.loader",
    "score": "scoring",
    **dict.fromkeys(("Defect", "Metric", "QualityReport"), "scoring.report"),
}
_SUBPACKAGES = ("pipeline", "presets", "scoring", "stages")

__all__ = [  # noqa: RUF022  (grouped as the documentation groups them)
    "Pipeline", "Prompt", "Guidance", "Adapter", "Stage",
    "Take", "Audio", "Latent", "QualityReport", "Metric", "Defect",
    "Run", "RunOptions", "CancelToken", "Event", "Listener",
    "load", "score", "resume", "rerun",
    "SegueError", "RequestError", "RunError", "Cancelled", "Problem",
    "__version__",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _HOME_OF:
        value = getattr(import_module(f".{_HOME_OF[name]}", __name__), name)
        globals()[name] = value
        return value
    if name in _SUBPACKAGES:
        return import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_SUBPACKAGES})

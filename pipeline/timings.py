"""How long takes take: what a finished take teaches the catalog, and what a stage's takes will probably need.

Knows no stage type; the catalog keeps the figures by type of stage, variant, device, steps and length.
"""

from __future__ import annotations

from .catalog import Catalog
from .context import Numerics, Result
from .graph import Graph
from .spec import DiffusionStage
from .take import Take

FRAME_RATE_HZ = 25  # what lengths are counted in where no model says better


def note_timing(catalog: Catalog, graph: Graph, numerics: Numerics, take: Take, result: Result, seconds: float) -> None:
    """One take of `graph` was made in `seconds`."""
    spec, info = graph.stage(take.stage), graph.info(take.stage)
    frames = round(take.duration_s * (info.frame_rate_hz if info else FRAME_RATE_HZ))
    catalog.record_timing(
        spec.type, getattr(spec, "variant", None), numerics.device.split(":")[0], steps=result.steps_run, frames=frames,
        seconds=seconds,
    )


def expected_seconds(catalog: Catalog, graph: Graph, numerics: Numerics) -> float | None:
    """Seconds that all takes of `graph` will probably need together, by past timings; None where a stage that denoises has
    none (other stages without timings count as nothing)."""
    total = 0.0
    for name in graph.order:
        spec, info = graph.stage(name), graph.info(name)
        steps = spec.steps or 0 if isinstance(spec, DiffusionStage) else 0
        length = graph.duration_s(name) or 0.0
        one = catalog.estimate(
            spec.type, getattr(spec, "variant", None), numerics.device.split(":")[0], steps=steps,
            frames=round(length * (info.frame_rate_hz if info else FRAME_RATE_HZ)),
        )
        if one is None and isinstance(spec, DiffusionStage):
            return None
        total += (one or 0.0) * graph.takes(name)
    return total

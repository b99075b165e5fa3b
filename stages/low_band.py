"""The end of a restoring stage: the low band of what came in replaces that of what was made. Knows no prompt."""

from __future__ import annotations

import torch

from ..pipeline.context import Context, Result
from ..pipeline.models.base import VariantInfo
from ..pipeline.spec import DiffusionStage
from ..pipeline.take import Audio
from ..scoring.spectrum import rolloff_hz
from .bands import replace_low_band


def band_edge_hz(samples: torch.Tensor, rate_hz: int, given_hz: float | None = None) -> float:
    """Where the band of `[C, T]` ends: `given_hz`, or below which 0.985 of the cumulative magnitude lies (SAGA-SR, arXiv
    2509.24924); half of `rate_hz` at most, and for a silent sound."""
    measured = given_hz if given_hz is not None else rolloff_hz(samples, rate_hz)
    return float(min(rate_hz / 2, measured if measured else rate_hz / 2))


def with_low_band(
    stage: DiffusionStage, result: Result, given: torch.Tensor, cutoff_hz: float, ctx: Context, info: VariantInfo
) -> Result:
    """`result` decoded, as long as `given` `[C, T]`, and below `cutoff_hz` `given` itself. The latent is left out: it no
    longer says what is heard."""
    assert result.latent is not None
    made = ctx.model(stage).decode(result.latent.frames.unsqueeze(0))[0]
    made = torch.nn.functional.pad(made, (0, max(0, given.shape[-1] - made.shape[-1])))[:, : given.shape[-1]]
    audio, gain_db = replace_low_band(made, given, cutoff_hz, info.rate_hz)
    return Result(
        audio=Audio(audio, info.rate_hz), facts={**result.facts, "level_match_db": round(gain_db, 4)},
        steps_run=result.steps_run, forwards=result.forwards,
    )

"""`super_resolve`: a low-resolution take to full band, by partial denoising with low-band consistency.

The input's latent is re-noised to t = `denoise` and denoised under the caption; every few steps the clean prediction is
pulled back to the input's own low band in the waveform; at the end the low band is the input's. The cut-off is given or
measured (0.985 of the cumulative magnitude, SAGA-SR). A model trained for super-resolution takes the same place: it is a
variant whose tasks include `super_resolve`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from pydantic import Field

from ..pipeline.conditioning import instruction_for
from ..pipeline.context import Context, Job, Result
from ..pipeline.diffusion.projections import LowBandProjection
from ..pipeline.models.base import ConditionRequest, VariantInfo
from ..pipeline.spec import DiffusionStage, Name, Unit
from .bands import low_pass
from .denoise import Plan, denoise, untouched
from .generate import timbre_of
from .low_band import band_edge_hz, with_low_band


class SuperResolve(DiffusionStage):
    """Low-resolution take to full band. `denoise: 0` is the identity."""

    task: ClassVar[str | None] = "super_resolve"

    type: Literal["super_resolve"] = "super_resolve"
    source: Name
    denoise: Unit = Field(0.5, description="t_start: 0 leaves the source as it is, 1 keeps only what the low band forces")
    cutoff_hz: float | None = Field(None, gt=0, description="the input's band edge; left out, it is measured")
    consistency_every: int = Field(2, ge=0, le=1000, description="low-band consistency every so many steps; 0: never")
    replace_low: bool = Field(True, description="at the end, bins below the cut-off are the input's own")
    timbre: Name | None = Field(None, description="input or stage whose sound colour is followed")

    def references(self) -> dict[str, str]:
        found = {"source": self.source}
        return {**found, "timbre": self.timbre} if self.timbre else found

    def run(self, jobs: Sequence[Job], ctx: Context) -> list[Result]:
        if self.denoise == 0:
            return [untouched() for _ in jobs]
        info = ctx.info(self.variant)
        given = [ctx.audio(job.source, info.rate_hz, info.channels).samples for job in jobs]
        cutoffs = [band_edge_hz(samples, info.rate_hz, self.cutoff_hz) for samples in given]
        plans = [self._plan(job, cutoff, ctx, info) for job, cutoff in zip(jobs, cutoffs, strict=True)]

        def projections(positions: Sequence[int]) -> tuple[LowBandProjection, ...]:
            if self.consistency_every == 0:
                return ()
            return (self._consistency([given[i] for i in positions], [cutoffs[i] for i in positions], ctx, info),)

        made = denoise(self, jobs, ctx, plans, projections)
        if not self.replace_low:
            return made
        return [with_low_band(self, r, g, c, ctx, info) for r, g, c in zip(made, given, cutoffs, strict=True)]

    def _plan(self, job: Job, cutoff: float, ctx: Context, info: VariantInfo) -> Plan:
        latent = ctx.latent(job.source, info)
        frames = latent.frames.shape[0]
        samples = latent.samples if latent.samples is not None else frames * info.hop_length
        request = ConditionRequest(
            job.prompt, self.instruction or instruction_for("generate"), frames, timbre=timbre_of(job, ctx, info),
            duration_s=samples / info.rate_hz,
        )
        return Plan(((request, 1.0),), samples, start=latent.frames, t_start=self.denoise, facts={"cutoff_hz": round(cutoff, 3)})

    def _consistency(
        self, given: list[torch.Tensor], cutoffs: list[float], ctx: Context, info: VariantInfo
    ) -> LowBandProjection:
        model, device = ctx.model(self), ctx.numerics.device
        length = max(info.frames(g.shape[-1]) for g in given) * info.hop_length
        reference = torch.stack([torch.nn.functional.pad(g, (0, length - g.shape[-1])) for g in given])

        def band(x: torch.Tensor) -> torch.Tensor:
            return torch.stack([low_pass(row, cutoff, info.rate_hz) for row, cutoff in zip(x, cutoffs, strict=True)])

        return LowBandProjection(
            lambda x: model.decode(x.float().cpu()), lambda a: model.encode(a.float().cpu()).to(device), band, reference,
            every=self.consistency_every,
        )

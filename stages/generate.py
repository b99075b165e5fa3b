"""`generate` and `refine`: text to music from noise, and partial denoising of an earlier take.

Knows nothing of how conditions become tensors or how the core runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from pydantic import Field

from ..pipeline.conditioning import instruction_for
from ..pipeline.context import Context, Job, Result
from ..pipeline.errors import Problem, RunError
from ..pipeline.models.base import ConditionRequest, VariantInfo
from ..pipeline.spec import DiffusionStage, Name, Prompt, Unit
from .denoise import Plan, denoise, untouched
from .low_band import band_edge_hz, with_low_band

if TYPE_CHECKING:
    from ..pipeline.scope import Scope


LENGTH_TOLERANCE_S = 0.05


class Generate(DiffusionStage):
    """Text to music: from pure noise under caption, lyrics and metadata, `prompt.duration_s` long."""

    task: ClassVar[str | None] = "generate"
    reads_prompt: ClassVar[frozenset[str]] = frozenset(Prompt.model_fields)  # the length too

    type: Literal["generate"] = "generate"
    timbre: Name | None = Field(None, description="input or stage whose sound colour is followed")
    stop_at: int | None = Field(
        None, ge=1, description="stop after so many steps and keep the noisy state as a checkpoint; refine goes on from it"
    )

    def references(self) -> dict[str, str]:
        return {"timbre": self.timbre} if self.timbre else {}

    def check(self, scope: Scope) -> Iterator[Problem]:
        if scope.prompt.duration_s is None:
            yield scope.problem(
                "generate needs a length and none is given", "write prompt: {duration_s: 30} on the pipeline or this stage",
                "prompt.duration_s",
            )
        spec = scope.spec
        steps = spec.steps if isinstance(spec, DiffusionStage) else None
        if self.stop_at is not None and steps is not None and self.stop_at >= steps:
            fix = f"write 1 to {steps - 1}" if steps > 1 else "leave it out"
            yield scope.problem(f"stop_at {self.stop_at} is not before the last of {steps} steps", fix, "stop_at")

    def unfinished(self) -> str | None:
        return "stop_at" if self.stop_at is not None else None

    def run(self, jobs: Sequence[Job], ctx: Context) -> list[Result]:
        info = ctx.info(self.variant)
        plans = []
        for job in jobs:
            assert job.prompt.duration_s is not None
            samples = max(1, round(job.prompt.duration_s * info.rate_hz))
            request = ConditionRequest(
                job.prompt, self.instruction or instruction_for("generate"), info.frames(samples),
                timbre=timbre_of(job, ctx, info), duration_s=job.prompt.duration_s,
            )
            plans.append(Plan(((request, 1.0),), samples, stop_at=self.stop_at))
        return denoise(self, jobs, ctx, plans)


class Refine(DiffusionStage):
    """Partial denoising: the source is re-noised to t = `denoise` and denoised from there under the prompt.

    The context is silence of the source's own length (the structure comes from the latent itself). A source that is a
    step checkpoint (`generate` with `stop_at`) is already noisy: it goes on from its own level, never re-noised.
    """

    task: ClassVar[str | None] = "refine"
    finishes: ClassVar[frozenset[str]] = frozenset({"source"})

    type: Literal["refine"] = "refine"
    source: Name
    denoise: Unit = Field(0.5, description="t_start: 0 leaves the source as it is, 1 starts from noise")
    timbre: Name | None = Field(None, description="input or stage whose sound colour is followed")
    low_band: Name | None = Field(
        None,
        description="input or stage whose low band is kept: at the end every bin below its measured band edge is its own",
    )

    def references(self) -> dict[str, str]:
        beside = {"timbre": self.timbre, "low_band": self.low_band}
        return {"source": self.source} | {field: name for field, name in beside.items() if name}

    def check(self, scope: Scope) -> Iterator[Problem]:
        if self.low_band is not None:
            own, given = scope.duration_s(self.source), scope.duration_s(self.low_band)
            if own is not None and given is not None and abs(own - given) > LENGTH_TOLERANCE_S:
                cause = f"'{self.low_band}' lasts {given:.3f} s and '{self.source}' {own:.3f} s; its low band doesn't fit"
                yield scope.problem(cause, "name the take that the source was made from", "low_band")
        source = scope.stages.get(self.source)
        if isinstance(source, Generate) and source.unfinished() and "denoise" in self.model_fields_set:
            scope.warn(
                f"denoise {self.denoise:g} has no effect: '{self.source}' is a step checkpoint, and is gone on with from the "
                "level it has", "leave denoise out", "denoise",
            )

    def run(self, jobs: Sequence[Job], ctx: Context) -> list[Result]:
        info = ctx.info(self.variant)
        wanted = [self.denoise > 0 or job.source.signal.checkpoint is not None for job in jobs]
        worked = [job for job, needed in zip(jobs, wanted, strict=True) if needed]
        made = denoise(self, worked, ctx, [self._plan(job, ctx, info) for job in worked])
        if self.low_band is not None:
            made = [self._keep_low(result, job, ctx, info) for result, job in zip(made, worked, strict=True)]
        found = iter(made)
        return [next(found) if needed else untouched() for needed in wanted]

    def _keep_low(self, result: Result, job: Job, ctx: Context, info: VariantInfo) -> Result:
        given = ctx.audio(job.sources["low_band"], info.rate_hz, info.channels).samples
        samples = result.latent.samples if result.latent is not None else None
        if samples is None or abs(given.shape[-1] - samples) > LENGTH_TOLERANCE_S * info.rate_hz:
            raise RunError(
                f"stage '{ctx.stage}': {job.sources['low_band'].id} is not as long as {job.source.id}; its low band doesn't fit. "
                "Name the take that the source was made from."
            )
        return with_low_band(self, result, given, band_edge_hz(given, info.rate_hz), ctx, info)

    def _plan(self, job: Job, ctx: Context, info: VariantInfo) -> Plan:
        checkpoint = job.source.signal.checkpoint
        if checkpoint is not None and checkpoint.codec != info.codec:
            raise RunError(
                f"stage '{ctx.stage}': {job.source.id} was stopped half-way in the latents of another autoencoder than that of "
                f"variant '{info.variant}'. Write the variant that made it."
            )
        source = ctx.latent(job.source, info)
        samples = source.samples if source.samples is not None else source.frames.shape[0] * info.hop_length
        request = ConditionRequest(
            job.prompt, self.instruction or instruction_for("generate"), source.frames.shape[0],
            timbre=timbre_of(job, ctx, info), duration_s=samples / info.rate_hz,
        )
        return Plan(((request, 1.0),), samples, start=source.frames, t_start=self.denoise, checkpoint=checkpoint)


def timbre_of(job: Job, ctx: Context, info: VariantInfo) -> torch.Tensor | None:
    """The timbre reference's latent frames `[T, D]`, or None when the stage names none."""
    take = job.sources.get("timbre")
    return None if take is None else ctx.latent(take, info).frames

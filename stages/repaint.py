"""`repaint`: regenerate one or many windows of a source, also past its end; outside the windows every sample stays.

The decoder sees the source with silence in the windows; the clean prediction has the source re-injected outside during the
first part of the steps; the waveform is spliced with a cross-fade that lies inside each window.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator

from ..pipeline.conditioning import instruction_for
from ..pipeline.context import Context, Job, Result
from ..pipeline.diffusion.projections import RepaintProjection
from ..pipeline.errors import Problem
from ..pipeline.models.base import ConditionRequest, VariantInfo
from ..pipeline.spec import DiffusionStage, Name, Unit
from ..pipeline.take import Audio, Latent
from .denoise import Plan, denoise
from .generate import timbre_of

if TYPE_CHECKING:
    from ..pipeline.scope import Scope

Window = tuple[float, float]


class Repaint(DiffusionStage):
    """Fill windows of a clip anew. Give `start_s` and `end_s`, or `windows`; an end is never guessed."""

    task: ClassVar[str | None] = "repaint"

    type: Literal["repaint"] = "repaint"
    source: Name
    start_s: float | None = Field(None, ge=0)
    end_s: float | None = Field(None, gt=0, description="may lie past the clip's end: the clip grows (outpainting)")
    windows: tuple[Window, ...] | None = Field(None, min_length=1, description="several [start, end] in seconds, rising, apart")
    crossfade_s: float = Field(0.08, ge=0, le=5, description="length of the fade at each seam, inside the window")
    inject_until: Unit = Field(0.5, description="share of the steps during which the source is re-injected outside")
    timbre: Name | None = Field(None, description="input or stage whose sound colour is followed")

    @model_validator(mode="after")
    def _windows_are_sound(self) -> Self:
        single = self.start_s is not None or self.end_s is not None
        if single and self.windows is not None:
            raise ValueError("start_s/end_s and windows are two ways to say the same; write one of them")
        if not single and self.windows is None:
            raise ValueError("repaint needs a window: start_s and end_s, or windows: [[start, end], …]")
        if single and (self.start_s is None or self.end_s is None):
            raise ValueError("repaint needs both start_s and end_s; an end that is left out is not guessed")
        last = -1.0
        for start, end in self.spans():
            if start < 0 or end <= start:
                raise ValueError(f"window [{start}, {end}] must start at 0 or later and end after it starts")
            if start <= last:
                raise ValueError(f"window [{start}, {end}] touches or precedes the one before; let windows rise apart")
            last = end
        return self

    def spans(self) -> tuple[Window, ...]:
        """The windows in seconds, rising."""
        if self.windows is not None:
            return self.windows
        assert self.start_s is not None and self.end_s is not None
        return ((self.start_s, self.end_s),)

    def references(self) -> dict[str, str]:
        found = {"source": self.source}
        return {**found, "timbre": self.timbre} if self.timbre else found

    def expected_duration_s(self, scope: Scope) -> float | None:
        """The source's length, or the last window's end where that lies past it."""
        own = scope.duration_s(self.source)
        return None if own is None else max(own, *(end for _, end in self.spans()))

    def check(self, scope: Scope) -> Iterator[Problem]:
        length = scope.duration_s(self.source)
        if length is None:
            return
        for start, end in self.spans():
            if start >= length:
                yield scope.problem(
                    f"window [{start:g}, {end:g}] s begins at or after the end of '{self.source}', which is {length:.3f} s long",
                    f"start before {length:.3f} s (the end may lie past it: the clip then grows)",
                    "start_s" if self.windows is None else "windows",
                )

    def run(self, jobs: Sequence[Job], ctx: Context) -> list[Result]:
        info = ctx.info(self.variant)
        prepared = [_Prepared.of(self, job, ctx, info) for job in jobs]
        plans = [self._plan(job, p, ctx, info) for job, p in zip(jobs, prepared, strict=True)]

        def projections(positions: Sequence[int]) -> tuple[RepaintProjection, ...]:
            device = ctx.numerics.device
            source = torch.stack([prepared[i].frames for i in positions]).to(device)
            mask = torch.stack([prepared[i].mask for i in positions]).to(device)
            return (RepaintProjection(source, mask, until=self.inject_until),)

        made = denoise(self, jobs, ctx, plans, projections)
        return [self._splice(job, p, r, ctx, info) for job, p, r in zip(jobs, prepared, made, strict=True)]

    def _plan(self, job: Job, p: _Prepared, ctx: Context, info: VariantInfo) -> Plan:
        request = ConditionRequest(
            job.prompt, self.instruction or instruction_for("repaint"), p.frames.shape[0], context="source", source=p.frames,
            mask=p.mask, silence_in_mask=True, timbre=timbre_of(job, ctx, info),
            duration_s=p.samples / info.rate_hz,
        )
        return Plan(((request, 1.0),), p.samples, facts={"windows": [list(w) for w in self.spans()]})

    def _splice(self, job: Job, p: _Prepared, result: Result, ctx: Context, info: VariantInfo) -> Result:
        """Audio: the source, sample for sample, with the windows faded in. Latent: source frames outside the mask."""
        assert result.latent is not None
        keep = p.mask.unsqueeze(-1) < 0.5
        frames = torch.where(keep, p.frames, result.latent.frames)
        source = ctx.audio(job.source)
        made = Audio(ctx.model(self).decode(frames.unsqueeze(0))[0, :, : p.samples], info.rate_hz)
        audio = splice(source, made, self.spans(), self.crossfade_s)
        latent = Latent(frames, info.frame_rate_hz, info.codec, samples=p.samples)
        return Result(
            audio=audio, latent=latent, facts=result.facts, steps_run=result.steps_run, forwards=result.forwards
        )


class _Prepared:
    """The source's latent, grown to the last window's end, and the mask `[T]` (1 where audio is generated)."""

    def __init__(self, frames: torch.Tensor, mask: torch.Tensor, samples: int) -> None:
        self.frames, self.mask, self.samples = frames, mask, samples

    @classmethod
    def of(cls, stage: Repaint, job: Job, ctx: Context, info: VariantInfo) -> _Prepared:
        latent = ctx.latent(job.source, info)
        own = latent.samples if latent.samples is not None else latent.frames.shape[0] * info.hop_length
        samples = max(own, round(max(end for _, end in stage.spans()) * info.rate_hz))
        total = max(info.frames(samples), latent.frames.shape[0])
        frames = torch.nn.functional.pad(latent.frames, (0, 0, 0, total - latent.frames.shape[0]))
        mask = torch.zeros(total)
        for start, end in stage.spans():
            first = int(start * info.frame_rate_hz)
            mask[first : max(first + 1, -int(-end * info.frame_rate_hz // 1))] = 1.0
        mask[latent.frames.shape[0] :] = 1.0
        return cls(frames, mask, samples)


def splice(source: Audio, made: Audio, windows: Sequence[Window], crossfade_s: float) -> Audio:
    """`source` with `made` in the windows, at the source's own rate and channels, grown where a window passes its end.

    Fades are pairs that sum to one (sin² and cos²), lie inside the window and are at most half of it; every sample outside the
    windows is the source's own, bit for bit.
    """
    from ..pipeline.audio_file import remix, resample

    fill = remix(resample(made, source.rate_hz), source.channels).samples
    total = max(source.samples.shape[-1], round(max(end for _, end in windows) * source.rate_hz))
    out = torch.nn.functional.pad(source.samples, (0, total - source.samples.shape[-1])).clone()
    fill = torch.nn.functional.pad(fill, (0, max(0, total - fill.shape[-1])))[:, :total]
    own = source.samples.shape[-1]
    for start, end in windows:
        a, b = round(start * source.rate_hz), min(total, round(end * source.rate_hz))
        fade = min(round(crossfade_s * source.rate_hz), (b - a) // 2)
        weight = torch.ones(b - a)
        ramp = torch.sin(torch.linspace(0, torch.pi / 2, fade + 2)[1:-1]) ** 2
        if a > 0 and fade:
            weight[:fade] = ramp
        if b < own and fade:
            weight[-fade:] = ramp.flip(0)
        out[:, a:b] = out[:, a:b] * (1 - weight) + fill[:, a:b] * weight
    return Audio(out, source.rate_hz)

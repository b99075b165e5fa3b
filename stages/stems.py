"""`extract`, `lego` and `complete`: one stem out of a mix, one new stem to a mix, a whole band to a stem.

All three show the decoder the full source, uncompressed, with everything masked for generation; the instruction names the
track. They want the base variant, which alone was trained on tracks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from pydantic import Field

from ..pipeline.conditioning import instruction_for
from ..pipeline.context import Context, Job, Result
from ..pipeline.models.base import ConditionRequest
from ..pipeline.spec import DiffusionStage, Name
from ..pipeline.take import Audio
from .denoise import Plan, denoise
from .generate import timbre_of

Track = Literal[
    "woodwinds", "brass", "fx", "synth", "strings", "percussion", "keyboard", "guitar", "bass", "drums", "backing_vocals",
    "vocals",
]


class _FromSource(DiffusionStage):
    source: Name
    timbre: Name | None = Field(None, description="input or stage whose sound colour is followed")

    def references(self) -> dict[str, str]:
        found = {"source": self.source}
        return {**found, "timbre": self.timbre} if self.timbre else found

    def _instruction(self) -> str:
        raise TypeError(f"{self.type} has no instruction")

    def run(self, jobs: Sequence[Job], ctx: Context) -> list[Result]:
        info = ctx.info(self.variant)
        plans = []
        for job in jobs:
            source = ctx.latent(job.source, info)
            frames = source.frames.shape[0]
            samples = source.samples if source.samples is not None else frames * info.hop_length
            request = ConditionRequest(
                job.prompt, self.instruction or self._instruction(), frames, context="source", source=source.frames,
                timbre=timbre_of(job, ctx, info), duration_s=samples / info.rate_hz,
            )
            plans.append(Plan(((request, 1.0),), samples))
        return denoise(self, jobs, ctx, plans)


class Extract(_FromSource):
    """One track of a mix, alone."""

    task: ClassVar[str | None] = "extract"

    type: Literal["extract"] = "extract"
    track: Track

    def _instruction(self) -> str:
        return instruction_for("extract", track=self.track)


class Lego(_FromSource):
    """A new track that fits the source: alone, or laid over the source with `keep_source`."""

    task: ClassVar[str | None] = "lego"

    type: Literal["lego"] = "lego"
    track: Track
    keep_source: bool = Field(False, description="true gives source + new stem (summed as waveforms)")

    def _instruction(self) -> str:
        return instruction_for("lego", track=self.track)

    def run(self, jobs: Sequence[Job], ctx: Context) -> list[Result]:
        results = super().run(jobs, ctx)
        if not self.keep_source:
            return results
        return [self._over_source(job, result, ctx) for job, result in zip(jobs, results, strict=True)]

    def _over_source(self, job: Job, result: Result, ctx: Context) -> Result:
        assert result.latent is not None
        info = ctx.info(self.variant)
        stem = ctx.model(self).decode(result.latent.frames.unsqueeze(0))[0, :, : result.latent.samples]
        source = ctx.audio(job.source, info.rate_hz, info.channels).samples
        length = min(stem.shape[-1], source.shape[-1])
        mixed = torch.nn.functional.pad(source, (0, max(0, stem.shape[-1] - source.shape[-1]))).clone()
        mixed[:, :length] += stem[:, :length]
        return Result(
            audio=Audio(mixed, info.rate_hz), facts={**result.facts, "keep_source": True},
            steps_run=result.steps_run, forwards=result.forwards,
        )


class Complete(_FromSource):
    """The source with the named tracks added: the output is the whole mix."""

    task: ClassVar[str | None] = "complete"

    type: Literal["complete"] = "complete"
    tracks: tuple[Track, ...] = Field(min_length=1, description="tracks to add")

    def _instruction(self) -> str:
        return instruction_for("complete", classes=self.tracks)

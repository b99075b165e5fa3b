"""`cover`: the source's structure in a new dress, by a timeline of conditions over the denoising steps.

The source passes the audio tokenizer (5 Hz codes) and back; what survives is melody, harmony and rhythm. After the switch
the decoder sees silence and the default instruction, with the same caption, lyrics, metadata and timbre reference.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from ..pipeline.conditioning import instruction_for
from ..pipeline.context import Context, Job, Result
from ..pipeline.errors import Problem
from ..pipeline.models.base import ConditionRequest, VariantInfo
from ..pipeline.spec import DiffusionStage, Name, Prompt, Spec, Unit
from .denoise import Plan, denoise
from .generate import timbre_of

if TYPE_CHECKING:
    from ..pipeline.scope import Scope


class TimelineEntry(Spec):
    """One segment of an explicit timeline: what the decoder sees until `until` of the executed steps are done."""

    until: float = Field(gt=0, le=1, description="fraction of the executed steps at which this segment ends")
    context: Literal["quantized", "source", "silence"] = Field(
        "quantized", description="quantized: source through the tokenizer; source: as it is; silence: nothing"
    )
    instruction: str | None = Field(None, max_length=2000)
    prompt: Prompt = Field(default_factory=Prompt, description="prompt fields that differ in this segment")


class Cover(DiffusionStage):
    """Restyle a source: `strength` of the executed steps follow its skeleton, the rest the caption alone."""

    task: ClassVar[str | None] = "cover"

    type: Literal["cover"] = "cover"
    source: Name | None = Field(None, description="take or input to cover; left out only with audio_codes")
    strength: Unit = Field(1.0, description="share of the executed steps that follow the source")
    timeline: tuple[TimelineEntry, ...] | None = Field(None, description="explicit segments in place of strength")
    audio_codes: str | None = Field(None, max_length=1_000_000, description="'<|audio_code_N|>…' in place of a source")
    timbre: Name | None = Field(None, description="input or stage whose sound colour is followed; not the source by itself")

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.timeline is not None and "strength" in self.model_fields_set:
            raise ValueError("strength and timeline are two ways to say the same; write one of them")
        if self.timeline is not None:
            ends = [entry.until for entry in self.timeline]
            if not ends or any(a >= b for a, b in pairwise(ends)) or ends[-1] != 1.0:
                raise ValueError(f"timeline ends {ends} must rise and the last must be 1.0")
        if (self.source is None) == (self.audio_codes is None):
            raise ValueError("cover needs exactly one of source and audio_codes")
        return self

    def references(self) -> dict[str, str]:
        named = {"source": self.source, "timbre": self.timbre}
        return {key: name for key, name in named.items() if name}

    def check(self, scope: Scope) -> Iterator[Problem]:
        if self.audio_codes is not None and "<|audio_code_" not in self.audio_codes:
            yield scope.problem(
                "audio_codes holds no code", "write codes such as '<|audio_code_17|><|audio_code_4|>', five a second",
                "audio_codes",
            )
        if self.audio_codes is not None and self.timeline and any(e.context == "source" for e in self.timeline):
            yield scope.problem("a timeline entry asks for the source, and there is none", "use context: quantized", "timeline")

    def run(self, jobs: Sequence[Job], ctx: Context) -> list[Result]:
        info = ctx.info(self.variant)
        return denoise(self, jobs, ctx, [self._plan(job, ctx, info) for job in jobs])

    def _plan(self, job: Job, ctx: Context, info: VariantInfo) -> Plan:
        if self.audio_codes is not None:
            frames = code_count(self.audio_codes) * 5
            source, samples = None, frames * info.hop_length
        else:
            latent = ctx.latent(job.source, info)
            source, frames = latent.frames, latent.frames.shape[0]
            samples = latent.samples if latent.samples is not None else frames * info.hop_length
        shared: dict[str, Any] = {
            "frames": frames, "timbre": timbre_of(job, ctx, info), "duration_s": samples / info.rate_hz,
        }
        segments = []
        for entry in self._entries():
            context: Any = "codes" if entry.context == "quantized" and source is None else entry.context
            default = instruction_for("generate" if entry.context == "silence" else "cover")
            own = self.instruction if entry.context != "silence" else None
            request = ConditionRequest(
                entry.prompt.over(job.prompt), entry.instruction or own or default, context=context,
                source=None if context in ("silence", "codes") else source,
                codes=self.audio_codes if context == "codes" else None, **shared,
            )
            segments.append((request, entry.until))
        return Plan(tuple(segments), samples, facts={"strength": None if self.timeline else self.strength})

    def _entries(self) -> tuple[TimelineEntry, ...]:
        """The timeline in full: explicit, or the two segments of a strength (a segment of no length is left out)."""
        if self.timeline is not None:
            return self.timeline
        if self.strength >= 1.0:
            return (TimelineEntry(until=1.0),)
        silence = TimelineEntry(until=1.0, context="silence")
        return (TimelineEntry(until=self.strength), silence) if self.strength > 0 else (silence,)


def code_count(codes: str) -> int:
    """How many audio codes a code string holds."""
    return codes.count("<|audio_code_")

"""`cover`: the source's structure in a new dress, by a timeline of conditions over the denoising steps.

The source passes the audio tokenizer (5 Hz codes) and back; what survives is melody, harmony and rhythm. After the switch
the decoder sees silence and the default instruction, with the same caption, lyrics, metadata and timbre reference.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from ..pipeline.conditioning import audio_code_problems, instruction_for
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

    version: ClassVar[int] = 2
    task: ClassVar[str | None] = "cover"

    type: Literal["cover"] = "cover"
    source: Name | None = Field(None, description="take or input to cover; left out only with audio_codes")
    strength: Unit = Field(1.0, description="share of the executed steps that follow the source")
    timeline: tuple[TimelineEntry, ...] | None = Field(None, description="explicit segments in place of strength")
    audio_codes: str | None = Field(
        None, max_length=1_000_000,
        description="'<|audio_code_N|>…' in place of a source, five a second; as long as prompt.duration_s where that is given",
    )
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
        yield from self._codes_that_do_not_fit(scope)
        if self.audio_codes is not None and self.timeline and any(e.context == "source" for e in self.timeline):
            yield scope.problem("a timeline entry asks for the source, and there is none", "use context: quantized", "timeline")

    def _codes_that_do_not_fit(self, scope: Scope) -> Iterator[Problem]:
        """What is wrong with the code string itself, and where it does not last as long as was asked for."""
        if self.audio_codes is None:
            return
        info, asked = scope.info, scope.prompt.duration_s
        wrong = audio_code_problems(self.audio_codes, info.codebook_size if info is not None else None)
        yield from (scope.problem(p.cause, p.fix, "audio_codes") for p in wrong)
        if info is None or info.code_frames is None or asked is None:
            return
        have, want = code_count(self.audio_codes) * info.code_frames, info.frames(round(asked * info.rate_hz))
        if have and abs(have - want) >= info.code_frames:
            lasts = have / info.frame_rate_hz
            yield scope.problem(
                f"{code_count(self.audio_codes)} audio codes stand for {lasts:g} s, and prompt.duration_s asks for {asked:g} s",
                f"write prompt: {{duration_s: {lasts:g}}}, or give {-(-want // info.code_frames)} codes", "audio_codes",
            )

    def expected_duration_s(self, scope: Scope) -> float | None:
        """The source's length; with audio codes what the prompt asks for, else what they stand for."""
        info = scope.info
        if self.audio_codes is None or scope.prompt.duration_s is not None or info is None or info.code_frames is None:
            return super().expected_duration_s(scope)
        return code_count(self.audio_codes) * info.code_frames / info.frame_rate_hz

    def prompt_facts(self, prompt: Prompt) -> dict[str, Any]:
        """The length counts only with audio codes: otherwise the source has one."""
        length = {"duration_s": prompt.duration_s} if self.audio_codes is not None else {}
        return {**super().prompt_facts(prompt), **length}

    def run(self, jobs: Sequence[Job], ctx: Context) -> list[Result]:
        info = ctx.info(self.variant)
        return denoise(self, jobs, ctx, [self._plan(job, ctx, info) for job in jobs])

    def _plan(self, job: Job, ctx: Context, info: VariantInfo) -> Plan:
        if self.audio_codes is not None:
            assert info.code_frames is not None  # a variant without them can't do covers
            source, samples = None, code_count(self.audio_codes) * info.code_frames * info.hop_length
            if job.prompt.duration_s is not None:  # as long as the codes to within one of them: checked beforehand
                samples = max(1, round(job.prompt.duration_s * info.rate_hz))
            frames = info.frames(samples)
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

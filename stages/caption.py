"""`caption`: audio to a prompt, by measuring the signal or by Qwen2-Audio.

The audio goes on untouched. Knows nothing of what the prompt is used for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from ..pipeline.context import Context, Job, Result
from ..pipeline.errors import Problem
from ..pipeline.scope import Scope
from ..pipeline.spec import Name, Prompt, Stage
from .caption_qwen import HUB_ID, QUESTION, Qwen2AudioCaptioner, folder_problem
from .caption_words import Heard, listen, sentence
from .kept import kept

PromptField = Literal["caption", "bpm", "keyscale", "duration_s"]


class Caption(Stage):
    """Listens to a take and fills in its prompt: caption, tempo, key, duration."""

    version: ClassVar[int] = 1
    keeps_report: ClassVar[bool] = True
    type: Literal["caption"] = "caption"
    source: Name
    by: Literal["signal", "qwen2-audio"] = Field(
        "signal", description="who writes the caption; tempo, key and duration always come from the signal"
    )
    model: str | None = Field(
        None, min_length=1, max_length=400,
        description=f"qwen2-audio: local folder (relative to the preset) or hub id; left out: {HUB_ID}",
    )
    question: str = Field(QUESTION, min_length=1, max_length=2000, description="qwen2-audio: what it is asked")
    max_new_tokens: int = Field(96, ge=1, le=1024, description="qwen2-audio: longest answer in tokens")
    fields: tuple[PromptField, ...] = Field(
        ("caption", "bpm", "keyscale", "duration_s"), min_length=1, description="prompt fields to fill in"
    )
    overwrite: bool = Field(False, description="true: also those fields the take's prompt has already")

    @model_validator(mode="after")
    def _model_is_for_qwen(self) -> Self:
        if self.by == "signal" and self.model is not None:
            raise ValueError("model is given, but by: signal needs none; write by: qwen2-audio, or leave model out")
        return self

    def check(self, scope: Scope) -> Iterator[Problem]:
        """A local model folder must be there and whole."""
        if self.by == "qwen2-audio" and self.model is not None:
            place = scope.path(self.model)
            wrong = folder_problem(str(place) if place.exists() else self.model)
            if wrong is not None:
                yield scope.problem(
                    f"{wrong}.", "name a folder saved by save_pretrained (model and processor), or a hub id", "model"
                )

    def key_facts(self) -> dict[str, Any]:
        """The model's settings count only where it is asked."""
        facts = super().key_facts()
        if self.by == "signal":
            for name in ("model", "question", "max_new_tokens"):
                facts.pop(name, None)
        return facts

    def prompt_facts(self, prompt: Prompt) -> dict[str, Any]:
        """Which fields it fills in, not what the others say."""
        return {"fills": self._wanted(prompt)}

    def weight_paths(self) -> tuple[str, ...]:
        return (self.model,) if self.model is not None else ()

    def run(self, jobs: Sequence[Job], ctx: Context) -> list[Result]:
        return [self._one(job, ctx) for job in jobs]

    def _one(self, job: Job, ctx: Context) -> Result:
        wanted = self._wanted(job.prompt)
        audio = ctx.audio(job.source)
        heard = listen(audio)
        found = _fields(heard)
        facts: dict[str, Any] = {"heard": heard.facts()}
        if "caption" in wanted and self.by == "qwen2-audio":
            found["caption"] = self._captioner(ctx).caption([audio], self.question, self.max_new_tokens)[0]
            facts["model"] = self.model or HUB_ID
        given = {name: found[name] for name in wanted if found.get(name) is not None}
        if heard.timbre is None:
            ctx.warn(f"{ctx.stage}/{job.index}: the sound is silent; there is little to describe.")
        return Result(same_signal=True, prompt=Prompt(**given), facts={**facts, "filled": given})

    def _wanted(self, prompt: Prompt) -> list[str]:
        return [name for name in self.fields if self.overwrite or getattr(prompt, name) is None]

    def _captioner(self, ctx: Context) -> Qwen2AudioCaptioner:
        def load() -> Qwen2AudioCaptioner:
            place = ctx.path(self.model) if self.model is not None else None
            name = str(place) if place is not None and place.exists() else self.model or HUB_ID
            return Qwen2AudioCaptioner(name, ctx.numerics.device, ctx.numerics.dtype)

        return kept(ctx, load)


def _fields(heard: Heard) -> dict[str, Any]:
    """Prompt fields from what was heard; those that can't be told are None."""
    bpm = round(heard.tempo.bpm) if heard.tempo is not None else None
    return {
        "caption": sentence(heard),
        "bpm": bpm,
        "keyscale": heard.key.name if heard.key is not None else None,
        "duration_s": round(heard.duration_s, 3) if 0 < heard.duration_s <= 3600 else None,
    }

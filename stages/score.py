"""`score`: judges the take as it is and lays the report on it; the sound stays untouched.

Key and tempo that the take's prompt asks for are held against it, and the strides of the decoder it came from. With a
`reference` (an input or a stage: the sound it should be, aligned), distances to it join the report; with
`reference_clips` (files: sounds it should be like) the distance to that set; with `adapters` what others' quality
models say. With `stems` (or a model that makes them, `separate`) each stem is judged by the same rules, its report stands in
the take's, and a defect of the take says which stem carries it. Every formula lives in `scoring/`; this module knows only how
to hand takes over, and to say what training state the model behind the sound was in.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal, Self

import torch
from pydantic import Field, field_validator, model_validator

from ..pipeline.context import Context, Job, Result
from ..pipeline.errors import Problem
from ..pipeline.scope import Scope
from ..pipeline.spec import Name, Prompt, Stage
from ..pipeline.take import Audio, Take
from ..scoring.adapters import ADAPTERS
from ..scoring.comparison import REFERENCE_METRICS, compare
from ..scoring.expected import Expected
from ..scoring.feature_distribution import EMBEDDING_VERSION
from ..scoring.metrics import METRICS
from ..scoring.profiles import Profile
from ..scoring.report import QualityReport
from ..scoring.scorer import SCORER_VERSION, check_profile, score, with_metrics
from ..scoring.stems import with_stems
from .kept import kept
from .score_judges import AdapterOrName, Judges, adapter_problems, clip_problems, metrics_of, nothing
from .score_stems import SeparatorOrName, given_stems, separated, separator_problems, stem_key, wrong_stems

_WORST_FIRST = ("untrained", "preliminary")


class Score(Stage):
    """Measure and judge each take: overall 0–10, metrics with units, defects with spans."""

    version: ClassVar[int] = 2
    scores: ClassVar[bool] = True
    reads_prompt: ClassVar[frozenset[str]] = frozenset({"bpm", "keyscale"})

    type: Literal["score"] = "score"
    source: Name = Field(description="take or input to judge")
    profile: Profile = Field("music", description="what the good bands are for: music, speech or effects")
    weights: dict[str, float] = Field(
        default_factory=dict,
        description="points of single terms of the overall score, multiplied (0 leaves one out)",
    )
    reference: Name | None = Field(
        None,
        description="input or stage the take should equal, aligned in time: adds " + ", ".join(REFERENCE_METRICS),
    )
    reference_clips: tuple[str, ...] = Field(
        (),
        max_length=10_000,
        description="sound files, or folders of them, relative to the preset, that the take should sound like as a set: adds "
        "reference_distance",
    )
    adapters: tuple[AdapterOrName, ...] = Field(
        (),
        description="others' quality models, e.g. [clap, {name: squim, model: squim.pt}]: their figures join the report and "
        "never enter the overall score",
    )

    stems: dict[Name, Name] = Field(
        default_factory=dict,
        max_length=64,
        description="track: input or stage, e.g. {drums: drums_only, vocals: voice}, aligned with the take: each is judged too, "
        "its report stands in the take's, and a defect of the take names the stem that carries it",
    )
    separate: SeparatorOrName | None = Field(
        None,
        description="in place of stems: a model that makes them out of the take, e.g. hdemucs or {name: hdemucs, model: w.pt}",
    )

    @field_validator("weights")
    @classmethod
    def _known_terms(cls, value: dict[str, float]) -> dict[str, float]:
        check_profile("music", value)
        return value

    @field_validator("reference_clips")
    @classmethod
    def _no_empty_path(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if "" in value:
            raise ValueError("a reference clip's path is empty; write the path of a sound file or of a folder")
        return value

    @model_validator(mode="after")
    def _adapters_fit(self) -> Self:
        names = [adapter.name for adapter in self.adapters]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"adapters names '{name}' twice; name each adapter once")
            if ADAPTERS[name].needs_references and not self.reference_clips:
                raise ValueError(f"adapter '{name}' compares with reference clips; write reference_clips: [FOLDER] beside it")
        return self

    @model_validator(mode="after")
    def _stems_fit(self) -> Self:
        if self.stems and self.separate is not None:
            raise ValueError("stems and separate are both given; write stems where you have them, else separate")
        wrong = wrong_stems(self.source, self.stems)
        if wrong is not None:
            raise ValueError(wrong)
        return self

    def references(self) -> dict[str, str]:
        found = {"source": self.source}
        if self.reference:
            found["reference"] = self.reference
        return found | {stem_key(track): name for track, name in self.stems.items()}

    def report_fields(self) -> frozenset[str]:
        names = {n for n, facts in METRICS.items() if facts.always or (self.reference and facts.needs_reference)}
        return frozenset(names.union(metrics_of(self.reference_clips, self.adapters), ("overall", "defects")))

    def check(self, scope: Scope) -> Iterator[Problem]:
        """Reference clips must be sound files, adapters' and separator's packages installed and their models there."""
        yield from clip_problems(self.reference_clips, scope)
        yield from adapter_problems(self.adapters, scope)
        yield from separator_problems(self.separate, scope)

    def key_facts(self) -> dict[str, Any]:
        """What stems are given, stands among the sources; fields about stems that are left out are no part of the key, so that
        it is the one it was before there were any."""
        facts = {**super().key_facts(), "scorer": SCORER_VERSION}
        facts.pop("stems", None)
        if self.separate is None:
            del facts["separate"]
        else:
            facts["separator_version"] = self.separate.key_facts()
        if self.reference_clips:
            facts["embedding"] = EMBEDDING_VERSION
        if self.adapters:
            facts["adapter_versions"] = [adapter.key_facts() for adapter in self.adapters]
        return facts

    def prompt_facts(self, prompt: Prompt) -> dict[str, Any]:
        """Beside tempo and key the caption, where an adapter compares the sound with it."""
        facts = super().prompt_facts(prompt)
        return {**facts, "caption": prompt.caption} if self._compares_text() else facts

    def _compares_text(self) -> bool:
        return any(ADAPTERS[a.name].needs_text and a.text is None for a in self.adapters)

    def weight_paths(self) -> tuple[str, ...]:
        """Models and reference clips: their content is part of the key."""
        models = [one.model for one in (*self.adapters, self.separate) if one is not None and one.model is not None]
        return (*models, *self.reference_clips)

    def run(self, jobs: Sequence[Job], ctx: Context) -> list[Result]:
        return [self._one(job, ctx) for job in jobs]

    def _one(self, job: Job, ctx: Context) -> Result:
        report = self._measured(ctx.audio(job.source), job.source, job, ctx)
        if "reference" in job.sources:
            report = with_metrics(report, self._against(job.sources["reference"], job.source, report, ctx))
        if self.reference_clips or self.adapters:
            report = with_metrics(report, self._judged(job, report, ctx))
        if self.stems or self.separate is not None:
            report = with_stems(report, self._stem_reports(job, report, ctx))
        return Result(same_signal=True, report=report, facts={"scorer": report.scorer, "overall": report.overall})

    def _measured(self, audio: Audio, take: Take, job: Job, ctx: Context) -> QualityReport:
        """The report of a take, or of a stem made out of it, against what the job's prompt asks for."""
        strides = decoder_strides(take, audio.rate_hz, ctx)
        expected = Expected(bpm=job.prompt.bpm, keyscale=job.prompt.keyscale, strides=strides)
        report = score(audio.samples, audio.rate_hz, profile=self.profile, weights=self.weights, expected=expected)
        return report.model_copy(update={"model_training": model_training(take)})

    def _stem_reports(self, job: Job, report: QualityReport, ctx: Context) -> dict[str, QualityReport]:
        """The report of each stem, at its own rate and with its own channels; none where a take to be separated isn't numbers."""
        if self.separate is None:
            takes = given_stems(job, self.stems, ctx)
            return {track: self._measured(ctx.audio(take), take, job, ctx) for track, take in takes.items()}
        if "nan" in report.defect_types():
            ctx.warn(f"'{job.source.id}' holds NaN or Inf and was not taken apart into stems")
            return {}
        audio = ctx.audio(job.source)
        made = separated(audio, self.separate, ctx)
        return {
            track: self._measured(Audio(torch.from_numpy(x), audio.rate_hz), job.source, job, ctx) for track, x in made.items()
        }

    def _against(self, reference: Take, take: Take, report: QualityReport, ctx: Context) -> Mapping[str, float | None]:
        """Figures against the reference, brought to the take's rate and channels; None where samples aren't
        numbers."""
        heard = ctx.audio(take)
        wanted = ctx.audio(reference, heard.rate_hz, heard.channels)
        if "nan" in report.defect_types() or not bool(wanted.samples.isfinite().all()):
            return dict.fromkeys(REFERENCE_METRICS)
        if abs(wanted.samples.shape[-1] - heard.samples.shape[-1]) > 0.1 * heard.rate_hz:
            ctx.warn(
                f"'{take.id}' lasts {heard.duration_s:.2f} s, its reference '{reference.id}' "
                f"{wanted.duration_s:.2f} s; "
                "only the part both have is compared"
            )
        return compare(wanted.samples, heard.samples, heard.rate_hz)

    def _judged(self, job: Job, report: QualityReport, ctx: Context) -> Mapping[str, float | None]:
        """Figures against the reference clips and of the adapters, whose models live as long as the stage's work."""
        if "nan" in report.defect_types():
            return nothing(self.reference_clips, self.adapters)
        if job.prompt.caption is None and self._compares_text():
            ctx.warn(f"'{job.source.id}' has no caption that adapter 'clap' could compare it with; write text: … for it")
        judges = kept(ctx, lambda: Judges(self.reference_clips, self.adapters, ctx), "judges")
        return judges.figures(ctx.audio(job.source), job.prompt.caption)


def decoder_strides(take: Take, rate_hz: int, ctx: Context) -> tuple[int, ...] | None:
    """The strides of the autoencoder that decoded the take, from the last denoising stage in its lineage; None when there
    was none, or the sound is at another rate by now."""
    variant = next((step["variant"] for step in reversed(take.lineage) if step.get("timesteps") and step.get("variant")), None)
    if variant is None:
        return None
    info = ctx.info(variant)
    return info.strides or None if info.rate_hz == rate_hz else None


def model_training(take: Take) -> str | None:
    """The worst training state among the models in the take's lineage; None when all were trained or none had
    part."""
    return worst_training([entry.get("training") for entry in take.lineage])


def worst_training(states: Sequence[str | None]) -> str | None:
    """The worst of training states; None when all are trained or unknown."""
    return next((state for state in _WORST_FIRST if state in states), None)

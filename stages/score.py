"""`score`: judges the take as it is and lays the report on it; the sound stays untouched.

Key and tempo that the take's prompt asks for are held against it, and the strides of the decoder it came from. With a
`reference` (an input or a stage), distances to it join the report. Every formula lives in `scoring/`;
this module knows only how to hand takes over, and to say what training state the model behind the sound was
in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator

from ..pipeline.context import Context, Job, Result
from ..pipeline.spec import Name, Stage
from ..pipeline.take import Take
from ..scoring.expected import Expected
from ..scoring.metrics import METRICS
from ..scoring.profiles import Profile
from ..scoring.reference import chroma_similarity, log_spectral_distance, si_sdr
from ..scoring.report import QualityReport
from ..scoring.scorer import SCORER_VERSION, check_profile, score, with_metrics

_WORST_FIRST = ("untrained", "preliminary")


class Score(Stage):
    """Measure and judge each take: overall 0–10, metrics with units, defects with spans."""

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
        description="input or stage the take should sound like: adds lsd, si_sdr_db and chroma_similarity",
    )

    @field_validator("weights")
    @classmethod
    def _known_terms(cls, value: dict[str, float]) -> dict[str, float]:
        check_profile("music", value)
        return value

    def references(self) -> dict[str, str]:
        found = {"source": self.source}
        return found | {"reference": self.reference} if self.reference else found

    def report_fields(self) -> frozenset[str]:
        names = {n for n, facts in METRICS.items() if self.reference or not facts.needs_reference}
        return frozenset(names | {"overall", "defects"})

    def key_facts(self) -> dict[str, Any]:
        return {**super().key_facts(), "scorer": SCORER_VERSION}

    def run(self, jobs: Sequence[Job], ctx: Context) -> list[Result]:
        return [self._one(job, ctx) for job in jobs]

    def _one(self, job: Job, ctx: Context) -> Result:
        audio = ctx.audio(job.source)
        strides = decoder_strides(job.source, audio.rate_hz, ctx)
        expected = Expected(bpm=job.prompt.bpm, keyscale=job.prompt.keyscale, strides=strides)
        report = score(audio.samples, audio.rate_hz, profile=self.profile, weights=self.weights, expected=expected)
        if "reference" in job.sources:
            report = with_metrics(report, self._against(job.sources["reference"], job.source, report, ctx))
        report = report.model_copy(update={"model_training": model_training(job.source)})
        return Result(same_signal=True, report=report, facts={"scorer": report.scorer, "overall": report.overall})

    def _against(self, reference: Take, take: Take, report: QualityReport, ctx: Context) -> Mapping[str, float | None]:
        """Figures against the reference, brought to the take's rate and channels; None where samples aren't
        numbers."""
        heard = ctx.audio(take)
        wanted = ctx.audio(reference, heard.rate_hz, heard.channels)
        if "nan" in report.defect_types() or not bool(wanted.samples.isfinite().all()):
            return {"lsd": None, "si_sdr_db": None, "chroma_similarity": None}
        if abs(wanted.samples.shape[-1] - heard.samples.shape[-1]) > 0.1 * heard.rate_hz:
            ctx.warn(
                f"'{take.id}' lasts {heard.duration_s:.2f} s, its reference '{reference.id}' "
                f"{wanted.duration_s:.2f} s; "
                "only the part both have is compared"
            )
        pair = (wanted.samples, heard.samples, heard.rate_hz)
        return {
            "lsd": log_spectral_distance(*pair),
            "si_sdr_db": si_sdr(*pair),
            "chroma_similarity": chroma_similarity(*pair),
        }


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
    states = {entry.get("training") for entry in take.lineage}
    return next((state for state in _WORST_FIRST if state in states), None)

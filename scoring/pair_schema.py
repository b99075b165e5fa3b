"""A preference pair as it is written: the user's fixed JSON schema, and beside it what else is known of each
side.

Plain frozen records; knows neither groups nor how pairs are found.
"""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class GenerationParams(_Record):
    """The four of the pair schema."""

    model: str | None = None
    steps: int | None = None
    seed: int
    shift: float | None = None


class Provenance(_Record):
    """The facts of one side of a pair that the fixed schema has no place for; the names are those of
    `GroupEntry` and `Generation`. `scorer` names the metrics and their versions."""

    take: str = ""
    key: str = ""
    duration_s: float | None = None
    rate_hz: int | None = None
    pcm_sha256: str = ""
    loudness_lufs: float | None = None
    scorer: str = ""
    model_id: str | None = None
    model_revision: str | None = None
    adapters_sha256: str | None = None
    sampler: str | None = None
    schedule: str | None = None
    guidance: dict[str, Any] | None = None
    noise_device: str = ""
    latent_path: str | None = None
    varied: dict[str, str] = Field(default_factory=dict)
    extra: dict[str, Any] = Field(default_factory=dict)


class PromptMetadata(_Record):
    bpm: int | None = None
    keyscale: str | None = None
    duration: float | None = None  # seconds


class PairPrompt(_Record):
    caption: str = ""
    lyrics: str = ""
    metadata: PromptMetadata = Field(default_factory=PromptMetadata)


class Chosen(_Record):
    """The better side. `quality_report` is metric name -> value."""

    audio_path: str
    quality_score: float
    quality_report: dict[str, float | None] = Field(default_factory=dict)
    generation_params: GenerationParams
    provenance: Provenance | None = None


class Rejected(_Record):
    """The worse side, with what was wrong with it."""

    audio_path: str
    quality_score: float
    quality_report: dict[str, float | None] = Field(default_factory=dict)
    defects: tuple[str, ...] = ()
    generation_params: GenerationParams
    provenance: Provenance | None = None


class Pair(_Record):
    """`chosen` was better than `rejected`, by `margin` in the unit of `metric` (points of the overall score; for
    human judgements the share of votes for less against), under the same prompt.

    The fields *are* the JSON: prompt, chosen and rejected with their keys are the user's schema; the others,
    and each side's `provenance`, stand beside it. `id` names the two sounds under their group and strategy.
    """

    prompt: PairPrompt
    chosen: Chosen
    rejected: Rejected
    id: str = ""
    group: str = ""
    strategy: str = ""
    margin: float | None = None
    metric: str = "overall"
    labeller: str = ""

    schema_keys: ClassVar[tuple[str, ...]] = ("prompt", "chosen", "rejected")

    def to_json(self) -> str:
        """One line of strict JSON."""
        return self.model_dump_json()

    @classmethod
    def from_json(cls, text: str | bytes) -> Pair:
        """The pair again; the fixed keys alone are enough. Raises pydantic's ValidationError."""
        return cls.model_validate_json(text)

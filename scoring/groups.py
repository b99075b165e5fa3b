"""Groups of takes that had the same chance, with every score of every take: the record that pairs are derived from.

Frozen plain data, one line of JSON a group. Knows no rule by which pairs are found, no file, no take and no model.
"""

from __future__ import annotations

import hashlib
import json
from math import isfinite
from operator import attrgetter
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from .report import QualityReport


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class Generation(_Record):
    """How a take was made. None where a thing does not apply, e.g. all of `model`, `steps`, `shift` when no
    model made it.

    `extra` holds whatever else is worth keeping (lineage, instruction …), as plain data; it decides nothing
    here.
    """

    model: str | None = Field(None, description="the variant")
    steps: int | None = None
    seed: int
    shift: float | None = None
    model_id: str | None = Field(None, description="name, folder or hub id of the model")
    model_revision: str | None = Field(None, description="fingerprint of the weights")
    adapters_sha256: str | None = Field(None, description="hash over adapters and their scales; None: no adapters")
    sampler: str | None = None
    schedule: str | None = None
    guidance: dict[str, Any] | None = None
    noise_device: str = Field("cpu", description="where the noise was drawn")
    varied: dict[str, str] = Field(default_factory=dict, description="what a plan varied, by path (run, strength …)")
    extra: dict[str, Any] = Field(default_factory=dict)

    def set_alike(self) -> str:
        """One text for everything that was set and isn't chance: all but the seed and `extra`."""
        left_out = {"seed", "extra"} if self.varied else {"seed", "extra", "varied"}
        return json.dumps(self.model_dump(mode="json", exclude=left_out), sort_keys=True)

    def settings(self) -> tuple[Any, ...]:
        """The same as something to compare and hash, several times faster."""
        return (*_PLAIN_SETTINGS(self), _sorted(self.guidance), _sorted(self.varied))


_PLAIN_SETTINGS = attrgetter(*(
    name for name in Generation.model_fields if name not in ("seed", "extra", "guidance", "varied")
))  # fmt: skip


def _sorted(facts: dict[str, Any] | None) -> str | None:
    return repr(sorted(facts.items())) if facts else None


class TakeFacts(_Record):
    """One take of a group, as it was scored; `GroupEntry` has its whole report, `LeanEntry` what pairs need of it.

    `pcm_sha256` is over the decoded samples; `loudness_lufs` is integrated, before any normalising (None:
    there is none). `overall` is None where there is no score (NaN counts as none). `finite`: no sample is NaN
    or infinite. `parent` is the take of the same group that this one was made from (before a repair), `refused`
    says why a quality gate keeps it out. Takes without a score, not finite, silent or refused are logged and
    never paired.
    """

    take: str
    index: int = Field(ge=0)
    key: str = ""
    seed: int
    overall: float | None = None
    report: Any = None
    duration_s: float = Field(ge=0)
    rate_hz: int | None = None
    generation: Generation
    audio_path: str | None = None
    latent_path: str | None = None
    pcm_sha256: str
    loudness_lufs: float | None = None
    finite: bool = True
    silent: bool = False
    parent: str | None = None
    refused: str | None = None

    @field_validator("overall", "loudness_lufs")
    @classmethod
    def _number(cls, value: float | None) -> float | None:
        return value if value is not None and isfinite(value) else None

    @property
    def defects(self) -> tuple[str, ...]:
        """Names of the defects the report found, worst first."""
        return self.report.defect_types() if self.report else ()

    @property
    def scorer(self) -> str:
        """Who scored, with version; empty without a report."""
        return self.report.scorer if self.report else ""

    def measured(self) -> dict[str, float | None]:
        """Metric name -> value; None where it does not exist or is no finite number."""
        metrics = self.report.metrics if self.report else {}
        return {n: v if (v := metric.value) is not None and isfinite(v) else None for n, metric in metrics.items()}

    def value(self, metric: str) -> float | None:
        """``overall`` or a metric of the report; None where there is no finite number."""
        if metric == "overall":
            return self.overall
        found = self.report.metrics.get(metric) if self.report else None
        return found.value if found and found.value is not None and isfinite(found.value) else None

    @property
    def comparable(self) -> bool:
        """Whether it may be part of a pair: scored, finite, neither silent nor refused."""
        return self.overall is not None and self.finite and not self.silent and self.refused is None

    def judged(self) -> str:
        """One text for the sound and its judgement; where it lies and in which run it was made are left
        out."""
        facts: list[Any] = [
            self.pcm_sha256, self.seed, repr(self.overall), repr(self.duration_s), self.finite, self.silent,
            self.report.scorer if self.report else None, self.generation.set_alike(),
        ]
        if self.parent is not None or self.refused is not None:  # so that groups without them keep their digests
            facts.append([self.parent, self.refused])
        return json.dumps(facts)


class GroupEntry(TakeFacts):
    """One take of a group with its whole report: what is logged."""

    report: QualityReport | None = None


class GroupFacts(_Record):
    """All takes that shared prompt, conditioning inputs and scoring stage.

    `prompt` are the prompt's given fields (caption, lyrics, bpm, keyscale …), `inputs` the keys of the
    conditioning inputs by name, `stage` the scoring stage, `labeller` who judged (by default the scorers of
    the reports).
    """

    id: str
    stage: str
    prompt: dict[str, Any] = Field(default_factory=dict)
    inputs: dict[str, str] = Field(default_factory=dict)
    labeller: str = ""
    run: str = ""
    strata: dict[str, str] = Field(default_factory=dict)
    entries: tuple[TakeFacts, ...] = ()

    def judge(self) -> str:
        """Who judged: `labeller`, or the scorers named in the reports."""
        return self.labeller or "+".join(sorted({e.scorer for e in self.entries if e.scorer}))


class Group(GroupFacts):
    """A group with everything that is known of it: one line of a log."""

    entries: tuple[GroupEntry, ...] = ()

    def content(self) -> str:
        """A digest of what was judged and how. Run, paths and the takes' order are left out, so that a
        resumed or repeated run gives the same."""
        facts: list[Any] = [
            self.id, self.stage, self.prompt, self.inputs, self.labeller, sorted(e.judged() for e in self.entries),
        ]
        if self.strata:
            facts.append(self.strata)
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode("ascii")).hexdigest()[:40]

    def to_json(self) -> str:
        """One line of strict JSON; NaN and infinite metric values become null."""
        return self.model_dump_json()

    @classmethod
    def from_json(cls, text: str | bytes) -> Group:
        """The group again. Raises pydantic's ValidationError."""
        return cls.model_validate_json(text)

"""From scores to preferences: groups of takes that had the same chance, and pairs (chosen, rejected) derived
from them.

A whole group is logged with every score; pairs are derived afterwards, so that a strategy can be changed
later. A pair's JSON has the user's fixed keys at their places; every further fact stands beside them
(`provenance`, `strategy` …). Pure: knows no file, no take and no model.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator

from .pair_schema import Chosen, GenerationParams, Pair, PairPrompt, PromptMetadata, Provenance, Rejected
from .report import QualityReport

SAME_LENGTH_S = 1e-3  # takes whose lengths differ by at most this are of equal duration
TIE = 1e-6            # scores that differ by no more than this are a tie, whatever the margin asked for
SAME_PROMPT_DIFFERENT_SEEDS = "same_prompt_different_seeds"


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
    extra: dict[str, Any] = Field(default_factory=dict)

    def set_alike(self) -> str:
        """One text for everything that was set and isn't chance: all but the seed and `extra`."""
        return json.dumps(self.model_dump(mode="json", exclude={"seed", "extra"}), sort_keys=True)


class GroupEntry(_Record):
    """One take of a group, as it was scored.

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
    report: QualityReport | None = None
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
        return value if value is not None and math.isfinite(value) else None

    @property
    def defects(self) -> tuple[str, ...]:
        """Names of the defects the report found, worst first."""
        return self.report.defect_types() if self.report else ()

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


class Group(_Record):
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

    def judge(self) -> str:
        """Who judged: `labeller`, or the scorers named in the reports."""
        return self.labeller or "+".join(sorted({e.report.scorer for e in self.entries if e.report}))

    def to_json(self) -> str:
        """One line of strict JSON; NaN and infinite metric values become null."""
        return self.model_dump_json()

    @classmethod
    def from_json(cls, text: str | bytes) -> Group:
        """The group again. Raises pydantic's ValidationError."""
        return cls.model_validate_json(text)


def pairs_best_worst(group: Group, *, margin: float = 0.0, k: int = 1) -> list[Pair]:
    """Strategy 1, "same prompt, different seeds": each of the k best against each of the k worst.

    Only takes that were made alike (all settings but the seed), have equal duration (within 1 ms), are
    finite, not silent and scored are compared; no take is on both sides, so at most half of them are on each.
    A pair counts when the scores differ by at least `margin` (0–10) and are no tie (1e-6). The result does
    not depend on the order of the group's entries. Raises ValueError for k < 1 or a negative or non-finite
    margin.

    >>> takes = [GroupEntry(take=f"take {i}", index=i, seed=i, overall=score, duration_s=8.0, generation=Generation(seed=i),
    ...                     pcm_sha256=str(i)) for i, score in enumerate((6.5, 8.0, 3.25))]
    >>> group = Group(id="g", stage="scored", entries=tuple(takes))
    >>> [(p.chosen.quality_score, p.rejected.quality_score, p.margin) for p in pairs_best_worst(group, margin=1.0)]
    [(8.0, 3.25, 4.75)]
    >>> pairs_best_worst(group, margin=5.0)
    []
    """
    if k < 1:
        raise ValueError(f"k is {k}: at least one take is chosen; write k=1 or more")
    if not margin >= 0 or math.isinf(margin):
        raise ValueError(f"margin is {margin}: it is a difference of scores, 0 or more")
    found = []
    for takes in _alike(e for e in group.entries if e.comparable):
        ranked = sorted(takes, key=lambda e: (-_score(e), e.index, e.judged()))
        top = min(k, len(ranked) // 2)
        for best in ranked[:top]:
            for worst in reversed(ranked[len(ranked) - top :]):
                gap = _score(best) - _score(worst)
                if gap > TIE and gap >= margin:
                    found.append(_pair(group, SAME_PROMPT_DIFFERENT_SEEDS, best, worst, gap))
    return found


def _score(entry: GroupEntry) -> float:
    assert entry.overall is not None
    return entry.overall


def _alike(entries: Iterable[GroupEntry]) -> list[list[GroupEntry]]:
    """Takes apart by how they were made and by length; within a part all lengths are within
    `SAME_LENGTH_S`."""
    parts: list[list[GroupEntry]] = []
    for entry in sorted(entries, key=lambda e: (e.generation.set_alike(), e.duration_s)):
        first = parts[-1][0] if parts else None
        alike = first is not None and first.generation.set_alike() == entry.generation.set_alike()
        if first is not None and alike and entry.duration_s - first.duration_s <= SAME_LENGTH_S:
            parts[-1].append(entry)
        else:
            parts.append([entry])
    return parts


def _pair(group: Group, strategy: str, best: GroupEntry, worst: GroupEntry, margin: float) -> Pair:
    name = "\0".join((group.id, strategy, best.pcm_sha256, worst.pcm_sha256))
    prompt = group.prompt
    lyrics = "[Instrumental]" if prompt.get("instrumental") else prompt.get("lyrics") or ""
    return Pair(
        prompt=PairPrompt(
            caption=prompt.get("caption") or "", lyrics=lyrics,
            metadata=PromptMetadata(bpm=prompt.get("bpm"), keyscale=prompt.get("keyscale"), duration=best.duration_s),
        ),
        chosen=Chosen(
            audio_path=best.audio_path or "", quality_score=_score(best), quality_report=_metrics(best),
            generation_params=_params(best), provenance=_provenance(best),
        ),
        rejected=Rejected(
            audio_path=worst.audio_path or "", quality_score=_score(worst), quality_report=_metrics(worst),
            defects=worst.defects, generation_params=_params(worst), provenance=_provenance(worst),
        ),
        id=hashlib.sha256(name.encode("utf-8")).hexdigest()[:16],
        group=group.id, strategy=strategy, margin=margin, labeller=group.judge(),
    )


def _params(entry: GroupEntry) -> GenerationParams:
    made = entry.generation
    return GenerationParams(model=made.model, steps=made.steps, seed=made.seed, shift=made.shift)


def _provenance(entry: GroupEntry) -> Provenance:
    made = entry.generation.model_dump(exclude={"model", "steps", "seed", "shift"})
    return Provenance(
        take=entry.take, key=entry.key, duration_s=entry.duration_s, rate_hz=entry.rate_hz, pcm_sha256=entry.pcm_sha256,
        loudness_lufs=entry.loudness_lufs, scorer=entry.report.scorer if entry.report else "", **made,
    )


def _metrics(entry: GroupEntry) -> dict[str, float | None]:
    """Metric name -> value; None where it does not exist or is no finite number."""
    if entry.report is None:
        return {}
    values = {name: metric.value for name, metric in entry.report.metrics.items()}
    return {n: v if v is not None and math.isfinite(v) else None for n, v in values.items()}


def margin_correlations(pairs: Sequence[Pair]) -> dict[str, float | None]:
    """Whether the margin goes with something that should not decide: loudness, bandwidth, duration.

    For loudness (`loudness_lufs`) and bandwidth (metric ``bandwidth_hz``): correlation of the margin with the
    chosen side's surplus, every pair counted both ways round, so Σ m·d / √(Σ m² · Σ d²); +1 means the louder
    always won, in proportion. For duration, which is equal within a pair: Pearson's r of margin and length.
    None where fewer than three pairs have the quantity or it does not vary.

    >>> made = [GroupEntry(take=str(i), index=i, seed=i, overall=s, loudness_lufs=l, duration_s=8.0, pcm_sha256=str(i),
    ...                    generation=Generation(seed=i)) for i, (s, l) in enumerate([(8.0, -10.0), (6.0, -12.0)])]
    >>> pairs = [p for name in "abc" for p in pairs_best_worst(Group(id=name, stage="scored", entries=tuple(made)))]
    >>> found = margin_correlations(pairs)  # the louder always won; nothing is known of the bandwidth, all are as long
    >>> round(found["loudness"], 6), found["bandwidth"], found["duration"]
    (1.0, None, None)
    """
    scored = [p for p in pairs if p.margin is not None]
    loud = [(p.margin, _gap(_loudness(p.chosen), _loudness(p.rejected))) for p in scored]
    band = [(p.margin, _gap(*(s.quality_report.get("bandwidth_hz") for s in (p.chosen, p.rejected)))) for p in scored]
    long = [(p.margin, p.prompt.metadata.duration) for p in scored]
    return {"loudness": _correlation(loud, centred=False), "bandwidth": _correlation(band, centred=False),
            "duration": _correlation(long, centred=True)}


def _loudness(side: Chosen | Rejected) -> float | None:
    return side.provenance.loudness_lufs if side.provenance else None


def _gap(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a - b


def _correlation(points: Sequence[tuple[float | None, float | None]], centred: bool) -> float | None:
    x = np.array([p for p in points if None not in p], dtype=float).reshape(-1, 2)
    if len(x) < 3:
        return None
    if centred:
        x = x - x.mean(axis=0)
    norms = np.sqrt((x**2).sum(axis=0))
    if norms.min() < 1e-9:
        return None
    return float((x[:, 0] * x[:, 1]).sum() / norms.prod())

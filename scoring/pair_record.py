"""Two takes of a group as a `Pair`. Decides nothing: which side is chosen is given."""

from __future__ import annotations

import hashlib
import math

from .groups import Group, GroupEntry
from .pair_schema import Chosen, GenerationParams, Pair, PairPrompt, PromptMetadata, Provenance, Rejected


def pair_record(
    group: Group, best: GroupEntry, worst: GroupEntry, *, strategy: str, margin: float, metric: str = "overall",
    labeller: str | None = None,
) -> Pair:
    """The pair's whole record; `margin` in the unit of `metric`, `labeller` the group's judge when left out. Its id
    names the two sounds under group and strategy.

    >>> from segue.scoring.groups import Generation
    >>> a, b = (GroupEntry(take=f"take {i}", index=i, seed=i, overall=score, duration_s=8.0, generation=Generation(seed=i),
    ...                    pcm_sha256=str(i)) for i, score in enumerate((8.0, 6.5)))
    >>> pair = pair_record(Group(id="g", stage="scored", entries=(a, b)), a, b, strategy="any", margin=1.5)
    >>> pair.chosen.quality_score, pair.rejected.generation_params.seed, pair.margin, pair.prompt.metadata.duration
    (8.0, 1, 1.5, 8.0)
    """
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
        id=pair_id(group.id, strategy, best.pcm_sha256, worst.pcm_sha256),
        group=group.id, strategy=strategy, margin=margin, metric=metric, labeller=group.judge() if labeller is None else labeller,
    )


def pair_id(group: str, strategy: str, chosen_pcm_sha256: str, rejected_pcm_sha256: str) -> str:
    """16 hex digits that name two sounds under their group and strategy.

    >>> pair_id("g", "any", "0", "1"), pair_id("g", "any", "1", "0")
    ('0ae8f11f4c6b26cd', 'cb5ee8628b0c6ee2')
    """
    name = "\0".join((group, strategy, chosen_pcm_sha256, rejected_pcm_sha256))
    return hashlib.sha256(name.encode("utf-8")).hexdigest()[:16]


def _score(entry: GroupEntry) -> float:
    if entry.overall is None:
        raise ValueError(f"take '{entry.take}' has no score: it can't be part of a pair")
    return entry.overall


def _params(entry: GroupEntry) -> GenerationParams:
    made = entry.generation
    return GenerationParams(model=made.model, steps=made.steps, seed=made.seed, shift=made.shift)


def _provenance(entry: GroupEntry) -> Provenance:
    made = entry.generation.model_dump(exclude={"model", "steps", "seed", "shift"})
    return Provenance(
        take=entry.take, key=entry.key, duration_s=entry.duration_s, rate_hz=entry.rate_hz, pcm_sha256=entry.pcm_sha256,
        loudness_lufs=entry.loudness_lufs, scorer=entry.report.scorer if entry.report else "",
        latent_path=entry.latent_path, **made,
    )


def _metrics(entry: GroupEntry) -> dict[str, float | None]:
    """Metric name -> value; None where it does not exist or is no finite number."""
    if entry.report is None:
        return {}
    values = {name: metric.value for name, metric in entry.report.metrics.items()}
    return {n: v if v is not None and math.isfinite(v) else None for n, v in values.items()}

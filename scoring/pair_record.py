"""Two takes of a group as a `Pair`. Decides nothing: which side is chosen is given."""

from __future__ import annotations

import hashlib
from typing import Any

from .groups import Generation, GroupFacts, TakeFacts
from .pair_schema import GenerationParams, Pair


def pair_record(
    group: GroupFacts, best: TakeFacts, worst: TakeFacts, *, strategy: str, margin: float, metric: str = "overall",
    labeller: str | None = None,
) -> Pair:
    """The pair's whole record; `margin` in the unit of `metric`, `labeller` the group's judge when left out. Its id
    names the two sounds under group and strategy.

    >>> from segue.scoring.groups import Group, GroupEntry
    >>> a, b = (GroupEntry(take=f"take {i}", index=i, seed=i, overall=score, duration_s=8.0, generation=Generation(seed=i),
    ...                    pcm_sha256=str(i)) for i, score in enumerate((8.0, 6.5)))
    >>> pair = pair_record(Group(id="g", stage="scored", entries=(a, b)), a, b, strategy="any", margin=1.5)
    >>> pair.chosen.quality_score, pair.rejected.generation_params.seed, pair.margin, pair.prompt.metadata.duration
    (8.0, 1, 1.5, 8.0)
    """
    return Pair.model_validate({  # in one go: several times faster than record by record
        "prompt": prompt_facts(group, best.duration_s),
        "chosen": side_facts(best), "rejected": {**side_facts(worst), "defects": worst.defects},
        "id": pair_id(group.id, strategy, best.pcm_sha256, worst.pcm_sha256), "group": group.id, "strategy": strategy,
        "margin": margin, "metric": metric, "labeller": group.judge() if labeller is None else labeller,
    })


def prompt_facts(group: GroupFacts, duration_s: float | None) -> dict[str, Any]:
    """A group's prompt as its pairs have it.

    >>> prompt_facts(GroupFacts(id="g", stage="scored", prompt={"caption": "tune", "instrumental": True}), 8.0)["lyrics"]
    '[Instrumental]'
    """
    prompt = group.prompt
    lyrics = "[Instrumental]" if prompt.get("instrumental") else prompt.get("lyrics") or ""
    return {
        "caption": prompt.get("caption") or "", "lyrics": lyrics,
        "metadata": {"bpm": prompt.get("bpm"), "keyscale": prompt.get("keyscale"), "duration": duration_s},
    }


def pair_id(group: str, strategy: str, chosen_pcm_sha256: str, rejected_pcm_sha256: str) -> str:
    """16 hex digits that name two sounds under their group and strategy.

    >>> pair_id("g", "any", "0", "1"), pair_id("g", "any", "1", "0")
    ('0ae8f11f4c6b26cd', 'cb5ee8628b0c6ee2')
    """
    name = "\0".join((group, strategy, chosen_pcm_sha256, rejected_pcm_sha256))
    return hashlib.sha256(name.encode("utf-8")).hexdigest()[:16]


def side_facts(take: TakeFacts) -> dict[str, Any]:
    """A take as either side of a pair. Raises ValueError for one that has no score.

    >>> take = TakeFacts(take="t", index=0, seed=7, overall=8.0, duration_s=8.0, generation=Generation(seed=7), pcm_sha256="0")
    >>> side_facts(take)["generation_params"]["seed"]
    7
    """
    if take.overall is None:
        raise ValueError(f"take '{take.take}' has no score: it can't be part of a pair")
    made = take.generation
    return {
        "audio_path": take.audio_path or "", "quality_score": take.overall, "quality_report": take.measured(),
        "generation_params": {"model": made.model, "steps": made.steps, "seed": made.seed, "shift": made.shift},
        "provenance": {
            "take": take.take, "key": take.key, "duration_s": take.duration_s, "rate_hz": take.rate_hz,
            "pcm_sha256": take.pcm_sha256, "loudness_lufs": take.loudness_lufs, "scorer": take.scorer,
            "latent_path": take.latent_path, **{name: getattr(made, name) for name in _BESIDE},
        },
    }


_BESIDE = tuple(n for n in Generation.model_fields if n not in GenerationParams.model_fields)  # Provenance has them too

"""Covers over falling strength: melody and harmony of the source fade, the caption takes over."""

from __future__ import annotations

from functools import cache
from itertools import count as counting
from itertools import pairwise
from typing import Any

import torch

from ...pipeline.run import Run
from ...pipeline.spec import Guidance
from ...scoring.reference import chroma_similarity
from ...stages import Cover
from ..corpus import make_clip
from ..corpus.composer import compose
from .bench import Bench, audio_of, mean
from .captions import followed
from .listeners import agreement, present

STRENGTHS = (1.0, 0.9, 0.7, 0.5, 0.3, 0.1, 0.0)
FOLLOWED_AT = (1.0, 0.5, 0.0)
# Set on choosing clips: more for the source keeps more of it, more for the text follows that more (`studies.cover_guidance`);
# these two lie between. Late in the way guidance only adds to what is there, and takes from the likeness to the source.
# Turbo was distilled under 6 and 2, likewise unguided at the end.
GUIDED = Guidance(kind="multi", acoustic_scale=4.0, text_scale=2.0, interval=(0.25, 1.0))
SAME_KEY_FIRST_SEED, SAME_KEY_CLIPS = 60_000_000, 4


def judge_covers(bench: Bench, variant: str, steps: int) -> dict[str, Any]:
    """Each clip is covered under the *next* clip's caption and tracks, in its own key, tempo and metre; and, for ``following``,
    under all that the next clip's prompt says, where source and prompt want another key and tempo as well.

    ``similarity``: chroma similarity to the source; ``other``: to another clip, not the caption's; ``same_key``: that of the
    source to other compositions in its key, which is chance where the prompt says the key and nothing of the source is heard;
    ``ceiling``: of the source's reconstruction. ``instruments``: agreement with the caption's tracks. ``following``: key,
    tempo and tracks as the other prompt says, and the mean of the three. Strengths that give the
    same number of source steps (turbo: 0.1 of 8 is none) are one cover, and equal.
    """
    count = len(bench.clips)
    guidance: dict[str, Any] = {} if variant == "turbo" else {"guidance": GUIDED}
    stages = {}
    for k in range(count):
        dress = bench.prompt((k + 1) % count)
        own = bench.prompt(k)
        prompt = dress.model_copy(update={"bpm": own.bpm, "keyscale": own.keyscale, "timesignature": own.timesignature})
        for strength in STRENGTHS:
            stages[_name(k, strength)] = Cover(source=f"clip{k}", strength=strength, variant=variant, steps=steps,
                                               prompt=prompt, seed=300 + k, **guidance)  # fmt: skip
        for strength in FOLLOWED_AT:
            stages[f"other_{_name(k, strength)}"] = Cover(source=f"clip{k}", strength=strength, variant=variant, steps=steps,
                                                          prompt=dress, seed=300 + k, **guidance)  # fmt: skip
    run = bench.run(stages)
    rows: dict[str, Any] = {}
    for strength in STRENGTHS:
        sounds = [audio_of(run, _name(k, strength)) for k in range(count)]
        heard = [bench.listeners.tracks(h) for h in bench.hear(sounds)]
        wanted = [present(bench.clips[(k + 1) % count].instruments) for k in range(count)]
        rows[str(strength)] = {
            "similarity": mean([chroma_similarity(bench.samples(k), sounds[k], bench.rate_hz) for k in range(count)]),
            "other": mean([chroma_similarity(bench.samples((k + 3) % count), sounds[k], bench.rate_hz) for k in range(count)]),
            "instruments": mean([agreement(h, w, bench.listeners.used) for h, w in zip(heard, wanted, strict=True)]),
        }
    similar = [rows[str(strength)]["similarity"] for strength in STRENGTHS]
    ceiling = mean([chroma_similarity(bench.samples(k), bench.reconstructions[k], bench.rate_hz) for k in range(count)])
    falls = all(a >= b for a, b in pairwise(similar)) and similar[0] > similar[-1]
    return {"strengths": rows, "monotone": falls, "ceiling": ceiling, "same_key": same_key(bench),
            "following": {str(strength): _following(bench, run, strength) for strength in FOLLOWED_AT}}  # fmt: skip


def _following(bench: Bench, run: Run, strength: float) -> dict[str, float]:
    shares = followed(bench, [audio_of(run, f"other_{_name(k, strength)}") for k in range(len(bench.clips))], turned=1)
    found = {name: shares[name] for name in ("key", "bpm", "instruments")}
    return {**found, "mean": mean(list(found.values()))}


@cache
def same_key(bench: Bench) -> float:
    """Mean chroma similarity of each clip to unseen compositions in its key."""
    found = []
    for k, clip in enumerate(bench.clips):
        seeds = (seed for seed in counting(SAME_KEY_FIRST_SEED) if compose(seed).key.keyscale == clip.keyscale)
        for _, seed in zip(range(SAME_KEY_CLIPS), seeds, strict=False):
            other = torch.from_numpy(make_clip(seed).samples)
            found.append(chroma_similarity(bench.samples(k), other, bench.rate_hz))
    return mean(found)


def _name(k: int, strength: float) -> str:
    return f"c{k}_{round(100 * strength)}"

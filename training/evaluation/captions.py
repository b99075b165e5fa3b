"""Is the prompt followed: tempo, key, tracks of what each variant generates, beside chance and ceiling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from ...pipeline.spec import Guidance
from ...stages import Generate
from .bench import Bench, audio_of, mean
from .listeners import agreement, present, same_tempo

# (variant, steps): what the bars compare. Guidance is each variant's own default unless asked otherwise.
SETTINGS = {"base": 50, "sft": 50, "turbo": 8}


def followed(bench: Bench, sounds: Sequence[torch.Tensor], turned: int = 0) -> dict[str, float]:
    """Shares in which tempo, key and tracks are as the prompts say; ``other_``: judged by other clips' prompts (chance).
    Sound k was asked for by the prompt of clip k + ``turned``."""
    listeners, heard = bench.listeners, bench.hear(sounds)
    facts = [*bench.facts[turned:], *bench.facts[:turned]]
    tempos, keys = [listeners.bpm(h) for h in heard], [listeners.key(h) for h in heard]
    tracks = [listeners.tracks(h) for h in heard]
    scores: dict[str, float] = {}
    shifts = range(1, len(facts))
    for name, turns in (("", [0]), ("other_", list(shifts))):
        pairs = [(k, facts[(k + turn) % len(facts)]) for turn in turns for k in range(len(facts))]
        scores[f"{name}bpm"] = mean([same_tempo(tempos[k], fact["bpm"]) for k, fact in pairs])
        scores[f"{name}key"] = mean([keys[k] == fact["keyscale"] for k, fact in pairs])
        scores[f"{name}instruments"] = mean(
            [agreement(tracks[k], present(fact["instruments"]), listeners.used) for k, fact in pairs])
    return scores


def generated(bench: Bench, variant: str, steps: int, guidance: Guidance | None = None) -> list[torch.Tensor]:
    """One take of every clip's prompt, ``[2, T]`` each."""
    extra: dict[str, Any] = {} if guidance is None else {"guidance": guidance}
    run = bench.run({
        f"made{k}": Generate(variant=variant, steps=steps, prompt=bench.prompt(k), seed=1000 + k, **extra)
        for k in range(len(bench.clips))
    })  # fmt: skip
    return [audio_of(run, f"made{k}") for k in range(len(bench.clips))]


def judge_captions(bench: Bench) -> dict[str, Any]:
    """``real`` clips and their ``reconstruction`` are the ceilings; then every variant."""
    originals = [bench.samples(k) for k in range(len(bench.clips))]
    result: dict[str, Any] = {"real": followed(bench, originals), "reconstruction": followed(bench, bench.reconstructions)}
    for variant, steps in SETTINGS.items():
        result[variant] = {"steps": steps, **followed(bench, generated(bench, variant, steps))}
    return result

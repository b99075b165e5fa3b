"""Cover × guidance: ``python -m segue.training.studies.cover_guidance --out docs/studies``.

Question 2 of the seed: does guidance interact with cover strength, and does less guidance in the caption-only phase give
more freedom? A grid of strength and scale (classifier-free), and for strengths between 0 and 1 guidance in the first phase
only, in the second only, in both. And a grid of two scales, one for the source and one for the text (guidance ``multi``), at
strength 0.9. Figures: chroma similarity to the source, agreement with the caption's tracks.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from ...pipeline.diffusion.schedules import timesteps
from ...pipeline.spec import Guidance
from ...scoring.reference import chroma_similarity
from ...stages import Cover
from ..evaluation.bench import Bench, audio_of, mean
from ..evaluation.listeners import agreement, present
from .command import carry_out, parser_of

STRENGTHS, SCALES, STEPS = (1.0, 0.9, 0.7, 0.5, 0.3), (1.0, 3.0, 5.0, 7.0), 30
SOURCE_SCALES, TEXT_SCALES = (1.0, 2.0, 3.0, 5.0), (1.0, 2.0, 3.0)


def covered(bench: Bench, variant: str, strength: float, guidance: Guidance) -> dict[str, float]:
    """Every clip under the next one's caption; own tempo, key and metre."""
    count = len(bench.clips)
    stages = {}
    for k in range(count):
        own = bench.prompt(k)
        prompt = bench.prompt((k + 1) % count).model_copy(
            update={"bpm": own.bpm, "keyscale": own.keyscale, "timesignature": own.timesignature})
        stages[f"c{k}"] = Cover(source=f"clip{k}", strength=strength, variant=variant, steps=STEPS, prompt=prompt,
                                guidance=guidance, seed=k)  # fmt: skip
    run = bench.run(stages)
    sounds = [audio_of(run, f"c{k}") for k in range(count)]
    heard = [bench.listeners.tracks(h) for h in bench.hear(sounds)]
    wanted = [present(bench.clips[(k + 1) % count].instruments) for k in range(count)]
    return {
        "similarity": mean([chroma_similarity(bench.samples(k), sounds[k], bench.rate_hz) for k in range(count)]),
        "instruments": mean([agreement(h, w, bench.listeners.used) for h, w in zip(heard, wanted, strict=True)]),
    }


def phases(strength: float, scale: float) -> dict[str, Guidance]:
    """Guidance while the source leads, after it, and throughout: intervals on t that meet between two steps."""
    ts = timesteps("linear", STEPS, 1.0)
    switch = int(STEPS * strength)
    border = (ts[switch - 1] + ts[switch]) / 2
    return {
        "source phase": Guidance(kind="cfg", scale=scale, interval=(border, 1.0)),
        "caption phase": Guidance(kind="cfg", scale=scale, interval=(0.0, border)),
        "both": Guidance(kind="cfg", scale=scale),
    }


def study(bench: Bench, variant: str) -> dict[str, Any]:
    grid = {
        str(strength): {str(scale): covered(bench, variant, strength, Guidance(kind="cfg", scale=scale)) for scale in SCALES}
        for strength in STRENGTHS
    }
    by_phase = {
        str(strength): {name: covered(bench, variant, strength, g) for name, g in phases(strength, 5.0).items()}
        for strength in (0.7, 0.5)
    }
    two_scales = {
        str(source): {
            str(text): covered(bench, variant, 0.9, Guidance(kind="multi", acoustic_scale=source, text_scale=text))
            for text in TEXT_SCALES
        }
        for source in SOURCE_SCALES
    }
    return {"variant": variant, "steps": STEPS, "clips": len(bench.clips), "grid": grid, "phases_at_scale_5": by_phase,
            "two_scales_at_strength_0.9": two_scales}  # fmt: skip


def draw(results: list[dict[str, Any]], out: Path) -> None:
    """Four heat maps a variant: similarity to the source and agreement with the caption, by strength and scale, by two scales."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(len(results), 4, figsize=(17, 3.6 * len(results)), squeeze=False)
    maps = (
        ("grid", SCALES, "guidance scale", STRENGTHS, "cover strength", ""),
        ("two_scales_at_strength_0.9", TEXT_SCALES, "scale of the text", SOURCE_SCALES, "scale of the source", ", strength 0.9"),
    )
    for row, result in zip(axes, results, strict=True):
        for place, axis in enumerate(row):
            name, across, x_label, up, y_label, at = maps[place // 2]
            figure_name = ("similarity", "instruments")[place % 2]
            values = np.array([[result[name][str(u)][str(a)][figure_name] for a in across] for u in up])
            axis.imshow(values, aspect="auto", cmap="viridis")
            for (y, x), value in np.ndenumerate(values):
                axis.text(x, y, f"{value:.2f}", ha="center", va="center", color="w", fontsize=9)
            axis.set_xticks(range(len(across)), [f"{g:g}" for g in across])
            axis.set_yticks(range(len(up)), [f"{s:g}" for s in up])
            axis.set(xlabel=x_label, ylabel=y_label, title=f"{result['variant']}: {figure_name}{at}")
    figure.tight_layout()
    figure.savefig(out, dpi=80)
    plt.close(figure)


def main(argv: list[str] | None = None) -> int:
    parser = parser_of("cover_guidance", __doc__, clips=10)
    parser.add_argument("--variants", nargs="*", default=["base", "sft"])
    return carry_out("cover_guidance", parser.parse_args(argv), studies, draw, seeds=2000)


def studies(bench: Bench, args: argparse.Namespace) -> list[dict[str, Any]]:
    return [study(bench, variant) for variant in args.variants]


if __name__ == "__main__":
    raise SystemExit(main())

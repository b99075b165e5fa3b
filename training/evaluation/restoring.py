"""super_resolve and refine, as the shipped preset runs them: what comes back, what stays, and how far refine moves."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch

from ...pipeline.options import RunOptions
from ...presets.loader import load
from ...scoring import score
from ...scoring.reference import log_spectral_distance, si_sdr
from ...stages import Refine
from ...stages.bands import low_pass
from .bench import Bench, mean, take_of

DENOISE = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
PRESET = "sr-refine-score"


def judge_restoring(bench: Bench) -> dict[str, Any]:
    """The shipped preset on every clip, one take: high-band LSD against the clip, low band against the degraded input,
    overall scores. The band edge is what the degrade stage drew."""
    rows: dict[str, list[float]] = {}

    def note(name: str, value: float | None) -> None:
        if value is not None:
            rows.setdefault(name, []).append(float(value))

    for k in range(len(bench.clips)):
        preset = load(PRESET).model_copy(update={"model": bench.model, "prompt": bench.prompt(k)})
        run = preset.run(inputs={"clip": bench.input_path(k)}, takes=1, home=bench.work / "home",
                         options=RunOptions(offline=True, tile_frames=50))  # fmt: skip
        clip, degraded = bench.samples(k), run["degraded"][0]
        cutoff = next(float(step["low_pass"]["cutoff_hz"]) for step in degraded.lineage if "low_pass" in step)
        low = low_pass(degraded.audio.samples, 0.8 * cutoff, bench.rate_hz)
        for name in ("degraded", "restored", "refined"):
            sound = run[name][0].audio.samples[:, : clip.shape[-1]]
            lsd = log_spectral_distance(clip, sound, bench.rate_hz, band_hz=(1.1 * cutoff, bench.rate_hz / 2), level_match=False)
            note(f"{name}_high_lsd_db", None if lsd is None else 10 * lsd)
            note(f"{name}_score", score(sound, bench.rate_hz).overall)
            if name != "degraded":
                note(f"{name}_low_si_sdr_db", si_sdr(low, low_pass(sound, 0.8 * cutoff, bench.rate_hz), bench.rate_hz))
    result: dict[str, Any] = {name: mean(values) for name, values in rows.items()}
    for name in ("restored", "refined"):
        result[f"{name}_high_lsd_change"] = result[f"{name}_high_lsd_db"] / result["degraded_high_lsd_db"] - 1
        better = [a >= b for a, b in zip(rows[f"{name}_score"], rows["degraded_score"], strict=True)]
        result[f"{name}_scores_no_lower"] = mean(better)
    return result


def judge_refine(bench: Bench, variant: str) -> dict[str, Any]:
    """Relative latent distance of a refine to its input over rising ``denoise``; and in how many clips it only rises."""
    run = bench.run({
        f"r{k}_{round(100 * denoise)}": Refine(source=f"clip{k}", variant=variant, denoise=denoise,
                                               prompt=bench.prompt(k), seed=k)
        for k in range(len(bench.clips)) for denoise in DENOISE
    })  # fmt: skip
    table = []
    for k in range(len(bench.clips)):
        source = bench.pool.encode(bench.samples(k)[None])[0]
        row = []
        for denoise in DENOISE:
            made = take_of(run, f"r{k}_{round(100 * denoise)}").signal.latent().frames
            row.append(float((made - source).norm() / source.norm()))
        table.append(row)
    means = torch.tensor(table).mean(0)
    return {
        "distance": {str(d): float(m) for d, m in zip(DENOISE, means, strict=True)},
        "monotone_in_the_mean": bool((means.diff() > 0).all()),
        "monotone_clips": mean([all(b > a for a, b in pairwise(row)) for row in table]),
    }

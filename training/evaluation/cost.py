"""What the miniature costs: bytes on disk, and seconds for eight of music."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import Any

import torch

from ...pipeline.conditioning import instruction_for
from ...pipeline.diffusion.guidance import make_guidance
from ...pipeline.diffusion.loop import sample
from ...pipeline.diffusion.schedules import timesteps
from ...pipeline.diffusion.timeline import Timeline
from ...pipeline.keys import noise
from ...pipeline.models.base import ConditionRequest
from .bench import Bench


def judge_cost(bench: Bench, rounds: int = 5) -> dict[str, Any]:
    """Size of the model's folder, and the median of ``rounds`` turbo takes of 8 s, prompt to samples, weights loaded."""
    facts, model = bench.info.variants["turbo"], bench.pool.model("turbo")
    frames = facts.frames(8 * facts.rate_hz)
    ts = timesteps(facts.defaults.schedule, facts.defaults.steps, facts.defaults.shift)
    seconds = []
    for k in range(rounds + 1):
        began = time.perf_counter()
        request = ConditionRequest(bench.prompt(k % len(bench.clips)), instruction_for("generate"), frames)
        made = sample(model.denoiser(), Timeline.single(model.conditions([request])), ts,
                      noise(k, "initial", 0, (1, frames, facts.latent_dim)), guidance=make_guidance("none", scale=1.0),
                      noise=partial(noise, k)).x  # fmt: skip
        bench.pool.decode(made)
        seconds.append(time.perf_counter() - began)
    folder = _folder(bench)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) if folder else None
    return {"turbo_8s_seconds": sorted(seconds[1:])[rounds // 2], "threads": torch.get_num_threads(),
            "megabytes": size / 1e6 if size else None}  # fmt: skip


def _folder(bench: Bench) -> Path | None:
    if Path(bench.model).is_dir():
        return Path(bench.model)
    from ..build_mini import DEFAULT_OUT

    return DEFAULT_OUT if bench.model == "segue-mini" else None

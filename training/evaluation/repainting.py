"""Repaint: does the model itself copy what it is shown outside the window, and is the seam as smooth as the music."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch

from ...pipeline.conditioning import instruction_for
from ...pipeline.diffusion.guidance import make_guidance
from ...pipeline.diffusion.loop import sample
from ...pipeline.diffusion.schedules import timesteps
from ...pipeline.diffusion.timeline import Timeline
from ...pipeline.keys import noise
from ...pipeline.models.base import ConditionRequest
from ...pipeline.take import Audio
from ...scoring.reference import si_sdr
from ...stages import Repaint
from ...stages.repaint import splice
from .bench import Bench, audio_of, mean

WINDOW_S = (3.0, 5.0)
# Kept frames this close to the window do not count: the autoencoder mixes neighbours.
MARGIN_S = 0.2


def judge_repaint(bench: Bench, variant: str, steps: int) -> dict[str, Any]:
    """Window 3–5 s. ``kept_si_sdr_db``: the model's own output outside the window, without the stage's re-injection and
    splice, against the reconstruction. ``seam_flux_ratio``: spectral flux at the window's edges of what the stage gives (the
    source with the window spliced in) over that of the source with its own reconstruction spliced in likewise: outside a
    window there is the source itself, whose flux is higher than its reconstruction's. ``seam_flux_of_source``: how much."""
    kept, errors, inside = [], [], []
    for k in range(len(bench.clips)):
        source = bench.pool.encode(bench.samples(k)[None])
        made = _bare(bench, variant, steps, k, source)
        a, b = (round((s + m) * 25) for s, m in zip(WINDOW_S, (-MARGIN_S, MARGIN_S), strict=True))
        outside = torch.ones(source.shape[1], dtype=torch.bool)
        outside[a:b] = False
        squares = (made - source)[0].pow(2).mean(-1)
        errors.append(float(squares[outside].mean()))
        inside.append(float(squares[~outside].mean()))
        ours, theirs = bench.pool.decode(made)[0], bench.pool.decode(source)[0]
        cut = torch.cat([torch.arange(0, a * bench.hop), torch.arange(b * bench.hop, ours.shape[-1])])
        kept.append(si_sdr(theirs[:, cut], ours[:, cut], bench.rate_hz))
    run = bench.run({
        f"p{k}": Repaint(source=f"clip{k}", start_s=WINDOW_S[0], end_s=WINDOW_S[1], variant=variant, steps=steps,
                         prompt=bench.prompt(k), seed=k) for k in range(len(bench.clips))
    })  # fmt: skip

    def flux(sounds: Iterable[torch.Tensor]) -> float:
        return float(np.mean([_flux_at_seams(sound, bench.rate_hz) for sound in sounds]))

    clips = range(len(bench.clips))
    spliced = flux(_respliced(bench, k) for k in clips)
    return {"kept_si_sdr_db": mean(kept), "kept_latent_mse": mean(errors), "window_latent_mse": mean(inside),
            "seam_flux_ratio": flux(audio_of(run, f"p{k}") for k in clips) / spliced,
            "seam_flux_of_source": flux(bench.samples(k) for k in clips) / flux(bench.reconstructions)}  # fmt: skip


def _respliced(bench: Bench, k: int) -> torch.Tensor:
    """The clip with its own reconstruction in the window, joined as the stage joins."""
    clip, made = (Audio(samples, bench.rate_hz) for samples in (bench.samples(k), bench.reconstructions[k]))
    return splice(clip, made, (WINDOW_S,), Repaint.model_fields["crossfade_s"].default).samples


def _bare(bench: Bench, variant: str, steps: int, k: int, source: torch.Tensor) -> torch.Tensor:
    facts, model = bench.info.variants[variant], bench.pool.model(variant)
    mask = torch.zeros(source.shape[1])
    mask[int(WINDOW_S[0] * facts.frame_rate_hz) : int(WINDOW_S[1] * facts.frame_rate_hz)] = 1.0
    request = ConditionRequest(bench.prompt(k), instruction_for("repaint"), source.shape[1], context="source",
                               source=source[0], mask=mask, silence_in_mask=True)  # fmt: skip
    ts = timesteps(facts.defaults.schedule, steps, facts.defaults.shift)
    start = noise(k, "initial", 0, tuple(source.shape))
    return sample(model.denoiser(), Timeline.single(model.conditions([request])), ts, start,
                  guidance=make_guidance("none", scale=1.0),
                  noise=lambda what, step, shape: noise(k, what, step, shape)).x  # fmt: skip


def _flux_at_seams(samples: torch.Tensor, rate_hz: int) -> float:
    """Largest half-wave rectified rise of log magnitude between neighbouring 10 ms frames within 60 ms of a seam."""
    hop, size = rate_hz // 100, 1024
    window = torch.hann_window(size)
    spectrum = torch.stft(samples.mean(0), size, hop, window=window, return_complex=True).abs()
    flux = torch.log(spectrum + 1e-3).diff(dim=1).clamp_min(0).mean(0)
    at = [round(s * 100) for s in WINDOW_S]
    return float(np.mean([float(flux[p - 6 : p + 6].max()) for p in at]))

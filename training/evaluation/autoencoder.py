"""The autoencoder alone: waveform and spectrum of unseen mixes and drum stems, and where chroma survives."""

from __future__ import annotations

from typing import Any

import torch

from ...scoring.reference import chroma_similarity, log_spectral_distance, si_sdr
from .bench import Bench, mean


def judge_autoencoder(bench: Bench) -> dict[str, Any]:
    """Mean latent, no sampling; SI-SDR as scoring has it (mean over channels); LSD × 10, levels as they are."""
    mixes = [_distances(bench, bench.samples(k), bench.reconstructions[k]) for k in range(len(bench.clips))]
    stems = [torch.from_numpy(clip.stems["drums"]) for clip in bench.clips if "drums" in clip.stems]
    drums = [_distances(bench, stem, bench.through(stem)) for stem in stems]
    return {
        "mix_si_sdr_db": mean([d[0] for d in mixes]), "mix_lsd_db": mean([d[1] for d in mixes]),
        "drums_si_sdr_db": mean([d[0] for d in drums]), "drums_lsd_db": mean([d[1] for d in drums]),
        "chroma_similarity": mean([
            chroma_similarity(bench.samples(k), bench.reconstructions[k], bench.rate_hz) for k in range(len(bench.clips))]),
    }  # fmt: skip


def _distances(bench: Bench, target: torch.Tensor, made: torch.Tensor) -> tuple[float | None, float | None]:
    lsd = log_spectral_distance(target, made, bench.rate_hz, level_match=False)
    return si_sdr(target, made, bench.rate_hz), None if lsd is None else 10 * lsd

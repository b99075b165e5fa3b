"""The autoencoder alone: waveform and spectrum of unseen mixes and drum stems, and where chroma survives."""

from __future__ import annotations

from typing import Any

import torch

from ...scoring.reference import chroma_similarity
from ..autoencoder.losses import lsd_db, si_sdr_db
from .bench import Bench, mean


def judge_autoencoder(bench: Bench) -> dict[str, Any]:
    """Mean latent, no sampling; SI-SDR over both channels as one signal; LSD as FACTS' formula × 10 (n_fft 2048, hop 512)."""
    mixes = [_distances(bench.samples(k), bench.reconstructions[k]) for k in range(len(bench.clips))]
    stems = [torch.from_numpy(clip.stems["drums"]) for clip in bench.clips if "drums" in clip.stems]
    drums = [_distances(stem, bench.through(stem)) for stem in stems]
    return {
        "mix_si_sdr_db": mean([d[0] for d in mixes]), "mix_lsd_db": mean([d[1] for d in mixes]),
        "drums_si_sdr_db": mean([d[0] for d in drums]), "drums_lsd_db": mean([d[1] for d in drums]),
        "chroma_similarity": mean([
            chroma_similarity(bench.samples(k), bench.reconstructions[k], bench.rate_hz) for k in range(len(bench.clips))]),
    }  # fmt: skip


def _distances(target: torch.Tensor, made: torch.Tensor) -> tuple[float, float]:
    return float(si_sdr_db(made[None], target[None])), float(lsd_db(made[None], target[None]))

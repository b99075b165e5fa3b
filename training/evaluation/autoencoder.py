"""The autoencoder alone: waveform and spectrum of unseen mixes and drum stems, and where chroma survives."""

from __future__ import annotations

from typing import Any

import torch

from ...scoring.reference import chroma_similarity, log_spectral_distance, si_sdr
from ..corpus.render import render
from .bench import Bench, mean


def judge_autoencoder(bench: Bench) -> dict[str, Any]:
    """Mean latent, no sampling; SI-SDR as scoring has it (mean over channels); LSD × 10, levels as they are. Beside it how
    far the same music lies off under another draw of its hiss, which no autoencoder restores."""
    stems = [torch.from_numpy(clip.stems["drums"]) for clip in bench.clips if "drums" in clip.stems]
    mixes = [_distances(bench, bench.samples(k), bench.reconstructions[k]) for k in range(len(bench.clips))]
    drums = [_distances(bench, stem, bench.through(stem)) for stem in stems]
    others = [render(clip.song, clip.rate_hz, hiss=1) for clip in bench.clips]
    other_mixes = [_distances(bench, bench.samples(k), torch.from_numpy(sum(other.values()))) for k, other in enumerate(others)]
    other_drums = [torch.from_numpy(other["drums"]) for other in others if "drums" in other]
    return {
        "mix_si_sdr_db": mean([d[0] for d in mixes]), "mix_lsd_db": mean([d[1] for d in mixes]),
        "drums_si_sdr_db": mean([d[0] for d in drums]), "drums_lsd_db": mean([d[1] for d in drums]),
        "mix_other_hiss_lsd_db": mean([d[1] for d in other_mixes]),
        "drums_other_hiss_lsd_db": mean([_distances(bench, *pair)[1] for pair in zip(stems, other_drums, strict=True)]),
        "chroma_similarity": mean([
            chroma_similarity(bench.samples(k), bench.reconstructions[k], bench.rate_hz) for k in range(len(bench.clips))]),
    }  # fmt: skip


def _distances(bench: Bench, target: torch.Tensor, made: torch.Tensor) -> tuple[float | None, float | None]:
    lsd = log_spectral_distance(target, made, bench.rate_hz, level_match=False)
    return si_sdr(target, made, bench.rate_hz), None if lsd is None else 10 * lsd

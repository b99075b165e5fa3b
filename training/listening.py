"""What the evaluation hears: tempo, key, and which tracks play. Small, and judged on real clips beside generated ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from .corpus.theory import MAJOR_NAMES, MINOR_NAMES
from .vocabulary import TRACKS

# Krumhansl & Kessler 1982, probe-tone ratings.
_MAJOR = np.array([6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88])
_MINOR = np.array([6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17])


def heard_bpm(samples: np.ndarray, rate_hz: int) -> float:
    """Tempo of mono samples ``[T]`` in beats per minute, librosa's beat tracker."""
    from librosa.beat import beat_track

    tempo, _ = beat_track(y=samples, sr=rate_hz, hop_length=256)
    return float(np.atleast_1d(tempo)[0])


def same_tempo(heard: float, wanted: float, tolerance: float = 0.03) -> bool:
    """Octave-tolerant: 1/2, 2/3, 1, 3/2 and 2 times the tempo count, within ``tolerance``."""
    return any(abs(heard * factor / wanted - 1) <= tolerance for factor in (0.5, 1.0, 2.0))


def heard_chroma(samples: np.ndarray, rate_hz: int) -> np.ndarray:
    """Mean energy a pitch class, ``[12]``, from a constant-Q transform between C2 and B6."""
    import librosa

    return librosa.feature.chroma_cqt(y=samples, sr=rate_hz, hop_length=512, n_octaves=5, fmin=65.41).mean(1)


def heard_key(samples: np.ndarray, rate_hz: int) -> str:
    """Best of the 24 Krumhansl profiles, as "C major"."""
    chroma = heard_chroma(samples, rate_hz)
    scores = [
        (float(np.corrcoef(np.roll(profile, tonic), chroma)[0, 1]), f"{names[tonic]} {mode}")
        for profile, names, mode in ((_MAJOR, MAJOR_NAMES, "major"), (_MINOR, MINOR_NAMES, "minor"))
        for tonic in range(12)
    ]
    return max(scores)[1]


def _features(latents: torch.Tensor) -> torch.Tensor:
    """Statistics over time of latents ``[T, 64]``: level, spread, movement, extremes; ``[320]``."""
    z = latents.float()
    moved = z.diff(dim=0)
    return torch.cat([z.mean(0), z.std(0), moved.std(0), z.abs().amax(0), (z * z).mean(0).sqrt()])


class TrackListener:
    """Says which tracks play, from latents: one logistic regression a track, fitted on cached clips."""

    def __init__(self, items: list[dict[str, Any]], steps: int = 400) -> None:
        inputs = torch.stack([_features(item["mix"]) for item in items])
        wanted = torch.stack([self.present(item["facts"]["instruments"]) for item in items])
        self.mean, self.std = inputs.mean(0), inputs.std(0) + 1e-4
        self.layer = torch.nn.Linear(inputs.shape[1], len(TRACKS))
        optimizer = torch.optim.AdamW(self.layer.parameters(), lr=0.02, weight_decay=0.3)
        inputs = (inputs - self.mean) / self.std
        for _ in range(steps):
            loss = torch.nn.functional.binary_cross_entropy_with_logits(self.layer(inputs), wanted)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    @staticmethod
    def present(tracks: Any) -> torch.Tensor:
        return torch.tensor([float(track in tracks) for track in TRACKS])

    @torch.no_grad()
    def hear(self, latents: torch.Tensor) -> torch.Tensor:
        """Which tracks play in latents ``[T, 64]``, as 0 or 1 ``[12]``."""
        return (self.layer((_features(latents) - self.mean) / self.std) > 0).float()


def agreement(heard: torch.Tensor, wanted: torch.Tensor, used: torch.Tensor) -> float:
    """Balanced: mean of the share of wanted tracks that are heard and of unwanted (``used``) that are not."""
    there, absent = wanted > 0, (wanted == 0) & (used > 0)
    return float(0.5 * (heard[there].mean() + (1 - heard[absent]).mean()))

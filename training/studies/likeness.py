"""How alike two sounds are, one figure an aspect: harmony, rhythm, loudness, timbre, stereo, transients.

Each is 1 for the same sound and about 0 for an unrelated one (transients: a ratio, 1 for equally sharp). Samples are
``[2, T]`` tensors of one length.
"""

from __future__ import annotations

from itertools import pairwise

import librosa
import numpy as np
import torch

from ...scoring.reference import chroma_similarity

ASPECTS = ("harmony", "rhythm", "loudness", "timbre", "stereo", "transients")


def likeness(source: torch.Tensor, made: torch.Tensor, rate_hz: int, usual: np.ndarray) -> dict[str, float]:
    """All aspects; ``usual``: mean log-mel spectrum of many clips (``mel_spectrum``), taken off before timbre is compared."""
    a, b = _onsets(source, rate_hz), _onsets(made, rate_hz)
    return {
        "harmony": chroma_similarity(source, made, rate_hz) or 0.0,
        "rhythm": _correlation(a, b),
        "loudness": _correlation(_levels(source, rate_hz), _levels(made, rate_hz)),
        "timbre": _correlation(mel_spectrum(source, rate_hz) - usual, mel_spectrum(made, rate_hz) - usual),
        "stereo": _correlation(_sides(source), _sides(made)),
        "transients": float(np.quantile(b, 0.98) / (np.quantile(a, 0.98) + 1e-9)),
    }


def mel_spectrum(samples: torch.Tensor, rate_hz: int) -> np.ndarray:
    """Mean log-mel spectrum ``[40]`` of the channels' mean, its own level removed."""
    mel = librosa.feature.melspectrogram(y=samples.mean(0).numpy(), sr=rate_hz, n_fft=2048, hop_length=512, n_mels=40)
    spectrum = np.log10(mel.mean(1) + 1e-8)
    return spectrum - spectrum.mean()


def _onsets(samples: torch.Tensor, rate_hz: int) -> np.ndarray:
    """Half-wave rectified rise of log-mel power, 10 ms frames, smoothed over 30 ms."""
    mel = librosa.feature.melspectrogram(y=samples.mean(0).numpy(), sr=rate_hz, n_fft=1024, hop_length=rate_hz // 100, n_mels=40)
    rise = np.maximum(np.diff(np.log(mel + 1e-4), axis=1), 0).mean(0)
    return np.convolve(rise, np.ones(3) / 3, mode="same")


def _levels(samples: torch.Tensor, rate_hz: int) -> np.ndarray:
    hop = rate_hz // 10
    cut = samples[:, : samples.shape[-1] // hop * hop].numpy().reshape(len(samples), -1, hop)
    return 10 * np.log10(np.square(cut).mean((0, 2)) + 1e-8)


def _sides(samples: torch.Tensor) -> np.ndarray:
    """Where each of 16 bands sits, −1 left … 1 right, in 80 ms frames, weighted by its amplitude."""
    window = torch.hann_window(1920)
    left, right = torch.stft(samples, 1920, 1920, window=window, return_complex=True).abs().pow(2)
    edges = np.unique(np.geomspace(4, left.shape[0], 17).astype(int))
    rows = []
    for low, high in pairwise(edges):
        a, b = left[low:high].sum(0), right[low:high].sum(0)
        rows.append((b - a) / (a + b + 1e-6) * (a + b).sqrt())
    return torch.stack(rows).flatten().numpy()


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a - a.mean(), b - b.mean()
    size = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / size if size > 1e-12 else 0.0

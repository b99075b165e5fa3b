"""Spectra the caption's measurements share: magnitudes and mel weights at one rate. Knows nothing of music."""

from __future__ import annotations

import functools

import numpy as np
import scipy.fft

RATE_HZ = 22_050
_BLOCK = 2048  # frames transformed at once


def spectrogram(mono: np.ndarray, n_fft: int, hop: int) -> np.ndarray:
    """Magnitudes `[n_fft/2 + 1, frames]` float32 of a mono signal, Hann window, frames centred (zeros outside), scaled so
    that a sine of amplitude 1 reaches 1."""
    window = np.hanning(n_fft + 1)[:-1].astype(np.float32)
    padded = np.pad(mono.astype(np.float32), (n_fft // 2, n_fft // 2 + hop))
    frames = np.lib.stride_tricks.sliding_window_view(padded, n_fft)[::hop][: 1 + len(mono) // hop]
    out = np.empty((n_fft // 2 + 1, len(frames)), np.float32)
    for start in range(0, len(frames), _BLOCK):
        part = scipy.fft.rfft(frames[start : start + _BLOCK] * window, axis=1)
        out[:, start : start + len(part)] = np.abs(part).T
    return out * np.float32(2.0 / window.sum())


@functools.lru_cache(maxsize=8)
def mel_weights(n_fft: int, bands: int, low_hz: float, high_hz: float) -> np.ndarray:
    """Triangular weights `[bands, n_fft/2 + 1]`, evenly spaced on the mel scale 2595·log10(1 + f/700) (O'Shaughnessy 1987),
    each summing to 1."""
    edges = np.linspace(_mel(low_hz), _mel(min(high_hz, RATE_HZ / 2)), bands + 2)
    hz = 700.0 * (10.0 ** (edges / 2595.0) - 1.0)
    f = np.fft.rfftfreq(n_fft, 1.0 / RATE_HZ)
    left, centre, right = hz[:-2, None], hz[1:-1, None], hz[2:, None]
    weights = np.maximum(0.0, np.minimum((f - left) / (centre - left), (right - f) / (right - centre)))
    narrow = weights.sum(axis=1) == 0  # a band between two bins takes the nearest
    weights[narrow, np.abs(f[None, :] - centre[narrow]).argmin(axis=1)] = 1.0
    return weights / weights.sum(axis=1, keepdims=True)


def _mel(hz: float) -> float:
    return 2595.0 * float(np.log10(1.0 + hz / 700.0))

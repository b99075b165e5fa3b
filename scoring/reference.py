"""Figures that compare a sound with the one it should be: spectral distance, SI-SDR, chroma.

Both are `[C, T]` at one rate and aligned in time; a mono signal is spread over the other's channels, the
longer is cut. Knows nothing of what made them differ.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .samples import Array, power, same_shape
from .spectra import HOP, N_FFT, frame_energies, stft_blocks

SI_SDR_LIMIT_DB = 120.0
_CHROMA_FFT = 8192
_CHROMA_HOP = 2048


def log_spectral_distance(
    reference: Any,
    estimate: Any,
    rate_hz: int,
    *,
    band_hz: tuple[float, float] | None = None,
    level_match: bool = True,
    n_fft: int = N_FFT,
    hop: int = HOP,
    eps: float = 1e-12,
) -> float | None:
    """LSD = mean over time of √( mean over f of (log₁₀(|S|²/|Ŝ|²))² ), averaged over channels; 0 …, lower is
    better.

    Settings: n_fft 2048, hop 512, periodic Hann, whole frames from the first sample (the last one padded with
    zeros), powers below `eps` raised to it; log₁₀ of *power*, so times 10 it is in dB. `level_match` first
    scales the estimate to the reference's RMS (the figure is sensitive to gain). `band_hz` = (low, high)
    looks only at low ≤ f < high. None when level matching is asked for and either is silent, or the band
    holds no bin. As super-resolution papers compute it (e.g. AudioSR, arXiv 2309.07314, §4.2; SAGA-SR, arXiv
    2509.24924, §4).

    >>> x = np.random.default_rng(0).standard_normal((1, 48_000)) * 0.1
    >>> log_spectral_distance(x, 10 * x, 48_000) < 1e-6  # level-matched
    True
    >>> round(log_spectral_distance(x, 10 * x, 48_000, level_match=False), 6)  # a factor 100 in power
    2.0
    """
    a, b = same_shape(reference, estimate, rate_hz)
    gain = 1.0
    if level_match:
        ours, theirs = power(b), power(a)
        if ours <= 0 or theirs <= 0:
            return None
        gain = theirs / ours
    f = np.arange(n_fft // 2 + 1) * (rate_hz / n_fft)
    low, high = band_hz or (0.0, np.inf)
    bins = np.flatnonzero((f >= low) & (f < high))
    if not bins.size:
        return None
    frames = np.arange(max(1, -(-(a.shape[1] - n_fft) // hop) + 1))
    total = 0.0
    for s, e in zip(stft_blocks(a, frames, n_fft, hop), stft_blocks(b, frames, n_fft, hop), strict=True):
        ps, pe = (np.square(np.abs(z[..., bins].astype(np.complex128))) for z in (s, e))
        ratio = np.log10(np.maximum(ps, eps) / np.maximum(gain * pe, eps))
        total += float(np.sqrt(np.square(ratio).mean(axis=-1)).mean(axis=0).sum())
    return total / frames.size


def si_sdr(reference: Any, estimate: Any, rate_hz: int = 48_000) -> float | None:
    """Scale-invariant signal-to-distortion ratio, dB, mean over channels, higher is better (Le Roux et al.,
    "SDR – half-baked or well done?", arXiv 1811.02508, eq. 5, means removed). Limited to ±120 dB. None if
    either is silent.

    >>> rng = np.random.default_rng(0)
    >>> s, n = rng.standard_normal((2, 1, 480_000))
    >>> round(si_sdr(s, 3 * (s + 0.1 * n)))
    20
    """
    a, b = same_shape(reference, estimate, rate_hz)
    found = []
    for s, e in zip(a.astype(np.float64), b.astype(np.float64), strict=True):
        s, e = s - s.mean(), e - e.mean()
        ss, ee = float(s @ s), float(e @ e)
        if ss <= 1e-20 or ee <= 1e-20:
            continue
        target = (float(e @ s) / ss) * s
        left = e - target
        ratio = float(target @ target) / max(float(left @ left), 1e-30)
        found.append(float(np.clip(10 * np.log10(max(ratio, 1e-30)), -SI_SDR_LIMIT_DB, SI_SDR_LIMIT_DB)))
    return float(np.mean(found)) if found else None


def chroma(
    samples: Array, rate_hz: int, low_hz: float = 55.0, high_hz: float = 2000.0, n_fft: int = _CHROMA_FFT,
    hop: int = _CHROMA_HOP,
) -> tuple[Array, Array]:  # fmt: skip
    """Pitch-class power `[N, 12]` (A = 0, each bin given to the two classes it lies between) and frame energy
    `[N]`, of whole frames of `n_fft` samples from the first sample on, every `hop`."""
    frames = np.flatnonzero(frame_energies(samples, n_fft, hop) >= 0)
    f = np.arange(n_fft // 2 + 1) * (rate_hz / n_fft)
    bins = np.flatnonzero((f >= low_hz) & (f <= min(high_hz, rate_hz / 2)))
    pitch = 12 * np.log2(f[bins] / 440.0)
    weight = np.zeros((bins.size, 12))
    for part, share in ((np.floor(pitch), 1 - pitch % 1), (np.floor(pitch) + 1, pitch % 1)):
        weight[np.arange(bins.size), part.astype(int) % 12] += share
    rows = [
        np.square(np.abs(z[..., bins])).mean(axis=0) @ weight
        for z in stft_blocks(samples, frames, n_fft, hop, block=64)
    ]
    found = np.concatenate(rows)
    return found, found.sum(axis=1)


def chroma_similarity(reference: Any, estimate: Any, rate_hz: int) -> float | None:
    """Does the estimate keep the reference's melody and harmony: mean over time of the correlation of their
    pitch-class profiles (12 classes, square root of power, mean removed), weighted by the reference's energy.
    −1 … 1, about 0 for unrelated music, 1 for the same; higher is better. Independent of level and timbre
    balance, not of transposition. None where there is no tone energy between 55 and 2000 Hz in both at once.
    """
    a, b = same_shape(reference, estimate, rate_hz)
    (p, energy), (q, other) = chroma(a, rate_hz), chroma(b, rate_hz)
    use = (energy > 1e-6 * energy.max(initial=0.0)) & (other > 1e-6 * other.max(initial=0.0))
    if not use.any():
        return None
    u, v = np.sqrt(p[use]), np.sqrt(q[use])
    u, v = u - u.mean(axis=1, keepdims=True), v - v.mean(axis=1, keepdims=True)
    size = np.linalg.norm(u, axis=1) * np.linalg.norm(v, axis=1)
    each = np.where(size > 0, (u * v).sum(axis=1) / np.maximum(size, 1e-30), 0.0)
    weight = np.sqrt(energy[use])
    return float(each @ weight / weight.sum())

"""Figures that compare a sound with the one it should be, sample by sample: spectra, SI-SDR, envelope,
chroma.

Both are `[C, T]` at one rate and aligned in time; a mono signal is spread over the other's channels, the
longer is cut. Knows nothing of what made them differ. Onsets are in `onset_agreement`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from scipy.fft import rfft
from scipy.signal import get_window

from .samples import Array, power, same_shape
from .spectra import HOP, N_FFT, frame_energies, stft_blocks

SI_SDR_LIMIT_DB = 120.0
HIGH_BAND_HZ = (4_000.0, float("inf"))
MATCHED_RMS = 0.1
RESOLUTIONS = ((512, 50, 240), (1024, 120, 600), (2048, 240, 1200))  # n_fft, hop, window in samples
ENVELOPE_S = 0.02
_CHROMA_FFT = 8192
_CHROMA_HOP = 2048

Band = tuple[float, float]


def log_spectral_distance(
    reference: Any,
    estimate: Any,
    rate_hz: int,
    *,
    band_hz: Band | None = None,
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
    whole = band_hz or (0.0, float("inf"))
    return log_spectral_distances(
        reference, estimate, rate_hz, (whole,), level_match=level_match, n_fft=n_fft, hop=hop, eps=eps
    )[0]


def log_spectral_distances(
    reference: Any, estimate: Any, rate_hz: int, bands_hz: Sequence[Band], *, level_match: bool = True,
    n_fft: int = N_FFT, hop: int = HOP, eps: float = 1e-12,
) -> list[float | None]:  # fmt: skip
    """`log_spectral_distance` in each of several bands, from one transform. The level is matched over the
    whole sound, also where a band is looked at alone.

    >>> x = np.random.default_rng(0).standard_normal((1, 48_000)) * 0.1
    >>> [round(v, 3) for v in log_spectral_distances(x, 10 * x, 48_000, [(0, 4_000), (4_000, 24_000)], level_match=False)]
    [2.0, 2.0]
    """
    a, b = same_shape(reference, estimate, rate_hz)
    gain = 1.0
    if level_match:
        ours, theirs = power(b), power(a)
        if ours <= 0 or theirs <= 0:
            return [None] * len(bands_hz)
        gain = theirs / ours
    f = np.arange(n_fft // 2 + 1) * (rate_hz / n_fft)
    bins = [np.flatnonzero((f >= low) & (f < high)) for low, high in bands_hz]
    frames = np.arange(max(1, -(-(a.shape[1] - n_fft) // hop) + 1))
    totals = np.zeros(len(bands_hz))
    for s, e in zip(stft_blocks(a, frames, n_fft, hop), stft_blocks(b, frames, n_fft, hop), strict=True):
        ps, pe = (np.square(z.real, dtype=np.float64) + np.square(z.imag, dtype=np.float64) for z in (s, e))
        square = np.square(np.log10(np.maximum(ps, eps) / np.maximum(gain * pe, eps)))
        for i, band in enumerate(bins):
            if band.size:
                inside = square if band.size == f.size else square[..., band[0] : band[-1] + 1]
                totals[i] += np.sqrt(inside.mean(axis=-1)).mean(axis=0).sum()
    return [float(t / frames.size) if band.size else None for t, band in zip(totals, bins, strict=True)]


def multi_resolution_stft(
    reference: Any, estimate: Any, rate_hz: int, *, level_match: bool = True,
    resolutions: Sequence[tuple[int, int, int]] = RESOLUTIONS, eps: float = 1e-7,
) -> float | None:  # fmt: skip
    """Multi-resolution STFT distance (Yamamoto et al. 2020, Parallel WaveGAN, arXiv 1910.11480, eq. 4–6): mean
    over the resolutions of spectral convergence ‖|S|−|Ŝ|‖_F / ‖|S|‖_F plus mean |ln|S| − ln|Ŝ||; 0 …, lower is
    better, no unit.

    `resolutions` are (n_fft, hop, window) in samples, by default the paper's three; periodic Hann in the middle
    of its frame, whole frames from the first sample (a shorter sound is padded to one), magnitudes below
    √`eps` raised to it. All channels count as one set of bins. `level_match` brings both to an RMS of 0.1
    first, so that neither a gain of one nor of both changes it; without it a gain g alone gives |1−g| + |ln g|.
    Unlike LSD the first term weighs by energy, and small windows see smeared transients. None when level
    matching is asked for and either is silent, or when the reference is.

    >>> x = np.random.default_rng(0).standard_normal((1, 24_000)) * 0.1
    >>> round(multi_resolution_stft(x, 0.5 * x, 24_000), 6) + 0.0
    0.0
    >>> round(multi_resolution_stft(x, 0.5 * x, 24_000, level_match=False), 3)  # 0.5 + ln 2
    1.193
    """
    a, b = same_shape(reference, estimate, rate_hz)
    levels = power(a), power(b)
    if levels[0] <= 0 or (level_match and levels[1] <= 0):
        return None
    gains = [MATCHED_RMS / np.sqrt(level) if level_match else 1.0 for level in levels]
    found = []
    for n_fft, hop, length in resolutions:
        missed = size = logs = 0.0
        count = 0
        spectra = (_magnitudes(x * np.float32(g), n_fft, hop, length, eps) for x, g in zip((a, b), gains, strict=True))
        for p, q in zip(*spectra, strict=True):
            missed += float(np.square(p - q).sum(dtype=np.float64))
            size += float(np.square(p).sum(dtype=np.float64))
            logs += float(np.abs(np.log(p / q)).sum(dtype=np.float64))
            count += p.size
        found.append(np.sqrt(missed / size) + logs / count)
    return float(np.mean(found))


def _magnitudes(x: Array, n_fft: int, hop: int, length: int, eps: float, block: int = 256) -> Iterator[Array]:
    """Magnitudes `[C, n, n_fft/2 + 1]` of whole frames, a block at a time. The window's place inside its frame
    changes phases only, so a frame is just its `length` samples, padded by the transform."""
    x = np.pad(x, ((0, 0), (0, max(0, length - x.shape[1]))))
    views = np.lib.stride_tricks.sliding_window_view(x, length, axis=1)[:, ::hop]
    window = get_window("hann", length).astype(np.float32)
    for first in range(0, views.shape[1], block):
        z = rfft(views[:, first : first + block] * window, n_fft, axis=-1)
        yield np.sqrt(np.maximum(np.square(z.real) + np.square(z.imag), eps))


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


def envelope(samples: Array, rate_hz: int, window_s: float = ENVELOPE_S) -> Array:
    """RMS over all channels in windows of `window_s`, half overlapping, whole windows only: `[N]`.

    >>> envelope(np.full((2, 4_800), 0.5, dtype=np.float32), 48_000).tolist()
    [0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5]
    """
    half = max(1, round(window_s / 2 * rate_hz))
    count = samples.shape[1] // half
    parts = samples[:, : count * half].reshape(samples.shape[0], count, half)
    powers = np.einsum("cnt,cnt->n", parts, parts, dtype=np.float64) / (half * samples.shape[0])
    return np.sqrt((powers[:-1] + powers[1:]) / 2)


def envelope_correlation(reference: Any, estimate: Any, rate_hz: int) -> float | None:
    """Pearson correlation of the two amplitude envelopes (`envelope`: RMS over 20 ms, every 10 ms, channels
    joined by power): −1 … 1, higher is better, 1 for the same dynamics at any gain. Blind to pitch and colour.
    None where either envelope stands still (its deviation is below 10⁻⁶ of its mean) or there are fewer than
    two windows.

    >>> t = np.arange(48_000) / 48_000
    >>> a, b = ((1 + 0.5 * np.sin(2 * np.pi * 4 * t + turn)) * np.sin(2 * np.pi * 1000 * t) for turn in (0, np.pi / 3))
    >>> round(envelope_correlation(a[None], b[None], 48_000), 2)  # cos 60°
    0.5
    """
    a, b = same_shape(reference, estimate, rate_hz)
    found = []
    for x in (a, b):
        e = envelope(x, rate_hz)
        if e.size < 2 or e.std() <= 1e-6 * e.mean():
            return None
        found.append((e - e.mean()) / e.std())
    return float(np.clip(np.mean(found[0] * found[1]), -1.0, 1.0))


def chroma(
    samples: Array, rate_hz: int, low_hz: float = 55.0, high_hz: float = 2000.0, n_fft: int = _CHROMA_FFT,
    hop: int = _CHROMA_HOP,
) -> tuple[Array, Array]:  # fmt: skip
    """Pitch-class power `[N, 12]` (A = 0, each bin given to the two classes it lies between) and frame energy
    `[N]`, of whole frames of `n_fft` samples from the first sample on, every `hop`.

    >>> t = np.arange(48_000) / 24_000
    >>> classes, energy = chroma(np.sin(2 * np.pi * 440 * t)[None].astype(np.float32), 24_000)  # the pitch class A
    >>> classes.shape, bool((classes[:, 0] > 0.9 * energy).all())
    ((20, 12), True)
    """
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

    >>> t = np.arange(48_000) / 24_000
    >>> a, octave, fifth = (np.sin(2 * np.pi * f * t)[None] for f in (220, 440, 330))
    >>> round(chroma_similarity(a, 0.1 * octave, 24_000), 1), chroma_similarity(a, fifth, 24_000) < 0.2
    (1.0, True)
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

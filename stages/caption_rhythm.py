"""Tempo of a sound: onset strength, its autocorrelation, and the beat period that explains it best.

Pure functions over samples; knows no words, keys or stages.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.fft
import scipy.ndimage

from .caption_spectra import RATE_HZ, mel_weights, spectrogram

N_FFT, HOP = 1024, 256
FRAME_RATE_HZ = RATE_HZ / HOP
TEMPO_RANGE = (50.0, 210.0)  # beats per minute looked for
USUAL_BPM, SPREAD_OCTAVES = 120.0, 1.0  # listeners tap near 120 (Moelants 2002; the log-normal weight of Ellis 2007)
LEAST_STRENGTH = 0.12  # autocorrelation below this is no beat: noise and drones stay under it, see the tests


@dataclass(frozen=True)
class Tempo:
    """`bpm` beats per minute; `strength` in [0, 1], the share of the onset strength that repeats with the beat."""

    bpm: float
    strength: float


def onset_strength(mono: np.ndarray) -> np.ndarray:
    """Onset strength `[frames]` of a mono signal at `RATE_HZ`: half-wave rectified rise of the log mel spectrum (spectral
    flux, Bello et al. 2005, eq. 5), its local mean taken off."""
    power = spectrogram(mono, N_FFT, HOP) ** 2
    bands = mel_weights(N_FFT, 40, 30.0, 10_000.0) @ power
    level = np.log10(1.0 + 1e4 * bands / max(float(bands.max()), 1e-20))
    rise = np.maximum(np.diff(level, axis=1, prepend=level[:, :1]), 0.0).mean(axis=0)
    return np.maximum(rise - scipy.ndimage.uniform_filter1d(rise, round(FRAME_RATE_HZ)), 0.0)


def autocorrelation(x: np.ndarray) -> np.ndarray:
    """Unbiased autocorrelation of `x` without its mean, 1 at lag 0, up to half the length."""
    x = x - x.mean()
    n = len(x)
    spectrum = scipy.fft.rfft(x, scipy.fft.next_fast_len(2 * n, real=True))
    raw = scipy.fft.irfft(np.abs(spectrum) ** 2, scipy.fft.next_fast_len(2 * n, real=True))[: n // 2]
    if not len(raw) or raw[0] <= 0:
        return np.zeros(max(1, n // 2))
    return raw / raw[0] * n / (n - np.arange(len(raw)))


def find_tempo(mono: np.ndarray) -> Tempo | None:
    """The tempo of a mono signal at `RATE_HZ`; None when nothing repeats or it is shorter than about three beats.

    A period is rated by the autocorrelation at its first four multiples and by how usual its tempo is. A period whose half
    repeats just as well is halved: equal clicks at 180 bpm are 180, not 90.
    """
    strength = scipy.ndimage.gaussian_filter1d(onset_strength(mono), 1.5)
    acf = autocorrelation(strength)
    lags = np.arange(int(60 * FRAME_RATE_HZ / TEMPO_RANGE[1]), int(60 * FRAME_RATE_HZ / TEMPO_RANGE[0]) + 1)
    lags = lags[lags < len(acf) - 2]
    if not len(lags) or not strength.any():
        return None
    comb = _comb(acf, lags)
    usual = np.exp(-0.5 * (np.log2(60 * FRAME_RATE_HZ / lags / USUAL_BPM) / SPREAD_OCTAVES) ** 2)
    lag = int(lags[np.argmax(comb * usual)])
    while lag // 2 >= lags[0] and _peak(acf, lag / 2) >= 0.97 * _peak(acf, lag):
        lag = lag // 2
    height = _peak(acf, lag)
    if height < LEAST_STRENGTH:
        return None
    return Tempo(float(60.0 * FRAME_RATE_HZ / _refined(acf, lag)), min(1.0, height))


def _comb(acf: np.ndarray, lags: np.ndarray) -> np.ndarray:
    """Mean autocorrelation over the first multiples (up to four) of each lag that lie inside."""
    total, count = np.zeros(len(lags)), np.zeros(len(lags))
    for k in (1, 2, 3, 4):
        inside = k * lags < len(acf) - 2
        at = k * lags[inside]
        total[inside] += np.maximum.reduce([acf[at - 1], acf[at], acf[at + 1]])
        count[inside] += 1
    return total / count


def _peak(acf: np.ndarray, lag: float) -> float:
    near = round(lag)
    return float(acf[max(1, near - 2) : near + 3].max())


def _refined(acf: np.ndarray, lag: int) -> float:
    """The period in frames, from the peaks at growing multiples of `lag` (a period k times as long is measured k times
    as exactly), each placed by a parabola."""
    period = _placed(acf, lag)
    k = 2
    while k * period < len(acf) - 3 and k <= 32:
        place = _placed(acf, round(k * period))
        if abs(place / k - period) > 0.6 / k + 0.02 * period / k or acf[round(place)] < 0.3 * acf[lag]:
            break
        period = place / k
        k = k + 1 if k < 4 else k * 2
    return period


def _placed(acf: np.ndarray, near: int) -> float:
    """Position of the highest value within 2 of `near`, between samples by a parabola through three of them."""
    low = max(1, near - 2)
    at = low + int(np.argmax(acf[low : near + 3]))
    if not 1 <= at < len(acf) - 1:
        return float(at)
    a, b, c = acf[at - 1], acf[at], acf[at + 1]
    bend = a - 2 * b + c
    return at + (0.5 * (a - c) / bend if bend < 0 else 0.0)

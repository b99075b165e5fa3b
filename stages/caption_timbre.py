"""What a sound is like apart from its notes: brightness, dynamics, percussive and sustained share, a voice.

Pure functions over samples; knows no words, tempo, keys or stages.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.ndimage

from .caption_spectra import RATE_HZ, spectrogram

N_FFT, HOP = 2048, 512
PERCUSSION_HZ = (110.0, 6_000.0)


@dataclass(frozen=True)
class Timbre:
    """`centroid_hz`: mean frequency weighted by power, the median over
    frames. `percussive` and `voice` in [0, 1]."""

    centroid_hz: float
    dynamics_db: float
    percussive: float
    voice: float


def describe_timbre(mono: np.ndarray) -> Timbre:
    """All of it for a mono signal at `RATE_HZ` that is not silent."""
    magnitude = spectrogram(mono, N_FFT, HOP)
    power = magnitude.astype(np.float64) ** 2
    level = power.sum(axis=0)
    heard = level > level.max() * 1e-5
    hz = np.fft.rfftfreq(N_FFT, 1.0 / RATE_HZ)
    centroids = (hz @ power[:, heard]) / level[heard]
    return Timbre(
        centroid_hz=float(np.median(centroids)),
        dynamics_db=dynamics_db(mono),
        percussive=percussive_share(magnitude),
        voice=voice_share(magnitude),
    )


def dynamics_db(mono: np.ndarray) -> float:
    """Spread of the level: 95th less 10th percentile of 0.4 s levels, in dB, counting those within 50 dB of the loudest."""
    size = min(len(mono), round(0.4 * RATE_HZ))
    pieces = mono[: len(mono) // size * size].reshape(-1, size).astype(np.float64)
    power = (pieces**2).mean(axis=1)
    heard = power[power > power.max() * 1e-5]
    if len(heard) < 2:
        return 0.0
    low, high = np.percentile(10 * np.log10(heard), (10, 95))
    return float(high - low)


def percussive_share(magnitude: np.ndarray) -> float:
    """The share in [0, 1] of a sound's power between 110 Hz and 6 kHz that is percussive.

    Harmonic sound lies along time and percussive along frequency; a median filter along either keeps one and loses the
    other, and a soft mask of the two shares out the power (Fitzgerald 2010, eqs. 1 to 4). `magnitude` `[bins, frames]` is
    of `N_FFT` and `HOP`; of more than 30 s the middle is taken. Noise comes out near a half.
    """
    low, high = (round(hz * N_FFT / RATE_HZ) for hz in PERCUSSION_HZ)
    part = magnitude[low:high]
    most = round(30.0 * RATE_HZ / HOP)
    start = max(0, (part.shape[1] - most) // 2)
    part = part[:, start : start + most]
    harmonic = scipy.ndimage.median_filter(part, size=(1, 17)).astype(np.float64) ** 2
    percussive = scipy.ndimage.median_filter(part, size=(31, 1)).astype(np.float64) ** 2
    power = part.astype(np.float64) ** 2
    mask = percussive / np.maximum(harmonic + percussive, 1e-20)
    return min(1.0, float((power * mask).sum() / max(float(power.sum()), 1e-20)))


def voice_share(magnitude: np.ndarray) -> float:
    """The share in [0, 1] of frames whose partials glide together, as those of a voice do and those of keys don't.

    In each pair of neighbouring frames the peaks between 200 and 4000 Hz are matched; where at least three of them moved
    by the same 4 to 60 cents (their weighted median, with a spread below half of it), the frame counts. A hint, not a
    detector: strings with vibrato glide too, and a voice under a dense band is missed.
    """
    low, high = round(200 * N_FFT / RATE_HZ), round(4000 * N_FFT / RATE_HZ)
    part = magnitude[low : high + 1]
    here, before, after = part[1:-1], part[:-2], part[2:]
    floor = np.maximum(part.max(axis=0, keepdims=True) * 3e-2, magnitude.max() * 3e-3)
    peak = (here > before) & (here >= after) & (here > floor)
    a, b, c = (np.log(np.maximum(m, 1e-12)) for m in (before, here, after))
    offset = np.clip(0.5 * (a - c) / np.minimum(a - 2 * b + c, -1e-9), -0.5, 0.5)
    place = np.where(peak, low + 1 + np.arange(part.shape[0] - 2)[:, None] + offset, np.nan)
    gliding = heard = 0
    for t in range(1, place.shape[1]):
        old, new = place[:, t - 1], place[:, t]
        old, new = old[~np.isnan(old)], new[~np.isnan(new)]
        if len(old) < 3 or len(new) < 3:
            continue
        heard += 1
        gliding += _glide_together(old, new)
    return gliding / heard if heard else 0.0


def _glide_together(old: np.ndarray, new: np.ndarray) -> bool:
    """Whether at least three peaks (in bins) moved by one common small interval from one frame to the next."""
    nearest = old[np.abs(new[:, None] - old[None, :]).argmin(axis=1)]
    cents = 1200.0 * np.log2(new / nearest)
    cents = cents[np.abs(cents) < 60.0]
    if len(cents) < 3:
        return False
    middle = float(np.median(cents))
    spread = float(np.median(np.abs(cents - middle)))
    return abs(middle) >= 4.0 and spread < 0.5 * abs(middle)

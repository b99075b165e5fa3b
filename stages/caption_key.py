"""Key and mode of a sound: a chroma from spectral peaks, compared with the profiles of the 24 keys.

Pure functions over samples; knows no words, tempo or stages.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .caption_spectra import RATE_HZ, spectrogram

N_FFT, HOP = 8192, 2048
PEAKS_HZ = (55.0, 2_000.0)
MAJOR_NAMES = ("C", "Db", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
MINOR_NAMES = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "G#", "A", "Bb", "B")
# Temperley 2007, "Music and Probability", table 6.1: how often each degree occurs in the Kostka-Payne corpus.
_MAJOR = np.array([0.748, 0.060, 0.488, 0.082, 0.670, 0.460, 0.096, 0.715, 0.104, 0.366, 0.057, 0.400])
_MINOR = np.array([0.712, 0.084, 0.474, 0.618, 0.049, 0.460, 0.105, 0.747, 0.404, 0.067, 0.133, 0.330])
LEAST_CORRELATION = 0.55  # below this no key is named: noise, drums and clusters
OVERTONES = 4  # a peak counts for itself and as 2nd … 4th partial of tones below it
OVERTONE_DECAY = 0.6
BASS_AT, BASS_WIDTH, BASS_EXTRA = 52.0, 3.0, 2.0  # tones well below E3 (MIDI 52) count three times: the bass tells the tonic


@dataclass(frozen=True)
class Key:
    """`name` as in "F# minor"; `correlation` of the chroma with that key's profile; `margin` over the next best key."""

    name: str
    correlation: float
    margin: float


def find_key(mono: np.ndarray) -> Key | None:
    """The key of a mono signal at `RATE_HZ`; None when no profile fits (correlation under 0.55).

    Krumhansl's method (Krumhansl 1990, ch. 4: the highest correlation of the pitch-class distribution with 24 profiles)
    with Temperley's profiles.
    """
    chroma = pitch_classes(mono)
    if chroma is None:
        return None
    rated = []
    for profile, names in ((_MAJOR, MAJOR_NAMES), (_MINOR, MINOR_NAMES)):
        mode = "major" if names is MAJOR_NAMES else "minor"
        for tonic in range(12):
            fit = float(np.corrcoef(chroma, np.roll(profile, tonic))[0, 1])
            rated.append((fit, f"{names[tonic]} {mode}"))
    rated.sort(reverse=True)
    best, second = rated[0], rated[1]
    return Key(best[1], best[0], best[0] - second[0]) if best[0] >= LEAST_CORRELATION else None


def pitch_classes(mono: np.ndarray) -> np.ndarray | None:
    """How much of each pitch class (C first) there is, summing to 1; None when there are no peaks.

    Peaks of the spectrum are placed between bins by a parabola, brought to the recording's own tuning, and also count,
    decaying by 0.6 a step, for the tones whose 2nd to 4th partial they may be (harmonic pitch-class profile, Gómez 2006).
    Each frame weighs by the square root of its level, so that loud moments don't decide alone.
    """
    hz, level, frame = spectral_peaks(mono)
    if not len(hz):
        return None
    semitones = 69.0 + 12.0 * np.log2(hz / 440.0)
    semitones = semitones - tuning(semitones, level)
    per_frame = np.zeros((int(frame.max()) + 1, 12))
    for k in range(1, OVERTONES + 1):
        place = semitones - 12.0 * np.log2(k)
        nearest = np.rint(place)
        close = np.cos(np.clip(place - nearest, -0.5, 0.5) * np.pi) ** 2  # 1 in tune, 0 between two tones
        bass = 1.0 + BASS_EXTRA / (1.0 + np.exp((place - BASS_AT) / BASS_WIDTH))
        usable = place > 21.0
        np.add.at(
            per_frame, (frame[usable], nearest[usable].astype(int) % 12),
            (OVERTONE_DECAY ** (k - 1) * close * level * bass)[usable],
        )
    total = per_frame.sum(axis=1, keepdims=True)
    chroma = (per_frame / np.sqrt(np.maximum(total, 1e-12))).sum(axis=0)
    return chroma / chroma.sum() if chroma.sum() > 0 else None


def tuning(semitones: np.ndarray, level: np.ndarray) -> float:
    """How far, in semitones within ±0.5, the peaks lie off the equal-tempered scale at A = 440 Hz (circular mean)."""
    angle = np.angle(np.sum(level * np.exp(2j * np.pi * semitones)))
    return float(angle / (2 * np.pi))


def spectral_peaks(mono: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Frequencies in Hz, magnitudes, and frame numbers of the spectrum's peaks between 55 and 2000 Hz that
    stand at most 40 dB below their frame's highest and 70 dB below the sound's."""
    magnitude = spectrogram(mono, N_FFT, HOP)
    low, high = (int(f * N_FFT / RATE_HZ) for f in PEAKS_HZ)
    part = magnitude[low : high + 1]
    if not part.size or part.max() <= 0:
        return np.zeros(0), np.zeros(0), np.zeros(0, int)
    here, before, after = part[1:-1], part[:-2], part[2:]
    floor = np.maximum(part.max(axis=0, keepdims=True) * 1e-2, part.max() * 3e-4)
    bins, frames = np.nonzero((here > before) & (here >= after) & (here > floor))
    a, b, c = (np.log(np.maximum(m[bins, frames], 1e-12)) for m in (before, here, after))
    bend = np.minimum(a - 2 * b + c, -1e-9)
    hz = (low + 1 + bins + np.clip(0.5 * (a - c) / bend, -0.5, 0.5)) * RATE_HZ / N_FFT
    return hz, np.exp(b), frames

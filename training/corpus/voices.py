"""Pitched voices, numpy only: wavetables for what sustains, Karplus–Strong for what is plucked.

Every voice is a function of (instrument, pitch, length) that returns mono float32 samples with its release. A note
is read from two wavetables (dark and bright, both band-limited for its pitch) that are cross-faded by an envelope, so
brightness follows loudness as on real instruments. Karplus–Strong after Karplus & Strong 1983, computed a period at a
time.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

TABLE = 2048
# Above this the bodies of instruments pass less and less (12 dB an octave), as on recordings of real ones.
BODY_HZ = 3000.0
# Formant centres in Hz and gains of the vowels (rounded from Peterson & Barney 1952 averages).
_FORMANTS = {
    "la": ((730, 1.0), (1090, 0.5), (2440, 0.12)),
    "ah": ((730, 1.0), (1090, 0.6), (2440, 0.15)),
    "oh": ((570, 1.0), (840, 0.5), (2410, 0.05)),
    "oo": ((300, 1.0), (870, 0.2), (2240, 0.03)),
    "ee": ((270, 1.0), (2290, 0.35), (3010, 0.25)),
}


@dataclass(frozen=True)
class Voice:
    """How an instrument speaks. Times in seconds; ``slope`` is the power by which harmonics fall (dark, bright)."""

    slope: tuple[float, float]
    attack_s: float
    decay_s: float | None
    release_s: float
    level: float
    odd: float = 1.0
    vibrato: float = 0.0
    detune: float = 0.0
    breath: float = 0.0
    bright_decay_s: float = 0.2
    drawbars: tuple[float, ...] = ()
    brighten: bool = False


VOICES: dict[str, Voice] = {
    "electric bass": Voice((2.2, 1.3), 0.006, 1.4, 0.05, 1.1, bright_decay_s=0.25),
    "synth bass": Voice((1.6, 0.9), 0.004, 1.0, 0.03, 0.9, bright_decay_s=0.12),
    "upright bass": Voice((2.8, 1.7), 0.012, 0.7, 0.06, 1.2, bright_decay_s=0.08),
    "piano": Voice((2.0, 1.1), 0.003, 0.9, 0.09, 0.8, bright_decay_s=0.15),
    "electric piano": Voice((3.5, 1.8), 0.005, 1.1, 0.1, 0.9, bright_decay_s=0.1),
    "organ": Voice((2.0, 2.0), 0.015, None, 0.04, 0.5, drawbars=(1.0, 0.8, 0.6, 0.3, 0, 0.25, 0, 0.3), vibrato=0.002),
    "electric guitar": Voice((1.0, 0.7), 0.004, 2.5, 0.05, 0.45, odd=1.3),
    "strings": Voice((1.4, 1.1), 0.12, None, 0.18, 0.5, vibrato=0.004, detune=0.004),
    "cello": Voice((1.6, 1.2), 0.07, None, 0.12, 0.7, vibrato=0.006),
    "brass": Voice((2.4, 0.9), 0.05, None, 0.07, 0.6, vibrato=0.002, detune=0.002, brighten=True),
    "trumpet": Voice((1.9, 0.7), 0.035, None, 0.06, 0.6, vibrato=0.004, brighten=True),
    "flute": Voice((3.2, 2.4), 0.05, None, 0.08, 0.8, vibrato=0.006, breath=0.05),
    "clarinet": Voice((2.0, 1.3), 0.03, None, 0.06, 0.7, odd=6.0, vibrato=0.001),
    "synth pad": Voice((1.8, 1.3), 0.25, None, 0.3, 0.5, detune=0.006),
    "synth lead": Voice((1.1, 0.8), 0.01, None, 0.05, 0.5, odd=3.0, vibrato=0.003),
    "synth arpeggio": Voice((1.8, 0.7), 0.003, 0.25, 0.05, 0.7, bright_decay_s=0.07),
    "vocals": Voice((1.0, 1.0), 0.06, None, 0.09, 1.0, vibrato=0.01, breath=0.02),
}
STRING_INSTRUMENTS = {"acoustic guitar": (0.5, 1.0), "nylon guitar": (0.62, 0.8)}


def pitch_hz(pitch: float) -> float:
    """Equal temperament, A4 = 440 Hz."""
    return 440.0 * 2.0 ** ((pitch - 69) / 12)


@lru_cache(maxsize=4096)
def _tables(instrument: str, pitch: int, rate_hz: int, vowel: str) -> tuple[np.ndarray, np.ndarray]:
    """Dark and bright single-cycle tables, ``[TABLE + 1]`` each, of unit RMS."""
    voice, base_hz = VOICES[instrument], pitch_hz(pitch)
    count = max(1, min(64, int(0.45 * rate_hz / base_hz)))
    number = np.arange(1, count + 1)
    tables = []
    for slope in voice.slope:
        gain = number ** -slope
        if voice.drawbars:
            bars = np.array(voice.drawbars)
            gain = np.where(number <= len(bars), bars[np.minimum(number, len(bars)) - 1], 0.0)
        gain = np.where(number % 2 == 0, gain / voice.odd, gain)
        gain = gain / np.sqrt(1 + (number * base_hz / BODY_HZ) ** 4)
        if instrument == "vocals":
            hz = number * base_hz
            gain = sum(level / (1 + ((hz - centre) / 110.0) ** 2) for centre, level in _FORMANTS[vowel]) + 0.02 / number
        if instrument == "electric piano" and count > 7:
            gain[6] += 0.12
        spectrum = np.zeros(TABLE // 2 + 1, dtype=complex)
        spectrum[1 : count + 1] = gain * np.exp(2j * np.pi * ((number * number * 0.137) % 1.0))
        wave = np.fft.irfft(spectrum)
        wave = wave / (np.sqrt(np.mean(wave**2)) + 1e-12)
        tables.append(np.append(wave, wave[0]).astype(np.float32))
    return tables[0], tables[1]


def _read(table: np.ndarray, phase: np.ndarray) -> np.ndarray:
    return table[(phase * TABLE).astype(np.int32) % TABLE]


def _envelope(voice: Voice, held: int, total: int, rate_hz: int) -> np.ndarray:
    time_s = np.arange(total, dtype=np.float32) / rate_hz
    envelope = np.minimum(time_s / voice.attack_s, 1.0)
    if voice.decay_s is not None:
        envelope *= np.exp(-time_s / voice.decay_s)
    if total > held:
        envelope[held:] *= np.linspace(1.0, 0.0, total - held, dtype=np.float32) ** 2
    return envelope


def wavetable_note(instrument: str, pitch: int, duration_s: float, rate_hz: int, vowel: str = "ah") -> np.ndarray:
    """One note of a wavetable instrument, ``[T]`` float32, release included."""
    voice = VOICES[instrument]
    held = max(int(duration_s * rate_hz), 1)
    total = held + int(voice.release_s * rate_hz)
    dark, bright = _tables(instrument, pitch, rate_hz, vowel)
    time_s = np.arange(total, dtype=np.float32) / rate_hz
    phase = pitch_hz(pitch) * time_s
    if voice.vibrato:
        depth = voice.vibrato * pitch_hz(pitch) / (2 * np.pi * 5.5)
        phase = phase + np.float32(depth) * (1 - np.cos(2 * np.pi * 5.5 * time_s)) * np.minimum(time_s * 4, 1.0)
    phase = phase.astype(np.float32)
    envelope = _envelope(voice, held, total, rate_hz)
    if voice.brighten:
        blend = envelope**2
    elif voice.decay_s is not None:
        blend = np.exp(-time_s / voice.bright_decay_s)
    else:
        blend = np.full(total, 0.5, dtype=np.float32)
    wave = _read(dark, phase) * (1 - blend) + _read(bright, phase) * blend
    if voice.detune:
        wave = 0.6 * wave + 0.5 * _read(bright, phase * np.float32(1 + voice.detune) + 0.37)
    if voice.breath:
        noise = np.random.default_rng(pitch).standard_normal(total, dtype=np.float32)
        wave = wave + voice.breath * noise
    return (voice.level * wave * envelope).astype(np.float32)


def plucked_note(instrument: str, pitch: int, duration_s: float, rate_hz: int) -> np.ndarray:
    """Karplus–Strong: a burst of filtered noise goes round a loop that averages neighbours."""
    softness, level = STRING_INSTRUMENTS[instrument]
    period = max(round(rate_hz / pitch_hz(pitch) - 0.5), 2)
    total = int(min(duration_s + 0.12, 2.5) * rate_hz)
    burst = np.random.default_rng(pitch).uniform(-1, 1, period).astype(np.float32)
    for _ in range(1 + int(4 * softness)):
        burst = 0.5 * (burst + np.roll(burst, 1))
    burst -= burst.mean()
    burst /= np.sqrt(np.mean(burst**2)) + 1e-9
    rounds = total // period + 1
    loss = np.float32(0.994 if instrument == "acoustic guitar" else 0.990)
    # Averaging neighbours round the loop is a filter on the period's spectrum: all rounds at once, in frequency.
    spectrum = np.fft.rfft(burst)
    damping = loss * np.cos(np.pi * np.arange(len(spectrum)) / period)
    powers = damping[None, :] ** np.arange(rounds)[:, None] * np.exp(
        -1j * np.pi * np.outer(np.arange(rounds), np.arange(len(spectrum))) / period)
    wave = np.fft.irfft(powers * spectrum, n=period).reshape(-1)[:total].astype(np.float32)
    held = min(int(duration_s * rate_hz), total)
    wave[held:] *= np.linspace(1.0, 0.0, total - held, dtype=np.float32) ** 2
    return level * 0.8 * wave


@lru_cache(maxsize=2048)
def note(instrument: str, pitch: int, hundredths: int, rate_hz: int, vowel: str) -> np.ndarray:
    """A cached note, ``hundredths`` of a second long; do not write into the returned array."""
    duration_s = hundredths / 100
    if instrument in STRING_INSTRUMENTS:
        return plucked_note(instrument, pitch, duration_s, rate_hz)
    return wavetable_note(instrument, pitch, duration_s, rate_hz, vowel)

"""From a song to stereo stems: place notes, pan, a few early reflections, balance.

Two renderers: ``synth``, the built-in synthesiser (needs nothing), and ``fluidsynth`` (see ``fluid``).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from .composer import Song
from .drums import one_shot
from .fluid import fluid_stem
from .voices import note

RENDERERS = ("synth", "fluidsynth")
# Target RMS of each track before the mix is scaled as a whole, in dB relative to each other.
_BALANCE_DB = {
    "drums": -2.0, "percussion": -11.0, "bass": 1.0, "keyboard": -7.0, "guitar": -7.5, "strings": -8.5,
    "brass": -7.5, "woodwinds": -7.5, "synth": -8.5, "vocals": -5.0,
}  # fmt: skip
_PAN_OF_SOUND = {
    "hat": 0.35, "ride": -0.4, "crash": 0.3, "tom": -0.25, "shaker": 0.3, "tambourine": -0.35,
    "conga_low": -0.3, "conga_high": 0.2,
}  # fmt: skip
MIX_RMS_DB = -17.0
PEAK = 0.89
# Every stem carries a quiet hiss, as recordings do; without it log-spectral distances measure digital silence.
FLOOR_DB = -72.0


def _gains(pan: float) -> np.ndarray:
    """Constant-power left and right gains for ``pan`` in −1 … 1, ``[2, 1]``."""
    angle = (pan + 1) * np.pi / 4
    return np.array([[np.cos(angle)], [np.sin(angle)]], dtype=np.float32)


def _add(line: np.ndarray, wave: np.ndarray, start: int, gain: float) -> None:
    end = min(start + len(wave), line.shape[-1])
    if 0 <= start < end:
        line[start:end] += gain * wave[: end - start]


def _pitched(song: Song, track: str, samples: int, rate_hz: int) -> np.ndarray:
    line = np.zeros(samples, np.float32)
    instrument = song.instruments[track]
    for item in song.notes[track]:
        wave = note(instrument, item.pitch, max(4, round(100 * item.duration_s)), rate_hz, song.vowel)
        _add(line, wave, round(item.start_s * rate_hz), item.velocity)
    if instrument == "electric guitar":
        line = np.tanh(2.5 * line) * 0.5
    return line


def _reflections(stem: np.ndarray, rng: np.random.Generator, rate_hz: int, amount: float) -> np.ndarray:
    """Six early reflections, three a side, between 11 and 90 ms: a room that costs six additions."""
    wet = stem.copy()
    for channel in range(2):
        for index in range(3):
            delay = int(rate_hz * (0.011 + 0.026 * index + 0.01 * rng.random()))
            wet[channel, delay:] += amount * 0.6**index * stem[1 - channel, :-delay]
    return wet


@lru_cache(maxsize=1)
def _hiss() -> np.ndarray:
    """About 44 s of white noise at ``FLOOR_DB`` that every stem cuts its own stretch from."""
    noise = np.random.default_rng(0x415).standard_normal(1 << 20, dtype=np.float32)
    return np.float32(10 ** (FLOOR_DB / 20)) * noise


def _add_floor(stem: np.ndarray, rng: np.random.Generator) -> None:
    hiss = _hiss()
    for channel in stem:
        offset = int(rng.integers(len(hiss)))
        channel += np.take(hiss, np.arange(offset, offset + channel.size), mode="wrap")


def _synth_stem(song: Song, track: str, samples: int, rate_hz: int, pan: float) -> np.ndarray:
    """One track by the built-in synthesiser, ``[2, T]``, panned."""
    if track not in song.hits:
        return _gains(pan) * _pitched(song, track, samples, rate_hz)
    stem = np.zeros((2, samples), np.float32)
    by_sound: dict[str, np.ndarray] = {}
    for hit in song.hits[track]:
        line = by_sound.setdefault(hit.sound, np.zeros(samples, np.float32))
        _add(line, one_shot(hit.sound, song.instruments[track], rate_hz), round(hit.start_s * rate_hz), hit.velocity)
    for sound, line in by_sound.items():
        stem += _gains(_PAN_OF_SOUND.get(sound, 0.0)) * line
    return stem


def render(song: Song, rate_hz: int = 24_000, renderer: str = "synth", *, hiss: int = 0) -> dict[str, np.ndarray]:
    """Stereo stems ``[2, T]`` float32 by ACE-Step track; their sum is the mix, −17 dBFS RMS or a peak of 0.89 (before hiss).
    ``hiss``: another draw of the noise under the same music.

    Raises ValueError for an unknown renderer, RequestError when FluidSynth or its sound font is not there.
    """
    if renderer not in RENDERERS:
        raise ValueError(f"renderer {renderer!r} is none of {', '.join(RENDERERS)}")
    rng = np.random.default_rng([song.seed, 0xA0D10])
    samples = round(song.duration_s * rate_hz)
    stems: dict[str, np.ndarray] = {}
    for track in song.instruments:
        struck = track in song.hits
        pan = 0.0 if struck or track in ("bass", "vocals") else float(rng.uniform(-0.4, 0.4))
        spread = 1.5 if struck else 2.0
        rms_db = _BALANCE_DB[track] + rng.uniform(-spread, spread)
        if renderer == "synth":
            stem = _synth_stem(song, track, samples, rate_hz, pan)
        else:
            stem = 2**0.5 * _gains(pan) * fluid_stem(song, track, rate_hz)
        if track != "bass":
            stem = _reflections(stem, rng, rate_hz, 0.08 if struck else 0.14)
        rms = float(np.sqrt(np.mean(stem**2))) + 1e-6
        stems[track] = stem * np.float32(10 ** (rms_db / 20) / max(rms, 0.02))
    stems = _balance(stems)
    floors = np.random.default_rng([song.seed, 0x415, hiss]) if hiss else rng
    for stem in stems.values():
        _add_floor(stem, floors)
    return stems


def _balance(stems: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    mix = np.sum(list(stems.values()), axis=0)
    gain = 10 ** (MIX_RMS_DB / 20) / (float(np.sqrt(np.mean(mix**2))) + 1e-9)
    gain = min(gain, PEAK / (float(np.abs(mix).max()) + 1e-9))
    return {track: (np.float32(gain) * stem).astype(np.float32) for track, stem in stems.items()}

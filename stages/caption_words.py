"""What was measured in a sound, and the sentence that says it. Knows no stage and no take."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..pipeline.audio_file import resample
from ..pipeline.take import Audio
from .caption_key import Key, find_key
from .caption_rhythm import Tempo, find_tempo
from .caption_spectra import RATE_HZ
from .caption_timbre import Timbre, describe_timbre

LONGEST_S = 120.0   # of a longer sound the middle is listened to
SILENCE_DB = -80.0  # a sound whose peak is below this is called silent

DARK_HZ, WARM_HZ, BRIGHT_HZ = 250.0, 600.0, 1500.0
STEADY_DB, VARIED_DB = 4.0, 10.0
ALL_PERCUSSIVE, SOME_PERCUSSIVE, LITTLE_PERCUSSIVE = 0.45, 0.095, 0.02
VOICE = 0.55


@dataclass(frozen=True)
class Heard:
    """Everything measured; `timbre` is None for silence, `tempo` and `key` where there is none to tell."""

    duration_s: float
    tempo: Tempo | None = None
    key: Key | None = None
    timbre: Timbre | None = None

    def facts(self) -> dict[str, Any]:
        """Plain data, rounded to what the methods can tell."""
        found = asdict(self)
        return {k: _rounded(v) for k, v in found.items() if v is not None}


def listen(audio: Audio) -> Heard:
    """Measure `audio` (mixed to mono, 22.05 kHz, at most the middle two minutes). Same samples, same findings.

    Non-finite samples count as zeros.
    """
    middle = audio.samples
    longest = round(LONGEST_S * audio.rate_hz)
    if middle.shape[-1] > longest:
        start = (middle.shape[-1] - longest) // 2
        middle = middle[:, start : start + longest]
    mono = middle.mean(dim=0, keepdim=True).nan_to_num(0.0, 0.0, 0.0)
    if not float(mono.abs().max()) > 10.0 ** (SILENCE_DB / 20.0):
        return Heard(audio.duration_s)
    x = resample(Audio(mono, audio.rate_hz), RATE_HZ).samples[0].numpy()
    x = x / np.abs(x).max()
    timbre = describe_timbre(x)
    key = find_key(x) if timbre.percussive < ALL_PERCUSSIVE else None
    return Heard(audio.duration_s, find_tempo(x), key, timbre)


def tempo_word(bpm: float) -> str:
    """slow below 85 bpm, moderate below 115, lively below 145, fast above."""
    return "slow" if bpm < 85 else "moderate" if bpm < 115 else "lively" if bpm < 145 else "fast"


def sentence(heard: Heard) -> str:
    """What was heard, in words: ``Slow, warm music with drums, steady, in A minor, 72 bpm``."""
    timbre = heard.timbre
    if timbre is None:
        return "Silence"
    adjectives = [tempo_word(heard.tempo.bpm)] if heard.tempo else []
    brightness = (
        "dark" if timbre.centroid_hz < DARK_HZ else "warm" if timbre.centroid_hz < WARM_HZ
        else "bright" if timbre.centroid_hz > BRIGHT_HZ else "clear"
    )
    adjectives.append(brightness)
    if timbre.percussive >= ALL_PERCUSSIVE:
        text = f"{', '.join(adjectives)} percussion"
    else:
        parts = [part for part, said in (
            ("drums", timbre.percussive >= SOME_PERCUSSIVE),
            ("sustained tones", timbre.percussive < LITTLE_PERCUSSIVE),
            ("vocals", timbre.voice >= VOICE),
        ) if said]
        text = f"{', '.join(adjectives)} music" + (f" with {' and '.join(parts)}" if parts else "")
    if timbre.dynamics_db < STEADY_DB:
        text += ", steady"
    elif timbre.dynamics_db > VARIED_DB:
        text += ", soft and loud"
    if heard.key is not None:
        text += f", in {heard.key.name}"
    if heard.tempo is not None:
        text += f", {round(heard.tempo.bpm)} bpm"
    return text[0].upper() + text[1:]


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _rounded(v) for k, v in value.items()}
    return round(value, 4) if isinstance(value, float) else value

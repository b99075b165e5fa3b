"""Unpitched one-shots: kits and hand percussion from swept sines and shaped noise, mono float32."""

from __future__ import annotations

from functools import lru_cache

import numpy as np


def _noise(samples: int, seed: int, tilt: int) -> np.ndarray:
    """White noise, differentiated ``tilt`` times (each raises the spectrum by 6 dB an octave)."""
    noise = np.random.default_rng(seed).standard_normal(samples + tilt).astype(np.float32)
    for _ in range(tilt):
        noise = 0.6 * np.diff(noise)
    return noise


def _sweep(samples: int, rate_hz: int, start_hz: float, end_hz: float, fall_s: float) -> np.ndarray:
    time_s = np.arange(samples) / rate_hz
    phase = end_hz * time_s + (start_hz - end_hz) * fall_s * (1 - np.exp(-time_s / fall_s))
    return np.sin(2 * np.pi * phase).astype(np.float32)


def _decay(samples: int, rate_hz: int, decay_s: float, attack_s: float = 0.0005) -> np.ndarray:
    time_s = np.arange(samples, dtype=np.float32) / rate_hz
    return np.minimum(time_s / attack_s, 1.0) * np.exp(-time_s / decay_s)


# sound: length, tone (start Hz, end Hz, fall s, decay s, gain), noise (tilt, decay s, gain)
_SOUNDS: dict[str, tuple[float, tuple[float, float, float, float, float] | None, tuple[int, float, float] | None]] = {
    "kick": (0.35, (180, 52, 0.03, 0.11, 1.3), (0, 0.004, 0.25)),
    "snare": (0.28, (260, 185, 0.02, 0.07, 0.7), (1, 0.08, 0.32)),
    "hat": (0.10, None, (2, 0.028, 0.22)),
    "ride": (0.45, (4200, 4200, 1.0, 0.2, 0.05), (2, 0.14, 0.14)),
    "crash": (1.2, None, (1, 0.4, 0.22)),
    "tom": (0.35, (190, 110, 0.06, 0.13, 0.9), (0, 0.01, 0.1)),
    "clap": (0.22, None, (1, 0.07, 0.4)),
    "rim": (0.08, (1700, 1650, 0.01, 0.018, 0.6), (1, 0.006, 0.3)),
    "shaker": (0.09, None, (2, 0.03, 0.3)),
    "tambourine": (0.18, (6500, 6500, 1.0, 0.06, 0.1), (2, 0.06, 0.35)),
    "conga_low": (0.3, (230, 205, 0.02, 0.09, 0.9), (0, 0.006, 0.12)),
    "conga_high": (0.25, (350, 315, 0.02, 0.06, 0.8), (0, 0.005, 0.15)),
}
# kit: tone factor, decay factor, noise factor
_KITS = {"acoustic": (1.0, 1.0, 1.0), "electronic": (0.85, 1.35, 0.8), "brushes": (1.05, 0.9, 0.55)}


@lru_cache(maxsize=256)
def one_shot(sound: str, kit: str, rate_hz: int) -> np.ndarray:
    """One stroke at full velocity; do not write into the returned array."""
    length_s, tone, noise = _SOUNDS[sound]
    pitch, longer, noisy = _KITS.get(kit, (1.0, 1.0, 1.0))
    samples = int(length_s * longer * rate_hz)
    wave = np.zeros(samples, np.float32)
    if tone:
        start_hz, end_hz, fall_s, decay_s, gain = tone
        swept = _sweep(samples, rate_hz, pitch * start_hz, pitch * end_hz, fall_s)
        wave += gain * swept * _decay(samples, rate_hz, longer * decay_s)
    if noise:
        tilt, decay_s, gain = noise
        if kit == "brushes" and sound == "snare":
            decay_s, gain = 1.6 * decay_s, 0.8 * gain
        envelope = _decay(samples, rate_hz, longer * decay_s, 0.012 if sound == "shaker" else 0.0005)
        wave += noisy * gain * _noise(samples, len(sound) * 31 + tilt, tilt) * envelope
    fade = min(64, samples)
    wave[-fade:] *= np.linspace(1.0, 0.0, fade, dtype=np.float32)
    return wave

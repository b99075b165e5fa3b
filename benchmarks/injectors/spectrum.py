"""Injectors of what has no moment: spectrum, pitch, tempo. Knows no detector."""

from __future__ import annotations

import numpy as np
import soxr
from material import STRIDES
from scipy.signal import cheby2, sosfiltfilt

from .balance import BITE_DB, MUD_DB, Whole, as_loud, bell, biting, muddy, whole_sound
from .kind import Injector


def played_at(x: np.ndarray, speed: float) -> np.ndarray:
    """The sound `[C, T]` played `speed` times as fast (tempo and pitch together), as a tape would be."""
    steps = 100_000
    return np.asarray(soxr.resample(np.ascontiguousarray(x.T), steps, round(steps / speed)).T, dtype=np.float32)


def bent(x: np.ndarray, start: float, end: float) -> np.ndarray:
    """Played at a speed that goes from `start` to `end` in a straight line."""
    speed = np.linspace(start, end, int(x.shape[1] / ((start + end) / 2)))
    at = np.cumsum(speed) - speed[0]
    whole, part = np.floor(at).astype(np.intp), (at - np.floor(at)).astype(np.float32)
    whole = np.minimum(whole, x.shape[1] - 4)
    padded = np.pad(x, ((0, 0), (1, 2)))
    p0, p1, p2, p3 = (padded[:, whole + k] for k in range(4))
    return p1 + 0.5 * part * (p2 - p0 + part * (2 * p0 - 5 * p1 + 4 * p2 - p3 + part * (3 * (p1 - p2) + p3 - p0)))


MISTUNED = (8.0, 16.0, 26.0, 34.0, 42.0)
DRIFTING = (10.0, 25.0, 50.0, 75.0, 100.0)
FIFTHS = (1.0, 2.0, 3.0, 4.0, 5.0)
OFF_TEMPO = (2.0, 5.0, 9.0, 14.0, 20.0)
CHANGING = (3.0, 6.0, 12.0, 20.0, 28.0)


def mistuned(x: np.ndarray, rate_hz: int, level: int, rng: np.random.Generator) -> Whole:
    return whole_sound(played_at(x, 2 ** (rng.choice((-1, 1)) * MISTUNED[level] / 1200)), rate_hz)


def pitch_drift(x: np.ndarray, rate_hz: int, level: int, rng: np.random.Generator) -> Whole:
    octaves = rng.choice((-1, 1)) * DRIFTING[level] / 1200
    return whole_sound(bent(x, 2 ** (-octaves / 2), 2 ** (octaves / 2)), rate_hz)


def wrong_key(x: np.ndarray, rate_hz: int, level: int, rng: np.random.Generator) -> Whole:
    """Transposed by as many fifths, through the octave nearest; to be judged against the key it had."""
    semitones = (7 * FIFTHS[level] * rng.choice((-1, 1)) + 6) % 12 - 6
    return whole_sound(played_at(x, 2 ** (semitones / 12)), rate_hz)


def wrong_tempo(x: np.ndarray, rate_hz: int, level: int, rng: np.random.Generator) -> Whole:
    """Played slower or faster; to be judged against the tempo it had."""
    return whole_sound(played_at(x, (1 + OFF_TEMPO[level] / 100) ** rng.choice((-1, 1))), rate_hz)


def tempo_drift(x: np.ndarray, rate_hz: int, level: int, rng: np.random.Generator) -> Whole:
    half = rng.choice((-1, 1)) * CHANGING[level] / 200
    return whole_sound(bent(x, 1 - half, 1 + half), rate_hz)


RING_DB = (6.0, 12.0, 20.0, 26.0, 32.0)
IMAGE_DB = (-70.0, -50.0, -36.0, -22.0, -8.0)
COMB_DB = (-74.0, -62.0, -50.0, -42.0, -34.0)
EDGE_HZ = (15_500.0, 13_000.0, 10_000.0, 7_000.0, 4_500.0)
TURNED_DEGREES = (48.0, 56.0, 65.0, 77.0, 90.0)
ALIKE = (0.9990, 0.9996, 0.9999, 0.99999, 1.0)
THD_PERCENT = (0.2, 0.6, 2.0, 6.0, 18.0)


def ringing(x: np.ndarray, rate_hz: int, level: int, rng: np.random.Generator) -> Whole:
    """Not applicable where there is so little at the frequency that the first audible strength lifts it to no more than what
    lies a tenth to a third of an octave beside it (mean power per hertz): that is heard in its stead."""
    hz = np.exp(rng.uniform(np.log(1_500), np.log(6_500)))
    if _stands_db(bell(x, rate_hz, hz, RING_DB[2], 25.0), rate_hz, hz) < 0:
        return x, []
    return whole_sound(as_loud(bell(x, rate_hz, hz, RING_DB[level], 25.0), x), rate_hz)


def _stands_db(x: np.ndarray, rate_hz: int, hz: float) -> float:
    """Mean power per hertz within ±1/33 octave of a frequency over that of a tenth to a third of an octave to both sides, dB."""
    away = np.abs(np.log2(np.maximum(np.fft.rfftfreq(x.shape[1], 1 / rate_hz), 1.0) / hz))
    power = np.square(np.abs(np.fft.rfft(x, axis=1))).mean(axis=0)
    return float(10 * np.log10(power[away < 0.03].mean() / power[(away > 0.1) & (away < 1 / 3)].mean() + 1e-20))


def imaging(x: np.ndarray, rate_hz: int, level: int, rng: np.random.Generator) -> Whole:
    """Brought to a half, a third or a quarter of the rate and back with a filter that leaves the images at this level. Not
    applicable to a sound so dark that what it leaves below 16 kHz at the first audible level lies 80 dB under the sound."""
    n = int(rng.choice((2, 3, 4)))
    low = np.asarray(soxr.resample(np.ascontiguousarray(x.T), rate_hz, rate_hz / n).T)
    held = np.zeros((x.shape[0], low.shape[1] * n), np.float32)
    held[:, ::n] = n * low
    base = np.asarray(soxr.resample(np.ascontiguousarray(low.T), rate_hz / n, rate_hz, quality="VHQ").T)
    size = min(x.shape[1], base.shape[1], held.shape[1])
    base, images = base[:, :size], held[:, :size] - base[:, :size]
    heard = np.fft.rfftfreq(size, 1 / rate_hz) < 16_000
    under_db = 10 * np.log10(_energy(images, heard) / max(_energy(base, heard), 1e-20) + 1e-20)
    if under_db + IMAGE_DB[2] < -80:
        return base, []
    return whole_sound(base + 10 ** (IMAGE_DB[level] / 20) * images, rate_hz)


def _energy(x: np.ndarray, chosen: np.ndarray) -> float:
    """Of the chosen bins of a spectrum over the whole sound."""
    return float(np.square(np.abs(np.fft.rfft(x, axis=1)[:, chosen])).sum())


def comb(x: np.ndarray, rate_hz: int, level: int, rng: np.random.Generator) -> Whole:
    """Lines at the multiples of a layer rate of a decoder with `material.STRIDES`, each at this level under the sound."""
    layer_hz = rate_hz / float(np.prod(STRIDES[: int(rng.integers(3, 5))]))
    t = np.arange(x.shape[1]) / rate_hz
    multiples = layer_hz * np.arange(1, int(np.ceil(rate_hz / 2 / layer_hz)))
    lines = sum(np.cos(2 * np.pi * hz * t + rng.uniform(0, 6.28)) for hz in multiples)
    rms = np.sqrt(np.square(x, dtype=np.float64).mean())
    return whole_sound(x + np.sqrt(2) * rms * 10 ** (COMB_DB[level] / 20) * lines, rate_hz)


def bandwidth(x: np.ndarray, rate_hz: int, level: int, rng: np.random.Generator) -> Whole:
    """A steep low-pass, as of a lossy codec; at half of 48 kHz and below the edge scales with the rate."""
    edge = EDGE_HZ[level] * min(1.0, rate_hz / 44_100) * rng.uniform(0.97, 1.0)
    steep = cheby2(12, 60, min(edge * 1.04, 0.49 * rate_hz), fs=rate_hz, output="sos")
    return whole_sound(sosfiltfilt(steep, x, axis=1), rate_hz)


def false_stereo(x: np.ndarray, rate_hz: int, level: int, rng: np.random.Generator) -> Whole:
    """The mean of both channels twice, with a side left of it that gives this correlation."""
    mid = x.mean(axis=0)
    side = rng.standard_normal(mid.size) * np.sqrt(np.convolve(np.square(mid), np.ones(2_048) / 2_048, "same"))
    r = ALIKE[level]
    side *= np.sqrt((1 - r) / (1 + r) * np.square(mid).sum() / max(float(np.square(side).sum()), 1e-20))
    return whole_sound(np.stack([mid + side, (mid - side) * rng.uniform(0.5, 1.0)]), rate_hz)


def phase_cancellation(x: np.ndarray, rate_hz: int, level: int, rng: np.random.Generator) -> Whole:
    """What both channels share is turned towards what they don't: at 90 degrees the one is the other upside down, and nothing
    of it is left in mono (of a mono sound the correlation is the cosine of twice the angle)."""
    mid, side = x.mean(axis=0), (x[0] - x[-1]) / 2
    angle = np.radians(TURNED_DEGREES[level])
    middle, apart = np.cos(angle) * mid, side + np.sin(angle) * mid
    return whole_sound(np.stack([middle + apart, middle - apart]), rate_hz)


def thd(x: np.ndarray, rate_hz: int, level: int, rng: np.random.Generator) -> Whole:
    """In place of the sound: a tone as loud and as long, with harmonics two to five."""
    t, hz = np.arange(x.shape[1]) / rate_hz, rng.uniform(150, 1_500)
    share = rng.dirichlet(np.ones(4))
    tone = np.sin(2 * np.pi * hz * t)
    for n, part in enumerate(share, start=2):
        tone += THD_PERCENT[level] / 100 * np.sqrt(part) * np.sin(2 * np.pi * n * hz * t + rng.uniform(0, 6.28))
    return whole_sound(as_loud(np.repeat(tone[None], x.shape[0], 0), x), rate_hz)


_PITCHED = ("music",)
INJECTORS: tuple[Injector, ...] = (
    Injector("mistuned", "mistuned", MISTUNED, "cents", mistuned, whole=True, material=_PITCHED, needs=("keyscale",)),
    Injector("pitch_drift", "mistuned", DRIFTING, "cents over all", pitch_drift, whole=True, material=_PITCHED),
    Injector("wrong_key", "wrong_key", FIFTHS, "fifths", wrong_key, audible=1, whole=True, material=_PITCHED,
             accepts=("wrong_tempo",), needs=("keyscale",)),
    Injector("wrong_tempo", "wrong_tempo", OFF_TEMPO, "percent", wrong_tempo, whole=True, material=_PITCHED,
             accepts=("mistuned", "wrong_key"), needs=("beat",)),
    Injector("tempo_drift", "tempo_drift", CHANGING, "percent over all", tempo_drift, whole=True, material=_PITCHED,
             accepts=("mistuned", "wrong_tempo", "wrong_key"), needs=("bpm",)),
    Injector("muddy", "muddy", MUD_DB, "dB over what lies on both sides", muddy, whole=True, material=_PITCHED),
    Injector("biting", "harsh", BITE_DB, "dB over the sound's tilt", biting, whole=True, material=_PITCHED),
    Injector("ringing", "harsh", RING_DB, "dB", ringing, whole=True, material=_PITCHED),
    Injector("imaging", "aliasing", IMAGE_DB, "dB", imaging, whole=True, material=_PITCHED, accepts=("bandwidth_cut",)),
    Injector("comb", "decoder_comb", COMB_DB, "dB a line", comb, whole=True, material=_PITCHED, accepts=("hum",)),
    Injector("bandwidth", "bandwidth_cut", EDGE_HZ, "Hz", bandwidth, audible=1, whole=True, material=_PITCHED),
    Injector("false_stereo", "false_stereo", ALIKE, "correlation", false_stereo, audible=1, whole=True, material=_PITCHED),
    Injector("phase_cancellation", "phase_cancellation", TURNED_DEGREES, "degrees", phase_cancellation, whole=True,
             material=_PITCHED, accepts=("false_stereo",)),
    Injector("thd", "thd", THD_PERCENT, "percent", thd, whole=True, material=_PITCHED,
             accepts=("false_stereo", "mistuned", "wrong_key", "bandwidth_cut", "hum")),
)  # fmt: skip

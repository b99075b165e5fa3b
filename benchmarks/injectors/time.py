"""Defects of the time domain: flat crests, clicks, drop-outs, cuts, hum, noise, offsets, smearing, squeezing, loops.

Each follows the protocol of `kind.Injector`; levels are relative to the sound, so that a gain before changes nothing.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import maximum_filter1d, minimum_filter1d, uniform_filter1d
from scipy.signal import butter, lfilter, sosfilt, spectrogram

from .kind import Inject, Injector
from .places import local_rms, places, seconds

Spans = list[tuple[float, float]]
Made = tuple[np.ndarray, Spans]


def _rms(x: np.ndarray) -> float:
    return float(np.sqrt(np.square(x, dtype=np.float64).mean()))


def _db(value: float) -> float:
    return float(10 ** (value / 20))


def _stretch(x: np.ndarray, rate_hz: int, rng: np.random.Generator, length_s: float) -> tuple[np.ndarray, list[int], Spans]:
    """A copy, and one place of `length_s` in it."""
    at = places(x, rate_hz, rng, 1, length_s)
    return x.copy(), at, seconds(at, length_s, rate_hz)


def _clip(x: np.ndarray, rate_hz: int, level: int, rng: np.random.Generator) -> Made:
    """Two seconds cut off hard; true from the first crest that stands for four samples to the last."""
    y, starts, _ = _stretch(x, rate_hz, rng, 2.0)
    spans: Spans = []
    for at in starts:
        part = y[:, at : at + 2 * rate_hz]
        ceiling = np.abs(part).max() * _db(-CLIP_DB[level])
        over = np.abs(part) > ceiling
        np.clip(part, -ceiling, ceiling, out=part)
        stands = np.flatnonzero((over[:, :-3] & over[:, 1:-2] & over[:, 2:-1] & over[:, 3:]).any(axis=0))
        if not stands.size:
            return y, []
        spans.append(((at + stands[0]) / rate_hz, (at + stands[-1] + 4) / rate_hz))
    return y, spans


def _soften(x: np.ndarray, rate_hz: int, level: int, rng: np.random.Generator) -> Made:
    drive = _db(SOFT_DB[level])
    peak = np.abs(x).max()
    return (np.tanh(drive * x / peak) / np.tanh(drive) * peak).astype(np.float32), [(0.0, x.shape[1] / rate_hz)]


def _unit(x: np.ndarray, rate_hz: int, at: int) -> float:
    """What a click at a place is measured by: the local RMS, or the largest step that the sound itself takes within 15 ms
    where that is more. A jump no larger than those of a saw wave or a voice's pulses around it is part of them to the ear."""
    near = int(0.015 * rate_hz)
    own = np.abs(np.diff(x[:, max(0, at - near) : at + near], axis=1)).max()
    return max(float(local_rms(x, rate_hz)[at]), float(own))


def _impulses(x: np.ndarray, rate_hz: int, level: int, rng: np.random.Generator) -> Made:
    y = x.copy()
    starts = places(x, rate_hz, rng, 3, 0.001)
    for at in starts:
        width, sign, one = int(rng.integers(1, 4)), rng.choice([-1.0, 1.0]), bool(rng.integers(2))
        shape = sign * np.array([1.0, -0.6, 0.3])[:width] * CLICK[level] * _unit(x, rate_hz, at)
        y[: 1 if one else None, at : at + width] += shape.astype(np.float32)
    return y, seconds(starts, 0.0, rate_hz)


def _jumps(x: np.ndarray, rate_hz: int, level: int, rng: np.random.Generator) -> Made:
    """Steps whose offset dies away over 5–30 ms: what a bad splice leaves, with a known size."""
    y = x.copy()
    starts = places(x, rate_hz, rng, 3, 0.05)
    for at in starts:
        tail, size = int(0.2 * rate_hz), CLICK[level] * _unit(x, rate_hz, at)
        step = rng.choice([-1.0, 1.0]) * size * np.exp(-np.arange(tail) / (rng.uniform(0.005, 0.03) * rate_hz))
        part = y[:, at : at + tail]
        part += step[: part.shape[1]].astype(np.float32)
    return y, seconds(starts, 0.0, rate_hz)


def _gap(x: np.ndarray, rate_hz: int, level: int, rng: np.random.Generator) -> Made:
    """Silence put over the sound, which is there within 10 ms of both its ends at every strength: what begins or ends in a rest
    or in a closed consonant makes that longer, and is no drop-out."""
    y = x.copy()
    starts = places(x, rate_hz, rng, 2, GAP_S[-1], ends_s=GAP_S, window_s=0.02)
    for at in starts:
        y[:, at : at + int(GAP_S[level] * rate_hz)] = 0.0
    return y, seconds(starts, GAP_S[level], rate_hz)


def _cut(end: bool) -> Inject:
    """Up to half of the sound left off at one end, so that it begins or ends where there is sound within 10 ms."""
    def inject(x: np.ndarray, rate_hz: int, level: int, rng: np.random.Generator) -> Made:
        turned = x[:, ::-1] if end else x
        starts = [at for at in places(turned, rate_hz, rng, 12, 0.02, 0.05, window_s=0.02) if at <= x.shape[1] // 2]
        if not starts:
            return x, []
        y = turned[:, starts[-1] :].copy()
        ramp = np.linspace(_db(CUT_DB[level]), 1.0, int(0.05 * rate_hz), dtype=np.float32)
        y[:, : ramp.size] *= ramp
        length = y.shape[1] / rate_hz
        return np.ascontiguousarray(y[:, ::-1] if end else y), [(length - 0.01, length) if end else (0.0, 0.01)]

    return inject


def _hidden_db(x: np.ndarray, rate_hz: int, hz: np.ndarray, rms: np.ndarray) -> float:
    """How far the best heard of lines at `hz` stands above what the sound itself has within 50 Hz of it (a critical band down
    there is 100 Hz wide) in the quietest fifth of its moments of 0.2 s, dB."""
    size = int(0.2 * rate_hz)
    at, _, density = spectrogram(x, rate_hz, "hann", size, size * 3 // 4)
    around = [density[:, np.abs(at - one) < 50].sum(axis=1).mean(axis=0) * at[1] for one in hz]
    return float(np.max(10 * np.log10(rms**2 / (np.quantile(around, 0.2, axis=1) + 1e-20))))


def _hum(x: np.ndarray, rate_hz: int, level: int, rng: np.random.Generator) -> Made:
    """Relative to the sound's RMS; louder where a bass would hide all of it. A line is masked by noise 4 dB above it in its
    critical band, and by tones that are some 15 dB above it (Fastl and Zwicker, "Psychoacoustics", 2007, ch. 4), so at the
    weakest audible strength the best heard of its lines is no more than 15 dB below what sounds there in the quietest moments."""
    base = float(rng.choice([50.0, 60.0])) * (1 + rng.uniform(-0.001, 0.001))
    t = np.arange(x.shape[1]) / rate_hz
    count = int(rng.integers(4, 11))
    tilt, odd = rng.uniform(0.5, 1.5), rng.uniform(0.3, 1.0)
    sizes = [k**-tilt * (odd if k % 2 == 0 else 1.0) for k in range(1, count + 1)]
    wave = sum(size * np.sin(2 * np.pi * base * (k + 1) * t + rng.uniform(0, 6.28)) for k, size in enumerate(sizes))
    wave *= _rms(x) / _rms(wave)
    lines = np.array(sizes) / np.sqrt(np.sum(np.square(sizes))) * _rms(x) * _db(HUM_DB[HUM_AUDIBLE])
    hidden_db = _hidden_db(x, rate_hz, base * np.arange(1, count + 1), lines)
    wave *= _db(HUM_DB[level] + max(0.0, -HUM_MASKED_DB - hidden_db))
    return (x + wave).astype(np.float32), [(0.0, x.shape[1] / rate_hz)]


def _hiss(x: np.ndarray, rate_hz: int, level: int, rng: np.random.Generator) -> Made:
    noise = rng.standard_normal(x.shape)
    if rng.integers(2):
        noise = lfilter([1.0], [1.0, -0.6], noise)
    noise *= _rms(x) * _db(HISS_DB[level]) / _rms(noise)
    return (x + noise).astype(np.float32), [(0.0, x.shape[1] / rate_hz)]


def _burst(x: np.ndarray, rate_hz: int, level: int, rng: np.random.Generator) -> Made:
    """White noise that begins and ends at once, relative to the local RMS; where the treble of the sound itself is more than
    white noise 16 dB below that, relative to that noise + 16 dB: a hi-hat hides what a flute does not."""
    y, rms, spans = x.copy(), local_rms(x, rate_hz), []
    for at in places(x, rate_hz, rng, 2, 0.3):
        n = int(rng.uniform(0.03, 0.25) * rate_hz)
        bend = np.diff(x[:, at - int(0.03 * rate_hz) : at + n + int(0.03 * rate_hz)], n=2, axis=1)
        size = max(float(rms[at]), 6.0 * _rms(bend) / np.sqrt(6))  # white noise of variance 1 has a second difference of 6
        y[:, at : at + n] += (rng.standard_normal((x.shape[0], n)) * size * _db(BURST_DB[level])).astype(np.float32)
        spans.append((at / rate_hz, (at + n) / rate_hz))
    return y, spans


def _offset(x: np.ndarray, rate_hz: int, level: int, rng: np.random.Generator) -> Made:
    return x + np.float32(rng.choice([-1.0, 1.0]) * _rms(x) * OFFSET[level]), [(0.0, x.shape[1] / rate_hz)]


def onsets(x: np.ndarray, rate_hz: int, rise_db: float = 22.0) -> list[int]:
    """Samples at which the level above 2 kHz jumps by `rise_db` against the 40 ms before."""
    high = sosfilt(butter(4, min(2_000, 0.4 * rate_hz), "high", fs=rate_hz, output="sos"), x.mean(axis=0))
    step = int(0.001 * rate_hz)
    frames = np.square(high[: high.size // step * step]).reshape(-1, step).mean(axis=1) + 1e-14
    found: list[int] = []
    for k in range(60, frames.size - 10):
        strong = frames[k : k + 3].mean() > frames[k - 40 : k].mean() * _db(2 * rise_db)
        heard = frames[k : k + 5].max() > 1e-3 * frames.max()
        if strong and heard and (not found or k * step - found[-1] > 0.15 * rate_hz):
            found.append(k * step)
    return found


def _smear(x: np.ndarray, rate_hz: int, level: int, rng: np.random.Generator) -> Made:
    """What a transform codec's coarse quantisation leaves: noise with the attack's spectrum spread over the 20 ms before it.
    Attacks that rise by less than 22 dB hide it: 13 dB below them it would hardly be above what sounds before."""
    y, spans = x.copy(), []
    n = int(0.02 * rate_hz)
    for at in onsets(x, rate_hz):
        if at < 2 * n or at + n > x.shape[1]:
            continue
        attack = x[:, at : at + n]
        spectrum = np.abs(np.fft.rfft(attack * np.hanning(n), axis=1))
        noise = np.fft.irfft(spectrum * np.exp(2j * np.pi * rng.random(spectrum.shape)), n, axis=1)
        noise *= _rms(attack) * _db(SMEAR_DB[level]) / (_rms(noise) + 1e-12)
        y[:, at - n : at] += noise.astype(np.float32)
        spans.append(((at - n) / rate_hz, at / rate_hz))
    return y, spans if len(spans) >= 5 else []


def _squeeze(x: np.ndarray, rate_hz: int, level: int, rng: np.random.Generator) -> Made:
    """A look-ahead limiter driven harder and harder: 3 ms to close, some 40 ms to open."""
    driven = x * np.float32(_db(SQUEEZE_DB[level]))
    ceiling, look = np.abs(x).max(), int(0.003 * rate_hz)
    peaks = maximum_filter1d(np.abs(driven).max(axis=0), 2 * look + 1)
    gain = minimum_filter1d(np.minimum(1.0, ceiling / np.maximum(peaks, 1e-9)), int(0.02 * rate_hz))
    gain = uniform_filter1d(gain, look)
    return np.clip(driven * gain, -ceiling, ceiling).astype(np.float32), [(0.0, x.shape[1] / rate_hz)]


def _silence(x: np.ndarray, rate_hz: int, level: int, rng: np.random.Generator) -> Made:
    at = places(x, rate_hz, rng, 1, 0.1)
    if not at:
        return x, []
    ramp, quiet = int(0.02 * rate_hz), np.zeros((x.shape[0], int(SILENCE_S[level] * rate_hz)), dtype=np.float32)
    before, after = x[:, : at[0]].copy(), x[:, at[0] :].copy()
    before[:, -ramp:] *= np.linspace(1, 0, ramp, dtype=np.float32)
    after[:, :ramp] *= np.linspace(0, 1, ramp, dtype=np.float32)
    return np.concatenate([before, quiet, after], axis=1), seconds(at, SILENCE_S[level], rate_hz)


def _loop(x: np.ndarray, rate_hz: int, level: int, rng: np.random.Generator) -> Made:
    """A piece of 0.7–1.4 s again and again, 5 ms cross-fades at the seams; the sound goes on after it where it would have."""
    length = rng.uniform(0.7, 1.4)
    if x.shape[1] / rate_hz < length + 1.5:
        return x, []
    at = places(x, rate_hz, rng, 1, length, edge_s=0.5)
    if not at:
        return x, []
    n, fade = int(length * rate_hz), int(0.005 * rate_hz)
    piece, ramp = x[:, at[0] : at[0] + n + fade].copy(), np.linspace(0, 1, fade, dtype=np.float32)
    parts = [x[:, : at[0] + n]]
    joint = piece.copy()
    joint[:, :fade] = ramp * piece[:, :fade] + ramp[::-1] * piece[:, n : n + fade]
    parts += [joint[:, :n]] * COPIES[level]
    parts.append(x[:, at[0] + n :])
    out = np.concatenate(parts, axis=1)
    begun = (at[0] + n) / rate_hz
    return out, [(begun, begun + COPIES[level] * n / rate_hz)]


CLIP_DB = (1.0, 3.0, 6.0, 9.0, 12.0)
SOFT_DB = (0.0, 8.0, 14.0, 20.0, 26.0)
CLICK = (0.25, 0.5, 1.0, 2.0, 4.0)
GAP_S = (0.012, 0.025, 0.06, 0.15, 0.4)
CUT_DB = (-40.0, -30.0, -20.0, -10.0, 0.0)
HUM_DB = (-44.0, -37.0, -30.0, -24.0, -18.0)
HUM_AUDIBLE, HUM_MASKED_DB = 3, 15.0
HISS_DB = (-48.0, -42.0, -35.0, -28.0, -20.0)
BURST_DB = (-30.0, -20.0, -10.0, -3.0, 4.0)
OFFSET = (0.02, 0.06, 0.12, 0.25, 0.5)
SMEAR_DB = (-34.0, -28.0, -20.0, -13.0, -7.0)
SQUEEZE_DB = (3.0, 9.0, 15.0, 21.0, 27.0)
SILENCE_S = (0.55, 0.8, 1.2, 2.0, 3.0)
COPIES = (1, 2, 3, 4, 6)

_ALL = ("music", "speech", "drums", "sustained")
_BUSY = ("music", "speech", "sustained")

INJECTORS: tuple[Injector, ...] = (
    Injector("clipping", "clipping", CLIP_DB, "dB below the peak", _clip, accepts=("saturation", "over_compression"),
             material=_ALL),
    Injector("saturation", "saturation", SOFT_DB, "dB of tanh drive", _soften, whole=True, accepts=("clipping",
             "over_compression")),
    Injector("impulse", "click", CLICK, "× local RMS or step", _impulses, audible=3, material=_BUSY),
    Injector("discontinuity", "click", CLICK, "× local RMS or step", _jumps, audible=3, material=_BUSY, accepts=("dc_offset",)),
    Injector("gap", "gap", GAP_S, "s", _gap, audible=1, material=_BUSY, accepts=("click", "silence")),
    Injector("cut_start", "cut_start", CUT_DB, "dB at the edge", _cut(False), material=_BUSY),
    Injector("cut_end", "cut_end", CUT_DB, "dB at the edge", _cut(True), material=_BUSY),
    Injector("hum", "hum", HUM_DB, "dB of the sound's RMS, more over a bass", _hum, audible=HUM_AUDIBLE, whole=True,
             material=_ALL),
    Injector("noise", "noise", HISS_DB, "dB of the sound's RMS", _hiss, audible=3, whole=True, material=_ALL),
    Injector("noise_burst", "noise_burst", BURST_DB, "dB of the local RMS or treble", _burst, material=_BUSY, accepts=("click",)),
    Injector("dc_offset", "dc_offset", OFFSET, "of the RMS", _offset, whole=True, material=_ALL,
             accepts=("cut_start", "cut_end")),
    Injector("pre_echo", "pre_echo", SMEAR_DB, "dB of the attack", _smear, audible=3, material=("music", "drums"),
             accepts=("noise_burst",)),
    Injector("over_compression", "over_compression", SQUEEZE_DB, "dB into a limiter", _squeeze, whole=True,
             accepts=("saturation", "clipping")),
    Injector("silence", "silence", SILENCE_S, "s", _silence, audible=0, material=_BUSY, accepts=("gap",)),
    Injector("repetition", "repetition", COPIES, "copies", _loop, audible=1, accepts=("click",)),
)

"""Where there is nothing to hear: gaps (drop-outs) and stretches of silence.

Levels are compared with the sound's own reference level, which the caller gives. Knows no loudness.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .samples import Array, as_samples, merged, spans

GAP_DB, BESIDE_DB = -50.0, -30.0
GAP_SHORTEST_S, GAP_LONGEST_S = 0.010, 3.5
SILENCE_DB = -60.0
_FRAME_S = 0.001
_BESIDE_FRAMES, _ABRUPT_FRAMES = 40, 4


def _peak_envelope_db(samples: Array, rate_hz: int, gain: float = 1.0) -> tuple[Array, int]:
    """Peak over all channels in frames of 1 ms, in dB of full scale after `gain`, and the frame length in
    samples."""
    step = max(round(_FRAME_S * rate_hz), 1)
    count = -(-samples.shape[1] // step)
    peaks = np.zeros(count * step, dtype=np.float32)
    np.maximum(samples.max(axis=0), -samples.min(axis=0), out=peaks[: samples.shape[1]])
    with np.errstate(divide="ignore"):
        return 20 * np.log10(peaks.reshape(count, step).max(axis=1) * gain), step


def gaps(samples: Any, rate_hz: int, gain: float = 1.0) -> list[tuple[int, int]]:
    """Drop-outs of `[C, T]` as half-open sample ranges: below −50 dB for 10–3500 ms, with more than −30 dB within the 40
    ms before *and* after (levels after multiplying by `gain`), and within the last 4 ms before and the first after it still
    above −36 dB: a drop-out falls abruptly, a decaying note does not. (The first three figures are those of Essentia's
    GapsDetector.)

    >>> x = 0.1 * np.random.default_rng(0).standard_normal((1, 48_000))
    >>> x[:, 24_000:26_400] = 0.0  # 50 ms
    >>> gaps(x, 48_000)
    [(24000, 26400)]
    >>> fade = np.clip((np.abs(np.arange(48_000) - 25_200) - 1_200) / 6_000, 0, 1)
    >>> gaps(x * fade, 48_000)  # what fades out and in again is no drop-out
    []
    """
    x = as_samples(samples, rate_hz)
    level, step = _peak_envelope_db(x, rate_hz, gain)
    found = []
    for a, b in spans(level < GAP_DB):
        if a == 0 or b == level.size or not GAP_SHORTEST_S <= (b - a) * step / rate_hz <= GAP_LONGEST_S:
            continue
        before, after = level[max(0, a - _BESIDE_FRAMES) : a], level[b : b + _BESIDE_FRAMES]
        if np.mean(10 ** (before / 10)) > 10 ** (BESIDE_DB / 10) and np.mean(10 ** (after / 10)) > 10 ** (BESIDE_DB / 10):
            falls, rises = level[max(0, a - _ABRUPT_FRAMES) : a].max(), level[b : b + _ABRUPT_FRAMES].max()
            if min(falls, rises) > BESIDE_DB - 6:
                found.append((a * step, min(b * step, x.shape[1])))
    return found


def silences(samples: Any, rate_hz: int, gain: float = 1.0, shortest_s: float = 0.1) -> list[tuple[int, int]]:
    """Stretches of `[C, T]` of at least `shortest_s` seconds in which nothing exceeds −60 dB after `gain` (clicks under 2 ms
    don't end one), as half-open sample ranges.

    >>> x = 0.1 * np.random.default_rng(0).standard_normal((1, 48_000))
    >>> x[:, 36_000:] = 0.0
    >>> silences(x, 48_000), silences(x, 48_000, shortest_s=0.3)
    ([(36000, 48000)], [])
    """
    x = as_samples(samples, rate_hz)
    level, step = _peak_envelope_db(x, rate_hz, gain)
    quiet = merged(spans(level < SILENCE_DB), 2)
    ranges = [(a * step, min(b * step, x.shape[1])) for a, b in quiet]
    return [(a, b) for a, b in ranges if b - a >= shortest_s * rate_hz]

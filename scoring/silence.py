"""Where there is nothing to hear: gaps (drop-outs) and stretches of silence.

Levels are compared with the sound's own reference level, which the caller gives. Knows no loudness.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from .samples import Array, as_samples, merged, spans

GAP_DB, BESIDE_DB = -50.0, -30.0
GAP_SHORTEST_S, GAP_LONGEST_S = 0.010, 3.5
SILENCE_DB = -60.0
_DYING_S, _DYING_DB = 0.030, -40.0
_FRAME_S = 0.001
_BESIDE_FRAMES, _ABRUPT_FRAMES = 40, 4
_CUT_DB = -57.0
_ALIKE_S, _BANDS_HZ, _UNHEARD_DB = 0.020, 150.0 * 2 ** (np.arange(14) / 2), -66.0
_PREDICTED_FROM_S, _LATEST_S, _ORDER, _GOES_ON_S = 0.025, 0.003, 32, 0.0005


def _peak_envelope_db(samples: Array, rate_hz: int, gain: float = 1.0) -> tuple[Array, int]:
    """Peak over all channels in frames of 1 ms, in dB of full scale after `gain`, and the frame length in
    samples."""
    step = max(round(_FRAME_S * rate_hz), 1)
    count = -(-samples.shape[1] // step)
    peaks = np.zeros(count * step, dtype=np.float32)
    np.maximum(samples.max(axis=0), -samples.min(axis=0), out=peaks[: samples.shape[1]])
    with np.errstate(divide="ignore"):
        return 20 * np.log10(peaks.reshape(count, step).max(axis=1) * gain), step


def _broken_off_db(y: Array, rate_hz: int) -> float:
    """How surely the samples `[n]` break off at their end, dB: how loudly they would have gone on for half a millisecond, by
    linear prediction from their last 25 ms (with what it missed in the last 3 ms, which noise is nothing but), and how far the
    first sample of that lies over what it missed before, if it does, added up. What dies away, or closes between the pulses of
    a voice, is predicted to be as good as over."""
    y = y[-int(_PREDICTED_FROM_S * rate_hz) :].astype(np.float64)
    if y.size < 3 * _ORDER:
        return -400.0
    past, now = sliding_window_view(y, _ORDER)[:-1], y[_ORDER:]
    normal = past.T @ past
    weights = np.linalg.solve(normal + np.eye(_ORDER) * (1e-5 * np.trace(normal) / _ORDER + 1e-20), past.T @ now)
    missed, last = np.square(now - past @ weights) + 1e-20, list(y[-_ORDER:])
    for _ in range(max(int(_GOES_ON_S * rate_hz), 1)):
        last.append(float(weights @ last[-_ORDER:]))
    on = np.array(last[_ORDER:])
    surprise = max(on[0] ** 2 / missed.mean(), 1.0)
    return 10 * float(np.log10(surprise) + np.log10(np.square(on).mean() + missed[-int(_LATEST_S * rate_hz) :].mean()))


def _unlike_db(before: Array, after: Array, rate_hz: int) -> float:
    """How far the spectra of two stretches `[C, n]` differ in shape, dB: mean over half octaves (and what lies below 150 Hz) of
    how far their levels lie apart, the common change of level left out; what is below −66 dBFS counts as that."""
    size = min(before.shape[1], after.shape[1])
    bands_hz = _BANDS_HZ[: int(np.searchsorted(_BANDS_HZ, 0.45 * rate_hz))]
    edges = np.round(np.concatenate(([0.0], bands_hz)) * size / rate_hz).astype(int)
    window = np.hanning(size + 2)[1:-1]
    level = []
    for part in (before[:, -size:], after[:, :size]):
        power = np.square(np.abs(np.fft.rfft(part * window, axis=1))).mean(axis=0) / np.square(window).sum()
        bands = np.add.reduceat(power, edges)[:-1] / np.maximum(np.diff(edges), 1)
        level.append(10 * np.log10(bands + 10 ** (_UNHEARD_DB / 10)))
    apart = level[1] - level[0]
    return float(np.abs(apart - np.median(apart)).mean())


def _cuts_db(x: Array, rate_hz: int, gain: float, span: tuple[int, int]) -> float:
    """How surely a drop-out and no pause lies between what is heard before and after a silence, dB: `_broken_off_db` of both,
    the second backwards, in the channel that shows it best, less how far they differ. Where a sound drops out it mostly goes
    on as it was; what closes and opens by itself (a stop consonant) has a vowel on one side and a burst on the other."""
    ms = rate_hz / 1_000
    heard = 10 ** (GAP_DB / 20) / gain
    low, high = max(0, span[0] - int(2 * ms)), span[1] - int(2 * ms)
    before = np.flatnonzero(np.abs(x[:, low : span[0] + int(2 * ms)]).max(axis=0) > heard)
    after = np.flatnonzero(np.abs(x[:, high : span[1] + int(2 * ms)]).max(axis=0) > heard)
    first = low + int(before[-1]) + 1 if before.size else span[0]
    last = high + int(after[0]) if after.size else span[1]
    reach, alike = int(_PREDICTED_FROM_S * rate_hz), int(_ALIKE_S * rate_hz)
    left, right = x[:, max(0, first - reach) : first] * gain, x[:, last : last + reach] * gain
    broken = sum(max(_broken_off_db(channel, rate_hz) for channel in side) for side in (left, right[:, ::-1]))
    return broken - _unlike_db(left[:, -alike:], right[:, :alike], rate_hz)


def is_gating(found: Sequence[tuple[int, int]]) -> bool:
    """Whether gaps, as ranges in order, come as a gate or a tight rhythm makes them: four and more, alike in length, evenly
    spaced, and a good part of the time. What a broken stream loses is short against the time between.

    >>> is_gating([(0, 30), (100, 130), (200, 230), (300, 330)]), is_gating([(0, 30), (170, 200), (210, 290), (300, 330)])
    (True, False)
    """
    if len(found) < 4:
        return False
    lengths, apart = np.array([b - a for a, b in found], dtype=float), np.diff([a for a, _ in found]).astype(float)
    beat = float(np.median(apart))
    even = np.abs(apart / beat - np.maximum(np.round(apart / beat), 1)) < 0.15
    alike = np.abs(lengths / np.median(lengths) - 1) < 0.3
    return bool(even.mean() > 0.7 and alike.mean() > 0.7 and np.median(lengths) > 0.15 * beat)


def gaps(samples: Any, rate_hz: int, gain: float = 1.0) -> list[tuple[int, int]]:
    """Drop-outs of `[C, T]` as half-open sample ranges: below −50 dB for 10–3500 ms, with more than −30 dB within the 40
    ms before *and* after (levels after multiplying by `gain`), and within the last 4 ms before and the first after it still
    above −36 dB: a drop-out falls abruptly, a decaying note does not. (The first three figures are those of Essentia's
    GapsDetector.) Speech closes and opens abruptly too: unless they come as a gate makes them, only those are given at whose ends
    the sound breaks off, by linear prediction, the more surely the less alike it is on both sides.

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
    cut = [span for span in found if _cuts_db(x, rate_hz, gain, span) > _CUT_DB]
    return found if is_gating(found) else cut


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


def broken_off(samples: Any, rate_hz: int, silences: Sequence[tuple[int, int]], gain: float = 1.0) -> list[int]:
    """The first samples of those `silences` of `[C, T]` before which nothing dies away: within the 30 ms before something still
    exceeds −40 dB after `gain`. A note that ends, in a room above all, has fallen further by then.

    >>> x = 0.1 * np.random.default_rng(0).standard_normal((1, 48_000))
    >>> x[:, 24_000:36_000] = 0.0
    >>> broken_off(x, 48_000, silences(x, 48_000))
    [24000]
    >>> dying = x * np.exp(-np.arange(48_000) / 3_000)  # 2.9 dB in 1,000 samples
    >>> silences(dying, 48_000), broken_off(dying, 48_000, silences(dying, 48_000))
    ([(16608, 48000)], [])
    """
    x = as_samples(samples, rate_hz)
    near, heard = max(round(_DYING_S * rate_hz), 1), 10 ** (_DYING_DB / 20)
    return [s for s, _ in silences if s > 0 and float(np.abs(x[:, max(0, s - near) : s]).max()) * gain > heard]

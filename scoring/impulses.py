"""Single samples that do not follow from those before: the residual of linear prediction, and its lone peaks.

Block by block the sound is predicted from its last twelve samples (autocorrelation method; Makhoul 1975, "Linear
prediction: a tutorial review"). What music is made of can be predicted, or goes on once it has begun; a click or a jump of
the waveform can't, and is over within a fraction of a millisecond (Vaseghi and Rayner 1990; Godsill and Rayner, "Digital
Audio Restoration", 1998, ch. 5). Whatever stands out there is looked at again, predicted as the sound before it and the sound
after it suggest, which it can't spoil. An attack, of a drum or in a voice, rises and rings for milliseconds where a click
leaves nothing, so what counts is how far the peak stands above the millisecond and a half on both its sides. Knows no severity.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from .samples import Array

ORDER = 12
_BLOCK_S = 0.02
_CHUNK_S = 20.0
_FRAME_S = 0.0005
_APART, _SIDE = 2, 4  # frames: where the sides of a peak begin and end at the first look
_FIRST_LOOK = 2.5  # 8 dB above its sides
_CORE = ORDER + 6  # samples after a peak's place, and ORDER before it, in which the predictor's answer to it lies
_SIDE_S, _SOUND_S, _BESIDE_S = 0.0015, 0.015, 0.03
_LEAST_SIDE_DB, _LONE_DB = 7.0, 5.0  # above anything within `_SIDE_S`, and within `_BESIDE_S` (pulses of a voice, of a bass)
_NEARLY_LONE_DB, _PLAIN_SIDE_DB = 3.5, 18.0  # with more evidence: above the latter, or above its sides near an attack
_RIVAL_DB = 8.0
_EVIDENT_DB, _MORE_EVIDENT_DB, _MOST_CHANGE_DB = 34.0, 37.0, 24.0
_UNHEARD = 1e-3  # of the peak: what changes that far below it counts for nothing
_OCTAVES_HZ = 400.0 * 2.0 ** np.arange(6)


@dataclass(frozen=True)
class Impulse:
    """`at`: sample; `size`: residual at the peak, linear; `lone`: peak over the highest value within 1.5 ms on either side."""

    at: int
    size: float
    lone: float


def _autocorrelation(blocks: Array, order: int) -> Array:
    """Of the rows of `[N, B]` under a Hann window, at the lags 0 … `order`: `[N, order + 1]`."""
    w = blocks * np.hanning(blocks.shape[1] + 2)[1:-1].astype(blocks.dtype)
    lags = [np.einsum("nb,nb->n", w[:, k:], w[:, : w.shape[1] - k]) for k in range(order + 1)]
    return np.stack(lags, axis=1).astype(np.float64)


def _levinson(r: Array) -> Array:
    """Predictor coefficients `[N, order]` of the autocorrelations `[N, order + 1]` (Levinson–Durbin over all rows at once)."""
    order = r.shape[1] - 1
    r[:, 0] = r[:, 0] * (1 + 3e-6) + 1e-20  # what float32 leaves of a tone's singular matrix
    a = np.zeros((len(r), order))
    error = r[:, 0].copy()
    for k in range(order):
        reflection = np.clip((r[:, k + 1] - np.einsum("nj,nj->n", a[:, :k], r[:, k:0:-1])) / error, -0.999999, 0.999999)
        a[:, :k] -= reflection[:, None] * a[:, :k][:, ::-1]
        a[:, k] = reflection
        error = np.maximum(error * (1 - reflection**2), 1e-8 * r[:, 0])
    return a


def prediction(blocks: Array, order: int = ORDER) -> Array:
    """Predictor coefficients `[N, order]` of the rows of `[N, B]` under a Hann window, such that x[t] ≈ Σ_j a[j]·x[t − 1 − j].

    >>> t = np.arange(960)
    >>> a = prediction(np.sin(0.3 * t)[None].astype(np.float64), 2)
    >>> bool(np.allclose(a, [[2 * np.cos(0.3), -1]], atol=0.01))
    True
    """
    return _levinson(_autocorrelation(blocks, order))


def _left_over(views: Array, a: Array) -> Array:
    """What of the blocks `[N, order + B]` the predictors `[N, order]` leave of the last B samples."""
    order = a.shape[1]
    out = views[:, order:].copy()
    for j in range(order):
        out -= a[:, j : j + 1] * views[:, order - 1 - j : views.shape[1] - 1 - j]
    return out


def _residual(x: Array, rate_hz: int) -> Array:
    """What of one channel `[T]` its last `ORDER` samples don't predict, `[T]`, in blocks of 20 ms. A click spoils the predictor
    of the block it lies in, but not so far that it would not stand out."""
    size = max(int(_BLOCK_S * rate_hz), 4 * ORDER)
    blocks = np.pad(x, (ORDER, (-x.size) % size)).astype(np.float32)
    views = sliding_window_view(blocks, size + ORDER)[::size]
    return _left_over(views, prediction(views[:, ORDER:]).astype(np.float32)).reshape(-1)[: x.size]


def _first_look(x: Array, e: Array, rate_hz: int, least: float) -> npt.NDArray[np.intp]:
    """Samples at which the residual is at least `least` and 8 dB above what lies 0.5 to 2 ms away on both sides."""
    step = max(int(_FRAME_S * rate_hz), 4)
    count = x.size // step
    if count <= 2 * _SIDE:
        return np.zeros(0, dtype=np.intp)
    m = np.abs(e[: count * step]).reshape(count, step).max(axis=1)
    shifted = sliding_window_view(np.pad(m, _SIDE), count)
    beside = np.max([shifted[_SIDE + k] for k in range(-_SIDE, _SIDE + 1) if abs(k) >= _APART], axis=0)
    near = np.maximum(shifted[_SIDE - 1], shifted[_SIDE + 1])
    frames = np.flatnonzero((m > _FIRST_LOOK * beside) & (m >= near) & (m > least))
    inside = np.abs(e[: count * step]).reshape(count, step)[frames].argmax(axis=1)
    return frames * step + inside


def _change_db(before: Array, after: Array, rate_hz: int, least: Array) -> Array:
    """How far the sound `[N, B]` after something differs from that before it, dB: the mean over the octaves from 400 Hz up
    (below, an offset that dies away would count); powers below `least` `[N]` a bin are taken as that."""
    window = np.hanning(before.shape[1] + 2)[1:-1]
    hz = np.arange(before.shape[1] // 2 + 1) * rate_hz / before.shape[1]
    old, new = (np.square(np.abs(np.fft.rfft(part * window, axis=1))) for part in (before, after))
    octaves = [(hz >= low) & (hz < 2 * low) for low in _OCTAVES_HZ if 2 * low <= rate_hz / 2]
    level = [np.log10((new[:, o].mean(axis=1) + least) / (old[:, o].mean(axis=1) + least)) for o in octaves]
    return np.abs(10 * np.mean(level, axis=0))


def _evidence(x: Array, at: npt.NDArray[np.intp], rate_hz: int) -> tuple[Array, Array, Array, Array]:
    """For each of the samples `at` of `[T]`, none within `_reach` of an end: the residual there, predicted from the 15 ms on
    both sides together; how far (dB) it stands above the highest residual within 1.5 ms, and above that within 30 ms, on the
    side where it does so less; and how much (dB) changes there: by how much the sound after differs from the one before, and
    the residual within 1.5 ms from that further out."""
    side, sound, beside = (int(seconds * rate_hz) for seconds in (_SIDE_S, _SOUND_S, _BESIDE_S))
    first, last = ORDER + beside, ORDER + _CORE + beside
    around = sliding_window_view(x, ORDER + first + last)[at - first - ORDER].astype(np.float64)
    low, high = ORDER + beside, ORDER + first + _CORE  # of `around`: where the sound before ends, where that after begins
    before, after = around[:, low - sound : low], around[:, high : high + sound]
    a = _levinson(_autocorrelation(before, ORDER) + _autocorrelation(after, ORDER))
    e = np.abs(_left_over(around, a))  # from sample ORDER of `around` on
    low, high = low - ORDER, high - ORDER
    peak = e[:, low:high].max(axis=1) + 1e-20
    sides = np.maximum(e[:, low - side : low].max(axis=1), e[:, high : high + side].max(axis=1))
    far = np.maximum(e[:, : low - side].max(axis=1), e[:, high + side :].max(axis=1))
    unheard = _UNHEARD * peak
    parts = ((low - side, low), (low - sound, low - side), (high, high + side), (high + side, high + sound))
    medians = [np.median(e[:, i:j], axis=1) + unheard for i, j in parts]
    rises = 20 * np.log10(np.maximum(1.0, np.maximum(medians[0] / medians[1], medians[2] / medians[3])))
    steps = 20 * np.log10(np.maximum(1.0, medians[3] / medians[1]))
    change = np.maximum(_change_db(before, after, rate_hz, np.square(unheard)), steps)
    return peak, *(20 * np.log10(peak / np.maximum(o, 1e-20)) for o in (sides, np.maximum(sides, far))), change + rises


def _rivalled(at: npt.NDArray[np.intp], peak: Array, rate_hz: int) -> npt.NDArray[np.bool_]:
    """Whether another of the peaks (in order of time) lies within 30 ms and is nearly as high, as pulses of a voice are."""
    first = np.searchsorted(at, at - int(_BESIDE_S * rate_hz))
    last = np.searchsorted(at, at + int(_BESIDE_S * rate_hz), "right")
    apart = 2 * _SIDE_S * rate_hz
    nearly = 10 ** (-_RIVAL_DB / 20)
    return np.array([
        bool(np.any((peak[i:j] > nearly * p) & (np.abs(at[i:j] - t) > apart)))
        for i, j, p, t in zip(first, last, peak, at, strict=True)
    ])  # fmt: skip


def _of_channel(x: Array, rate_hz: int, least: float) -> list[Impulse]:
    """Impulses of a stretch `[T]`. One of size `least` must stand 34 dB above its sides (37 where it hardly stands out of all
    within 30 ms), a larger one as much less as it is larger, and the further the more the sound changes there."""
    at = _first_look(x, _residual(x, rate_hz), rate_hz, least)
    reach = int(_BESIDE_S * rate_hz) + 3 * _CORE
    at = at[(at >= reach) & (at < x.size - reach)]
    if not at.size:
        return []
    peak, sides, lone, change = _evidence(x, at, rate_hz)
    evidence = sides + 20 * np.log10(peak / least) - np.minimum(change, _MOST_CHANGE_DB)
    nearly = (lone > _NEARLY_LONE_DB) | (sides > _PLAIN_SIDE_DB)
    clear = np.where(lone > _LONE_DB, evidence > _EVIDENT_DB, nearly & (evidence > _MORE_EVIDENT_DB))
    keep = np.flatnonzero(clear & (sides > _LEAST_SIDE_DB) & ~_rivalled(at, peak, rate_hz) & (peak > least))
    return [Impulse(int(at[k]), float(peak[k]), float(10 ** (sides[k] / 20))) for k in keep]


def impulses(samples: Array, rate_hz: int, least: float) -> list[Impulse]:
    """Lone impulses and jumps in any channel of `[C, T]`, whose residual is at least `least` (linear), in order of
    time; for the sources see the module's docstring.

    >>> x = 0.2 * np.sin(2 * np.pi * 440 * np.arange(48_000) / 48_000)[None]
    >>> x[0, 24_000] += 0.5
    >>> [(one.at, round(one.size, 1)) for one in impulses(x, 48_000, 0.01)]  # all of the click is left, nothing of the tone
    [(24000, 0.5)]
    """
    step, margin = int(_CHUNK_S * rate_hz), int(0.1 * rate_hz)
    found: dict[int, Impulse] = {}
    for channel in samples:
        for start in range(0, channel.size, step):
            first = max(0, start - margin)
            for one in _of_channel(channel[first : start + step + margin], rate_hz, least):
                at = one.at + first
                same = next((k for k in found if abs(k - at) < 0.002 * rate_hz), at)
                if same not in found or found[same].size < one.size:
                    found[same] = Impulse(at, one.size, one.lone)
    return sorted(found.values(), key=lambda i: i.at)

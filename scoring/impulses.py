"""Single samples that do not follow from those before: the residual of linear prediction, and its lone peaks.

Block by block the sound is predicted from its last twelve samples (autocorrelation method; Makhoul 1975, "Linear
prediction: a tutorial review"). What music is made of can be predicted, or goes on once it has begun; a click or a jump of
the waveform can't, and is over within a fraction of a millisecond (Vaseghi and Rayner 1990; Godsill and Rayner, "Digital
Audio Restoration", 1998, ch. 5). Knows no severity.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.ndimage import maximum_filter1d

from .samples import Array

ORDER = 12
_BLOCK_S = 0.02
_CHUNK_S = 20.0
_PEAKED = 8.0  # a block's peak over its median: 18 dB, which noise does not reach
_MEDIAN_OF = 4  # every fourth sample will do
_FRAME_S = 0.0005
_BESIDE = 60  # frames on either side in which nothing may be nearly as high: 30 ms, so that pulses of a voice reject each other
_CORE = 3  # frames around the peak that are its own
_LONE_DB, _PER_CHANGE = 7.0, 1.6  # how far above anything beside it, and how much further for each dB the sound changes
_TOWERING_DB = (12.0, 36.0, 12.0)  # above anything beside it, above the residual's median, and the greatest change then
_BOTH_SIDES_S = 0.01
_OCTAVES_HZ = 400.0 * 2.0 ** np.arange(6)
_SHORT = 0.7  # of the surplus within 2 ms, the part that must lie within 0.4 ms of the peak


@dataclass(frozen=True)
class Impulse:
    """`at`: sample; `size`: residual at the peak, linear; `lone`: peak over the highest value within 30 ms."""

    at: int
    size: float
    lone: float


def prediction(blocks: Array, order: int = ORDER) -> Array:
    """Predictor coefficients `[N, order]` of the rows of `[N, B]` (Hann window, Levinson–Durbin over all rows at once), such
    that x[t] ≈ Σ_j a[j]·x[t − 1 − j].

    >>> t = np.arange(960)
    >>> a = prediction(np.sin(0.3 * t)[None].astype(np.float64), 2)
    >>> bool(np.allclose(a, [[2 * np.cos(0.3), -1]], atol=0.01))
    True
    """
    w = blocks * np.hanning(blocks.shape[1] + 2)[1:-1].astype(blocks.dtype)
    r = np.stack([np.einsum("nb,nb->n", w[:, k:], w[:, : w.shape[1] - k]) for k in range(order + 1)], axis=1).astype(np.float64)
    r[:, 0] = r[:, 0] * (1 + 3e-6) + 1e-20  # what float32 leaves of a tone's singular matrix
    a = np.zeros((len(r), order))
    error = r[:, 0].copy()
    for k in range(order):
        reflection = np.clip((r[:, k + 1] - np.einsum("nj,nj->n", a[:, :k], r[:, k:0:-1])) / error, -0.999999, 0.999999)
        a[:, :k] -= reflection[:, None] * a[:, :k][:, ::-1]
        a[:, k] = reflection
        error = np.maximum(error * (1 - reflection**2), 1e-8 * r[:, 0])
    return a


def _left_over(views: Array, a: Array) -> Array:
    """What of the blocks `[N, order + B]` the predictors `[N, order]` leave of the last B samples."""
    order = a.shape[1]
    out = views[:, order:].copy()
    for j in range(order):
        out -= a[:, j : j + 1] * views[:, order - 1 - j : views.shape[1] - 1 - j]
    return out


def _residual(x: Array, rate_hz: int, order: int = ORDER) -> Array:
    """What of one channel `[T]` its last `order` samples don't predict, `[T]`, in blocks of 20 ms. A click spoils the
    predictor of the block it lies in: one with a peak 18 dB above its median is predicted also as its neighbours suggest, and
    what leaves the smallest median is kept."""
    size = max(int(_BLOCK_S * rate_hz), 4 * order)
    blocks = np.pad(x, (order, (-x.size) % size)).astype(np.float32)
    views = sliding_window_view(blocks, size + order)[::size]
    a = prediction(views[:, order:], order).astype(np.float32)
    out = _left_over(views, a)
    magnitude = np.abs(out)
    median = np.median(magnitude[:, ::_MEDIAN_OF], axis=1)
    peaked = np.flatnonzero(magnitude.max(axis=1) > _PEAKED * median)
    for beside in (np.maximum(peaked - 1, 0), np.minimum(peaked + 1, len(a) - 1)):
        other = _left_over(views[peaked], a[beside])
        least = np.median(np.abs(other[:, ::_MEDIAN_OF]), axis=1)
        better = least < median[peaked]
        out[peaked[better]], median[peaked[better]] = other[better], least[better]
    return out.reshape(-1)[: x.size]


def _beside(m: Array) -> tuple[Array, Array]:
    """Highest of the `_BESIDE` frames before and of those after each, leaving out the nearest `_CORE`."""
    width = _BESIDE - _CORE
    high = maximum_filter1d(m, width, mode="constant")
    reach = _CORE + 1 + width // 2
    padded = np.pad(high, reach)
    return padded[: m.size], padded[2 * reach :]


def _frames(x: Array, step: int, count: int) -> Array:
    return np.abs(x[: count * step]).reshape(count, step)


def _is_short(e: Array, at: int, rate_hz: int) -> bool:
    """Whether what exceeds the background lies almost all at the peak."""
    wide, near = int(0.002 * rate_hz), max(int(0.0004 * rate_hz), ORDER + 4)
    part = np.square(e[max(0, at - wide) : at + wide + 1])
    middle = min(at, wide)
    ground = float(np.median(part)) / 0.455  # median of χ²₁
    core = part[max(0, middle - near // 2) : middle + near]
    surplus = float(part.sum()) - ground * part.size
    return float(core.sum()) - ground * core.size > _SHORT * surplus


def _change_db(x: Array, e: Array, at: int, rate_hz: int) -> float:
    """How far the sound after it differs from the sound before it (10 ms of each, 1 ms away, dB): the mean over the octaves
    from 400 Hz up (below, an offset that dies away would count), or how much the median of the residual rises, whichever is
    more. Where there are not 10 ms, infinite."""
    size, away = int(_BOTH_SIDES_S * rate_hz), int(0.001 * rate_hz) + 2
    if at - away - size < 0 or at + away + size > x.size:
        return float("inf")
    window = np.hanning(size + 2)[1:-1]
    before, after = (
        np.square(np.abs(np.fft.rfft(x[first : first + size] * window))) for first in (at - away - size, at + away)
    )
    hz = np.arange(before.size) * rate_hz / size
    octaves = [(hz >= low) & (hz < 2 * low) for low in _OCTAVES_HZ if 2 * low <= rate_hz / 2]
    level = np.mean([np.log10((after[o].sum() + 1e-12) / (before[o].sum() + 1e-12)) for o in octaves])
    rest = [float(np.median(np.abs(e[first : first + size]))) + 1e-12 for first in (at - away - size, at + away)]
    return max(abs(10 * float(level)), 20 * float(np.log10(rest[1] / rest[0])))


def _stands_alone(x: Array, e: Array, at: int, rate_hz: int, lone: float) -> bool:
    """Whether a peak of the residual `lone` times higher than any beside it is no beginning of a sound: the more the sound
    changes there, the further it must stand out. One that towers over the residual is taken for a click also where a sound
    happens to begin just then."""
    change, alone = _change_db(x, e, at, rate_hz), 20 * float(np.log10(lone))
    if alone > _LONE_DB + _PER_CHANGE * change:
        return True
    near = np.abs(e[max(0, at - int(0.011 * rate_hz)) : at + int(0.011 * rate_hz)])
    over = 20 * float(np.log10(np.abs(e[at]) / (float(np.median(near)) / 0.6745 + 1e-12)))  # median of |normal|
    return alone > _TOWERING_DB[0] and over > _TOWERING_DB[1] and change < _TOWERING_DB[2]


def _of_chunk(x: Array, rate_hz: int, least: float) -> list[Impulse]:
    step = max(int(_FRAME_S * rate_hz), 4)
    count = x.size // step
    if count < 2 * _BESIDE:
        return []
    e = _residual(x, rate_hz)
    m = _frames(e, step, count).max(axis=1)
    before, after = _beside(m)
    ratio = m / np.maximum(np.maximum(before, after), 1e-12)
    out: list[Impulse] = []
    for k in np.flatnonzero((ratio > 10 ** (_LONE_DB / 20)) & (m > least)):
        at = int(k * step + np.abs(e[k * step : (k + 1) * step]).argmax())
        if m[k] < m[max(0, k - _CORE) : k + _CORE + 1].max() or not _is_short(e, at, rate_hz):
            continue
        if _stands_alone(x, e, at, rate_hz, float(ratio[k])):
            out.append(Impulse(at, float(m[k]), float(ratio[k])))
    return out


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
            for one in _of_chunk(channel[first : start + step + margin], rate_hz, least):
                at = one.at + first
                same = next((k for k in found if abs(k - at) < 0.002 * rate_hz), at)
                if same not in found or found[same].size < one.size:
                    found[same] = Impulse(at, one.size, one.lone)
    return sorted(found.values(), key=lambda i: i.at)

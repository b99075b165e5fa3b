"""Do two sounds begin their notes at the same times: onset envelopes, onsets, and how far they agree.

Both are `[C, T]` at one rate and aligned in time; a mono signal is spread over the other's channels, the longer
is cut. Made for covers and restorations; independent of level, and as far as can be of sound colour.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.ndimage import maximum_filter1d, uniform_filter1d

from .samples import Array, same_shape
from .spectra import joint_power, stft_blocks

HOP_S = 0.01
ONSET_WINDOW_S = 0.07
_FRAME_S = 0.04
_BANDS = 36
_BANDS_HZ = (40.0, 11_000.0)
_COMPRESSION = 10.0
_LOCAL_S = 0.03     # an onset is the highest within this,
_AROUND_S = 0.2     # and above the mean within this
_ABOVE = 0.5        # by this many deviations of the whole envelope


def onset_envelope(samples: Array, rate_hz: int) -> Array:
    """How much begins in each hundredth of a second, `[N]`, 0 …; entry k belongs to the frame whose middle is at
    (k + 2)·10 ms.

    Rise of log-compressed power, ln(1 + 10·p/mean p), against 20 ms before, summed over 36 bands spaced evenly
    in log frequency from 40 Hz to 11 kHz; frames of 40 ms (the usual log-filtered spectral flux: Böck, Krebs and
    Schedl, ISMIR 2012, §2). Independent of level.

    >>> x = np.zeros((1, 24_000))
    >>> x[0, 12_000:12_100] = 1.0  # something begins at half a second
    >>> e = onset_envelope(x, 24_000)
    >>> e.size, int(e.argmax()), round((int(e.argmax()) + 2) * 0.01, 2)
    (97, 48, 0.5)
    """
    hop = max(1, round(HOP_S * rate_hz))
    n_fft = round(_FRAME_S * rate_hz)
    edges = np.geomspace(_BANDS_HZ[0], _BANDS_HZ[1], _BANDS + 1)
    f = np.arange(n_fft // 2 + 1) * (rate_hz / n_fft)
    place = np.searchsorted(edges, f, side="right") - 1
    inside = np.flatnonzero((place >= 0) & (place < _BANDS))
    starts = np.flatnonzero(np.diff(place[inside], prepend=-1))
    if not inside.size:
        return np.zeros(0)
    frames = np.arange(max(1, (samples.shape[1] - n_fft) // hop + 1))
    rows = []
    for z in stft_blocks(samples, frames, n_fft, hop, block=64):
        p = joint_power(z[..., inside[0] : inside[-1] + 1])
        rows.append(np.add.reduceat(p, starts, axis=1))
    bands = np.concatenate(rows).astype(np.float64)
    mean = bands.mean()
    if mean <= 0:
        return np.zeros(len(bands))
    level = np.log1p(_COMPRESSION * bands / mean)
    rise = np.maximum(level[2:] - level[:-2], 0.0).sum(axis=1)
    return np.concatenate([np.zeros(min(2, len(level))), rise])


def onsets(envelope: Array) -> Array:
    """Times in seconds of the onsets in an `onset_envelope`: highest within ±30 ms, and above the mean within
    ±200 ms by half a standard deviation of the whole. Sorted, at least 30 ms apart.

    >>> onsets(np.array([0, 0, 0, 5, 1, 0, 0, 0, 0, 0, 0, 0, 4, 1, 0, 0], dtype=float)).round(2).tolist()
    [0.05, 0.14]
    """
    if envelope.size < 3 or not envelope.any():
        return np.zeros(0)
    local, around = round(_LOCAL_S / HOP_S), round(_AROUND_S / HOP_S)
    top = envelope >= maximum_filter1d(envelope, 2 * local + 1, mode="constant")
    high = envelope >= uniform_filter1d(envelope, 2 * around + 1, mode="nearest") + _ABOVE * envelope.std()
    found: list[int] = []
    for k in np.flatnonzero(top & high & (envelope > 0)):
        if not found or k - found[-1] > local:
            found.append(int(k))
    return (np.array(found, dtype=np.float64) + _FRAME_S / 2 / HOP_S) * HOP_S


def f_measure(reference_s: Any, estimate_s: Any, window_s: float = ONSET_WINDOW_S) -> float | None:
    """F-measure of event times: each estimated one may account for one true one at most `window_s` away; 2·hits
    over the number of both, 0 … 1, higher is better.

    As many pairs as possible are made, as in mir_eval (Raffel et al., ISMIR 2014: `beat.f_measure`, whose ±70 ms
    is the default here; `onset.f_measure` uses ±50 ms; its trimming of the first 5 s is not done). For windows of one
    width, going through both in order makes the most pairs. None when neither has any event.

    >>> f_measure([1.0, 2.0, 3.0], [1.05, 2.2, 3.0])
    0.6666666666666666
    """
    a, b = np.sort(np.asarray(reference_s, dtype=float)), np.sort(np.asarray(estimate_s, dtype=float))
    if not a.size and not b.size:
        return None
    hits = i = j = 0
    while i < a.size and j < b.size:
        if abs(a[i] - b[j]) <= window_s + 1e-9:
            hits, i, j = hits + 1, i + 1, j + 1
        elif a[i] < b[j]:
            i += 1
        else:
            j += 1
    return float(2 * hits / (a.size + b.size))


def beat_agreement(reference: Any, estimate: Any, rate_hz: int) -> tuple[float | None, float | None]:
    """Do both play at the same times: (correlation of their onset envelopes, F-measure of their onsets within
    ±70 ms). −1 … 1 and 0 … 1, higher is better, 1 for the same sound at any gain.

    The correlation is Pearson's, after a smoothing of both by ±20 ms, and takes strength into account; the
    F-measure counts. By chance alone dense music reaches an F of about a half: the correlation says
    more there. (None, None) where either has nothing that begins.

    >>> rng = np.random.default_rng(0)
    >>> x = np.zeros((1, 96_000))
    >>> for at in rng.integers(2_000, 90_000, 8):
    ...     x[0, at : at + 500] += rng.standard_normal(500)
    >>> same, beats = beat_agreement(x, 0.1 * x, 24_000)
    >>> round(same, 3), beats
    (1.0, 1.0)
    """
    a, b = same_shape(reference, estimate, rate_hz)
    e, o = onset_envelope(a, rate_hz), onset_envelope(b, rate_hz)
    if e.size < 3 or not e.any() or not o.any():
        return None, None
    u, v = (uniform_filter1d(x, 5, mode="nearest") for x in (e, o))
    u, v = u - u.mean(), v - v.mean()
    size = float(np.linalg.norm(u) * np.linalg.norm(v))
    same = float(np.clip(u @ v / size, -1.0, 1.0)) if size > 0 else None
    return same, f_measure(onsets(e), onsets(o))

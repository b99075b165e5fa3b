"""Where a sound repeats itself sample by sample.

Candidates for the lag come from the autocorrelation of the decimated sound with its spectrum flattened; each is then held
against the samples themselves. A bar played again differs by far more than is allowed here; what is static (a held chord, a
tone) is like itself at any lag and is left out. Knows no severity.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft
from scipy.ndimage import uniform_filter1d
from scipy.signal import firwin, upfirdn

from .samples import Array, merged, spans

_SLOW_HZ = 6_000
_SHORTEST_LAG_S, _WINDOW_S = 0.2, 0.1
_CANDIDATES = 16
_EXACT_DB = -50.0  # what differs, against what is there: a copy repeats its noise too, a bar played again does not
_LONGEST_S = 600.0


@dataclass(frozen=True)
class Repeat:
    """Samples `start` … `end` are those of `lag` samples before; `difference_db` is what differs, against what is there."""

    start: int
    end: int
    lag: int
    difference_db: float


def _slow(x: Array, factor: int) -> Array:
    if factor == 1:
        return x
    return np.asarray(upfirdn(firwin(8 * factor + 1, 0.8 / factor).astype(np.float32), x, down=factor))


def _lags(x: Array, shortest: int) -> Array:
    """Lags at which the autocorrelation of `[T]`, its spectrum flattened in bands, is highest, best first."""
    size = next_fast_len(2 * x.size, real=True)
    power = np.square(np.abs(rfft(x, size)))
    wide = max(int(40.0 * size / _SLOW_HZ), 3)
    flat = irfft((power / (uniform_filter1d(power, wide) + 1e-6 * power.mean() + 1e-20)).astype(np.float32), size)
    r = flat[: x.size].copy()
    r[:shortest] = 0
    r[int(0.95 * x.size) :] = 0
    best: list[int] = []
    near = max(shortest // 20, 2)
    for _ in range(_CANDIDATES):
        lag = int(np.argmax(r))
        if r[lag] <= 0:
            break
        best.append(lag)
        r[max(0, lag - near) : lag + near + 1] = 0
    return np.array(best, dtype=int)


def _differences(x: Array, lag: int, window: int) -> tuple[Array, Array]:
    """Mean square, in `window` samples, of x[t] − x[t − lag] and of both, for t from `lag`."""
    now, before = x[lag:], x[: x.size - lag]
    step = max(window // 8, 1)
    count = now.size // step
    d = np.square(now - before)[: count * step].reshape(count, step).mean(axis=1)
    p = (np.square(now) + np.square(before))[: count * step].reshape(count, step).mean(axis=1) / 2
    width = max(window // step, 1)
    return uniform_filter1d(d.astype(np.float64), width), uniform_filter1d(p.astype(np.float64), width)


def _refined(x: Array, slow: Array, lag: int, factor: int) -> set[int]:
    """Lags in samples of the full rate near `lag` of the decimated sound at which it copies itself: tried where the decimated
    sound agrees best, in each quarter of the sound."""
    window = max(int(_WINDOW_S * _SLOW_HZ), 8)
    d, p = _differences(slow, lag, 2 * window)
    step, half = max(2 * window // 8, 1), window * factor
    unlike = np.where(p > 0.02 * p.max(initial=0.0), d / (p + 1e-20), np.inf)
    lags: set[int] = set()
    for part in np.array_split(np.arange(unlike.size), 4):
        if not part.size or not np.isfinite(unlike[part]).any():
            continue
        at = (int(part[np.argmin(unlike[part])]) * step + lag) * factor
        begin = max(at - half, (lag + 2) * factor)
        now = x[begin : at + half]
        if now.size < half // 2:
            continue
        offsets = np.arange(lag * factor - 2 * factor, lag * factor + 2 * factor + 1)
        miss = [float(np.square(now - x[begin - one : begin - one + now.size]).mean()) for one in offsets]
        if min(miss) < 10 ** (_EXACT_DB / 10 + 1) * float(np.square(now).mean()):
            lags.add(int(offsets[int(np.argmin(miss))]))
    return lags


def _static(x: Array, rate_hz: int) -> bool:
    """Whether the spectrum hardly changes over the stretch: then being alike says nothing."""
    size = int(0.05 * rate_hz)
    count = x.size // size
    if count < 4:
        return True
    spectra = np.abs(rfft(x[: count * size].reshape(count, size) * np.hanning(size).astype(np.float32), axis=1))
    mean = spectra.mean(axis=0)
    alike = spectra @ mean / (np.linalg.norm(spectra, axis=1) * np.linalg.norm(mean) + 1e-20)
    return bool(np.quantile(alike, 0.25) > 0.97)


def repeats(samples: Array, rate_hz: int, shortest_s: float = 0.5) -> list[Repeat]:
    """Stretches of `[C, T]` of at least `shortest_s` that are, to −50 dB, what was `lag` samples before, in order, each time
    with its best lag. Of sounds over ten minutes only the first ten are looked at."""
    x = samples.mean(axis=0, dtype=np.float32)[: int(_LONGEST_S * rate_hz)]
    factor = max(rate_hz // _SLOW_HZ, 1)
    slow = _slow(x, factor)
    if x.size < 2 * shortest_s * rate_hz or not np.any(slow):
        return []
    window = int(_WINDOW_S * rate_hz)
    ground = float(np.square(x).mean()) * 1e-4
    found: list[Repeat] = []
    candidates = _lags(slow, int(_SHORTEST_LAG_S * rate_hz / factor))
    for lag in sorted({one for c in candidates for one in _refined(x, slow, int(c), factor)}):
        d, p = _differences(x, lag, window)
        step = max(window // 8, 1)
        same = (d < p * 10 ** (_EXACT_DB / 10)) & (p > ground)
        for first, last in merged(spans(same), 8):
            start, end = max(lag + first * step - window // 2, 0), min(lag + last * step + window // 2, x.size)
            if end - start >= shortest_s * rate_hz and not _static(x[start:end], rate_hz):
                inside = 10 * np.log10(float(d[first:last].mean()) / float(p[first:last].mean()) + 1e-12)
                found.append(Repeat(start, end, lag, float(inside)))
    return sorted(found, key=lambda r: (r.start, -r.end))

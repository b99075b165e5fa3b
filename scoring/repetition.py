"""Where a sound repeats itself sample by sample.

Candidates for the lag come from patterns of signs that occur again; each is then held against the samples themselves. A bar
played again differs by far more than is allowed here; what is static or periodic (a held chord, a tone) is like itself at
many lags and is left out. Knows no severity.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft
from scipy.ndimage import uniform_filter1d

from .samples import Array, merged, spans

_SHORTEST_LAG_S, _WINDOW_S = 0.2, 0.1
_BITS, _PATTERN_S = 48, 0.05
_CANDIDATES, _FEWEST = 16, 4
_STATIC, _PERIODIC_DB = 0.99, -25.0
_ALIKE_DB = -55.0  # what differs, against what is there: where it is worth looking
# A copy repeats its noise too, down to what the arithmetic or (of samples of 16 bits) two roundings with dither leave. Samples
# of instruments that a machine plays again with the same force come near, but their hall and their chorus go on in between.
_EXACT_DB, _ROUNDING = -80.0, 4.7e-10
_LONGEST_S = 600.0


@dataclass(frozen=True)
class Repeat:
    """Samples `start` … `end` are those of `lag` samples before; `difference_db` is what differs, against what is there."""

    start: int
    end: int
    lag: int
    difference_db: float


def _lags(x: Array, shortest: int, pattern: int) -> list[int]:
    """Distances in samples, of at least `shortest`, at which `[T]` has the same pattern of signs again, those met most often
    first. The patterns are 48 signs of the first difference, spread over `pattern` samples; one is taken at about every eighth
    trough, chosen by the pattern itself, so that a copy's are taken where the original's were."""
    up = np.diff(x) > 0
    offsets = (np.arange(_BITS) ** 1.5 * (pattern / _BITS**1.5)).astype(np.int64)
    at = np.flatnonzero(up[1:] & ~up[:-1]) + 1
    at = at[at + pattern < up.size]
    for bit in (5, 11, 17):
        at = at[up[at + offsets[bit]]]
    keys = np.zeros(at.size, dtype=np.uint64)
    for offset in offsets:
        keys = (keys << np.uint64(1)) | up[at + offset]
    order = np.argsort(keys, kind="stable")
    keys, at = keys[order], at[order]
    apart = [(at[n:] - at[:-n])[keys[n:] == keys[:-n]] for n in (1, 2)]
    lags, counts = np.unique(np.concatenate(apart), return_counts=True)
    often = (lags >= shortest) & (counts >= _FEWEST)
    return [int(lag) for lag in lags[often][np.argsort(-counts[often], kind="stable")][:_CANDIDATES]]


def _differences(x: Array, lag: int, window: int) -> tuple[Array, Array]:
    """Mean square, in `window` samples, of x[t] − x[t − lag] and of both, for t from `lag`."""
    now, before = x[lag:], x[: x.size - lag]
    step = max(window // 8, 1)
    count = now.size // step
    now, before = (v[: count * step].reshape(count, step) for v in (now, before))
    d, first, second = (np.einsum("ns,ns->n", v, v) / step for v in (now - before, now, before))
    p = (first + second) / 2
    width = max(window // step, 1)
    return uniform_filter1d(d.astype(np.float64), width), uniform_filter1d(p.astype(np.float64), width)


def _rounded(samples: Array) -> bool:
    """Whether all samples `[C, T]` are multiples of 1/32768, as those of a file of 16 bits are."""
    return bool(np.all((samples * np.float32(32_768)) % 1 == 0))


def _static(x: Array, rate_hz: int) -> bool:
    """Whether the spectrum hardly changes over the stretch: then being alike says nothing."""
    size = int(0.05 * rate_hz)
    count = x.size // size
    if count < 4:
        return True
    spectra = np.abs(rfft(x[: count * size].reshape(count, size) * np.hanning(size).astype(np.float32), axis=1))
    mean = spectra.mean(axis=0)
    alike = spectra @ mean / (np.linalg.norm(spectra, axis=1) * np.linalg.norm(mean) + 1e-20)
    return bool(np.quantile(alike, 0.25) > _STATIC)


def _periodic(x: Array, rate_hz: int) -> bool:
    """Whether the stretch is like itself also at some distance from 1 to 200 ms, to −25 dB: a tone, a vibrato."""
    first, last = int(0.001 * rate_hz), int(_SHORTEST_LAG_S * rate_hz)
    size = next_fast_len(x.size + last, real=True)
    r = irfft(np.square(np.abs(rfft(x, size))), size)[first:last]
    energy = np.concatenate(([0.0], np.cumsum(np.square(x, dtype=np.float64))))
    lags = np.arange(first, last)
    both = (energy[-1] - energy[lags] + energy[x.size - lags]) / 2
    return bool(np.max(r / (both + 1e-20)) > 1 - 10 ** (_PERIODIC_DB / 10))


def repeats(samples: Array, rate_hz: int, shortest_s: float = 0.5) -> list[Repeat]:
    """Stretches of `[C, T]` of at least `shortest_s` that are, to −80 dB or (of 16 bits) to a rounding, what was `lag` samples
    before, in order, each time with its best lag. Of sounds over ten minutes only the first ten are looked at.

    >>> x = 0.1 * np.random.default_rng(0).standard_normal((1, 96_000)).astype(np.float32)
    >>> x[:, 48_000:72_000] = x[:, :24_000]  # the first second again after two, at 24 kHz
    >>> [(round(r.start / 24_000), round(r.end / 24_000), r.lag) for r in repeats(x, 24_000)]
    [(2, 3, 48000)]
    """
    x = samples.mean(axis=0, dtype=np.float32)[: int(_LONGEST_S * rate_hz)]
    if x.size < 2 * shortest_s * rate_hz or not np.any(x):
        return []
    window = int(_WINDOW_S * rate_hz)
    ground = float(np.square(x).mean()) * 1e-4
    rounding = _ROUNDING if _rounded(samples) else 0.0
    found: list[Repeat] = []
    for lag in sorted(_lags(x, int(_SHORTEST_LAG_S * rate_hz), int(_PATTERN_S * rate_hz))):
        d, p = _differences(x, lag, window)
        step = max(window // 8, 1)
        same = (d < p * 10 ** (_ALIKE_DB / 10)) & (p > ground)
        for first, last in merged(spans(same), 8):
            start, end = max(lag + first * step - window // 2, 0), min(lag + last * step + window // 2, x.size)
            part = x[start:end]
            differs, is_there = float(np.median(d[first:last])), float(np.median(p[first:last]))
            if part.size < shortest_s * rate_hz or differs > max(is_there * 10 ** (_EXACT_DB / 10), rounding):
                continue
            if not _static(part, rate_hz) and not _periodic(part, rate_hz):
                found.append(Repeat(start, end, lag, float(10 * np.log10(differs / is_there + 1e-12))))
    return sorted(found, key=lambda r: (r.start, -r.end))

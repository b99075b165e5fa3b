"""Where a defect may go: random times at which there is something to hear. Knows no defect."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import uniform_filter1d


def local_rms(x: np.ndarray, rate_hz: int, seconds: float = 0.1) -> np.ndarray:
    """RMS over channels in a sliding window, `[T]`."""
    power = uniform_filter1d(np.square(x, dtype=np.float64).mean(axis=0), max(int(seconds * rate_hz), 1))
    return np.sqrt(np.maximum(power, 0.0))


def places(
    x: np.ndarray,
    rate_hz: int,
    rng: np.random.Generator,
    count: int,
    length_s: float,
    apart_s: float = 0.3,
    down_db: float = 15.0,
    edge_s: float = 0.4,
    ends_s: tuple[float, ...] = (),
    window_s: float = 0.1,
) -> list[int]:
    """Up to `count` sorted start samples of stretches of `length_s` with `apart_s` between them and nothing near the edges; at
    the start of each, its end, the `ends_s` in it, and 50 ms beyond, the RMS over `window_s` is at most `down_db` below the
    whole's."""
    level = local_rms(x, rate_hz, window_s)
    loud = level > np.sqrt(np.square(x, dtype=np.float64).mean()) * 10 ** (-down_db / 20)
    span, margin = int(length_s * rate_hz), int(edge_s * rate_hz)
    last = x.shape[1] - margin - span
    near = int(0.05 * rate_hz)
    ends = [0, span, -near, span + near, *(int(end * rate_hz) + past for end in ends_s for past in (0, near))]
    chosen: list[int] = []
    for _ in range(200):
        if len(chosen) == count or last <= margin:
            break
        at = int(rng.integers(margin, last))
        fits = all(abs(at - other) >= span + int(apart_s * rate_hz) for other in chosen)
        if fits and all(loud[at + end] for end in ends):
            chosen.append(at)
    return sorted(chosen)


def seconds(starts: list[int], length_s: float, rate_hz: int) -> list[tuple[float, float]]:
    return [(at / rate_hz, at / rate_hz + length_s) for at in starts]

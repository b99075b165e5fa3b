"""What harms a sound, as functions of samples `[2, T]` and their rate; `HARMS` names each with its settings. A sound of
another rate may be called one of 48 kHz: edges and lengths then scale with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
from scipy.ndimage import maximum_filter1d, uniform_filter1d
from scipy.signal import butter, lfilter, sosfilt

Harm = Callable[[np.ndarray, int], np.ndarray]
ALL_PASSES_S = ((0.0113, 0.0079, 0.0053, 0.0031), (0.0127, 0.0089, 0.0047, 0.0029))


def hiss(x: np.ndarray, rate_hz: int, below_db: float) -> np.ndarray:
    noise = np.random.default_rng(0).standard_normal(x.shape)
    return x + noise * np.sqrt(np.square(x, dtype=np.float64).mean()) * 10 ** (-below_db / 20)


def emptied(x: np.ndarray, rate_hz: int, at: float, length_s: float) -> np.ndarray:
    """Nothing for a while, put in at a share of the length."""
    place = int(at * x.shape[1])
    return np.concatenate([x[:, :place], np.zeros((len(x), int(length_s * rate_hz))), x[:, place:]], axis=1)


def compressed(x: np.ndarray, rate_hz: int, power: float) -> np.ndarray:
    n = int(0.05 * rate_hz)
    return x * (uniform_filter1d(maximum_filter1d(np.abs(x).max(axis=0), n), n) + 1e-3) ** -power


def low_passed(x: np.ndarray, rate_hz: int, edge_hz: float, order: int) -> np.ndarray:
    return np.asarray(sosfilt(butter(order, edge_hz, fs=rate_hz, output="sos"), x))


def clipped(x: np.ndarray, rate_hz: int, share: float) -> np.ndarray:
    ceiling = share * np.abs(x).max()
    return np.clip(x, -ceiling, ceiling)


def all_passed(x: np.ndarray, rate_hz: int, which: int) -> np.ndarray:
    """Four all-passes in a row (Schroeder, "Natural Sounding Artificial Reverberation", 1962)."""
    for delay_s in ALL_PASSES_S[which]:
        b = np.zeros(int(delay_s * rate_hz) + 1)
        b[0], b[-1] = -0.6, 1.0
        x = lfilter(b, b[::-1], x)
    return x


def widened(x: np.ndarray, rate_hz: int, amount: float) -> np.ndarray:
    """The middle through all-passes, added on the left and taken from the right."""
    side = amount * all_passed(x.mean(axis=0), rate_hz, 0)
    return x + np.stack([side, -side])


def apart(x: np.ndarray, rate_hz: int) -> np.ndarray:
    return np.stack([all_passed(channel, rate_hz, which) for which, channel in enumerate(x)])


def delayed(x: np.ndarray, rate_hz: int, delay_s: float) -> np.ndarray:
    return np.stack([x[0], np.pad(x[1], (int(delay_s * rate_hz), 0))[: x.shape[1]]])


HARMS: Mapping[str, Harm] = {
    **{f"hiss, {db} dB below": partial(hiss, below_db=db) for db in (60, 50, 40, 30, 20)},
    **{f"{s} s of silence after it": partial(emptied, at=1.0, length_s=s) for s in (0.3, 1.0, 4.0)},
    "1 s of silence before it": partial(emptied, at=0.0, length_s=1.0),
    "1 s of silence in it": partial(emptied, at=0.4, length_s=1.0),
    **{f"compressor, {p}": partial(compressed, power=p) for p in (0.3, 0.6)},
    **{f"decorrelator, {a}": partial(widened, amount=a) for a in (0.2, 0.5, 1.0)},
    "all-passes on each channel": apart,
    "one channel 15 ms late": partial(delayed, delay_s=0.015),
    **{f"low-pass {f} Hz, order {o}": partial(low_passed, edge_hz=f, order=o) for f in (3_000, 8_000, 14_000) for o in (2, 8)},
    **{f"clipped at {c}": partial(clipped, share=c) for c in (0.8, 0.5, 0.2)},
}

"""The shape every scoring function works on: numpy float32 `[C, T]`, raw (may exceed ±1).

`as_samples` is the one place where tensors, wrong shapes and wrong types are met; after it every function may
rely on the shape. Numpy rather than torch because scipy's and soxr's compiled filters work on it; a float32 torch
tensor on the CPU is taken without a copy. One on a GPU is copied to the CPU once, in its own type, when it is handed in;
everything is measured there, and nothing goes back. This module knows no metric.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.floating[Any]]

MAX_CHANNELS = 64
LOWEST_RATE_HZ = 1_000
HIGHEST_RATE_HZ = 1_536_000


def as_samples(samples: Any, rate_hz: int) -> Array:
    """`samples` (torch tensor or array, `[C, T]`, floating) as numpy float32 `[C, T]`; `rate_hz` is checked
    too.

    NaN and Inf pass (the scorer reports them). Raises ValueError, saying what was given and what to give,
    for: no samples, not two axes, integers, more than 64 channels (`[T, C]` by mistake), a rate outside 1 kHz
    to 1.536 MHz.

    >>> as_samples(np.zeros((2, 5)), 48_000).shape
    (2, 5)
    """
    if isinstance(rate_hz, bool) or not LOWEST_RATE_HZ <= rate_hz <= HIGHEST_RATE_HZ or int(rate_hz) != rate_hz:
        raise ValueError(f"sample rate {rate_hz!r}: give whole Hz between {LOWEST_RATE_HZ} and {HIGHEST_RATE_HZ}")
    if hasattr(samples, "detach"):
        samples = samples.detach().cpu()
        samples = (samples.float() if samples.is_floating_point() else samples).numpy()
    array = np.asarray(samples)
    if array.ndim != 2:
        raise ValueError(f"samples of shape {array.shape}: give [channels, samples], for one channel x[None]")
    if not np.issubdtype(array.dtype, np.floating):
        raise ValueError(f"samples of type {array.dtype}: give floating point, full scale at ±1 (divide int16 by 32768)")
    if 0 in array.shape:
        raise ValueError(f"samples of shape {array.shape}: there is no sound in it; give at least one sample")
    if array.shape[0] > MAX_CHANNELS:
        raise ValueError(f"samples of shape {array.shape}: {array.shape[0]} channels; [T, C] is given as x.T")
    with np.errstate(over="ignore"):  # a double beyond single precision becomes infinite, and is reported as that
        return np.ascontiguousarray(array, dtype=np.float32)


def same_shape(reference: Any, estimate: Any, rate_hz: int) -> tuple[Array, Array]:
    """Both as float32 `[C, T]` of equal shape: a mono signal is spread over the other's channels, the longer is cut.

    Raises ValueError when both have several channels and not equally many.

    >>> a, b = same_shape(np.zeros((1, 5)), np.zeros((2, 4)), 48_000)
    >>> a.shape, b.shape
    ((2, 4), (2, 4))
    """
    a, b = as_samples(reference, rate_hz), as_samples(estimate, rate_hz)
    if a.shape[0] != b.shape[0]:
        if 1 not in (a.shape[0], b.shape[0]):
            raise ValueError(f"reference has {a.shape[0]} channels, estimate {b.shape[0]}; mix one of them to match")
        channels = max(a.shape[0], b.shape[0])
        a, b = (np.repeat(x, channels, 0) if x.shape[0] == 1 else x for x in (a, b))
    n = min(a.shape[1], b.shape[1])
    return a[:, :n], b[:, :n]


def decibel(power_ratio: float, floor_db: float = -200.0) -> float:
    """10·log10 of a power ratio (0 …), dB, not below `floor_db`.

    >>> round(decibel(0.5), 2), decibel(0.0)
    (-3.01, -200.0)
    """
    return max(floor_db, 10.0 * float(np.log10(power_ratio))) if power_ratio > 0 else floor_db


def power(x: Array) -> float:
    """Mean square over all of `x` (any shape), full scale squared, 0 …; accumulated in float64 without a float64 copy
    of the whole.

    >>> power(np.array([[3.0, 4.0]]))  # (9 + 16) / 2
    12.5
    """
    flat, step = x.reshape(-1), 1 << 18
    parts = (flat[i : i + step].astype(np.float64) for i in range(0, flat.size, step))
    return sum(float(np.einsum("i,i->", part, part)) for part in parts) / flat.size


def spans(mask: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Half-open index ranges where a mask `[N]` is true.

    >>> spans(np.array([True, True, False, True]))
    [(0, 2), (3, 4)]
    """
    edges = np.flatnonzero(np.diff(np.concatenate(([False], mask, [False])).astype(np.int8)))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def merged(pieces: Sequence[tuple[int, int]], gap: int) -> list[tuple[int, int]]:
    """Sorted half-open ranges with those less than `gap` apart made one; all in the same unit.

    >>> merged([(0, 2), (3, 4), (9, 10)], gap=2)
    [(0, 4), (9, 10)]
    """
    out: list[tuple[int, int]] = []
    for a, b in pieces:
        if out and a - out[-1][1] < gap:
            out[-1] = (out[-1][0], max(out[-1][1], b))
        else:
            out.append((a, b))
    return out

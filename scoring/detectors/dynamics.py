"""Dynamics squeezed out of a sound."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..analysis import Analysis
from ..report import Defect
from ..samples import Array
from .found import found

_BLOCK_S = 0.02
_CEILING_DB = 1.0  # blocks whose peak lies within this of the ceiling are held down
_SHARE, _WORST_SHARE = 0.37, 0.68
_CHANGE_DB = 1.7
_HEARD_DB = -40.0


def held_down(x: Array, rate_hz: int) -> tuple[float, float]:
    """Of the blocks of 20 ms of `[C, T]` (without those 40 dB below the loudest): the share, 0 … 1, whose peak lies within
    1 dB of the ceiling (the 99 % quantile of the peaks), and how far the levels (RMS) of those spread, dB (between the 10 %
    and 90 % quantiles).

    >>> t = np.arange(96_000) / 48_000
    >>> beats = np.sin(2 * np.pi * 200 * t) * (1.1 + np.sin(2 * np.pi * 2 * t))
    >>> [round(held_down(y[None], 48_000)[0], 2) for y in (beats, np.clip(20 * beats, -1, 1))]
    [0.24, 1.0]
    """
    size = max(int(_BLOCK_S * rate_hz), 1)
    count = x.shape[1] // size
    blocks = x[:, : count * size].reshape(x.shape[0], count, size)
    peaks = 20 * np.log10(np.maximum(blocks.max(axis=(0, 2)), -blocks.min(axis=(0, 2))).astype(np.float64) + 1e-12)
    power = np.einsum("cnb,cnb->n", blocks, blocks).astype(np.float64) / (size * x.shape[0])
    heard = peaks > peaks.max() + _HEARD_DB
    held = heard & (peaks > float(np.quantile(peaks[heard], 0.99)) - _CEILING_DB)
    low, high = np.quantile(10 * np.log10(np.maximum(power[held], 1e-24)), (0.1, 0.9))
    return float(held.sum() / heard.sum()), float(high - low)


def over_compression(a: Analysis) -> Iterator[Defect]:
    """`over_compression`: peaks stand at one ceiling in more than 37 % of all blocks of 20 ms, while the level of those blocks
    goes on changing by 1.7 dB and more, as only what is pushed against a ceiling does; a quiet genre, a drone or a tone of one
    level is not blamed for it. 37 % is severity 0.05, 68 % is 1 (no more: where there are rests, squeezing harder brings
    up what is no crest).

    >>> t = np.arange(96_000) / 48_000
    >>> beats = np.sin(2 * np.pi * 200 * t) * (1.1 + np.sin(2 * np.pi * 2 * t))
    >>> [(d.type, d.start_s, d.end_s, d.severity) for d in over_compression(Analysis(np.clip(5 * beats, -1, 1)[None], 48_000))]
    [('over_compression', 0.0, 2.0, 1.0)]
    >>> list(over_compression(Analysis(beats[None], 48_000)))
    []
    """
    if a.duration_s < 1.0 or a.silent:
        return
    share, change = held_down(a.samples, a.rate_hz)
    if share > _SHARE and change > _CHANGE_DB:
        severity = 0.05 + 0.95 * (share - _SHARE) / (_WORST_SHARE - _SHARE)
        yield found("over_compression", severity, (0, a.samples.shape[1]), a, held_share=round(share, 3),
                    level_change_db=round(change, 2))  # fmt: skip

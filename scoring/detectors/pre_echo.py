"""Attacks smeared into the time before them, as coarse transform coding and some decoders do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import uniform_filter1d

from ..analysis import Analysis
from ..report import Defect
from ..samples import Array
from .found import MOST_SPANS, found

_FRAME_S = 0.001
_ATTACK_DB, _OVER_ALL_DB, _RISE_DB, _EVEN_DB = 4.0, 12.0, 4.0, 4.0
_NEAR, _FAR = (3, 18), (30, 70)  # ms before the attack: where smearing is, and where it is not yet
_OVERTAKEN = 30  # ms
_FEWEST, _SHARE = 3, 0.4
_LEAST_DB = -45.0


def _treble(x: Array, step: int) -> Array:
    """Mean square of the first difference, channels averaged, in frames of `step`."""
    d = np.square(np.diff(x, axis=1)).mean(axis=0)
    count = d.size // step
    return d[: count * step].reshape(count, step).mean(axis=1).astype(np.float64) + 1e-16


def _means(p: Array, first: int, last: int) -> Array:
    """Mean of `p` over the frames k − last … k − first − 1, for every k."""
    sums = np.concatenate(([0.0], np.cumsum(p)))
    k = np.arange(p.size)
    return np.maximum((sums[np.maximum(k - first, 0)] - sums[np.maximum(k - last, 0)]) / (last - first), 1e-16)


def smeared(p: Array) -> tuple[npt.NDArray[np.integer[Any]], Array, Array]:
    """Attacks in the 1-ms powers `p` (frame numbers), for each how far the 3–18 ms before it lie above the 30–70 ms before it
    (dB; 0 where they are uneven, as a rising sound is), and how far below the attack (dB)."""
    strong = uniform_filter1d(p, 4, origin=-2)  # of k … k + 3
    near, far = _means(p, *_NEAR), _means(p, *_FAR)
    early, late = _means(p, 11, 18), _means(p, 3, 10)
    with np.errstate(divide="ignore"):
        jump = 10 * np.log10(strong / np.maximum(_means(p, 1, 9), 1e-16))
        whole = 10 * np.log10(strong / far)
    peak = np.maximum(np.roll(jump, 1), np.roll(jump, -1))
    attack = (jump > _ATTACK_DB) & (whole > _OVER_ALL_DB) & (jump >= peak) & (strong > 1e-3 * np.quantile(strong, 0.99))
    at = np.flatnonzero(attack)
    at = at[at >= _FAR[1]]
    # where smearing begins is a rise too; the attack is the stronger one shortly after it
    at = np.array([k for k in at if not np.any(strong[at[(at > k) & (at <= k + _OVERTAKEN)]] > 2 * strong[k])], dtype=int)
    at = at[np.diff(at, prepend=-1_000) > 2 * _OVERTAKEN]
    even = np.abs(10 * np.log10(late[at] / early[at])) < _EVEN_DB
    rise = np.where(even, 10 * np.log10(near[at] / far[at]), 0.0)
    return at, rise, 10 * np.log10(near[at] / strong[at])


def pre_echo(a: Analysis) -> Iterator[Defect]:
    """`pre_echo`: before at least 40 % of the attacks, and three, the treble lies on a step 4 dB and more above what was there
    before, even, and not over 45 dB below the attack. Only a coder does this to attack after attack. Severity by the
    step's level against the attack: −45 dB is 0.05, −10 dB is 1."""
    step = max(int(_FRAME_S * a.rate_hz), 4)
    if a.rate_hz < 8_000 or a.silent or a.samples.shape[1] < 200 * step:
        return
    at, rise, below = smeared(_treble(a.samples, step))
    bad = (rise > _RISE_DB) & (below > _LEAST_DB)
    if bad.sum() < _FEWEST or bad.sum() < _SHARE * at.size:
        return
    for k, up, level in list(zip(at[bad], rise[bad], below[bad], strict=True))[:MOST_SPANS]:
        severity = 0.05 + 0.95 * (level - _LEAST_DB) / (_LEAST_DB * -1 - 10.0)
        yield found("pre_echo", severity, (int(k - 20) * step, int(k) * step), a, rise_db=round(float(up), 1),
                    below_attack_db=round(float(level), 1), attacks=int(at.size))  # fmt: skip

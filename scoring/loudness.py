"""Loudness after ITU-R BS.1770-4 and EBU R 128: momentary, short-term, integrated, range.

The K-weighting is the standard's own (BS.1770-4, Annex 1, Tables 1 and 2, given at 48 kHz), carried to any
other rate by undoing the bilinear transform and doing it again there, pre-warped at each section's own
corner; at 48 kHz it is the table to the last digit. Channel weights by Annex 1, Table 3, for the usual
channel orders. Knows nothing of quality.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.signal import sosfilt

from .samples import Array, as_samples

SUB_BLOCK_S = 0.1  # gating blocks of 0.4 s overlap by 75 %, so 0.1 s sums serve every window
ABSOLUTE_GATE_LUFS = -70.0

_SHELF = ((1.53512485958697, -2.69169618940638, 1.19839281085285), (1.0, -1.69065929318241, 0.73248077421585))
_HIGH_PASS = ((1.0, -2.0, 1.0), (1.0, -1.99004745483398, 0.99007225036621))


def _to_analog(c: tuple[float, float, float]) -> Array:
    """Coefficients in z⁻¹ -> in p (z⁻¹ = (1−p)/(1+p)), highest power first, times (1+p)²."""
    c0, c1, c2 = c
    return np.array([c0 - c1 + c2, 2 * (c0 - c2), c0 + c1 + c2])


def _to_digital(q: Array) -> Array:
    """The reverse, up to a common factor that numerator and denominator share."""
    q2, q1, q0 = q
    return np.array([q2 + q1 + q0, 2 * (q0 - q2), q2 - q1 + q0])


@lru_cache(maxsize=16)
def k_weighting(rate_hz: int) -> Array:
    """Second-order sections `[2, 6]` of the K-weighting at `rate_hz` (BS.1770-4, Annex 1, Figures 3 and 4).

    >>> [round(float(v), 6) for v in k_weighting(48_000)[0, :3]]
    [1.535125, -2.691696, 1.198393]
    """
    sections = []
    for numerator, denominator in (_SHELF, _HIGH_PASS):
        b, a = _to_analog(numerator), _to_analog(denominator)
        corner = np.sqrt(a[2] / a[0])  # a(p) = a₀·(p² + p·k/Q + k²), k = tan(π·f/48000)
        f = np.arctan(corner) / np.pi * 48_000
        if f >= 0.5 * rate_hz:
            raise ValueError(f"loudness has no meaning at {rate_hz} Hz: its weighting turns at {f:.0f} Hz; resample up")
        stretch = corner / np.tan(np.pi * f / rate_hz)
        powers = stretch ** np.array([2, 1, 0])
        b, a = _to_digital(b * powers), _to_digital(a * powers)
        sections.append(np.concatenate((b, a)) / a[0])
    return np.stack(sections)


def channel_weights(channels: int) -> Array:
    """Weights by BS.1770-4, Table 3: 1.41 for loudspeakers 60–120° to the side, 0 for the low-frequency
    channel, else 1.

    Orders taken: 4 = L R Ls Rs; 5 = L R C Ls Rs; 6 = L R C LFE Ls Rs; 8 = L R C LFE Lb Rb Ls Rs (as WAVE has
    them).
    """
    known = {
        4: [1, 1, 1.41, 1.41],
        5: [1, 1, 1, 1.41, 1.41],
        6: [1, 1, 1, 0, 1.41, 1.41],
        8: [1, 1, 1, 0, 1, 1, 1.41, 1.41],
    }
    return np.array(known.get(channels, [1.0] * channels), dtype=np.float64)


def _weighted_blocks(samples: Array, rate_hz: int) -> Iterator[Array]:
    """K-weighted signal, ten seconds at a time, filter state carried over."""
    sos = k_weighting(rate_hz)
    state = np.zeros((2, samples.shape[0], 2))
    step = 10 * rate_hz
    for start in range(0, samples.shape[1], step):
        part, state = sosfilt(sos, samples[:, start : start + step].astype(np.float64), axis=-1, zi=state)
        yield part


def sub_block_powers(samples: Array, rate_hz: int) -> Array:
    """Weighted mean-square sum over channels in every whole 0.1 s, `[N]`."""
    weights, found = channel_weights(samples.shape[0]), [np.zeros(0)]
    for part in _weighted_blocks(samples, rate_hz):  # ten seconds: a whole number of sub-blocks at any whole rate
        count = int(np.floor(part.shape[1] / (SUB_BLOCK_S * rate_hz) + 1e-9))
        if count:
            edges = np.round(np.arange(count + 1) * (SUB_BLOCK_S * rate_hz)).astype(np.int64)
            energy = np.einsum("c,ct,ct->t", weights, part, part)[: edges[-1]]
            found.append(np.add.reduceat(energy, edges[:-1]) / np.diff(edges))
    return np.concatenate(found)


def _windows(powers: Array, width: int) -> Array:
    """Means over `width` sub-blocks, one starting at every sub-block, `[N − width + 1]`."""
    if powers.size < width:
        return np.zeros(0)
    total = np.concatenate(([0.0], np.cumsum(powers)))
    return np.maximum((total[width:] - total[:-width]) / width, 0.0)


def _lufs(powers: npt.ArrayLike) -> Array:
    with np.errstate(divide="ignore"):
        return -0.691 + 10 * np.log10(np.asarray(powers, dtype=np.float64))


@dataclass(frozen=True)
class Loudness:
    """`integrated` LUFS, `range` LU, highest `momentary` (0.4 s) and `short_term` (3 s) LUFS.

    A field is None where it does not exist: too short a signal, or nothing above −70 LUFS.
    """

    integrated: float | None
    momentary_max: float | None
    short_term_max: float | None
    range: float | None


def _gated(block_powers: Array, relative_lu: float) -> Array:
    """Blocks that pass −70 LUFS and then `relative_lu` under the mean of those."""
    kept = block_powers[_lufs(block_powers) > ABSOLUTE_GATE_LUFS]
    return kept[_lufs(kept) > _lufs(np.mean(kept)) + relative_lu] if kept.size else kept


def _highest(block_powers: Array) -> float | None:
    top = float(_lufs(np.max(block_powers))) if block_powers.size else -np.inf
    return top if top > ABSOLUTE_GATE_LUFS else None


def loudness(samples: Any, rate_hz: int) -> Loudness:
    """Loudness of `[C, T]`: integrated by BS.1770-4 Annex 1 (0.4 s blocks, 75 % overlap, gates −70 LUFS and
    −10 LU); momentary and short-term by EBU Tech 3341; range by EBU Tech 3342 (3 s blocks, gates −70 LUFS and
    −20 LU, 10th to 95th percentile). LUFS, in principle unbounded, in practice −70 to about +5. Raises
    ValueError below about 3.4 kHz.

    >>> t = np.arange(20 * 48_000) / 48_000
    >>> tone = 10 ** (-23 / 20) * np.sin(2 * np.pi * 1000 * t)
    >>> round(loudness(np.stack([tone, tone]), 48_000).integrated, 1)
    -23.0
    """
    powers = sub_block_powers(as_samples(samples, rate_hz), rate_hz)
    momentary, short_term = _windows(powers, 4), _windows(powers, 30)
    gated, spread = _gated(momentary, -10.0), _gated(short_term, -20.0)
    low, high = np.percentile(_lufs(spread), (10, 95)) if spread.size else (0.0, 0.0)
    return Loudness(
        integrated=float(_lufs(np.mean(gated))) if gated.size else None,
        momentary_max=_highest(momentary),
        short_term_max=_highest(short_term),
        range=float(high - low) if spread.size else None,
    )

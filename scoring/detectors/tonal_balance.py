"""Faults of balance: too much between 200 and 500 Hz, too much between 2 and 5 kHz."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..analysis import Analysis
from ..report import Defect
from ..samples import Array
from ..tones import THIRDS_HZ
from .found import found

_MUD_HZ, _MUD_BESIDE_HZ = (198.0, 500.0), ((99.0, 157.0), (630.0, 1_260.0))
_BITE_HZ, _BITE_BESIDE_HZ = (2_000.0, 5_040.0), ((794.0, 1_260.0), (7_900.0, 11_000.0))
EXCESS_DB, _WORST_DB = 6.2, 14.0
_NO_MIX_DB, _LOPSIDED_DB = 18.0, 4.0
_FRAMES = 8


def excess_db(levels: Array, band_hz: tuple[float, float], beside_hz: tuple[tuple[float, float], ...]) -> float | None:
    """How far the band lies above the reference curve laid through its two neighbours: the mean of its distances to both,
    at most 4 dB more than the smaller. None where a neighbour is missing or lies 18 dB and more below (a sound without
    bass, say, is no mix whose balance could be judged)."""

    def level(low: float, high: float) -> float:
        inside = levels[(low * 0.98 <= THIRDS_HZ) & (high * 1.02 >= THIRDS_HZ)]
        inside = inside[np.isfinite(inside)]
        return float(inside.mean()) if inside.size else float("nan")

    over = [level(*band_hz) - level(*each) for each in beside_hz]
    if not np.isfinite(over).all() or max(over) > _NO_MIX_DB:
        return None
    return min(sum(over) / len(over), min(over) + _LOPSIDED_DB)


def _hump(a: Analysis, band: tuple[float, float], beside: tuple[tuple[float, float], ...]) -> tuple[float, float] | None:
    """Excess of the mean power and of what lies between the partials; None for sounds that say nothing of balance."""
    if a.tones.times_s.size < _FRAMES:
        return None
    mean, between = (excess_db(levels, band, beside) for levels in a.balance)
    return None if mean is None or between is None else (mean, between)


def severity_of(excess: float) -> float:
    """6.2 dB is 0.1, 14 dB is 1."""
    return 0.1 + 0.9 * (excess - EXCESS_DB) / (_WORST_DB - EXCESS_DB)


def muddy(a: Analysis) -> Iterator[Defect]:
    """`muddy`: 200 to 500 Hz stand more than 6.2 dB above the reference curve (14 dB and more is severity 1), in the mean
    and also between the partials: notes that happen to lie there fill the one and not the other, a filter, a room or
    proximity both."""
    hump = _hump(a, _MUD_HZ, _MUD_BESIDE_HZ)
    if hump and min(hump) > EXCESS_DB:
        yield found(
            "muddy", severity_of(min(hump)), (0, a.samples.shape[1]), a,
            excess_db=round(hump[0], 1), excess_between_partials_db=round(hump[1], 1),
        )  # fmt: skip


def bite(a: Analysis) -> tuple[float, float] | None:
    """The same of 2 to 5 kHz (where `muddy` has 200 to 500 Hz)."""
    return _hump(a, _BITE_HZ, _BITE_BESIDE_HZ)

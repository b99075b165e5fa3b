"""Faults of balance: too much between 200 and 500 Hz, too much between 2 and 5 kHz."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from ..analysis import Analysis
from ..report import Defect
from ..samples import Array
from ..tones import THIRDS_HZ
from .found import found

Band = tuple[float, float]

MUD_HZ, MUD_BESIDE_HZ = (198.0, 500.0), ((99.0, 125.0), (794.0, 1_260.0))
_MUD_DB, _MUD_WORST_DB = 7.5, 15.0
_LOPSIDED_DB, _DARK_DB = 3.0, 4.0  # so much may be less over the nearer side, and between the partials over the side above
_NO_BASS_DB, _NO_TREBLE_DB, _ALONE_DB = 20.0, 26.0, 24.0  # one side lies so far below the other; both so far below the band,
_NEARLY_ALONE_DB, _PARTIALS_DB = 18.0, 7.0  # or so far, and what lies between the partials stands out by so much less than all

BITE_HZ, BITE_LINE_HZ = (2_000.0, 5_040.0), (198.0, 8_000.0)
_BITE_DB, _BITE_WORST_DB = 8.5, 15.0
_BETWEEN_DB = 3.0  # by so much less may a band stand out between the partials
_NOTES_DB, _NOTES_WEIGHT = 7.5, 3.0  # by so much less, and it is notes that lie there; what is more counts so often against them
_FEWEST = 6  # bands a line can be laid through
_NEAR_DB = 12.0  # of the line: what most bands differ by; one that is further away, as where there is nothing, bends it less
_ROUNDS = 10

_FRAMES = 8


def _within(band: Band) -> npt.NDArray[np.bool_]:
    return np.asarray((band[0] * 0.98 <= THIRDS_HZ) & (band[1] * 1.02 >= THIRDS_HZ))


def over_both_sides_db(levels: Array, band_hz: Band, beside_hz: tuple[Band, Band]) -> tuple[float, float]:
    """How far the band's third octaves lie above those below and those above it, dB; NaN where one of them is missing.

    >>> over_both_sides_db(np.where(_within(MUD_HZ), 6.0, 0.0), MUD_HZ, MUD_BESIDE_HZ)
    (6.0, 6.0)
    """

    def level(band: Band) -> float:
        inside = levels[_within(band)]
        inside = inside[np.isfinite(inside)]
        return float(inside.mean()) if inside.size else float("nan")

    return level(band_hz) - level(beside_hz[0]), level(band_hz) - level(beside_hz[1])


def over_the_line_db(levels: Array, band_hz: Band, line_hz: Band) -> float | None:
    """How far the band's third octaves lie above a straight line (level over logarithmic frequency) through those of
    `line_hz` outside the band: the sound's own tilt is its reference curve. The line is one of least squares, and beyond 12 dB
    of least absolute distances (Huber, "Robust Estimation of a Location Parameter", 1964), by reweighting, so that a few bands
    with much or nothing in them bend it less. None where fewer than six bands carry it.

    >>> tilted = -3.0 * np.log2(THIRDS_HZ / 1_000.0)  # 3 dB an octave, and 6 dB more between 2 and 5 kHz
    >>> round(over_the_line_db(tilted + np.where(_within(BITE_HZ), 6.0, 0.0), BITE_HZ, BITE_LINE_HZ), 3)
    6.0
    """
    used = _within(line_hz) & ~_within(band_hz) & np.isfinite(levels)
    inside = _within(band_hz) & np.isfinite(levels)
    if used.sum() < _FEWEST or not inside.any():
        return None
    octaves = np.log2(THIRDS_HZ / 1_000.0)
    weight = np.ones(int(used.sum()))
    line = np.zeros(2)
    for _ in range(_ROUNDS):
        line = np.polyfit(octaves[used], levels[used], 1, w=np.sqrt(weight))
        weight = 1 / np.maximum(np.abs(levels[used] - np.polyval(line, octaves[used])), _NEAR_DB)
    return float((levels[inside] - np.polyval(line, octaves[inside])).mean())


def _is_no_mix(mean: Band, between: Band) -> bool:
    """By what `over_both_sides_db` gives of the mean power and of what lies between the partials."""
    partials = (sum(mean) - sum(between)) / 2 > _PARTIALS_DB
    alone = min(mean) > (_NEARLY_ALONE_DB if partials else _ALONE_DB)
    return alone or mean[0] - mean[1] > _NO_BASS_DB or mean[1] - mean[0] > _NO_TREBLE_DB


def muddy(a: Analysis) -> Iterator[Defect]:
    """`muddy`: 200 to 500 Hz stand more than 7.5 dB above the mean of what lies on both sides, the reference curve taken off
    (15 dB and more is severity 1; most recordings lie within ±5 dB, nineteen of twenty under 7), and more than 4.5 dB between
    the partials too: notes that happen to lie there fill the one and not the other, a filter, a room or proximity both. Only 3 dB
    more than over the nearer side count (one instrument without bass stands far over what is missing), and 4 more than what
    lies between the partials stands over the side above (the partials of one dark instrument fall, but not that). Nothing is said
    of what is no mix: where the side below lies more than 20 dB under the one above (no bass) or that 26 dB under it (no treble),
    or both lie 24 dB below the band, or 18 where mostly partials stand out of them (one instrument that plays there).

    >>> f = np.fft.rfftfreq(48_000, 1 / 24_000)
    >>> z = np.fft.rfft(np.random.default_rng(0).standard_normal(48_000)) * np.maximum(f, 20) ** (-5 / 6)  # 5 dB an octave
    >>> x = np.fft.irfft(np.where((f > 175) & (f < 565), 10 ** (12 / 20), 1.0) * z)  # 12 dB more: 0.1 + 0.9·4.5/7.5
    >>> [(d.type, d.start_s, d.end_s, round(d.severity, 1)) for d in muddy(Analysis(x[None], 24_000))]
    [('muddy', 0.0, 2.0, 0.6)]
    """
    if a.tones.times_s.size < _FRAMES:
        return
    mean, between = (over_both_sides_db(levels, MUD_HZ, MUD_BESIDE_HZ) for levels in a.balance)
    if not np.isfinite((mean, between)).all() or _is_no_mix(mean, between):
        return
    excess = min(sum(mean) / 2, min(mean) + _LOPSIDED_DB, sum(between) / 2 + _BETWEEN_DB, between[1] + _DARK_DB)
    if excess > _MUD_DB:
        yield found(
            "muddy", 0.1 + 0.9 * (excess - _MUD_DB) / (_MUD_WORST_DB - _MUD_DB), (0, a.samples.shape[1]), a,
            excess_db=round(sum(mean) / 2, 1), excess_between_partials_db=round(sum(between) / 2, 1),
        )  # fmt: skip


def bite_db(a: Analysis) -> float:
    """How far 2 to 5 kHz stand above the line through the bands from 200 Hz to 8 kHz around them, dB: of the mean power, or
    between the partials and 3 dB more, the smaller; 0 for a sound too short or narrow to say. A filter lifts both alike; where
    the one is more than 7.5 dB less than the other, it is notes that stand there (flutes and oboes among themselves), and what
    is more than that counts against them, three times.

    >>> f = np.fft.rfftfreq(48_000, 1 / 24_000)
    >>> z = np.fft.rfft(np.random.default_rng(0).standard_normal(48_000))
    >>> x = np.fft.irfft(np.where((f > 1_800) & (f < 5_600), 2.0, 1.0) * z)  # 6.02 dB more
    >>> round(bite_db(Analysis(x[None], 24_000)))
    6
    """
    if a.tones.times_s.size < _FRAMES:
        return 0.0
    mean, between = (over_the_line_db(levels, BITE_HZ, BITE_LINE_HZ) for levels in a.balance)
    if mean is None or between is None:
        return 0.0
    notes = max(mean - between - _NOTES_DB, 0.0)
    return min(mean, max(between + _BETWEEN_DB - _NOTES_WEIGHT * notes, 0.0))


def bite_severity(excess: float) -> float:
    """0 up to 8.5 dB, where it is 0.1; 15 dB and more is 1.

    >>> bite_severity(3.0), round(bite_severity(11.75), 2), bite_severity(20.0)
    (0.0, 0.55, 1.0)
    """
    return min(0.1 + 0.9 * (excess - _BITE_DB) / (_BITE_WORST_DB - _BITE_DB), 1.0) if excess > _BITE_DB else 0.0

"""Injectors of a wrong balance: two bells that lift a band, turned up until the band stands out by so much.

What is heard as muddy or harsh is the balance a sound has, not the filter it went through: the same 16 dB make one piece
muddy and bring another, thin one, to where most recordings are (whose bands differ by 4 dB in standard deviation). So the
strengths are what comes out, measured here by one transform of the whole sound. Knows no detector.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.signal import freqz, sosfilt

Whole = tuple[np.ndarray, list[tuple[float, float]]]

MUD_DB = (2.0, 5.0, 10.0, 12.5, 15.0)
BITE_DB = (2.0, 5.0, 10.0, 12.5, 15.0)
_MUD_HZ, _BELOW_MUD_HZ, _ABOVE_MUD_HZ = (200.0, 500.0), (80.0, 160.0), (640.0, 1_280.0)
_BITE_HZ, _AROUND_BITE_HZ = (2_000.0, 5_000.0), (200.0, 8_000.0)
_FALL_DB = 5.0  # an octave: the average spectrum of recordings (Pestana et al., AES 135th Convention, 2013)
_NOTHING_DB = 14.0
_MOST_DB = 24.0
_HALVINGS = 12


def whole_sound(y: np.ndarray, rate_hz: int) -> Whole:
    return np.ascontiguousarray(y, dtype=np.float32), [(0.0, y.shape[1] / rate_hz)]


def as_loud(y: np.ndarray, x: np.ndarray) -> np.ndarray:
    return y * np.sqrt(np.square(x, dtype=np.float64).mean() / max(np.square(y, dtype=np.float64).mean(), 1e-20))


def _bell_of(rate_hz: int, hz: float, gain_db: float, q: float) -> np.ndarray:
    """Second-order section of a peaking filter (Bristow-Johnson, Audio EQ Cookbook)."""
    a, w = 10 ** (gain_db / 40), 2 * np.pi * hz / rate_hz
    alpha = np.sin(w) / (2 * q)
    sos = np.array([[1 + alpha * a, -2 * np.cos(w), 1 - alpha * a, 1 + alpha / a, -2 * np.cos(w), 1 - alpha / a]])
    return np.asarray(sos / sos[0, 3])


def bell(x: np.ndarray, rate_hz: int, hz: float, gain_db: float, q: float) -> np.ndarray:
    return np.asarray(sosfilt(_bell_of(rate_hz, hz, gain_db, q), x.astype(np.float64), axis=1))


def _sixths(x: np.ndarray, rate_hz: int) -> tuple[np.ndarray, np.ndarray]:
    """Centres in Hz and levels in dB per hertz, the average fall taken off, of bands of a sixth of an octave from 60 Hz."""
    power = np.square(np.abs(np.fft.rfft(x, axis=1))).mean(axis=0)
    centres = 60.0 * 2 ** np.arange(0, np.log2(0.45 * rate_hz / 60.0), 1 / 6)
    edges = np.round(np.append(centres * 2 ** (-1 / 12), centres[-1] * 2 ** (1 / 12)) * x.shape[1] / rate_hz).astype(int)
    mean = np.add.reduceat(power, edges)[:-1] / np.diff(edges)
    return centres, 10 * np.log10(mean + 1e-20) + _FALL_DB * np.log2(centres / 1_000.0)


def _over_both_db(hz: np.ndarray, level: np.ndarray) -> float:
    """200 to 500 Hz over the louder of what lies on both sides, dB."""
    return min(_over_sides_db(hz, level))


def _over_sides_db(hz: np.ndarray, level: np.ndarray) -> tuple[float, float]:
    band, below, above = (level[(hz >= low) & (hz <= high)].mean() for low, high in (_MUD_HZ, _BELOW_MUD_HZ, _ABOVE_MUD_HZ))
    return float(band - below), float(band - above)


def _over_tilt_db(hz: np.ndarray, level: np.ndarray) -> float:
    """2 to 5 kHz over the straight line through 200 Hz to 8 kHz without them, dB."""
    octaves, inside = np.log2(hz / 1_000.0), (hz >= _BITE_HZ[0]) & (hz <= _BITE_HZ[1])
    around = (hz >= _AROUND_BITE_HZ[0]) & (hz <= _AROUND_BITE_HZ[1]) & ~inside
    return float((level[inside] - np.polyval(np.polyfit(octaves[around], level[around], 1), octaves[inside])).mean())


def _brought_to(x: np.ndarray, rate_hz: int, measure: Callable[[np.ndarray, np.ndarray], float], strengths: tuple[float, ...],
                level: int, bells_hz: np.ndarray, q: float) -> Whole:  # fmt: skip
    """With the gain of both bells at which the measure is as strong as wanted; as it is where it is that already. Not
    applicable where no gain up to 24 dB each brings it to the strongest."""
    centres, levels = _sixths(x, rate_hz)

    def lifted(gain_db: float) -> float:
        out = levels
        for hz in bells_hz:
            response = freqz(*np.split(_bell_of(rate_hz, hz, gain_db, q)[0], 2), worN=centres, fs=rate_hz)[1]
            out = out + 20 * np.log10(np.abs(response))
        return measure(centres, out)

    if lifted(_MOST_DB) < strengths[-1]:
        return x, []
    low, high = 0.0, _MOST_DB
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if lifted(middle) < strengths[level] else (low, middle)
    y = x
    for hz in bells_hz:
        y = bell(y, rate_hz, hz, low, q)
    return whole_sound(as_loud(y, x), rate_hz)


def muddy(x: np.ndarray, rate_hz: int, level: int, rng: np.random.Generator) -> Whole:
    """Not applicable to what is no mix: one of the sides lies 14 dB under the band."""
    if max(_over_sides_db(*_sixths(x, rate_hz))) > _NOTHING_DB:
        return x, []
    return _brought_to(x, rate_hz, _over_both_db, MUD_DB, level, rng.uniform(0.93, 1.08) * np.array([250.0, 390.0]), 1.6)


def bites(x: np.ndarray, rate_hz: int) -> bool:
    """Whether a sound has as it is what is put in at the first audible strength: the lead of a distorted guitar stands as far
    over its own tilt."""
    return _over_tilt_db(*_sixths(x, rate_hz)) >= BITE_DB[2]


def nearly_bites(x: np.ndarray, rate_hz: int) -> bool:
    """Whether a sound as it is lies between the last strength that is not audible and the first that is, and nearer to that: it
    can be called neither clean nor harsh."""
    return (BITE_DB[1] + BITE_DB[2]) / 2 <= _over_tilt_db(*_sixths(x, rate_hz)) < BITE_DB[2]


def biting(x: np.ndarray, rate_hz: int, level: int, rng: np.random.Generator) -> Whole:
    return _brought_to(x, rate_hz, _over_tilt_db, BITE_DB, level, rng.uniform(0.93, 1.08) * np.array([2_500.0, 3_900.0]), 1.6)

"""Figures of the long-time spectrum: centre, roll-off, flatness, balance, noise floor, and where the band
ends.

Every function takes `[C, T]` and its rate; a `Spectra` made before is handed in as `spectra`, so that one
transform serves all (then the samples are not looked at again). None for silence. Knows no good or bad.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import median_filter

from .samples import Array, decibel
from .spectra import Spectra

_CLIFF_DB = 12.0
_REST_BELOW_DB = 10.0
_EDGE_DB = 6.0
_LOWEST_EDGE_HZ = 500.0
_NOISE_LEFT = 0.03


def centroid_hz(samples: Any, rate_hz: int, *, spectra: Spectra | None = None) -> float | None:
    """Centre of gravity of the magnitudes summed over time, Hz, 0 … rate/2 (Peeters 2004, §6.1.1, on that
    sum). Neither way is better.

    >>> t = np.arange(48_000) / 48_000
    >>> abs(centroid_hz(np.sin(2 * np.pi * 3000 * t)[None], 48_000) - 3000) < 2
    True
    """
    s = spectra or Spectra.of(samples, rate_hz)
    total = float(s.magnitude.sum())
    return float(s.frequencies @ s.magnitude) / total if total > 0 else None


def rolloff_hz(samples: Any, rate_hz: int, *, share: float = 0.985, spectra: Spectra | None = None) -> float | None:
    """Frequency below which `share` of the summed magnitude lies, Hz, 0 … rate/2 (SAGA-SR, arXiv 2509.24924:
    0.985; Hann 2048, hop 512, magnitudes summed over time). Neither way is better: hiss raises it.

    >>> noise = np.random.default_rng(0).standard_normal((1, 96_000))
    >>> abs(rolloff_hz(noise, 48_000) - 0.985 * 24_000) < 50
    True
    """
    s = spectra or Spectra.of(samples, rate_hz)
    running = np.cumsum(s.magnitude)
    if running[-1] <= 0:
        return None
    return float(s.frequencies[np.searchsorted(running, share * running[-1])])


def flatness(samples: Any, rate_hz: int, *, spectra: Spectra | None = None) -> float | None:
    """Geometric over arithmetic mean of the power in a frame, averaged over active frames; 0 (a tone) … 1
    (flat); white noise in one channel gives 0.56 (Johnston 1988, eq. 9). Neither way is better:
    there is a good band (`profiles`).

    >>> noise = np.random.default_rng(0).standard_normal((1, 96_000))
    >>> round(flatness(noise, 48_000), 2)
    0.56
    """
    return (spectra or Spectra.of(samples, rate_hz)).flatness


def band_db(
    samples: Any,
    rate_hz: int,
    low_hz: float,
    high_hz: float,
    *,
    spectra: Spectra | None = None,
    power: Array | None = None,
) -> float | None:
    """Power between two frequencies over all power, dB, −200 … 0; neither way is better (good bands are in `profiles`). None
    also for a band that holds no bin.

    `power` `[F]` replaces the measured mean power inside the band (not in the total).

    >>> t = np.arange(48_000) / 48_000
    >>> x = np.sin(2 * np.pi * 100 * t) + np.sin(2 * np.pi * 1_000 * t)  # half of the power each
    >>> round(band_db(x[None], 48_000, 20, 250), 2)
    -3.01
    """
    s = spectra or Spectra.of(samples, rate_hz)
    inside = (s.frequencies >= low_hz) & (s.frequencies < high_hz)
    total = float(s.power.sum())
    if total <= 0 or not inside.any():
        return None
    return decibel(float((s.power if power is None else power)[inside].sum()) / total)


def noise_floor_db(
    samples: Any,
    rate_hz: int,
    low_hz: float = 1_500.0,
    high_hz: float = 12_000.0,
    *,
    spectra: Spectra | None = None,
) -> float | None:
    """Steady broadband part between two frequencies over all power, dB, −200 … 0: an estimate, good to about
    3 dB on noise under music; dense sustained sound counts as some noise (after Martin 2001, minimum
    statistics). Lower is better.

    >>> noise = np.random.default_rng(0).standard_normal((1, 96_000))  # 10.5 of 24 kHz lie in the band: −3.6 dB
    >>> abs(noise_floor_db(noise, 48_000) + 3.6) < 3
    True
    """
    s = spectra or Spectra.of(samples, rate_hz)
    return band_db(samples, rate_hz, low_hz, high_hz, spectra=s, power=s.floor)


def steadiness_db(
    samples: Any,
    rate_hz: int,
    low_hz: float = 1_500.0,
    high_hz: float = 12_000.0,
    *,
    spectra: Spectra | None = None,
) -> float | None:
    """How much of each bin between two frequencies is steady noise: 10·log10 of floor over power, averaged
    over the bins with weight 1/f, dB, −60 … 0; 0 is nothing but noise, lower is better.

    A filter multiplies floor and power alike, so filtering noise out does not lower it; a band that is empty
    but for rounding noise counts as noise.

    >>> noise = np.random.default_rng(0).standard_normal((1, 96_000))
    >>> abs(steadiness_db(noise, 48_000)) < 3, steadiness_db(noise * np.repeat((1, 0.01, 1, 0.01), 24_000), 48_000) < -30
    (True, True)
    """
    s = spectra or Spectra.of(samples, rate_hz)
    inside = (s.frequencies >= low_hz) & (s.frequencies < high_hz)
    if s.silent or not inside.any():
        return None
    faint = 1e-13 * float(s.power.max())
    ratio = np.clip(10 * np.log10((s.floor[inside] + faint) / (s.power[inside] + faint)), -60.0, 0.0)
    return float(np.average(ratio, weights=1 / s.frequencies[inside]))


def _mean_between(running: Array, low: npt.NDArray[np.intp], high: npt.NDArray[np.intp]) -> npt.NDArray[np.float64]:
    return (running[high] - running[low]) / np.maximum(high - low, 1)


def bandwidth_hz(samples: Any, rate_hz: int, *, spectra: Spectra | None = None) -> float | None:
    """Upper edge of the band, Hz: where the long-time spectrum falls off a cliff and never comes back; rate/2
    when there is none; higher is better. The steady noise floor is taken off first (by up to 15 dB): hiss laid over a cut does
    not hide it.

    A cliff is a fall of at least 12 dB within half an octave (means over a quarter octave below and the far
    half of a quarter octave above), beyond which everything stays at least 10 dB lower. The deepest from 500 Hz
    up counts (below, it is where the bass ends); the edge is where 6 dB of the fall are done. Gentle slopes
    (filters of order 1 and 2, natural roll-off) have no edge; the roll-off shows them.

    >>> noise = np.random.default_rng(0).standard_normal(96_000)
    >>> spectrum = np.fft.rfft(noise)
    >>> spectrum[np.fft.rfftfreq(96_000, 1 / 48_000) > 5000] = 0
    >>> abs(bandwidth_hz(np.fft.irfft(spectrum)[None], 48_000) - 5000) < 60
    True
    """
    s = spectra or Spectra.of(samples, rate_hz)
    if s.silent:
        return None
    f, size = s.frequencies, s.frequencies.size
    power = np.maximum(s.without_floor(_NOISE_LEFT), float(s.power.max()) * 1e-13)
    level = median_filter(10 * np.log10(power), 5, mode="nearest")
    running = np.concatenate(([0.0], np.cumsum(level)))
    k = np.arange(8, size - 4)
    below = _mean_between(running, np.floor(k * 2**-0.25).astype(np.intp), k)
    high = np.minimum(np.ceil(k * 2**0.25).astype(np.intp) + 1, size)
    above = _mean_between(running, high - np.maximum((high - k) // 2, 1), high)
    rest = np.maximum.accumulate(level[::-1])[::-1]
    drop = below - above
    cliff = (drop >= _CLIFF_DB) & (rest[np.minimum(high, size - 1)] <= below - _REST_BELOW_DB) & (f[k] >= _LOWEST_EDGE_HZ)
    if not cliff.any():
        return rate_hz / 2
    deepest = int(np.argmax(np.where(cliff, drop, 0.0)))
    begins = int(np.flatnonzero(~cliff[:deepest])[-1]) + 1 if not cliff[:deepest].all() else 0
    passband = float(below[begins])
    return float(f[np.flatnonzero(level >= passband - _EDGE_DB)[-1]])

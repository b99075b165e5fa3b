"""What can happen to a sound on its way: pure functions `[C, T]` float32 -> `[C, T]` float32 of the same length, in time.

Each says its formula and source. Knows no stage, no take and no seed: random parts (noise, impulse responses) are handed
in as standard normal samples.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import scipy.fft
import scipy.signal
import torch

from ..pipeline.audio_file import resample
from ..pipeline.take import Audio

Filter = Literal["chebyshev1", "butterworth", "bessel", "elliptic"]
MAX_CUTOFF = 0.45  # of the rate


def low_pass(
    x: np.ndarray, rate_hz: int, cutoff_hz: float, *, filter: Filter, order: int, ripple_db: float, stopband_db: float,
    resampled: bool,
) -> np.ndarray:
    """Zero-phase IIR low-pass, and with `resampled` down to a rate of 2·cutoff and back.

    The filter runs forwards and backwards (Gustafsson 1996, as scipy's `sosfiltfilt`), so its response is |H|², real:
    twice the attenuation in dB of one pass (6 dB at the cut-off of a Butterworth or Bessel filter, 2·`ripple_db` at that of
    a Chebyshev I or elliptic one). `order` is that of one pass. As in SAGA-SR (arXiv 2509.24924, §3.1).
    """
    sos = design(filter, order, cutoff_hz, rate_hz, ripple_db=ripple_db, stopband_db=stopband_db)
    usual = 3 * (2 * len(sos) + 1 - min(int((sos[:, 2] == 0).sum()), int((sos[:, 5] == 0).sum())))
    y = scipy.signal.sosfiltfilt(sos, x.astype(np.float64), axis=-1, padlen=min(usual, x.shape[-1] - 1))
    y = y.astype(np.float32)
    return fit(there_and_back(y, rate_hz, round(2 * cutoff_hz)), x.shape[-1]) if resampled else y


def design(
    filter: Filter, order: int, cutoff_hz: float, rate_hz: int, *, ripple_db: float = 0.5, stopband_db: float = 40.0
) -> np.ndarray:
    """Second-order sections of one pass; −3 dB at `cutoff_hz` (Butterworth, Bessel), −`ripple_db` (Chebyshev I, elliptic)."""
    wn = cutoff_hz / (rate_hz / 2)
    if filter == "chebyshev1":
        return scipy.signal.cheby1(order, ripple_db, wn, output="sos")
    if filter == "elliptic":
        return scipy.signal.ellip(order, ripple_db, stopband_db, wn, output="sos")
    if filter == "bessel":
        return scipy.signal.bessel(order, wn, output="sos", norm="mag")
    return scipy.signal.butter(order, wn, output="sos")


def there_and_back(x: np.ndarray, rate_hz: int, through_hz: int) -> np.ndarray:
    """`x` resampled to `through_hz` and back: what is above through_hz/2 is gone."""
    low = resample(Audio(torch.from_numpy(np.ascontiguousarray(x)), rate_hz), through_hz)
    return resample(low, rate_hz).samples.numpy()


def quantise(x: np.ndarray, bits: int) -> np.ndarray:
    """Uniform mid-tread quantiser of step 2^(1−bits), without dither; overs stay overs (they are rounded, not cut)."""
    steps = 2.0 ** (bits - 1)
    return (np.rint(x.astype(np.float64) * steps) / steps).astype(np.float32)


def drive(x: np.ndarray, drive_db: float) -> tuple[np.ndarray, float]:
    """Hard clipping: the peak is brought to `drive_db` above full scale and everything above full scale is cut off.

    Returns the sound and the gain in dB that was applied; silence stays as it is (gain 0).
    """
    peak = float(np.abs(x).max())
    if peak == 0.0:
        return x, 0.0
    gain = 10.0 ** (drive_db / 20.0) / peak
    return np.clip(x * np.float32(gain), -1.0, 1.0), float(20.0 * np.log10(gain))


def add_noise(x: np.ndarray, normal: np.ndarray, rate_hz: int, *, snr_db: float, colour: str) -> np.ndarray:
    """`x` plus noise shaped from standard normal samples, exactly `snr_db` below it.

    SNR = 10·log10(Σx²/Σn²) over all channels and the whole sound. Pink falls 3 dB an octave above 20 Hz (power ∝ 1/f) and
    is flat below. Silence stays silence: a ratio to nothing is nothing.
    """
    noise = pink(normal, rate_hz) if colour == "pink" else normal.astype(np.float64)
    power, own = float(np.mean(x.astype(np.float64) ** 2)), float(np.mean(noise**2))
    if power == 0.0 or own == 0.0:
        return x
    return (x + noise * np.sqrt(power / own * 10.0 ** (-snr_db / 10.0))).astype(np.float32)


def pink(normal: np.ndarray, rate_hz: int) -> np.ndarray:
    """White noise `[C, T]` shaped to power ∝ 1/f above 20 Hz, by multiplying its spectrum with f^(−1/2)."""
    length = normal.shape[-1]
    size = scipy.fft.next_fast_len(length, real=True)
    hz = np.fft.rfftfreq(size, 1.0 / rate_hz)
    shaped = scipy.fft.rfft(normal.astype(np.float64), size) / np.sqrt(np.maximum(hz, 20.0))
    return scipy.fft.irfft(shaped, size)[..., :length]


def reverberate(x: np.ndarray, normal: np.ndarray, rate_hz: int, *, rt60_s: float, wet: float) -> np.ndarray:
    """(1−wet)·x + wet·(h ∗ x), h an exponentially decaying noise of unit energy a channel (Moorer 1979).

    h(t) = n(t)·10^(−3t/rt60): the energy decays by 60 dB in `rt60_s`; `normal` `[C, rt60 · rate]` is n. The tail past the
    end of the sound is cut off.
    """
    t = np.arange(normal.shape[-1]) / rate_hz
    h = normal.astype(np.float64) * 10.0 ** (-3.0 * t / rt60_s)
    h /= np.sqrt((h**2).sum(axis=-1, keepdims=True))
    tail = scipy.signal.oaconvolve(x.astype(np.float64), h, axes=-1)[:, : x.shape[-1]]
    return ((1.0 - wet) * x + wet * tail).astype(np.float32)


def fit(x: np.ndarray, length: int) -> np.ndarray:
    """`x` cut or padded with zeros to `length`."""
    x = x[..., :length]
    return np.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, length - x.shape[-1])])

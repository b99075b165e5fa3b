"""Splitting a sound at a frequency: a smooth low-pass and the replacement of a low band. Pure functions on samples."""

from __future__ import annotations

import torch

N_FFT = 2048
HOP = 512


def low_pass(samples: torch.Tensor, cutoff_hz: float, rate_hz: int, width: float = 0.1) -> torch.Tensor:
    """Zero-phase low-pass of `[..., T]` samples: a raised-cosine edge from `cutoff·(1 − width)` to `cutoff`."""
    length = samples.shape[-1]
    spectrum = torch.fft.rfft(samples, n=length)
    f = torch.fft.rfftfreq(length, 1 / rate_hz, device=samples.device)
    low = cutoff_hz * (1 - width)
    edge = ((f - low) / max(cutoff_hz - low, 1e-9)).clamp(0, 1)
    return torch.fft.irfft(spectrum * (0.5 + 0.5 * torch.cos(torch.pi * edge)), n=length)


def replace_low_band(made: torch.Tensor, given: torch.Tensor, cutoff_hz: float, rate_hz: int) -> tuple[torch.Tensor, float]:
    """`made` with every STFT bin below `cutoff_hz` taken from `given`, the rest level-matched to it.

    SAGA-SR (arXiv 2509.24924), inference: the input's bins below its cut-off overwrite the output's. The level is matched
    by the energy ratio of the two low bands, applied to `made`, so that the kept high band fits. Both `[C, T]` at
    `rate_hz`, equal length; Hann 2048, hop 512. Returns the samples and the gain in dB that `made` was given (limited
    to ±12 dB; 0 where either low band is empty).
    """
    window = torch.hann_window(N_FFT, device=made.device)
    pad = max(0, N_FFT - made.shape[-1])
    a, b = (torch.nn.functional.pad(x, (0, pad)) for x in (made, given))

    def stft(x: torch.Tensor) -> torch.Tensor:
        return torch.stft(x, N_FFT, HOP, window=window, return_complex=True)

    high, low = stft(a), stft(b)
    bins = torch.arange(high.shape[-2], device=made.device) * rate_hz / N_FFT < cutoff_hz
    energy_made = high[..., bins, :].abs().square().sum().item()
    energy_given = low[..., bins, :].abs().square().sum().item()
    gain = 1.0
    if energy_made > 1e-12 and energy_given > 1e-12:
        gain = min(4.0, max(0.25, (energy_given / energy_made) ** 0.5))
    joined = torch.where(bins[:, None], low, high * gain)
    out = torch.istft(joined, N_FFT, HOP, window=window, length=a.shape[-1])[..., : made.shape[-1]]
    return out, float(20 * torch.log10(torch.tensor(gain)))

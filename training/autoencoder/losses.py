"""What the autoencoder is trained and judged by. Samples are ``[B, 2, T]``."""

from __future__ import annotations

import torch

SIZES = (256, 512, 1024, 2048)


def relative_l2(estimate: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Error energy over target energy, a clip at a time (10·log10 of it is about −SI-SDR)."""
    error = (estimate - target).pow(2).flatten(1).mean(1)
    return (error / (target.pow(2).flatten(1).mean(1) + 1e-5)).mean()


def spectra(samples: torch.Tensor, size: int) -> torch.Tensor:
    """Power spectra, Hann window, hop a quarter: ``[B·C, size/2 + 1, frames]``."""
    window = torch.hann_window(size, device=samples.device)
    flat = samples.reshape(-1, samples.shape[-1])
    return torch.view_as_real(torch.stft(flat, size, size // 4, window=window, return_complex=True)).pow(2).sum(-1)


def multi_resolution(estimate: torch.Tensor, target: torch.Tensor, tilt: float = 0.0) -> torch.Tensor:
    """Log-power L1 plus spectral convergence over four window sizes; ``tilt`` > 0 weighs high frequencies more."""
    total = estimate.new_zeros(())
    for size in SIZES:
        a, b = spectra(estimate, size), spectra(target, size)
        floor = 1e-8 * size
        weight = 1.0 + tilt * torch.linspace(0, 1, a.shape[1], device=a.device)[:, None]
        log_distance = ((a + floor).log() - (b + floor).log()).abs() * weight / (1.0 + tilt / 2)
        magnitude = (a + 1e-9).sqrt() - (b + 1e-9).sqrt()
        convergence = (magnitude.pow(2).sum((1, 2)) / (b.sum((1, 2)) + 1e-3)).sqrt()
        total = total + 0.25 * log_distance.mean() + convergence.mean()
    return total / len(SIZES)


def mid_side(samples: torch.Tensor) -> torch.Tensor:
    left, right = samples[:, :1], samples[:, 1:]
    return torch.cat([left + right, left - right], dim=1) * 0.5**0.5


@torch.no_grad()
def si_sdr_db(estimate: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Scale-invariant signal-to-distortion ratio of each clip, both channels as one signal, dB ``[B]``."""
    x, y = estimate.flatten(1), target.flatten(1)
    scaled = (x * y).sum(1, keepdim=True) / (y * y).sum(1, keepdim=True).clamp_min(1e-12) * y
    return 10 * torch.log10(scaled.pow(2).sum(1) / (x - scaled).pow(2).sum(1).clamp_min(1e-12))


@torch.no_grad()
def lsd_db(estimate: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Log-spectral distance ×10 (dB): n_fft 2048, hop 512, eps 1e-12, of the channels' mean; ``[B]``."""
    values = []
    for a, b in zip(estimate, target, strict=True):
        log_a, log_b = (torch.log10(spectra(x, 2048) + 1e-12) for x in (a, b))
        values.append(10 * (log_a - log_b).pow(2).mean(1).sqrt().mean())
    return torch.stack(values)

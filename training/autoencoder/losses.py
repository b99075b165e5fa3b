"""What the autoencoder is trained by (it is judged by `scoring.reference`). Samples are ``[B, 2, T]``, distances are in dB."""

from __future__ import annotations

import torch

# Window sizes of the spectral loss and their shares; the largest is the one that the log-spectral distance is judged at.
SIZES = {2048: 0.4, 1024: 0.2, 512: 0.2, 256: 0.2}


def error_db(estimate: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Error over target energy in dB, mean over clips (about −SI-SDR); floored at −27 dB."""
    error = (estimate - target).pow(2).flatten(1).mean(1)
    return 10 * torch.log10(error / (target.pow(2).flatten(1).mean(1) + 1e-6) + 2e-3).mean()


def spectra(samples: torch.Tensor, size: int) -> torch.Tensor:
    """Power spectra, Hann window, hop a quarter: ``[B·C, size/2 + 1, frames]``."""
    window = torch.hann_window(size, device=samples.device)
    flat = samples.reshape(-1, samples.shape[-1])
    return torch.view_as_real(torch.stft(flat, size, size // 4, window=window, return_complex=True)).pow(2).sum(-1)


def log_spectral_db(estimate: torch.Tensor, target: torch.Tensor, floor: float | torch.Tensor = 1e-9) -> torch.Tensor:
    """Log-spectral distance in dB at four window sizes, weighted as ``SIZES``.

    ``floor`` is a power per sample that is added before the logarithm: the gradient of a bin goes as 1 / amplitude, so
    without it the quietest bins drown what all others have to teach. The corpus' hiss has 6e-8.
    """
    total = estimate.new_zeros(())
    for size, share in SIZES.items():
        difference = torch.log10(spectra(estimate, size) + floor * size) - torch.log10(spectra(target, size) + floor * size)
        total = total + share * 10 * (difference.pow(2).mean(1) + 1e-3).sqrt().mean()
    return total


def mid_side(samples: torch.Tensor) -> torch.Tensor:
    left, right = samples[:, :1], samples[:, 1:]
    return torch.cat([left + right, left - right], dim=1) * 0.5**0.5

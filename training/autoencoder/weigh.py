"""Give each latent channel the deviation it deserves: ``python -m segue.training.autoencoder.weigh --out DIR``.

A flow-matching loss is a plain mean over latent numbers, and noise drowns all of them alike: a channel that nobody hears
costs the transformer as much as the bass, when all have deviation 1. Here a channel's deviation becomes a power of what it
is worth: the energy that its content decodes to and what it does to the log-spectrum (both relative to the mean channel).
Heavy channels then weigh more in the loss and come out of the noise first. The gains are folded into the autoencoder's last
encoder and first decoder convolution, so what is decoded stays the same.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from diffusers import AutoencoderOobleck

from ..corpus import make_clip
from ..mini import HOP, LATENT_DIM, RATE_HZ, make_vae
from .lean import decode, encode_mean, mark_silent_units
from .losses import spectra
from .start import fold_normalisation

POWER = 1 / 2
LEAST = 0.01  # of the mean worth: a channel that the decoder does not use (yet) is made small, not erased
FFT, FLOOR = 1024, 1e-8


@torch.no_grad()
def worth(vae: AutoencoderOobleck, latents: torch.Tensor) -> torch.Tensor:
    """What each channel of ``latents`` ``[B, D, N]`` is worth, ``[D]``, mean 2: the change of the decoded samples and of
    their log-spectrum when the channel is taken from the next clip instead."""
    made = decode(vae, latents)
    logarithm = torch.log10(spectra(made, FFT) + FLOOR)
    energy, heard = [], []
    for channel in range(latents.shape[1]):
        swapped = latents.clone()
        swapped[:, channel] = latents[:, channel].roll(1, 0)
        other = decode(vae, swapped)
        energy.append((other - made).pow(2).mean())
        heard.append((torch.log10(spectra(other, FFT) + FLOOR) - logarithm).pow(2).mean())
    by_energy, by_ear = torch.stack(energy), torch.stack(heard)
    return by_energy / by_energy.mean() + by_ear / by_ear.mean()


def gains(values: torch.Tensor, power: float = POWER) -> torch.Tensor:
    """Deviations from worths ``[D]``: ``worth ** power``, scaled to a mean square of 1."""
    deviations = values.clamp_min(LEAST * float(values.mean())) ** power
    return deviations / deviations.pow(2).mean().sqrt()


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="segue.training.autoencoder.weigh", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="holds vae.pt, which is rewritten; gains.pt goes there too")
    parser.add_argument("--clips", type=int, default=32)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--power", type=float, default=POWER, help="0 leaves all deviations alike")
    args = parser.parse_args(argv)
    vae = make_vae()
    vae.load_state_dict(torch.load(args.out / "vae.pt", weights_only=True))
    mark_silent_units(vae)
    length = 4 * RATE_HZ // HOP * HOP
    clips = [make_clip(seed, 4.0).samples for seed in range(args.first_seed, args.first_seed + args.clips)]
    with torch.no_grad():
        latents = encode_mean(vae, torch.stack([torch.from_numpy(x)[:, :length] for x in clips]))
    spread = latents.transpose(0, 1).reshape(LATENT_DIM, -1).std(1)
    factors = gains(worth(vae, latents[:: len(latents) // 8]), args.power) / spread
    fold_normalisation(vae, torch.zeros_like(factors), 1 / factors)
    torch.save(vae.state_dict(), args.out / "vae.pt")
    torch.save(factors, args.out / "gains.pt")
    print("deviations", [round(float(x), 2) for x in factors * spread])
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

"""The closed-form encoder: the lean view equals diffusers' class, latents are normalised, energies are heard."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from segue.training.autoencoder.closed_form import ENERGIES, build_encoder, start_decoder
from segue.training.autoencoder.lean import LeanEncoder
from segue.training.autoencoder.losses import lsd_db, si_sdr_db
from segue.training.corpus import make_clip
from segue.training.mini import make_vae


@pytest.fixture(scope="module")
def built():
    torch.manual_seed(0)
    mixes = torch.stack([torch.from_numpy(make_clip(seed, 4.0).samples) for seed in range(6)])
    vae = make_vae().eval()
    start_decoder(vae, build_encoder(vae, mixes))
    return vae, LeanEncoder(vae), mixes


def test_lean_encoder_equals_the_full_one(built):
    vae, lean, mixes = built
    samples = mixes[:1, :, :9600]
    with torch.no_grad():
        posterior = vae.encode(samples).latent_dist
    torch.testing.assert_close(lean(samples), posterior.mean, atol=2e-5, rtol=1e-4)
    assert 0.02 < float(posterior.std.mean()) < 0.04


def test_latents_are_normalised_and_25_hz(built):
    _, lean, mixes = built
    latents = lean(mixes)
    assert latents.shape == (6, 64, 100)
    assert float(latents.mean((0, 2)).abs().max()) < 1e-2
    assert float((latents.std((0, 2)) - 1).abs().max()) < 2e-2


def test_decoder_starts_as_the_inverse(built):
    vae, lean, mixes = built
    with torch.no_grad():
        restored = vae.decode(lean(mixes[:2])).sample
    assert restored.shape == mixes[:2].shape
    assert float(si_sdr_db(restored, mixes[:2]).mean()) > 4.0


def test_energies_hear_what_the_components_cannot(built):
    """A burst of 8 kHz noise moves the energy channels, hardly the components."""
    _, lean, mixes = built
    noise = np.diff(np.random.default_rng(0).standard_normal((1, 2, 9603)), n=3, axis=-1).astype(np.float32)
    moved = (lean(mixes[:1, :, :9600] + 0.01 * torch.from_numpy(noise)) - lean(mixes[:1, :, :9600])).abs().mean((0, 2))
    assert float(moved[-ENERGIES:-2].mean()) > 3 * float(moved[:20].mean())


def test_distances_against_closed_forms():
    tone = torch.sin(torch.arange(24_000) * 0.1).expand(1, 2, -1)
    noise = torch.randn(1, 2, 24_000, generator=torch.Generator().manual_seed(0))
    assert float(lsd_db(tone, tone)) == pytest.approx(0.0, abs=1e-4)
    assert float(lsd_db(0.1 * noise, noise)) == pytest.approx(20.0, abs=1e-2)
    assert float(si_sdr_db(3 * tone, tone)) > 80
    scaled = tone + noise * (tone.norm() / noise.norm()) * 0.1
    assert float(si_sdr_db(scaled, tone)) == pytest.approx(20.0, abs=0.2)

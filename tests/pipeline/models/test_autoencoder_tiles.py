"""Tiled equals whole, for any tile; the reach computed from the configuration is the reach measured."""

from __future__ import annotations

import pytest
import torch
from diffusers import AutoencoderOobleck
from hypothesis import given, settings
from hypothesis import strategies as st
from segue.pipeline.models import autoencoder


def build(ratios):
    torch.manual_seed(len(ratios))
    vae = AutoencoderOobleck(
        encoder_hidden_size=8,
        downsampling_ratios=list(ratios),
        channel_multiples=[1] * len(ratios),
        decoder_channels=4,
        decoder_input_channels=4,
        audio_channels=2,
        sampling_rate=1000,
    )
    return vae.eval().requires_grad_(False)


VAES = {ratios: build(ratios) for ratios in ((2, 4), (6, 2), (3, 4), (5,))}
some_vae = st.sampled_from(sorted(VAES))


@settings(max_examples=25, deadline=None)
@given(ratios=some_vae, frames=st.integers(1, 90), tile=st.integers(1, 60))
def test_tiled_decoding_equals_whole(ratios, frames, tile):
    vae = VAES[ratios]
    z = torch.randn(1, frames, 4, generator=torch.Generator().manual_seed(frames))
    whole = autoencoder.decode(vae, z)
    assert whole.shape == (1, 2, frames * vae.hop_length)
    peer = vae.decode(z.transpose(1, 2)).sample
    assert peer.shape[-1] == autoencoder.decoded_length(frames, ratios)
    assert torch.equal(whole[..., : peer.shape[-1]], peer) and not whole[..., peer.shape[-1] :].any()
    assert (autoencoder.decode(vae, z, tile) - whole).abs().max() <= 3e-6 * whole.abs().max()


@settings(max_examples=25, deadline=None)
@given(ratios=some_vae, samples=st.integers(1, 800), tile=st.integers(1, 60))
def test_tiled_encoding_equals_whole(ratios, samples, tile):
    vae = VAES[ratios]
    audio = torch.randn(1, 2, samples, generator=torch.Generator().manual_seed(samples))
    whole = autoencoder.encode(vae, audio)
    frames = -(-samples // vae.hop_length)
    assert whole.shape == (1, frames, 4)
    padded = torch.nn.functional.pad(audio, (0, frames * vae.hop_length - samples))
    torch.testing.assert_close(whole.transpose(1, 2), vae.encode(padded).latent_dist.mean, rtol=0, atol=0)
    assert (autoencoder.encode(vae, audio, tile) - whole).abs().max() <= 3e-6 * whole.abs().max().clamp(min=1e-3)


@pytest.mark.parametrize("ratios", sorted(VAES))
def test_reach_is_what_a_perturbation_shows(ratios):
    vae, middle, frames = VAES[ratios].double(), 40, 81
    hop = vae.hop_length
    try:
        z = torch.randn(1, 4, frames, dtype=torch.float64)
        moved = z.clone()
        moved[..., middle] += 1
        with torch.no_grad():
            change = (vae.decode(moved).sample - vae.decode(z).sample).abs().amax((0, 1)) > 0
            touched = change.nonzero()[:, 0]
            reach = autoencoder.decoder_reach(ratios)
            # frame `middle` reaches samples of frames middle - right … middle + left, and no further
            assert middle - touched.min() // hop == reach.right and touched.max() // hop - middle == reach.left
            audio = torch.randn(1, 2, frames * hop, dtype=torch.float64)
            moved = audio.clone()
            moved[..., middle * hop : (middle + 1) * hop] += 1
            mean = lambda a: vae.encode(a).latent_dist.mean  # noqa: E731
            touched = ((mean(moved) - mean(audio)).abs().amax((0, 1)) > 0).nonzero()[:, 0]
            reach = autoencoder.encoder_reach(ratios)
            assert middle - touched.min() <= reach.right and touched.max() - middle <= reach.left
    finally:
        vae.float()


def test_batches_and_bad_shapes():
    vae = VAES[2, 4]
    z = torch.randn(3, 20, 4)
    both = autoencoder.decode(vae, z, 8)
    torch.testing.assert_close(both[1:2], autoencoder.decode(vae, z[1:2], 8), rtol=1e-5, atol=1e-6)
    assert not both.is_inference()
    for wrong in (torch.zeros(1, 0, 4), torch.zeros(1, 5, 3), torch.zeros(5, 4)):
        with pytest.raises(ValueError, match="wants latents"):
            autoencoder.decode(vae, wrong)
    for wrong in (torch.zeros(1, 2, 0), torch.zeros(1, 1, 9)):
        with pytest.raises(ValueError, match="wants audio"):
            autoencoder.encode(vae, wrong)


def test_units_that_add_nothing_are_skipped_exactly() -> None:
    torch.manual_seed(3)
    plain = AutoencoderOobleck(
        encoder_hidden_size=16, downsampling_ratios=[2, 4], channel_multiples=[1, 2], decoder_channels=8, decoder_input_channels=8
    ).eval()
    idle = plain.encoder.block[0].res_unit2
    with torch.no_grad():
        idle.conv2.weight_g.zero_()
        idle.conv2.bias.zero_()
    audio = torch.randn(1, 2, 800)
    before = autoencoder.encode(plain, audio)
    assert autoencoder.skip_idle_units(plain) == 1
    assert isinstance(plain.encoder.block[0].res_unit2, torch.nn.Identity)
    assert torch.equal(autoencoder.encode(plain, audio), before)

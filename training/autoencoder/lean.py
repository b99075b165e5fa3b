"""The autoencoder without what it does not use: same result as ``AutoencoderOobleck``, several times faster.

The miniature's residual units at the highest rates stand at gain zero (the identity), and its encoder's first
convolution hands the samples through on two of 128 channels. These functions leave both out; the shipped weights stay
an ordinary ``AutoencoderOobleck``, and a test holds both equal. Gradients flow; weights are read at every call.
"""

from __future__ import annotations

import torch
from diffusers import AutoencoderOobleck
from torch import nn
from torch.nn import functional as F

from ...pipeline.models.autoencoder import adds_nothing

# exp(-12): snake of this alpha adds less than 1e-10, so it is the identity in float32.
IDENTITY_ALPHA = -12.0


def encode_mean(vae: AutoencoderOobleck, samples: torch.Tensor) -> torch.Tensor:
    """``[B, 2, T]`` samples to ``[B, D, T / hop]`` latent means; needs an encoder that begins as ``start`` makes it."""
    hidden = encode_hidden(vae, samples)
    return vae.encoder.conv2(vae.encoder.snake1(hidden))[:, : vae.config.decoder_input_channels]


def encode_hidden(vae: AutoencoderOobleck, samples: torch.Tensor) -> torch.Tensor:
    """The same up to the last strided convolution, ``[B, C, T / hop]``."""
    first = vae.encoder.block[0].conv1
    weight = torch._weight_norm(first.weight_v, first.weight_g, 0)[:, : vae.config.audio_channels]
    hidden = F.conv1d(samples, weight, first.bias, stride=first.stride, padding=first.padding)
    for block in vae.encoder.block[1:]:
        hidden = block.conv1(block.snake1(_units(block, hidden)))
    return hidden


def decode(vae: AutoencoderOobleck, latents: torch.Tensor) -> torch.Tensor:
    """``[B, D, N]`` latents to ``[B, 2, N · hop]`` samples."""
    decoder = vae.decoder
    hidden = decoder.conv1(latents)
    for block in decoder.block:
        hidden = _units(block, block.conv_t1(block.snake1(hidden)))
    return decoder.conv2(decoder.snake1(hidden))


def _units(block: nn.Module, hidden: torch.Tensor) -> torch.Tensor:
    for unit in (block.res_unit1, block.res_unit2, block.res_unit3):
        if not is_silent(unit):
            hidden = unit(hidden)
    return hidden


def is_silent(unit: nn.Module) -> bool:
    """Whether a residual unit is marked as one that adds nothing (``silence_unit``)."""
    return bool(getattr(unit, "silent", False))


def mark_silent_units(vae: AutoencoderOobleck) -> None:
    """Mark the residual units whose gain is zero, after loading weights."""
    for module in vae.modules():
        if type(module).__name__ == "OobleckResidualUnit":
            module.silent = adds_nothing(module)


@torch.no_grad()
def weight_of(conv: nn.Module) -> torch.Tensor:
    """The weight of a weight-normalised convolution (its ``weight`` attribute is stale until the next forward)."""
    return torch._weight_norm(conv.weight_v, conv.weight_g, 0)


@torch.no_grad()
def set_normed(conv: nn.Module, weight: torch.Tensor) -> None:
    """Write ``weight`` into a weight-normalised convolution: ``weight_v`` of length 1, so that all rows learn alike."""
    norm = weight.flatten(1).norm(dim=1).view(conv.weight_g.shape)
    conv.weight_v.copy_(torch.where(norm > 0, weight / norm.clamp_min(1e-12), weight[0].numel() ** -0.5))
    conv.weight_g.copy_(norm)


@torch.no_grad()
def silence_unit(unit: nn.Module) -> None:
    """Make a residual unit the identity: output gain and bias zero."""
    unit.conv2.weight_g.zero_()
    unit.conv2.bias.zero_()
    unit.silent = True

"""The encoder without what it does not use: same result as ``AutoencoderOobleck.encode``, a hundred times faster.

The miniature's encoder is built in closed form (``closed_form``): residual units at gain zero (the identity), most
channels empty. Run in full, nine tenths of the time goes into residual units of 128 channels at 24 kHz that add
nothing; this view holds the used channels of the four strided convolutions only. The shipped weights stay an ordinary
``AutoencoderOobleck``, and a test holds both equal.
"""

from __future__ import annotations

import torch
from diffusers import AutoencoderOobleck
from torch import nn
from torch.nn import functional as F

# exp(-12): snake of this alpha adds less than 1e-10, so it is the identity in float32.
IDENTITY_ALPHA = -12.0


class LeanEncoder(nn.Module):
    """``[B, 2, T]`` samples to ``[B, 64, T / 960]`` latent means; a snapshot of ``vae``'s weights, without gradient."""

    def __init__(self, vae: AutoencoderOobleck) -> None:
        super().__init__()
        encoder = vae.encoder
        self.strides = list(vae.config.downsampling_ratios)
        used = list(range(vae.config.audio_channels))
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for block in encoder.block:
            weight = weight_of(block.conv1)
            rows = [int(row) for row in torch.nonzero(weight.abs().amax((1, 2)) > 0).flatten()]
            self.weights.append(nn.Parameter(weight[rows][:, used].clone(), requires_grad=False))
            self.biases.append(nn.Parameter(block.conv1.bias[rows].detach().clone(), requires_grad=False))
            used = rows
            if block is encoder.block[0]:
                snake = encoder.block[1].snake1
                self.alpha = nn.Parameter(snake.alpha[:, rows].exp().detach(), requires_grad=False)
                self.beta = nn.Parameter(snake.beta[:, rows].exp().detach(), requires_grad=False)
        dim = vae.config.decoder_input_channels
        last = weight_of(encoder.conv2)[:dim, used]
        self.last = nn.Parameter(last.clone(), requires_grad=False)
        self.last_bias = nn.Parameter(encoder.conv2.bias[:dim].detach().clone(), requires_grad=False)

    @torch.no_grad()
    def forward(self, samples: torch.Tensor) -> torch.Tensor:
        hidden = samples
        for index, (weight, bias, stride) in enumerate(zip(self.weights, self.biases, self.strides, strict=True)):
            hidden = F.conv1d(hidden, weight, bias, stride=stride, padding=stride // 2)
            if index == 0:
                hidden = hidden + (self.alpha * hidden).sin().square() / (self.beta + 1e-9)
        return F.conv1d(hidden, self.last, self.last_bias, padding=1)


@torch.no_grad()
def weight_of(conv: nn.Module) -> torch.Tensor:
    """The weight of a weight-normalised convolution (its ``weight`` attribute is stale until the next forward)."""
    return torch._weight_norm(conv.weight_v, conv.weight_g, 0)


@torch.no_grad()
def set_normed(conv: nn.Module, weight: torch.Tensor) -> None:
    """Write ``weight`` into a weight-normalised convolution (direction ``weight_v``, length ``weight_g``)."""
    norm = weight.flatten(1).norm(dim=1).view(conv.weight_g.shape)
    conv.weight_v.copy_(torch.where(norm > 0, weight, torch.full_like(weight, 1e-2)))
    conv.weight_g.copy_(norm)


@torch.no_grad()
def silence_unit(unit: nn.Module) -> None:
    """Make a residual unit the identity: output gain and bias zero."""
    unit.conv2.weight_g.zero_()
    unit.conv2.bias.zero_()

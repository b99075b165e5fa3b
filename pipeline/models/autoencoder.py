"""Audio in and out of an Oobleck autoencoder: means, whole frames, tiles that join exactly.

The encoder and decoder are convolutions with zero padding and stride, so how far an output sample can see follows from the
configuration. Tiles overlap by at least that, and only the part that saw everything is kept: tiled equals whole to
rounding, in bounded memory. This module knows no family beyond `AutoencoderOobleck`, and no take.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, prod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

_RESIDUAL_RADIUS = 39  # three kernel-7 convolutions with dilations 1, 3, 9 (diffusers' OobleckResidualUnit)
_EDGE_RADIUS = 3  # kernel-7 convolution at either end of the audio side


@dataclass(frozen=True)
class Reach:
    """How many latent frames beyond its own an output depends on, to the left and to the right."""

    left: int
    right: int


def decoder_reach(ratios: Sequence[int]) -> Reach:
    """Frames a decoded frame's samples depend on beyond that frame, from `downsampling_ratios`.

    Walks from the last layer to the first with the interval of inputs each layer reads. A transposed convolution with
    stride s, kernel 2s and padding p = ceil(s/2) gives output o from inputs ceil((o+p−2s+1)/s) … floor((o+p)/s).
    """
    low, high = -_EDGE_RADIUS, prod(ratios) - 1 + _EDGE_RADIUS
    for s in ratios:  # the decoder upsamples by the reversed ratios, so this is last layer first
        low, high = low - _RESIDUAL_RADIUS, high + _RESIDUAL_RADIUS
        p = ceil(s / 2)
        low, high = -((2 * s - 1 - p - low) // s), (high + p) // s
    return Reach(-(low - 3), high + 3)  # conv1 has kernel 7


def encoder_reach(ratios: Sequence[int]) -> Reach:
    """Frames of audio a latent frame depends on beyond its own hop, rounded up to whole frames."""
    low, high = -1, 1  # conv2 has kernel 3, at the latent rate
    for s in reversed(list(ratios)):
        p = ceil(s / 2)
        low, high = low * s - p - _RESIDUAL_RADIUS, high * s - p + 2 * s - 1 + _RESIDUAL_RADIUS
    hop = prod(ratios)
    low, high = low - _EDGE_RADIUS, high + _EDGE_RADIUS
    return Reach(ceil(-low / hop), ceil(max(0, high - (hop - 1)) / hop))


def decoded_length(frames: int, ratios: Sequence[int]) -> int:
    """Samples the decoder gives for `frames` latent frames: frames · hop for even strides, a little less for odd ones."""
    length = frames
    for s in reversed(list(ratios)):
        length = (length - 1) * s - 2 * ceil(s / 2) + 2 * s
    return length


def skip_idle_units(vae: Any) -> int:
    """Take residual units that add nothing (their last convolution is zero) out of the way; gives their number.

    Such a unit gives its input back, exactly, and costs two convolutions at the full rate. segue-mini's are idle at its highest
    rates, where they would take most of the time (`training/autoencoder/start.py`).
    """
    skipped = 0
    for parent in list(vae.modules()):
        for name, unit in list(parent.named_children()):
            if type(unit).__name__ == "OobleckResidualUnit" and adds_nothing(unit):
                setattr(parent, name, torch.nn.Identity())
                skipped += 1
    return skipped


def adds_nothing(unit: Any) -> bool:
    """Whether a residual unit is the identity: gain (or weight) and bias of its last convolution are zero."""
    last = unit.conv2
    gain = getattr(last, "weight_g", None)  # weight norm: the weight is direction times gain
    weight = last.weight if gain is None else gain
    return not bool(weight.any()) and (last.bias is None or not bool(last.bias.any()))


@torch.no_grad()
def encode(vae: Any, samples: Tensor, tile_frames: int = 0) -> Tensor:
    """Audio `[B, C, T]` -> latent means `[B, ceil(T / hop), D]`, float32 on the CPU.

    T is padded with zeros to whole frames. `tile_frames` bounds how many frames are encoded at once (0: all).
    Raises ValueError for a wrong number of channels or no samples.
    """
    if samples.ndim != 3 or samples.shape[1] != vae.config.audio_channels or samples.shape[-1] == 0:
        raise ValueError(
            f"the autoencoder wants audio [batch, {vae.config.audio_channels}, samples >= 1], got {tuple(samples.shape)}"
        )
    hop = vae.hop_length
    frames = ceil(samples.shape[-1] / hop)
    samples = F.pad(samples, (0, frames * hop - samples.shape[-1]))
    reach = encoder_reach(vae.config.downsampling_ratios)
    parts = []
    for start, stop in _tiles(frames, tile_frames):
        left, right = max(0, start - reach.left), min(frames, stop + reach.right)
        chunk = samples[..., left * hop : right * hop].to(device=vae.device, dtype=vae.dtype)
        mean = vae.encode(chunk).latent_dist.mode()
        parts.append(mean[..., start - left : stop - left].float().cpu())
    return torch.cat(parts, dim=-1).transpose(1, 2).contiguous()


@torch.no_grad()
def decode(vae: Any, frames: Tensor, tile_frames: int = 0) -> Tensor:
    """Latents `[B, N, D]` -> audio `[B, C, N · hop]`, float32 on the CPU.

    `tile_frames` bounds how many frames are decoded at once (0: all). Where odd strides make the decoder give a little
    less than N · hop samples, the rest is zeros.
    """
    if frames.ndim != 3 or frames.shape[-1] != vae.config.decoder_input_channels or frames.shape[1] == 0:
        raise ValueError(
            f"the autoencoder wants latents [batch, frames >= 1, {vae.config.decoder_input_channels}], got {tuple(frames.shape)}"
        )
    ratios, hop, count = vae.config.downsampling_ratios, vae.hop_length, frames.shape[1]
    reach = decoder_reach(ratios)
    parts = []
    for start, stop in _tiles(count, tile_frames):
        left, right = max(0, start - reach.left), min(count, stop + reach.right)
        chunk = frames[:, left:right].transpose(1, 2).to(device=vae.device, dtype=vae.dtype)
        audio = vae.decode(chunk).sample
        parts.append(audio[..., (start - left) * hop : (stop - left) * hop].float().cpu())
    audio = torch.cat(parts, dim=-1)
    return F.pad(audio, (0, count * hop - audio.shape[-1])).contiguous()


def _tiles(count: int, size: int) -> list[tuple[int, int]]:
    if size <= 0 or count <= size:
        return [(0, count)]
    return [(start, min(start + size, count)) for start in range(0, count, size)]

"""Where the autoencoder starts: a hierarchical PCA of the corpus, band energies, and a carrier of noise.

* 54 latents are a hierarchical PCA: every strided convolution groups ``s`` neighbouring frames (kernel ``2s``, the
  middle ``s`` taps: space to depth) and keeps the strongest components; the decoder starts as the transpose. That alone
  restores about 10 dB SI-SDR of the corpus' mixes, phase included, where a random start learns no phase at all.
* 10 latents are the strongest components of band energies above that. A snake computes an energy from two channels
  of opposite sign, ``snake(y) + snake(−y) = 2·sin²(αy)/β``; two values of α a band stretch its range.
* The decoder's spare channels carry a constant, which the strides of the transposed convolutions turn into a noise with
  the period of one latent frame at the level of the corpus' hiss: something that training can learn to shape.

Residual units at the highest rates (24 kHz both ways, 4 kHz in the encoder) stand at gain zero and stay there: they
would cost nine tenths of the time, and units that add nothing can be skipped. All the rest is trained (see ``train``).
"""

from __future__ import annotations

import math

import numpy as np
import torch
from diffusers import AutoencoderOobleck
from torch import nn

from .lean import IDENTITY_ALPHA, encode_hidden, encode_mean, set_normed, silence_unit, weight_of

POSTERIOR_STD = 0.03
NOISE = 0.02
BANDS_HZ = (1500.0, 3000.0, 5000.0, 7000.0, 9000.0, 11000.0)
ENERGIES = 10
# 0.3 radians at the 90th percentile of a band's amplitude: linear there; 6: in saturation there, sensitive to hiss.
STRETCHES = (0.5, 8.0)
CARRIERS = (8, 16, 8, 24)
CARRIER = 0.02
HISS = 10 ** (-72 / 20)
# Residual units of these encoder and decoder blocks stay silent.
SILENT_ENCODER_BLOCKS, SILENT_DECODER_BLOCKS = (0, 1), (3,)


def principal_components(frames: torch.Tensor, keep: int) -> torch.Tensor:
    """Orthonormal rows ``[keep, D]`` of ``frames`` ``[N, D]``, strongest first."""
    covariance = (frames.T @ frames).double() / len(frames)
    values, vectors = torch.linalg.eigh(covariance)
    return vectors[:, torch.argsort(values, descending=True)[:keep]].T.float().contiguous()


def hierarchy(samples: torch.Tensor, ratios: list[int], dims: list[int]) -> list[torch.Tensor]:
    """PCA matrices ``[keep, channels, s]`` of each stage; ``samples`` is ``[N, 2, T]``, T a multiple of the product."""
    matrices = []
    current = samples
    for ratio, keep in zip(ratios, dims, strict=True):
        batch, channels, length = current.shape
        grouped = current.reshape(batch, channels, length // ratio, ratio).permute(0, 2, 1, 3)
        matrices.append(principal_components(grouped.reshape(-1, channels * ratio), keep).view(-1, channels, ratio))
        current = torch.einsum("kcs,btcs->bkt", matrices[-1], grouped)
    return matrices


def stage_dims(vae: AutoencoderOobleck) -> list[int]:
    """How many components each stage keeps: all there are, as far as three quarters of both sides' channels hold them."""
    dims, lossless = [], vae.config.audio_channels
    for block, mirrored in zip(vae.encoder.block[:-1], vae.decoder.block[:0:-1], strict=True):
        lossless *= block.conv1.stride[0]
        dims.append(min(lossless, 3 * min(block.conv1.out_channels, mirrored.conv_t1.in_channels) // 4))
    return [*dims, vae.config.decoder_input_channels - ENERGIES]


@torch.no_grad()
def start_autoencoder(vae: AutoencoderOobleck, samples: torch.Tensor) -> None:
    """Write the start into ``vae``, from mixes ``samples`` ``[N, 2, T]``; draws from torch's global generator."""
    matrices = hierarchy(samples, list(vae.config.downsampling_ratios), stage_dims(vae))
    for module in vae.modules():
        if type(module).__name__ == "Snake1d":
            module.alpha.fill_(-2.5)
            module.beta.zero_()
    for blocks, silent in ((vae.encoder.block, SILENT_ENCODER_BLOCKS), (vae.decoder.block, SILENT_DECODER_BLOCKS)):
        for index, block in enumerate(blocks):
            _start_units(block, silent=index in silent)
    _start_encoder(vae, matrices, samples)
    _start_decoder(vae, matrices)
    fold_normalisation(vae, *latent_statistics(vae, samples))


def trained_parameters(vae: AutoencoderOobleck) -> list[nn.Parameter]:
    """What is trained: all but silent units, the encoder's first convolution and what stands before its first stride."""
    frozen = {id(p) for p in [*vae.encoder.conv1.parameters(), *vae.encoder.block[0].snake1.parameters()]}
    for blocks, silent in ((vae.encoder.block, SILENT_ENCODER_BLOCKS), (vae.decoder.block, SILENT_DECODER_BLOCKS)):
        for index in silent:
            for unit in (blocks[index].res_unit1, blocks[index].res_unit2, blocks[index].res_unit3):
                frozen |= {id(p) for p in unit.parameters()}
    return [p for p in vae.parameters() if id(p) not in frozen]


def _start_units(block: nn.Module, *, silent: bool) -> None:
    """Residual units begin as the identity; those that will learn have a nonlinearity worth the name inside."""
    for unit in (block.res_unit1, block.res_unit2, block.res_unit3):
        silence_unit(unit)
        unit.silent = silent
        if not silent:
            for snake in (unit.snake1, unit.snake2):
                snake.alpha.zero_()


def _middle(conv: nn.Module) -> slice:
    stride = conv.stride[0]
    return slice(stride // 2, stride // 2 + stride)


def band_filters(centre_hz: float, taps: int, rate_hz: int) -> np.ndarray:
    """A quadrature pair ``[2, taps]`` around ``centre_hz``, blind to polynomials of degree 2 (so, to the bass)."""
    position = np.arange(taps) - (taps - 1) / 2
    window = np.hanning(taps + 2)[1:-1]
    phase = 2 * np.pi * centre_hz / rate_hz * position
    pair = np.stack([np.cos(phase), np.sin(phase)]) * window
    basis = np.linalg.qr(np.stack([position**power for power in range(3)], axis=1))[0]
    pair = pair - (pair @ basis) @ basis.T
    return pair / np.linalg.norm(pair, axis=1, keepdims=True)


def _first_rows(taps: int, rate_hz: int) -> torch.Tensor:
    """Rows ``[96, 2, taps]`` for the energies: band, mid or side, stretch; then the pair and its negative, four rows each."""
    rows = []
    for centre_hz in BANDS_HZ:
        for sides in ((1.0, 1.0), (1.0, -1.0)):
            pair = torch.from_numpy(band_filters(centre_hz, taps, rate_hz)).float()
            four = [sign * torch.outer(torch.tensor(sides), wave) / 2**0.5 for wave in pair for sign in (1.0, -1.0)]
            rows += four * len(STRETCHES)
    return torch.stack(rows)


def _start_encoder(vae: AutoencoderOobleck, matrices: list[torch.Tensor], samples: torch.Tensor) -> None:
    encoder, dim = vae.encoder, vae.config.decoder_input_channels
    through = torch.zeros(weight_of(encoder.conv1).shape)
    for channel in range(vae.config.audio_channels):
        through[channel, channel, 3] = 1.0
    set_normed(encoder.conv1, through)
    encoder.conv1.bias.zero_()
    encoder.block[0].snake1.alpha.fill_(IDENTITY_ALPHA)
    energies = _first_rows(weight_of(encoder.block[0].conv1).shape[2], vae.config.sampling_rate)
    features, before = len(energies) // 4, 0
    for index, (block, matrix) in enumerate(zip(encoder.block, matrices, strict=True)):
        shape, middle = weight_of(block.conv1).shape, _middle(block.conv1)
        rows, channels, stride = matrix.shape
        weight = NOISE * torch.randn(shape) / (shape[1] * shape[2]) ** 0.5
        weight[:rows] = 0.0
        weight[:rows, :channels, middle] = matrix
        if index == 0:
            weight[:, channels:] = 0.0  # the first convolution hands two channels on
            weight[rows : rows + len(energies), :channels] = energies
        else:
            parts = 2 if block is encoder.block[-1] else 1
            pooled = 4 if index == 1 else 1
            for part in range(parts):
                taps = slice(middle.start + part * stride // parts, middle.start + (part + 1) * stride // parts)
                for feature in range(features):
                    row = rows + part * features + feature
                    weight[row] = 0.0
                    source = slice(before + pooled * feature, before + pooled * (feature + 1))
                    weight[row, source, taps] = parts / (pooled * stride)
        set_normed(block.conv1, weight)
        block.conv1.bias.zero_()
        before = rows
    _set_stretches(encoder, energies, matrices[0].shape[0], samples)
    last = torch.zeros(weight_of(encoder.conv2).shape)
    keep = dim - ENERGIES
    last[torch.arange(keep), torch.arange(keep), 1] = 1.0
    hidden = torch.cat([encode_hidden(vae, clip[None]) for clip in samples[:64]])[:, keep : keep + 2 * features]
    frames = hidden.transpose(1, 2).reshape(-1, 2 * features)
    last[keep:dim, keep : keep + 2 * features, 1] = principal_components(frames - frames.mean(0), ENERGIES)
    set_normed(encoder.conv2, last)
    encoder.conv2.bias.zero_()


def _set_stretches(encoder: nn.Module, energies: torch.Tensor, first: int, samples: torch.Tensor) -> None:
    """Set each energy row's alpha from its band's amplitude in the corpus."""
    conv, snake = encoder.block[0].conv1, encoder.block[1].snake1
    hidden = nn.functional.conv1d(samples[:16], energies, stride=conv.stride, padding=conv.padding)
    for row in range(0, len(energies), 4):
        loud = float(np.quantile(hidden[:, row : row + 4].abs().numpy(), 0.9)) + 1e-5
        stretch = STRETCHES[row // 4 % len(STRETCHES)]
        snake.alpha[:, first + row : first + row + 4] = math.log(stretch / loud)


def _start_decoder(vae: AutoencoderOobleck, matrices: list[torch.Tensor]) -> None:
    """Components in the first channels, then carriers, then as many of the energies as there is room for."""
    decoder, keep = vae.decoder, matrices[-1].shape[0]
    shape = weight_of(decoder.conv1).shape
    first = torch.zeros(shape)
    latents = vae.config.decoder_input_channels
    first[torch.arange(latents), torch.arange(latents), 3] = 1.0
    set_normed(decoder.conv1, first)
    decoder.conv1.bias.zero_()
    carriers, energies = slice(latents, latents + CARRIERS[0]), slice(keep, latents)
    decoder.conv1.bias[carriers] = CARRIER
    for index, (block, matrix) in enumerate(zip(decoder.block, matrices[::-1], strict=True)):
        conv, middle = block.conv_t1, _middle(block.conv_t1)
        weight = NOISE * torch.randn(weight_of(conv).shape) / conv.in_channels**0.5
        rows, channels, _ = matrix.shape
        weight[:, :channels] = 0.0
        weight[:rows, :channels, middle] = matrix
        count = carriers.stop - carriers.start
        if block is decoder.block[-1]:
            noise = torch.randn(count, channels, conv.kernel_size[0])
            weight[carriers, :channels] = HISS / CARRIER * noise / (2 * count) ** 0.5
        else:
            following = slice(channels, channels + CARRIERS[index + 1])
            weight[:, following] = 0.0
            weight[carriers, following] = torch.randn(weight[carriers, following].shape) / (2 * count) ** 0.5
            room = min(energies.stop - energies.start, conv.out_channels - following.stop)
            for place in range(room):
                weight[:, following.stop + place] = 0.0
                weight[energies.start + place, following.stop + place, middle] = 1.0
            carriers, energies = following, slice(following.stop, following.stop + room)
        set_normed(conv, weight)
        conv.bias.zero_()
    shape = weight_of(decoder.conv2).shape
    last = NOISE * torch.randn(shape) / shape[1]
    last[:, : vae.config.audio_channels] = 0.0
    for channel in range(vae.config.audio_channels):
        last[channel, channel, 3] = 1.0
    set_normed(decoder.conv2, last)


@torch.no_grad()
def latent_statistics(vae: AutoencoderOobleck, samples: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and deviation of each latent channel, ``[D]``, over ``samples`` ``[N, 2, T]``."""
    latents = torch.cat([encode_mean(vae, clip[None]) for clip in samples])
    return latents.mean((0, 2)), latents.std((0, 2))


@torch.no_grad()
def fold_normalisation(vae: AutoencoderOobleck, mean: torch.Tensor, std: torch.Tensor) -> None:
    """Make the latents mean 0, deviation 1 inside the weights of both sides, and set the posterior's width."""
    into, out, dim = vae.encoder.conv2, vae.decoder.conv1, len(mean)
    weight = weight_of(into)
    weight[:dim] /= std[:, None, None]
    weight[dim:] = 0.0
    set_normed(into, weight)
    into.bias[:dim] = (into.bias[:dim] - mean) / std
    into.bias[dim:] = math.log(math.expm1(POSTERIOR_STD - 1e-4))
    weight = weight_of(out)
    out.bias += (weight * mean[None, :, None]).sum((1, 2))
    set_normed(out, weight * std[None, :, None])

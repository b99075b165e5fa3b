"""The encoder in closed form: principal components for the waveform, band energies for what they cannot reach.

54 of the 64 latent channels are a hierarchical PCA of the corpus: every strided convolution groups ``s`` neighbouring
frames (space to depth) and keeps the strongest components. They hold the waveform up to about 1 kHz, phase included.
Ten channels hold energies above that: four bands of the mid signal in two halves of each 40 ms frame, two of the side.
A snake computes them: for the two channels +y and −y, ``snake(y) + snake(−y) = 2·sin²(αy)/β``, the linear part cancels
and a saturating energy remains, which the later convolutions sum up. Latents are normalised to mean 0 and deviation 1
over mixes, inside the weights. The decoder starts from the transposed PCA (see ``train``).
"""

from __future__ import annotations

import math

import numpy as np
import torch
from diffusers import AutoencoderOobleck
from torch import nn

from .lean import IDENTITY_ALPHA, LeanEncoder, set_normed, silence_unit, weight_of

MID_BANDS_HZ = (2500.0, 5000.0, 7500.0, 10000.0)
SIDE_BANDS_HZ = (3500.0, 8500.0)
ENERGIES = 2 * len(MID_BANDS_HZ) + len(SIDE_BANDS_HZ)
POSTERIOR_STD = 0.03
NOISE = 0.02


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


def band_filters(centre_hz: float, taps: int, rate_hz: int) -> np.ndarray:
    """A quadrature pair ``[2, taps]`` around ``centre_hz``, blind to polynomials of degree 3 (so, to the bass)."""
    position = np.arange(taps) - (taps - 1) / 2
    window = np.hanning(taps + 2)[1:-1]
    phase = 2 * np.pi * centre_hz / rate_hz * position
    pair = np.stack([np.cos(phase), np.sin(phase)]) * window
    basis = np.linalg.qr(np.stack([position**power for power in range(4)], axis=1))[0]
    pair = pair - (pair @ basis) @ basis.T
    return pair / np.linalg.norm(pair, axis=1, keepdims=True)


def _stem(matrix: torch.Tensor, taps: int, rate_hz: int) -> torch.Tensor:
    """First stage ``[K + 24, 2, taps]``: the PCA rows, then for each band and phase the filter and its negative."""
    stride = taps // 2
    rows = [torch.zeros(2, taps) for _ in range(matrix.shape[0])]
    for row, components in zip(rows, matrix, strict=True):
        row[:, stride // 2 : stride // 2 + stride] = components
    for bands, sides in ((MID_BANDS_HZ, (1.0, 1.0)), (SIDE_BANDS_HZ, (1.0, -1.0))):
        for centre_hz in bands:
            for wave in band_filters(centre_hz, taps, rate_hz):
                row = torch.outer(torch.tensor(sides), torch.from_numpy(wave).float()) / 2**0.5
                rows += [row, -row]
    return torch.stack(rows)


def _grouping(matrix: torch.Tensor, stride: int, pooled: int, sources: int, halves: bool = False) -> torch.Tensor:
    """A middle stage ``[K + E, C, 2s]``: PCA of the first channels, sums of the energy channels that follow them."""
    keep, channels, _ = matrix.shape
    bands = len(MID_BANDS_HZ) + len(SIDE_BANDS_HZ)
    rows = ENERGIES if halves else bands
    weight = torch.zeros(keep + rows, channels + pooled, 2 * stride)
    first = stride // 2
    weight[:keep, :channels, first : first + stride] = matrix
    row = keep
    for band in range(bands):
        inputs = slice(channels + band * sources, channels + (band + 1) * sources)
        if halves and band < len(MID_BANDS_HZ):
            weight[row, inputs, first : first + stride // 2] = 1.0
            weight[row + 1, inputs, first + stride // 2 : first + stride] = 1.0
            row += 2
        else:
            weight[row, inputs, first : first + stride] = 1.0
            row += 1
    return weight


def _put(conv: nn.Module, used: torch.Tensor) -> None:
    weight = torch.zeros(weight_of(conv).shape)
    weight[: used.shape[0], : used.shape[1]] = used
    set_normed(conv, weight)
    conv.bias.zero_()


@torch.no_grad()
def build_encoder(vae: AutoencoderOobleck, samples: torch.Tensor) -> list[torch.Tensor]:
    """Write the closed-form encoder for ``samples`` ``[N, 2, T]`` (mixes) into ``vae``; returns the PCA matrices."""
    encoder, ratios = vae.encoder, list(vae.config.downsampling_ratios)
    narrow = [vae.config.decoder_channels * multiple for multiple in vae.config.channel_multiples]
    dim = vae.config.decoder_input_channels
    matrices = hierarchy(samples, ratios, [min(2 * ratios[0], narrow[0]), narrow[1], narrow[2], dim - ENERGIES])
    for module in encoder.modules():
        if type(module).__name__ == "Snake1d":
            module.alpha.fill_(IDENTITY_ALPHA)
            module.beta.zero_()
        if type(module).__name__ == "OobleckResidualUnit":
            silence_unit(module)
    delta = torch.zeros(weight_of(encoder.conv1).shape)
    delta[0, 0, 3] = delta[1, 1, 3] = 1.0
    set_normed(encoder.conv1, delta)
    encoder.conv1.bias.zero_()
    stem = _stem(matrices[0], 2 * ratios[0], vae.config.sampling_rate)
    _put(encoder.block[0].conv1, stem)
    _put(encoder.block[1].conv1, _grouping(matrices[1], ratios[1], 24, 4))
    _put(encoder.block[2].conv1, _grouping(matrices[2], ratios[2], 6, 1))
    _put(encoder.block[3].conv1, _grouping(matrices[3], ratios[3], 6, 1, halves=True))
    _set_energies(encoder, stem, samples, matrices[0].shape[0], ratios[0])
    identity = torch.zeros(weight_of(encoder.conv2).shape)
    identity[torch.arange(dim), torch.arange(dim), 1] = 1.0
    set_normed(encoder.conv2, identity)
    encoder.conv2.bias.zero_()
    _normalise(vae, samples)
    return matrices


def _set_energies(encoder: nn.Module, stem: torch.Tensor, samples: torch.Tensor, first: int, stride: int) -> None:
    """Choose each band's alpha so that its 95th percentile reaches 1.2 radians, and beta so that it reaches about 1."""
    hidden = nn.functional.conv1d(samples[:16], stem, stride=stride, padding=stride // 2)
    snake = encoder.block[1].snake1
    for channel in range(first, stem.shape[0], 4):
        loud = float(np.quantile(hidden[:, channel : channel + 4].abs().numpy(), 0.95)) + 1e-5
        snake.alpha[:, channel : channel + 4] = math.log(1.2 / loud)
        snake.beta[:, channel : channel + 4] = math.log(2.0 * 160.0 / 4.0)


def _normalise(vae: AutoencoderOobleck, samples: torch.Tensor) -> None:
    """Fold mean 0, deviation 1 over ``samples`` and the posterior's width into the last convolution."""
    lean, conv = LeanEncoder(vae), vae.encoder.conv2
    latents = torch.cat([lean(clip[None]) for clip in samples])
    mean, std = latents.mean((0, 2)), latents.std((0, 2))
    dim = len(mean)
    weight = weight_of(conv)
    weight[:dim] /= std[:, None, None]
    weight[dim:] = 0.0
    set_normed(conv, weight)
    conv.bias[:dim] = -mean / std
    conv.bias[dim:] = math.log(math.expm1(POSTERIOR_STD - 1e-4))


@torch.no_grad()
def start_decoder(vae: AutoencoderOobleck, matrices: list[torch.Tensor]) -> None:
    """Start the decoder as the encoder's linear inverse, with a little noise to break symmetry."""
    decoder, ratios = vae.decoder, list(vae.config.downsampling_ratios)
    for module in decoder.modules():
        if type(module).__name__ == "Snake1d":
            module.alpha.fill_(-2.5)
            module.beta.zero_()
        if type(module).__name__ == "OobleckResidualUnit":
            module.conv2.weight_g.mul_(0.1)
            module.conv2.bias.zero_()
    keep = matrices[-1].shape[0]
    scale = weight_of(vae.encoder.conv2)[torch.arange(keep), torch.arange(keep), 1]
    start = NOISE * torch.randn(weight_of(decoder.conv1).shape) / 21
    start[torch.arange(keep), torch.arange(keep), 3] += 1 / scale
    set_normed(decoder.conv1, start)
    decoder.conv1.bias.zero_()
    decoder.conv1.bias[:keep] -= vae.encoder.conv2.bias[:keep] / scale
    for block, matrix, stride in zip(decoder.block, matrices[::-1], ratios[::-1], strict=True):
        shape = weight_of(block.conv_t1).shape
        weight = NOISE * torch.randn(shape) / (shape[1] * shape[2]) ** 0.5
        rows, channels, _ = matrix.shape
        weight[:rows, :channels, stride // 2 : stride // 2 + stride] += matrix
        set_normed(block.conv_t1, weight)
        block.conv_t1.bias.zero_()
    last = NOISE * torch.randn(weight_of(decoder.conv2).shape) / 15
    last[torch.arange(2), torch.arange(2), 3] += 1.0
    set_normed(decoder.conv2, last)

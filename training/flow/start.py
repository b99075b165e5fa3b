"""A start for the transformer that already knows where its answer lies.

The velocity is ``noise − x0 = (x_t − x0) / t``; wherever the context holds the answer (a repaint's kept region, much
of an extract), that is ``(x_t − source) / t``. So the residual stream starts as the patches of x_t and of the source
side by side (2 · 2 · 64 = 256 numbers, exactly the width), and the output as their difference; the time embedding only
has to learn the factor. Copying from the context is then there from the first steps instead of the third thousand.
"""

from __future__ import annotations

import torch
from diffusers import AceStepTransformer1DModel

NOISE = 0.02


@torch.no_grad()
def start_transformer(transformer: AceStepTransformer1DModel) -> None:
    """Overwrite input, output and cross-attention output projections; needs hidden size ≥ 2 · patch · latent."""
    config = transformer.config
    dim, patch = config.audio_acoustic_hidden_dim, config.patch_size
    if config.hidden_size < 2 * patch * dim:
        raise ValueError(f"hidden_size {config.hidden_size} cannot hold two patches of {patch} x {dim}")
    into, out = transformer.proj_in_conv, transformer.proj_out_conv
    into.weight.normal_(0.0, NOISE)
    into.bias.zero_()
    out.weight.normal_(0.0, NOISE)
    out.bias.zero_()
    channel = torch.arange(dim)
    for place in range(patch):
        of_noisy, of_source = place * dim + channel, (patch + place) * dim + channel
        into.weight[of_noisy, 2 * dim + channel, place] = 1.0
        into.weight[of_source, channel, place] = 1.0
        out.weight[of_noisy, channel, place] = 1.0
        out.weight[of_source, channel, place] = -1.0
    for layer in transformer.layers:
        layer.cross_attn.to_out[0].weight.mul_(0.2)

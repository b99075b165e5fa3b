"""Euler sampling for evaluation inside training; the product's sampler lives in ``pipeline``."""

from __future__ import annotations

from itertools import pairwise

import torch

from .network import FlowNetwork
from .tasks import Batch


def schedule(steps: int, shift: float) -> torch.Tensor:
    """``steps`` + 1 times from 1 to 0, ``[steps + 1]``: t = s·u / (1 + (s − 1)·u)."""
    uniform = torch.linspace(1.0, 0.0, steps + 1)
    return shift * uniform / (1 + (shift - 1) * uniform)


@torch.no_grad()
def sample(
    network: FlowNetwork, batch: Batch, *, steps: int, shift: float = 1.0, guidance: float = 1.0, seed: int = 0
) -> torch.Tensor:
    """Latents ``[B, T, 64]`` for the batch's prompts, sources and masks; plain classifier-free guidance."""
    states, mask = network.conditions(batch)
    context = network.context(batch)
    x = torch.randn(batch.target.shape, generator=torch.Generator().manual_seed(seed))
    times = schedule(steps, shift)
    null = network.null_states(states)
    for start, end in pairwise(times):
        time_value = start.expand(len(x))
        velocity = network.velocity(x, time_value, states, mask, context)
        if guidance != 1.0:
            velocity = velocity + (guidance - 1) * (
                velocity - network.velocity(x, time_value, null[:, :1], None, context))
        x = x + (end - start) * velocity
    return x

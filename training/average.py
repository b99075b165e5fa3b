"""Exponential moving average of parameters."""

from __future__ import annotations

from collections.abc import Iterable

import torch


class Average:
    """Averaged copies of ``parameters``, with a warm-up so that early averages are not the start values."""

    def __init__(self, parameters: Iterable[torch.nn.Parameter], decay: float) -> None:
        self.parameters = list(parameters)
        self.decay = decay
        self.shadow = [parameter.detach().clone() for parameter in self.parameters]

    @torch.no_grad()
    def update(self, step: int) -> None:
        decay = min(self.decay, (1 + step) / (20 + step))
        torch._foreach_lerp_(self.shadow, self.parameters, 1 - decay)

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange live and averaged values."""
        for parameter, shadow in zip(self.parameters, self.shadow, strict=True):
            live = parameter.detach().clone()
            parameter.copy_(shadow)
            shadow.copy_(live)

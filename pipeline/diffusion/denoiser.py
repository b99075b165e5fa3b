"""What the core asks of a network, and nothing more.

Flow matching throughout: t = 1 noise, t = 0 data; x_t = (1 − t)·x0 + t·noise; v = noise − x0; x0 = x_t − t·v.
(Lipman et al. 2022, arXiv 2210.02747, with time reversed as ACE-Step and Stable Diffusion 3 write it.)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch

COND = "cond"    # everything the take was given
NULL = "null"    # no text: the learned null embedding in place of what was written; what it was shown stays
EMPTY = "empty"  # neither text nor what it was shown (a source, its codes, a low-resolution latent)


@dataclass(frozen=True, eq=False)
class Condition:
    """What the network sees besides x and t, for a batch of B takes. Opaque to the core: only adapters look inside.

    `encoder_states` `[B, L, H]` with boolean `encoder_mask` `[B, L]` (False is padding); `context` `[B, T, C]` is
    concatenated to x on channels (None where a family has none); `null_state` `[1, 1, H]` is the unconditional
    embedding (None: not guidable). `extra` holds a family's own tensors.
    """

    batch: int
    frames: int
    encoder_states: torch.Tensor
    encoder_mask: torch.Tensor
    context: torch.Tensor | None = None
    null_state: torch.Tensor | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


class Denoiser(Protocol):
    """A network behind the flow-matching convention."""

    def switch(self, condition: Condition) -> None:
        """Begin a segment: drop every cached key and value, take the new condition. Called once a segment."""

    def velocity(self, x: torch.Tensor, t: float, branches: tuple[str, ...]) -> tuple[torch.Tensor, ...]:
        """v `[B, T, D]` for each named branch (COND, NULL, EMPTY), all in one forward where the family can."""

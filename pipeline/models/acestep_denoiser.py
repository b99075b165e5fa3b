"""The ACE-Step transformer as a `Denoiser`: conditional and null branches in one forward, with a segment's cache.

This module knows no schedule, no guidance rule and no take; it gives velocities.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor

from ..diffusion.attention import SegmentAttention
from ..diffusion.denoiser import COND, NULL, Condition


class Loaded(Protocol):
    """A model whose components can be asked for, as long as the pool has not let them go."""

    @property
    def parts(self) -> Any: ...


class AceStepDenoiser:
    """Velocities of one ACE-Step variant. Holds the keys and values of the segment begun last, and nothing else.

    `forwards` counts transformer calls and `switches` segments, for traces.
    """

    def __init__(self, model: Loaded) -> None:
        self._model = model
        self._attention = SegmentAttention(model.parts.transformer)
        self._condition: Condition | None = None
        self._contexts: dict[int, Tensor] = {}
        self.forwards = 0
        self.switches = 0

    def switch(self, condition: Condition) -> None:
        """Begin a segment: forget cached keys and values, take the new condition. Raises ValueError without a context."""
        parts = self._model.parts
        if condition.context is None:
            raise ValueError("this condition was not made by an ACE-Step model: it has no context latents")
        self._condition = condition
        self._contexts = {1: condition.context.to(device=parts.device, dtype=parts.dtype)}
        null = condition.null_state
        self._attention.fill(
            condition.encoder_states.to(device=parts.device, dtype=parts.dtype),
            condition.encoder_mask.to(parts.device),
            null.to(device=parts.device, dtype=parts.dtype) if null is not None else None,
        )
        self.switches += 1

    def velocity(self, x: Tensor, t: float, branches: tuple[str, ...]) -> tuple[Tensor, ...]:
        """v `[B, T, D]` for each branch, in x's type and on its device; all branches in one forward.

        Known branches: ``cond`` and ``null`` (the learned null embedding in place of text, lyrics and timbre; the context
        stays). Raises ValueError for others, for a wrong shape, or for ``null`` where the model has no null embedding.
        """
        self._check(x, branches)
        parts = self._model.parts
        ordered = sorted(branches, key=(COND, NULL).index)  # the cache wants conditional rows first
        with torch.inference_mode(), self._attention.installed(null_only=COND not in ordered):
            sample = x.to(device=parts.device, dtype=parts.dtype)
            at = sample.new_full((1,), t)
            (out,) = parts.transformer(
                hidden_states=sample.repeat(len(ordered), 1, 1),
                timestep=at,
                timestep_r=at,
                encoder_hidden_states=self._attention.states_placeholder(sample),
                context_latents=self._context(len(ordered)),
                return_dict=False,
            )
        self.forwards += 1
        out = out.to(device=x.device, dtype=x.dtype, copy=True)  # a normal tensor, outside inference mode
        by_branch = dict(zip(ordered, out.chunk(len(ordered)), strict=True))
        return tuple(by_branch[b] for b in branches)

    def _context(self, copies: int) -> Tensor:
        if copies not in self._contexts:
            self._contexts[copies] = self._contexts[1].repeat(copies, 1, 1)
        return self._contexts[copies]

    def _check(self, x: Tensor, branches: tuple[str, ...]) -> None:
        condition = self._condition
        if condition is None:
            raise RuntimeError("velocity was asked for before a segment was begun with switch(condition)")
        if not branches or len(set(branches)) < len(branches) or not set(branches) <= {COND, NULL}:
            raise ValueError(
                f"an ACE-Step model knows the branches '{COND}' and '{NULL}', each once; got {branches}"
            )
        if NULL in branches and condition.null_state is None:
            raise ValueError("this condition has no null embedding, so it can't be guided")
        if x.shape[:2] != (condition.batch, condition.frames):
            raise ValueError(
                f"x has shape {tuple(x.shape)}, the condition {condition.batch} takes of {condition.frames} frames"
            )

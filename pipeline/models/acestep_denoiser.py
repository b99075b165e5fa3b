"""The ACE-Step transformer as a `Denoiser`: all branches of a guidance in one forward, with a segment's cache.

This module knows no schedule, no guidance rule and no take; it gives velocities.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor

from ..diffusion.attention import SegmentAttention
from ..diffusion.denoiser import COND, EMPTY, NULL, Condition

_BRANCHES = (COND, NULL, EMPTY)  # conditional rows first: the cache wants them so


class Loaded(Protocol):
    """A model whose components can be asked for, as long as the pool has not let them go."""

    @property
    def parts(self) -> Any: ...

    def silence(self, frames: int) -> Tensor:
        """The latent of silence, `[frames, D]`."""


class AceStepDenoiser:
    """Velocities of one ACE-Step variant. Holds the keys and values of the segment begun last, and nothing else.

    `forwards` counts transformer calls and `switches` segments, for traces.
    """

    def __init__(self, model: Loaded) -> None:
        self._model = model
        self._attention = SegmentAttention(model.parts.transformer)
        self._condition: Condition | None = None
        self._contexts: dict[tuple[str, ...], Tensor] = {}
        self.forwards = 0
        self.switches = 0

    def switch(self, condition: Condition) -> None:
        """Begin a segment: forget cached keys and values, take the new condition. Raises ValueError without a context."""
        parts = self._model.parts
        if condition.context is None:
            raise ValueError("this condition was not made by an ACE-Step model: it has no context latents")
        self._condition = condition
        self._contexts = {(COND,): condition.context.to(device=parts.device, dtype=parts.dtype)}
        null = condition.null_state
        self._attention.fill(
            condition.encoder_states.to(device=parts.device, dtype=parts.dtype),
            condition.encoder_mask.to(parts.device),
            null.to(device=parts.device, dtype=parts.dtype) if null is not None else None,
        )
        self.switches += 1

    def velocity(self, x: Tensor, t: float, branches: tuple[str, ...]) -> tuple[Tensor, ...]:
        """v `[B, T, D]` for each branch, in x's type and on its device; all branches in one forward.

        Known branches: ``cond``; ``null`` (the learned null embedding in place of text, lyrics and timbre; the context
        stays); ``empty`` (null, and the context is silence, all of it to be made). Raises ValueError for others, for a wrong
        shape, or for the latter two where the model has no null embedding.
        """
        self._check(x, branches)
        parts = self._model.parts
        ordered = tuple(sorted(branches, key=_BRANCHES.index))  # the cache wants conditional rows first
        with torch.inference_mode(), self._attention.installed(null_only=COND not in ordered):
            sample = x.to(device=parts.device, dtype=parts.dtype)
            at = sample.new_full((1,), t)
            (out,) = parts.transformer(
                hidden_states=sample.repeat(len(ordered), 1, 1),
                timestep=at,
                timestep_r=at,
                encoder_hidden_states=self._attention.states_placeholder(sample),
                context_latents=self._context(ordered),
                return_dict=False,
            )
        self.forwards += 1
        out = out.to(device=x.device, dtype=x.dtype, copy=True)  # a normal tensor, outside inference mode
        by_branch = dict(zip(ordered, out.chunk(len(ordered)), strict=True))
        return tuple(by_branch[b] for b in branches)

    def _context(self, branches: tuple[str, ...]) -> Tensor:
        """Context rows of every branch in turn; what EMPTY sees is what a generation from text alone does."""
        if branches not in self._contexts:
            own = self._contexts[(COND,)]
            silent = self._model.silence(own.shape[1]).to(own)
            nothing = torch.cat([silent, torch.ones_like(silent)], dim=-1).expand_as(own)
            self._contexts[branches] = torch.cat([nothing if b == EMPTY else own for b in branches])
        return self._contexts[branches]

    def _check(self, x: Tensor, branches: tuple[str, ...]) -> None:
        condition = self._condition
        if condition is None:
            raise RuntimeError("velocity was asked for before a segment was begun with switch(condition)")
        if not branches or len(set(branches)) < len(branches) or not set(branches) <= set(_BRANCHES):
            raise ValueError(f"an ACE-Step model knows the branches {', '.join(_BRANCHES)}, each once; got {branches}")
        if set(branches) != {COND} and condition.null_state is None:
            raise ValueError("this condition has no null embedding, so it can't be guided")
        if x.shape[:2] != (condition.batch, condition.frames):
            raise ValueError(
                f"x has shape {tuple(x.shape)}, the condition {condition.batch} takes of {condition.frames} frames"
            )

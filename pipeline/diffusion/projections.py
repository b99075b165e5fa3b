"""Hooks on the clean prediction x0, applied after guidance; the velocity then follows from the projected
x0.

A projection is a pure function of (x0 `[B, T, D]`, t, step, steps). It knows no network: what it needs of
an autoencoder or a filter is handed to it as a function.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from ..errors import Problem, RequestError


class Projection(Protocol):
    """What the loop asks of a projection."""

    def __call__(self, x0: Tensor, t: float, step: int, steps: int) -> Tensor:
        """The projected clean prediction for the evaluation at `t` in step `step` (from 0) of `steps`."""


def window_weights(mask: Tensor, fade_frames: int) -> Tensor:
    """How much of the generated frames is kept: `[…, T]` in [0, 1], float32, on the CPU.

    `mask` `[…, T]` is above 0.5 inside a window. The weight is 0 outside every window; inside, a ramp (i +
    1)/(fade + 1) from each edge, at most half the window long, then 1. An edge at the very start or end of
    the clip has no neighbour to fade into, and no ramp.
    """
    inside = (mask > 0.5).cpu()
    rows = inside.reshape(-1, inside.shape[-1])
    weights = rows.to(torch.float32)
    frames = rows.shape[-1]
    for row, weight in zip(rows, weights, strict=True):
        edges = torch.diff(
            row.to(torch.int8),
            prepend=torch.zeros(1, dtype=torch.int8),
            append=torch.zeros(1, dtype=torch.int8),
        )
        starts, stops = (edges == 1).nonzero().flatten().tolist(), (edges == -1).nonzero().flatten().tolist()
        for start, stop in zip(starts, stops, strict=True):
            fade = min(fade_frames, (stop - start) // 2)
            ramp = torch.arange(1, fade + 1, dtype=torch.float32) / (fade + 1)
            if start > 0:
                weight[start : start + fade] = ramp
            if stop < frames:
                weight[stop - fade : stop] = ramp.flip(0)
    return weights.reshape(inside.shape)


class RepaintProjection:
    """The source in place of the prediction outside the window, exactly; a cross-fade inside its edges.

    Because the velocity follows from the projected x0, the state outside the window is at every step the
    source noised with the trajectory's own noise, and at the end the source itself, bit for bit.

    `source` `[B, T, D]` or `[T, D]`; `mask` `[B, T]` or `[T]`, 1 inside the window (any number of windows).
    `until` in [0, 1] is the fraction of the steps it acts in (ACE-Step: 0.5; here all). `fade_frames` is
    the cross-fade's length (ACE-Step: 10).
    """

    def __init__(self, source: Tensor, mask: Tensor, until: float = 1.0, fade_frames: int = 10) -> None:
        """Raises `RequestError` for unequal lengths, `until` outside [0, 1] or a negative fade."""
        if mask.shape[-1] != source.shape[-2]:
            raise RequestError(
                Problem(
                    f"the window's mask has {mask.shape[-1]} frames, the source {source.shape[-2]}.",
                    "one mask value a frame.",
                )
            )
        if not 0.0 <= until <= 1.0 or fade_frames < 0:
            raise RequestError(Problem(f"until {until}, fade {fade_frames} frames.", "until in [0, 1], fade_frames 0 or more."))
        self.source, self.until = source, until
        self.weight = window_weights(mask, fade_frames).unsqueeze(-1)

    def __call__(self, x0: Tensor, t: float, step: int, steps: int) -> Tensor:
        if step >= self.until * steps:
            return x0
        source, weight = self.source.to(x0), self.weight.to(x0)
        mixed = weight * x0 + (1.0 - weight) * source
        # Exact outside, even where the prediction is not finite.
        return torch.where(weight == 0.0, source, mixed)


@dataclass(frozen=True, eq=False)
class LowBandProjection:
    """Low-band consistency with a reference sound, in the waveform, since a latent has no frequency axis:

    a = decode(x0); x0 += encode(a + w·LP(reference − a)) − encode(a), w = 1 − t. The difference of two
    encodings leaves alone what the autoencoder itself would change. Acts in every `every`-th step counted
    back from the last, which it never misses.

    `decode` `[B, T, D]` -> audio `[B, C, N]`; `encode` back, to the encoder's mean; `low_pass` on audio,
    linear and zero-phase; `reference_audio` `[B, C, N]` or `[C, N]` at the same rate. A reference that
    fills no whole number of frames is padded with zeros; a missing whole frame is a `RequestError`.
    """

    decode: Callable[[Tensor], Tensor]
    encode: Callable[[Tensor], Tensor]
    low_pass: Callable[[Tensor], Tensor]
    reference_audio: Tensor
    every: int = 1

    def __post_init__(self) -> None:
        if self.every < 1:
            raise RequestError(Problem(f"a projection every {self.every} steps.", "every: 1 or more."))

    def __call__(self, x0: Tensor, t: float, step: int, steps: int) -> Tensor:
        weight = 1.0 - t
        if (steps - 1 - step) % self.every or weight <= 0.0:
            return x0
        audio = self.decode(x0)
        pulled = audio + weight * self.low_pass(self._reference(audio, x0.shape[-2]) - audio)
        return x0 + (self.encode(pulled) - self.encode(audio)).to(x0)

    def _reference(self, audio: Tensor, frames: int) -> Tensor:
        reference = self.reference_audio.to(audio)
        missing = audio.shape[-1] - reference.shape[-1]
        if not 0 <= missing < math.ceil(audio.shape[-1] / frames):
            raise RequestError(
                Problem(
                    f"the reference has {reference.shape[-1]} samples, the guided sound {audio.shape[-1]}.",
                    fix="give a reference that fills the same latent frames.",
                )
            )
        return torch.nn.functional.pad(reference, (0, missing))


@dataclass(frozen=True, eq=False)
class EnvelopeProjection:
    """Envelope guidance for models whose state is the signal itself: x0 += (1 − t)·(envelope − LP(x0)).

    Weak where there is much noise, exact at the end. `low_pass` maps `[B, T, D]` to its envelope, along T;
    `envelope` is the one wanted, `[B, T, D]` or broadcastable to it.
    """

    low_pass: Callable[[Tensor], Tensor]
    envelope: Tensor

    def __call__(self, x0: Tensor, t: float, step: int, steps: int) -> Tensor:
        return x0 + (1.0 - t) * (self.envelope.to(x0) - self.low_pass(x0))

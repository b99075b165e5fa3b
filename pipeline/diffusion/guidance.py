"""How the branches of one evaluation become one velocity: none, CFG, APG, ADG and multi-condition guidance.

Every guidance is a frozen object that says which branches it needs at t (`branches`) and joins them
(`combine`). What it remembers lies in a `State` the loop makes afresh at every switch of condition. Nothing
here mixes takes: norms and angles are taken inside one take, so a batch of N gives what N batches of one
give. Knows no network and no schedule.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from ..errors import Problem, RequestError, did_you_mean
from .denoiser import COND, EMPTY, NULL
from .flow import State

KINDS = ("none", "cfg", "apg", "adg", "multi")
APG_MOMENTUM = -0.75
APG_NORM_THRESHOLD = 2.5
ADG_LARGEST_ANGLE = math.pi / 6
ADG_SMALLEST_SINE = 1e-3


class Guidance(Protocol):
    """What the loop asks of a guidance."""

    def branches(self, t: float) -> tuple[str, ...]:
        """Names of the branches needed at `t`; only COND where the guidance has no effect."""

    def combine(self, x: Tensor, t: float, preds: Mapping[str, Tensor], state: State) -> Tensor:
        """One velocity `[B, T, D]` out of those of `branches(t)`; may read and write `state`."""

    @property
    def remembers(self) -> bool:
        """Whether `combine` depends on earlier steps (through `state`)."""


@dataclass(frozen=True)
class NoGuidance:
    """The conditional prediction as it is."""

    remembers = False

    def branches(self, t: float) -> tuple[str, ...]:
        return (COND,)

    def combine(self, x: Tensor, t: float, preds: Mapping[str, Tensor], state: State) -> Tensor:
        return preds[COND]


@dataclass(frozen=True)
class _Scaled:
    """Base of the guidances with one scale and one null branch, active at t inside the closed interval."""

    scale: float
    interval: tuple[float, float] = (0.0, 1.0)

    remembers = False

    def branches(self, t: float) -> tuple[str, ...]:
        active = self.scale != 1.0 and self.interval[0] <= t <= self.interval[1]
        return (COND, NULL) if active else (COND,)

    def combine(self, x: Tensor, t: float, preds: Mapping[str, Tensor], state: State) -> Tensor:
        if NULL not in preds:
            return preds[COND]
        return self._join(x, t, preds[COND], preds[NULL], state)

    def _join(self, x: Tensor, t: float, cond: Tensor, null: Tensor, state: State) -> Tensor:
        raise TypeError(f"{type(self).__name__} says nothing about joining two branches")


@dataclass(frozen=True)
class ClassifierFree(_Scaled):
    """v = v_null + scale·(v_cond − v_null) (Ho & Salimans 2022, arXiv 2207.12598, eq. 6, w = scale − 1)."""

    def _join(self, x: Tensor, t: float, cond: Tensor, null: Tensor, state: State) -> Tensor:
        return null + self.scale * (cond - null)


@dataclass(frozen=True)
class AdaptiveProjected(_Scaled):
    """APG (Sadat et al. 2024, arXiv 2410.02416, alg. 1) as ACE-Step uses it, by diffusers' own function.

    Momentum −0.75 over the steps, the update's norm over time held to 2.5 in each channel, its part
    parallel to the conditional prediction dropped (eta 0), v = v_cond + (scale − 1)·update. The running
    average stays as it is on steps outside the interval.
    """

    remembers = True

    def _join(self, x: Tensor, t: float, cond: Tensor, null: Tensor, state: State) -> Tensor:
        # Imported where it is used: diffusers' guiders bring peft and torch's compiler along, seconds that a check can spare.
        from diffusers.guiders.adaptive_projected_guidance import MomentumBuffer, normalized_guidance

        buffer: Any = MomentumBuffer(APG_MOMENTUM)
        buffer.running_average = state.get("momentum", 0)
        joined = normalized_guidance(
            pred_cond=cond,
            pred_uncond=null,
            guidance_scale=self.scale - 1.0,
            momentum_buffer=buffer,
            eta=0.0,
            norm_threshold=APG_NORM_THRESHOLD,
            use_original_formulation=True,
            norm_dim=(1,),
        )
        state["momentum"] = buffer.running_average
        return joined


@dataclass(frozen=True)
class AngleBased(_Scaled):
    """ADG, ACE-Step's angle-based guidance: each frame of x0 is turned away from the null branch's.

    With x̂ = x − t·v per branch, θ the angle between x̂_c and x̂_u over channels,
    w = max(scale − 1, 0) + 0.001, θ' = w·θ (held to ±30° with `clip`) and perp the part of x̂_c − x̂_u
    orthogonal to x̂_u:

        x̂ = cos θ'·x̂_c + (sin θ'/sin θ)·perp    (w·perp where sin θ <= 0.001),    v = (x − x̂)/t.

    `norm` scales x̂ to the length of x̂_c over time, channel by channel. A scale up to 1 is no guidance.
    """

    norm: bool = False
    clip: bool = True

    def branches(self, t: float) -> tuple[str, ...]:
        return super().branches(t) if self.scale > 1.0 else (COND,)

    def _join(self, x: Tensor, t: float, cond: Tensor, null: Tensor, state: State) -> Tensor:
        wide = torch.promote_types(x.dtype, torch.float32)  # angles need more than half precision
        clean_c, clean_u = ((x - t * v).to(wide) for v in (cond, null))
        w = max(self.scale - 1.0, 0.0) + 1e-3
        axis = torch.nn.functional.normalize(clean_u, dim=-1)
        along = (clean_c * axis).sum(-1, keepdim=True)
        perp = (clean_c - clean_u) - ((clean_c - clean_u) * axis).sum(-1, keepdim=True) * axis
        # The arc cosine of the cosine, but exact near 0 and π too.
        theta = torch.atan2(perp.norm(dim=-1, keepdim=True), along)
        turned = w * theta
        if self.clip:
            turned = turned.clamp(-ADG_LARGEST_ANGLE, ADG_LARGEST_ANGLE)
        sine = theta.sin()
        small = sine <= ADG_SMALLEST_SINE
        gain = torch.where(small, torch.full_like(sine, w), turned.sin() / sine.masked_fill(small, 1.0))
        clean = turned.cos() * clean_c + gain * perp
        if self.norm:
            length = clean.norm(dim=1, keepdim=True)
            ratio = clean_c.norm(dim=1, keepdim=True) / length.masked_fill(length == 0, 1.0)
            clean = clean * ratio
        return ((x.to(wide) - clean) / t).to(x.dtype)


@dataclass(frozen=True)
class MultiCondition:
    """Guidance with two scales, one for what is shown, z (a source, its codes), one for the text c:

        v = u(∅,∅) + a·[u(z,∅) − u(∅,∅)] + b·[u(z,c) − u(z,∅)],    a = acoustic_scale, b = text_scale

    (Brooks et al. 2023, InstructPix2Pix, arXiv 2211.09800, eq. 3; for audio SAGA-SR, arXiv 2509.24924). The branches are
    EMPTY, NULL and COND. One whose weight (1 − a, a − b, b) is zero isn't evaluated; outside the interval only COND is.
    """

    acoustic_scale: float = 1.4
    text_scale: float = 1.2
    interval: tuple[float, float] = (0.0, 1.0)

    remembers = False

    def weights(self) -> dict[str, float]:
        """The sum above, gathered by branch; the weights add up to 1."""
        a, b = self.acoustic_scale, self.text_scale
        return {COND: b, NULL: a - b, EMPTY: 1.0 - a}

    def branches(self, t: float) -> tuple[str, ...]:
        if not self.interval[0] <= t <= self.interval[1]:
            return (COND,)
        return tuple(name for name, weight in self.weights().items() if weight != 0.0)

    def combine(self, x: Tensor, t: float, preds: Mapping[str, Tensor], state: State) -> Tensor:
        if len(preds) == 1:
            return next(iter(preds.values()))
        v = torch.zeros_like(x)
        for name, weight in self.weights().items():
            if weight != 0.0:
                v = v + weight * preds[name]
        return v


def make_guidance(
    kind: str,
    *,
    scale: float,
    interval: tuple[float, float] = (0.0, 1.0),
    acoustic_scale: float = 1.4,
    text_scale: float = 1.2,
    norm: bool = False,
    clip: bool = True,
) -> Guidance:
    """The guidance of that kind. `scale` has no part in ``none`` and ``multi``; `norm` and `clip` are ADG's
    alone.

    Raises `RequestError` for an unknown kind, a scale that is not finite or negative, or an interval that
    runs backwards.
    """
    if kind not in KINDS:
        raise RequestError(
            Problem(
                f"there is no guidance '{kind}'.{did_you_mean(kind, KINDS)}",
                f"one of {', '.join(KINDS)}.",
                key="guidance.kind",
            )
        )
    for key, value in (("scale", scale), ("acoustic_scale", acoustic_scale), ("text_scale", text_scale)):
        if not (math.isfinite(value) and value >= 0):
            raise RequestError(Problem(f"{value} is no guidance scale.", "a number from 0 up; 1 is none.", key=f"guidance.{key}"))
    if not interval[0] <= interval[1]:
        raise RequestError(
            Problem(
                f"interval {list(interval)} runs backwards.",
                "[low, high] in t with low <= high.",
                key="guidance.interval",
            )
        )
    span = (float(interval[0]), float(interval[1]))
    if kind == "cfg":
        return ClassifierFree(scale, span)
    if kind == "apg":
        return AdaptiveProjected(scale, span)
    if kind == "adg":
        return AngleBased(scale, span, norm=norm, clip=clip)
    if kind == "multi":
        return MultiCondition(acoustic_scale, text_scale, span)
    return NoGuidance()

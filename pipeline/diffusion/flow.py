"""The algebra everything rests on: x_t = (1 − t)·x0 + t·noise, v = noise − x0, x0 = x_t − t·v.

(Lipman et al. 2022, arXiv 2210.02747, eq. 22 with σ_min = 0 and time reversed; Liu et al. 2022, arXiv
2209.03003.) This module knows no network, no schedule and no solver.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


def renoise(x0: Tensor, noise: Tensor, t: float) -> Tensor:
    """`x0` brought to noise level `t` in [0, 1]: (1 − t)·x0 + t·noise.

    Exactly `x0` at 0 and exactly `noise` at 1. `x0` and `noise` have one shape; the noise is moved to the
    device and dtype of `x0`.
    """
    if t == 0.0:
        return x0.clone()
    noise = noise.to(x0)
    return noise.clone() if t == 1.0 else (1.0 - t) * x0 + t * noise


def x0_from(x: Tensor, v: Tensor, t: float) -> Tensor:
    """The clean prediction that state `x` at level `t` and velocity `v` stand for: x − t·v."""
    return x - t * v


def velocity_from(x: Tensor, x0: Tensor, t: float) -> Tensor:
    """The velocity that leads from `x` at level `t` > 0 to the clean prediction `x0`: (x − x0)/t."""
    return (x - x0) / t


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a network, guided and projected, says about a state: velocity and x0, `[B, T, D]` both."""

    v: Tensor
    x0: Tensor

    @classmethod
    def of_velocity(cls, x: Tensor, v: Tensor, t: float) -> Prediction:
        return cls(v, x0_from(x, v, t))

    @classmethod
    def of_clean(cls, x: Tensor, x0: Tensor, t: float) -> Prediction:
        return cls(velocity_from(x, x0, t), x0)


State = dict[str, Tensor]
"""What a solver or a guidance remembers between steps: named tensors, which a file can hold as they are."""

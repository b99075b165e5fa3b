"""Timesteps: where on the way from noise (t = 1) to data (t = 0) the network is asked.

A schedule is a falling tuple of floats in (0, 1], one for each step; the end point 0 is implied and never
in it. The noise level of the first step is the level the state must have. This module knows no network and
no state.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from ..errors import Problem, RequestError, did_you_mean

KINDS = ("linear", "turbo", "continuous", "karras", "custom")
POLICIES = {
    "truncate": "t_start itself, then the schedule's own points below it",
    "respace": "as many steps as the whole schedule has, spread from t_start down",
    "snap": "the schedule's point nearest to t_start becomes the start",
}
TURBO_SHIFTS = (1.0, 2.0, 3.0)
TURBO_STEPS = (1, 20)
CLOSEST = 1e-3  # a grid point nearer than this below t_start is left out


def shifted(u: float, shift: float) -> float:
    """t = s·u/(1 + (s − 1)·u), the time shift of Esser et al. 2024, arXiv 2403.03206, eq. 23."""
    return 1.0 if u == 1.0 else shift * u / (1.0 + (shift - 1.0) * u)


def unshifted(t: float, shift: float) -> float:
    """u = t/(s − (s − 1)·t), the inverse of `shifted`."""
    return 1.0 if t == 1.0 else t / (shift - (shift - 1.0) * t)


def turbo_shift(shift: float) -> float:
    """The shift of turbo's tables nearest to `shift`: 1, 2 or 3, the lower at a tie."""
    return min(TURBO_SHIFTS, key=lambda s: abs(s - shift))


def timesteps(
    kind: str,
    steps: int,
    shift: float,
    custom: Sequence[float] | None = None,
    *,
    sigma_min: float = 0.002,
    sigma_max: float = 80.0,
) -> tuple[float, ...]:
    """The whole schedule, falling, without the end point 0.

    - ``linear``, ``continuous``: u = 1, 1 − 1/steps, …, 1/steps, shifted by any `shift` > 0.
    - ``turbo``: the tables ACE-Step's turbo weights were distilled on: `shift` goes to the nearest of 1, 2,
      3 (the lower at a tie), 1–20 steps. (The published 8-step tables are the shifted linear schedule of
      that shift.)
    - ``karras``: a ramp in σ^(1/7) from `sigma_max` to `sigma_min` (Karras et al. 2022, arXiv 2206.00364,
      eq. 5), mapped by t = σ/(1 + σ); starts below 1; `shift` has no part in it.
    - ``custom``: `custom` as it stands; `steps` and `shift` have no part in it.

    Raises `RequestError` for an unknown kind, steps or shift out of range, or custom timesteps that do not
    fall strictly inside (0, 1].
    """
    if kind == "custom":
        return _custom(custom)
    if custom is not None:
        raise _wrong(f"timesteps were given together with schedule '{kind}'", "schedule: custom", "timesteps")
    if kind not in KINDS:
        raise _wrong(
            f"there is no schedule '{kind}'.{did_you_mean(kind, KINDS)}",
            f"one of {', '.join(KINDS)}",
            "schedule",
        )
    if steps < 1:
        raise _wrong(f"{steps} steps make no schedule", "steps: 1 or more", "steps")
    if not (shift > 0 and math.isfinite(shift)):
        raise _wrong(f"shift {shift} is not a positive number", "shift: 1.0", "shift")
    if kind == "karras":
        return _karras(steps, sigma_min, sigma_max)
    if kind == "turbo":
        low, high = TURBO_STEPS
        if not low <= steps <= high:
            raise _wrong(
                f"the turbo table holds {low} to {high} steps, not {steps}",
                f"steps: {high}, or schedule: continuous",
                "steps",
            )
        shift = turbo_shift(shift)
    return tuple(shifted((steps - i) / steps, shift) for i in range(steps))


def start_at(ts: Sequence[float], t_start: float, policy: str, *, steps: int, shift: float) -> tuple[float, ...]:
    """The steps of a partial denoising that starts from noise level `t_start` in [0, 1].

    - ``truncate``: `t_start` itself, then the schedule's points below it (one closer to it than 0.001 is
      left out).
    - ``respace``: `steps` points from `t_start` down, evenly in the unshifted u = t/(s − (s − 1)·t).
    - ``snap``: the schedule from its point nearest to `t_start` (the noisier one at a tie) on.

    The latent must be re-noised to exactly the first value given back. 1 gives the whole schedule, 0 an
    empty one (the identity); anything between gives at least one step, and never the whole schedule for
    want of a point below `t_start`. Raises `RequestError` for a `t_start` outside [0, 1] or an unknown
    policy.
    """
    if policy not in POLICIES:
        known = ", ".join(POLICIES)
        raise _wrong(
            f"there is no policy '{policy}'.{did_you_mean(policy, POLICIES)}",
            f"one of {known}",
            "t_start_policy",
        )
    if not 0.0 <= t_start <= 1.0:
        raise _wrong(
            f"denoise {t_start} lies outside [0, 1]",
            "0 keeps the source as it is, 1 starts from noise alone",
            "denoise",
        )
    if t_start == 0.0 or not ts:
        return ()
    if t_start == 1.0:
        return tuple(ts)
    if policy == "truncate":
        return (t_start, *(t for t in ts if t_start - t >= CLOSEST))
    if policy == "respace":
        if steps < 1:
            raise _wrong(f"{steps} steps make no schedule", "steps: 1 or more", "steps")
        u = unshifted(t_start, shift)
        return (t_start, *(shifted(u * (steps - i) / steps, shift) for i in range(1, steps)))
    start = min(range(len(ts)), key=lambda i: abs(ts[i] - t_start))
    return tuple(ts[start:])


def _karras(steps: int, sigma_min: float, sigma_max: float, rho: float = 7.0) -> tuple[float, ...]:
    if not 0 < sigma_min < sigma_max < math.inf:
        raise _wrong(f"sigma range [{sigma_min}, {sigma_max}] is empty", "0 < sigma_min < sigma_max", "schedule")
    high, low = sigma_max ** (1 / rho), sigma_min ** (1 / rho)
    ramp = [0.0] if steps == 1 else [i / (steps - 1) for i in range(steps)]
    sigmas = [(high + r * (low - high)) ** rho for r in ramp]
    return tuple(s / (1.0 + s) for s in sigmas)


def _custom(custom: Sequence[float] | None) -> tuple[float, ...]:
    given = tuple(float(t) for t in custom or ())
    check_falling(given)
    if not given:
        raise _wrong("schedule custom came without timesteps", "timesteps: [1.0, 0.7, 0.4, 0.1]", "timesteps")
    return given


def check_falling(ts: Sequence[float]) -> None:
    """Raise `RequestError` unless `ts` falls strictly and lies in (0, 1]."""
    inside = all(0.0 < t <= 1.0 for t in ts)
    if not inside or any(a <= b for a, b in pairwise(ts)):
        raise _wrong(
            f"timesteps {list(ts)} do not fall strictly inside (0, 1]",
            "e.g. [1.0, 0.7, 0.4, 0.1]; the end point 0 is implied",
            "timesteps",
        )


def _wrong(cause: str, fix: str, key: str) -> RequestError:
    return RequestError(Problem(cause + ("" if cause.endswith((".", "?")) else "."), fix=fix + ".", key=key))

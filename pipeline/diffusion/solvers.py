"""Solvers: from the state at t to the state at t_next < t, by asking for predictions.

A solver is a pure function. What it remembers (a multistep solver's history) goes in as a `State` and comes
out as a new one; the loop starts with an empty one at every switch of condition. Every solver ends at
exactly the last clean prediction when t_next is 0. This module knows no network, no guidance, no schedule,
and draws no noise of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from ..errors import Problem, RequestError, did_you_mean
from .flow import Prediction, State, renoise

Denoise = Callable[[Tensor, float], Prediction]
"""The guided, projected prediction for a state `[B, T, D]` at t."""
Draw = Callable[[], Tensor]
"""This step's standard normal noise, of the state's shape."""
Solver = Callable[[Denoise, Tensor, float, float, State, Draw], tuple[Tensor, State]]


def euler(denoise: Denoise, x: Tensor, t: float, t_next: float, state: State, draw: Draw) -> tuple[Tensor, State]:
    """x + (t_next − t)·v; first order."""
    p = denoise(x, t)
    return (p.x0 if t_next == 0.0 else x + (t_next - t) * p.v), {}


def heun(denoise: Denoise, x: Tensor, t: float, t_next: float, state: State, draw: Draw) -> tuple[Tensor, State]:
    """The mean of the velocities at both ends of the Euler step; the step to 0 is plain Euler.

    Second order, two evaluations a step (Karras et al. 2022, arXiv 2206.00364, alg. 1).
    """
    p = denoise(x, t)
    if t_next == 0.0:
        return p.x0, {}
    ahead = denoise(x + (t_next - t) * p.v, t_next)
    return x + (t_next - t) * (0.5 * (p.v + ahead.v)), {}


def sde(denoise: Denoise, x: Tensor, t: float, t_next: float, state: State, draw: Draw) -> tuple[Tensor, State]:
    """The clean prediction, noised afresh to the schedule's own next level.

    (Consistency-model sampling, Song et al. 2023, arXiv 2303.01469, alg. 1.) Made for distilled networks
    such as turbo, whose prediction is a sample; with one that predicts the mean the spread of the results
    shrinks.
    """
    p = denoise(x, t)
    return (p.x0 if t_next == 0.0 else renoise(p.x0, draw(), t_next)), {}


def dpmpp(denoise: Denoise, x: Tensor, t: float, t_next: float, state: State, draw: Draw) -> tuple[Tensor, State]:
    """DPM-Solver++(2M) (Lu et al. 2022, arXiv 2211.01095, alg. 2) with α = 1 − t, σ = t, λ = log(α/σ);
    second order, one evaluation a step. First order where there is no history, in the last step, and after
    a step from t = 1 (λ = −∞).

    The update is written as (σ'/σ)·x + (α' − α·σ'/σ)·D, the same as the paper's σ'/σ·x − α'(e^−h − 1)·D but
    without infinities at t = 1.
    """
    p = denoise(x, t)
    if t_next == 0.0:
        return p.x0, {}
    d = p.x0
    if "x0" in state:
        t_last = state["t"].item()
        h_last, h = _log_snr(t) - _log_snr(t_last), _log_snr(t_next) - _log_snr(t)
        d = p.x0 + (0.5 * h / h_last) * (p.x0 - state["x0"])
    ratio = t_next / t
    moved = ratio * x + ((1.0 - t_next) - (1.0 - t) * ratio) * d
    return moved, {"x0": p.x0, "t": torch.tensor(t, dtype=torch.float64)}


def _log_snr(t: float) -> float:
    """λ(t) = log((1 − t)/t); −∞ at t = 1."""
    return math.log((1.0 - t) / t) if t < 1.0 else -math.inf


SOLVERS: dict[str, Solver] = {"euler": euler, "heun": heun, "sde": sde, "dpmpp": dpmpp}
REMEMBER = frozenset({"dpmpp"})  # solvers whose step depends on earlier ones


def solver_named(name: str) -> Solver:
    """The solver of that name. Raises `RequestError` with the known names."""
    if name not in SOLVERS:
        known = ", ".join(SOLVERS)
        raise RequestError(
            Problem(f"there is no solver '{name}'.{did_you_mean(name, SOLVERS)}", f"one of {known}.", key="solver")
        )
    return SOLVERS[name]

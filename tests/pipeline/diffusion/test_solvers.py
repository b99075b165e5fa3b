"""Solvers: exact on point targets, their orders measured on a nonlinear field, peers from diffusers."""

from __future__ import annotations

import math
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from diffusers import DPMSolverMultistepScheduler, FlowMatchEulerDiscreteScheduler
from scipy.integrate import solve_ivp
from segue.pipeline.diffusion.flow import Prediction
from segue.pipeline.diffusion.schedules import timesteps
from segue.pipeline.diffusion.solvers import SOLVERS, solver_named
from segue.pipeline.errors import RequestError

START = torch.linspace(-2.0, 2.0, 9, dtype=torch.float64).reshape(1, 9, 1)


def walk(name: str, field, ts, x: torch.Tensor, seed: int = 0) -> torch.Tensor:
    """Through the levels `ts`, the last of which is reached, not evaluated."""
    generator, state = torch.Generator().manual_seed(seed), {}
    for t, t_next in pairwise(ts):
        x, state = SOLVERS[name](
            lambda at, level: Prediction.of_velocity(at, field(at, level), level),
            x,
            t,
            t_next,
            state,
            lambda: torch.randn(x.shape, generator=generator, dtype=x.dtype),  # noqa: B023
        )
    return x


@pytest.mark.parametrize("kind", ["linear", "turbo", "karras"])
@pytest.mark.parametrize("steps", [1, 2, 8])
@pytest.mark.parametrize("name", sorted(SOLVERS))
def test_a_point_target_is_reached_exactly(fields: SimpleNamespace, name: str, steps: int, kind: str) -> None:
    x = walk(name, fields.point(0.7), (*timesteps(kind, steps, 3.0), 0.0), START.clone())
    torch.testing.assert_close(x, torch.full_like(x, 0.7), rtol=0, atol=1e-10)


@pytest.mark.parametrize(("name", "order"), [("euler", 1), ("heun", 2), ("dpmpp", 2)])
def test_convergence_order_on_a_nonlinear_field(fields: SimpleNamespace, name: str, order: int) -> None:
    high, low = 0.95, 0.05

    def slope(t: float, x: np.ndarray) -> np.ndarray:
        return fields.two_bumps(torch.from_numpy(x), t).numpy()

    exact = solve_ivp(slope, (high, low), START.flatten().numpy(), rtol=1e-11, atol=1e-12, method="DOP853").y[:, -1]
    errors = []
    for steps in (64, 128, 256):
        ts = [high + (low - high) * i / steps for i in range(steps + 1)]
        end = walk(name, fields.two_bumps, ts, START.clone())
        errors.append(np.abs(end.flatten().numpy() - exact).max())
    measured = [math.log2(a / b) for a, b in pairwise(errors)]
    assert measured == pytest.approx([order, order], abs=0.25), errors


@pytest.mark.parametrize(("name", "tolerance"), [("euler", 0.05), ("heun", 2e-3), ("dpmpp", 1e-2)])
def test_a_gaussian_target_is_reached_from_pure_noise(fields: SimpleNamespace, name: str, tolerance: float) -> None:
    """The exact flow of N(m, s²) takes noise ε to m + s·ε; over the whole way, infinities of log-SNR at t = 1 included."""
    end = walk(name, fields.gaussian(0.5, 0.8), (*timesteps("linear", 64, 1.0), 0.0), START.clone())
    torch.testing.assert_close(end, 0.5 + 0.8 * START, rtol=0, atol=tolerance)


def test_sde_keeps_to_the_recursion_of_its_own_variance(fields: SimpleNamespace) -> None:
    """x' = (1 − t')·E[x0|x] + t'·noise is linear for a Gaussian target, so mean and deviation of its end are known."""
    mean, std, ts = 0.5, 0.8, timesteps("turbo", 8, 3.0)
    x = torch.randn(1, 40_000, 1, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    end = walk("sde", fields.gaussian(mean, std), (*ts, 0.0), x)
    variance = 1.0
    for t, t_next in zip(ts, (*ts[1:], 0.0), strict=True):
        gain = (1 - t) * std**2 / (((1 - t) * std) ** 2 + t * t)
        variance = ((1 - t_next) * gain) ** 2 * variance + t_next**2
    assert end.mean().item() == pytest.approx(mean, abs=0.01)
    assert end.std().item() == pytest.approx(math.sqrt(variance), rel=0.02)


def test_sde_returns_to_exactly_the_schedules_next_level() -> None:
    x, x0, fresh = (torch.randn(1, 5, 3, generator=torch.Generator().manual_seed(i)) for i in range(3))
    out, _ = SOLVERS["sde"](lambda at, t: Prediction.of_clean(at, x0, t), x, 0.9, 0.6, {}, lambda: fresh)
    torch.testing.assert_close(out, 0.4 * x0 + 0.6 * fresh)


def test_the_step_to_zero_is_one_evaluation_and_draws_nothing() -> None:
    def no_noise() -> torch.Tensor:
        raise AssertionError("noise drawn for a step to 0")

    for name, solver in SOLVERS.items():
        asked: list[float] = []

        def denoise(at: torch.Tensor, t: float, asked: list[float] = asked) -> Prediction:
            asked.append(t)
            return Prediction.of_clean(at, torch.ones_like(at), t)

        end, state = solver(denoise, START.float(), 0.3, 0.0, {"x0": START.float(), "t": torch.tensor(0.5)}, no_noise)
        assert asked == [0.3] and state == {}, name
        assert torch.equal(end, torch.ones_like(end))


def test_heun_asks_at_both_ends() -> None:
    asked: list[float] = []

    def denoise(at: torch.Tensor, t: float) -> Prediction:
        asked.append(t)
        return Prediction.of_velocity(at, at * t, t)

    x = torch.ones(1, 1, 1, dtype=torch.float64)
    end, _ = SOLVERS["heun"](denoise, x, 0.8, 0.6, {}, lambda: x)
    ahead = 1 - 0.2 * 0.8
    assert asked == [0.8, 0.6]
    assert end.item() == pytest.approx(1 - 0.1 * (0.8 + 0.6 * ahead))


# --- peers ------------------------------------------------------------------------------------------------------------


def test_euler_is_the_peers_step(fields: SimpleNamespace) -> None:
    ts = timesteps("linear", 8, 3.0)
    peer = FlowMatchEulerDiscreteScheduler(num_train_timesteps=1, shift=1.0)
    peer.set_timesteps(sigmas=list(ts))
    x = START.float()
    for t in peer.timesteps:
        x = peer.step(fields.two_bumps(x, float(t)), t, x, return_dict=False)[0]
    torch.testing.assert_close(walk("euler", fields.two_bumps, (*ts, 0.0), START.float()), x, rtol=1e-5, atol=1e-5)


def test_dpmpp_is_the_peers_step(fields: SimpleNamespace) -> None:
    """diffusers' DPM-Solver++(2M) on flow-matching sigmas, on its own grid."""
    peer = DPMSolverMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0, final_sigmas_type="zero"
    )
    peer.set_timesteps(20)
    sigmas = [float(s) for s in peer.sigmas]
    x = START.float()
    for sigma, t in zip(sigmas, peer.timesteps, strict=False):
        x = peer.step(fields.two_bumps(x, sigma), t, x, return_dict=False)[0]
    torch.testing.assert_close(walk("dpmpp", fields.two_bumps, sigmas, START.float()), x, rtol=1e-4, atol=1e-4)


def test_an_unknown_solver_is_told() -> None:
    with pytest.raises(RequestError, match="Did you mean 'euler'"):
        solver_named("eular")

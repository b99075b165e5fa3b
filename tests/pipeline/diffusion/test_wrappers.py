"""Other conventions as flow matching: optimal networks for a Gaussian, written in their own convention, reach its m and s."""

from __future__ import annotations

import math

import pytest
import torch
from diffusers import EDMDPMSolverMultistepScheduler, EDMEulerScheduler
from segue.pipeline.diffusion.denoiser import COND
from segue.pipeline.diffusion.guidance import make_guidance
from segue.pipeline.diffusion.loop import sample
from segue.pipeline.diffusion.schedules import timesteps
from segue.pipeline.diffusion.timeline import Timeline
from segue.pipeline.diffusion.wrappers import EDMDenoiser, VPredictionDenoiser, sigma_of
from segue.pipeline.errors import RequestError

MEAN, STD = 0.5, 0.8
PLAIN = make_guidance("none", scale=1.0)
X = torch.randn(1, 4000, 1, generator=torch.Generator().manual_seed(5), dtype=torch.float64)


class VNetwork:
    """The optimal v-prediction for N(MEAN, STD²): z = cos φ·x0 + sin φ·n; E[v|z] by Gaussian regression."""

    def __init__(self) -> None:
        self.levels: list[float] = []

    def switch(self, condition: object) -> None:
        self.condition = condition

    def predict(self, z: torch.Tensor, level: float, branches: tuple[str, ...]) -> tuple[torch.Tensor, ...]:
        self.levels.append(level)
        phi = level * math.pi / 2
        c, s = math.cos(phi), math.sin(phi)
        off = (z - c * MEAN) / ((c * STD) ** 2 + s**2)
        x0, noise = MEAN + c * STD**2 * off, s * off
        return tuple(c * noise - s * x0 for _ in branches)


class EDMNetwork:
    """The optimal network under EDM preconditioning: F = (D − c_skip·x)/c_out with D = E[x0|x] in the EDM's own scale."""

    def __init__(self, sigma_data: float, prediction: str) -> None:
        self.sigma_data, self.prediction = sigma_data, prediction

    def switch(self, condition: object) -> None:
        self.condition = condition

    def predict(self, scaled: torch.Tensor, level: float, branches: tuple[str, ...]) -> tuple[torch.Tensor, ...]:
        sigma = math.exp(4 * level) if self.prediction == "edm" else math.tan(level * math.pi / 2)
        d = self.sigma_data
        root = math.sqrt(sigma**2 + d**2)
        x = scaled * root
        best = (STD**2 * x + sigma**2 * MEAN) / (STD**2 + sigma**2)
        c_skip, c_out = d**2 / root**2, (1 if self.prediction == "edm" else -1) * sigma * d / root
        return tuple((best - c_skip * x) / c_out for _ in branches)


def wrapped(kind: str) -> VPredictionDenoiser | EDMDenoiser:
    if kind == "v-prediction":
        return VPredictionDenoiser(VNetwork())
    prediction, d = kind.split()
    return EDMDenoiser(EDMNetwork(float(d), prediction), float(d), prediction)


WRAPPERS = ("v-prediction", "edm 0.5", "edm 1.0", "v 1.0", "v 0.7")


@pytest.mark.parametrize("kind", WRAPPERS)
@pytest.mark.parametrize("t", [0.999, 0.8, 0.5, 0.2, 1e-3])
def test_the_velocity_is_the_flows_own(fields, kind: str, t: float) -> None:
    (v,) = wrapped(kind).velocity(X, t, (COND,))
    torch.testing.assert_close(v, fields.gaussian(MEAN, STD)(X, t), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("kind", WRAPPERS)
@pytest.mark.parametrize(("solver", "tolerance"), [("euler", 0.05), ("heun", 2e-3), ("dpmpp", 5e-3)])
def test_solvers_reach_the_distribution(noise, kind: str, solver: str, tolerance: float) -> None:
    """From x at σ_max the exact flow gives m + s·ε for the ε the state holds; the Karras schedule, 60 steps."""
    ts = timesteps("karras", 60, 1.0)
    sigma = sigma_of(ts[0])
    spread = math.sqrt(STD**2 + sigma**2)
    x = (MEAN + spread * X) / (1 + sigma)
    out = sample(wrapped(kind), Timeline.single("c"), ts, x, solver=solver, guidance=PLAIN, noise=noise).x
    torch.testing.assert_close(out, MEAN + STD * X, rtol=0, atol=4 * tolerance)
    assert out.mean().item() == pytest.approx(MEAN + STD * X.mean().item(), abs=tolerance)
    assert out.std().item() == pytest.approx(STD * X.std().item(), abs=tolerance)


@pytest.mark.parametrize("kind", WRAPPERS)
def test_sde_reaches_its_known_mean_and_spread(fields, recorder, noise, kind: str) -> None:
    """The SDE solver over a wrapper is, number for number, the SDE solver over the flow's own field."""
    ts = timesteps("karras", 20, 1.0)
    own = sample(recorder(), Timeline.single(fields.gaussian(MEAN, STD)), ts, X, solver="sde", guidance=PLAIN, noise=noise).x
    out = sample(wrapped(kind), Timeline.single("c"), ts, X, solver="sde", guidance=PLAIN, noise=noise).x
    torch.testing.assert_close(out, own, rtol=1e-6, atol=1e-6)
    assert out.mean().item() == pytest.approx(MEAN, abs=0.05)


def test_v_prediction_starts_at_pure_noise_and_hands_on_levels() -> None:
    denoiser = VPredictionDenoiser(network := VNetwork())
    (v,) = denoiser.velocity(X, 1.0, (COND,))
    torch.testing.assert_close(v, X - MEAN)
    denoiser.velocity(X, 0.5, (COND,))
    assert network.levels == pytest.approx([1.0, 0.5])
    denoiser.switch("condition")
    assert network.condition == "condition"


class Fixed:
    """A network of no sense: its output is a fixed function of its input, so that only the wrapping is compared."""

    def switch(self, condition: object) -> None:
        self.condition = condition

    def predict(self, x: torch.Tensor, level: float, branches: tuple[str, ...]) -> tuple[torch.Tensor, ...]:
        return tuple(torch.tanh(x * (i + 1) + level) for i, _ in enumerate(branches))


@pytest.mark.parametrize("t", [1.0, 0.9, 0.3, 0.01])
def test_v_prediction_is_edms_v_scaling_at_unit_deviation(t: float) -> None:
    pair = (VPredictionDenoiser(Fixed()), EDMDenoiser(Fixed(), 1.0, "v"))
    one, other = (d.velocity(X, t, ("cond", "null")) for d in pair)
    for a, b in zip(one, other, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("prediction", "named"), [("edm", "epsilon"), ("v", "v_prediction")])
@pytest.mark.parametrize("scheduler", [EDMEulerScheduler, EDMDPMSolverMultistepScheduler])
def test_edm_is_the_peers_preconditioning(scheduler: type, prediction: str, named: str) -> None:
    peer = scheduler(sigma_data=0.6, prediction_type=named)
    for t in (0.95, 0.6, 0.1):
        sigma = torch.tensor(sigma_of(t), dtype=torch.float64)
        x_edm = X * (1 + sigma)
        level = float(peer.precondition_noise(sigma)) if prediction == "edm" else float(sigma.atan() / math.pi * 2)
        output = torch.tanh(peer.precondition_inputs(x_edm, sigma) + level)
        clean = peer.precondition_outputs(x_edm, output, sigma)
        (v,) = EDMDenoiser(Fixed(), 0.6, prediction).velocity(X, t, (COND,))
        torch.testing.assert_close(v, (X - clean) / t, rtol=1e-6, atol=1e-6)


def test_levels_the_network_does_not_know_are_refused(noise) -> None:
    with pytest.raises(RequestError, match="karras"):
        EDMDenoiser(Fixed()).velocity(X, 1.0, (COND,))
    with pytest.raises(RequestError, match="sigma 80"):
        EDMDenoiser(Fixed(), sigma_max=80.0).velocity(X, 81 / 82, (COND,))
    denoiser = EDMDenoiser(Fixed(), sigma_max=80.0)
    sample(denoiser, Timeline.single("c"), timesteps("karras", 3, 1.0), X, guidance=PLAIN, noise=noise)
    EDMDenoiser(Fixed(), 1.0, "v").velocity(X, 1.0, (COND,))
    with pytest.raises(RequestError, match="sigma_data"):
        EDMDenoiser(Fixed(), 0.0)

"""Networks trained in other conventions, presented as flow-matching velocity denoisers.

A trajectory with noise-to-signal ratio σ is the same whatever its scale: σ = t/(1 − t), x_flow = x_edm/(1 +
σ). The maps below are written without σ itself, so that nothing overflows at t = 1 or divides by t near 0.
This module knows no concrete network: a `Network` predicts in its own convention.
"""

from __future__ import annotations

import math
from typing import Literal, Protocol

from torch import Tensor

from ..errors import Problem, RequestError
from .denoiser import Condition


class Network(Protocol):
    """A network in its own convention."""

    def switch(self, condition: Condition) -> None:
        """As `Denoiser.switch`."""

    def predict(self, x: Tensor, level: float, branches: tuple[str, ...]) -> tuple[Tensor, ...]:
        """The network's own prediction for its own (scaled) input and noise level, for each branch."""


def sigma_of(t: float) -> float:
    """σ = t/(1 − t): the noise-to-signal ratio at level t; infinite at 1."""
    return t / (1.0 - t) if t < 1.0 else math.inf


class VPredictionDenoiser:
    """v-prediction in the trigonometric, variance-preserving convention of Stable Audio.

    (Salimans & Ho 2022, arXiv 2202.00512, app. D.) z = cos φ·x0 + sin φ·noise, v = cos φ·noise − sin φ·x0;
    the network sees z and φ·2/π in [0, 1].

    With n = √((1 − t)² + t²): cos φ = (1 − t)/n, sin φ = t/n, z = x/n, and noise − x0 = (sin φ − cos φ)·z +
    (cos φ + sin φ)·v.
    """

    def __init__(self, network: Network) -> None:
        self.network = network

    def switch(self, condition: Condition) -> None:
        """Hand the condition on to the network."""
        self.network.switch(condition)

    def velocity(self, x: Tensor, t: float, branches: tuple[str, ...]) -> tuple[Tensor, ...]:
        """Velocity `[B, T, D]` of each branch for the flow-matching state `x` at t in [0, 1]."""
        length = math.hypot(1.0 - t, t)
        cosine, sine = (1.0 - t) / length, t / length
        z = x / length
        outputs = self.network.predict(z, math.atan2(t, 1.0 - t) * 2.0 / math.pi, branches)
        return tuple((sine - cosine) * z + (cosine + sine) * v for v in outputs)


class EDMDenoiser:
    """A network under EDM preconditioning, for data of deviation σ_d (Karras et al. 2022, table 1):

    D(x; σ) = c_skip·x + c_out·F(c_in·x; c_noise), c_skip = σ_d²/(σ² + σ_d²), c_in = 1/√(σ² + σ_d²).

    - ``edm``: c_out = +σ·σ_d/√(σ² + σ_d²), c_noise = ln(σ)/4.
    - ``v``: c_out = −σ·σ_d/√(σ² + σ_d²), c_noise = atan(σ)·2/π, the scaling of k-diffusion's v-prediction
      models and of diffusers' CosineDPMSolverMultistepScheduler (with σ_d = 1 the same as
      `VPredictionDenoiser`).

    With S = t² + σ_d²·(1 − t)² and D put into v = (x − D)/t: v = x·(t − σ_d²·(1 − t))/S ∓ σ_d/√S·F, network
    input x/√S. `sigma_max`: the largest σ the network was trained for; a `RequestError` above it (``edm``
    has no level for t = 1).
    """

    def __init__(
        self,
        network: Network,
        sigma_data: float = 0.5,
        prediction: Literal["edm", "v"] = "edm",
        sigma_max: float | None = None,
    ) -> None:
        if not sigma_data > 0 or prediction not in ("edm", "v"):
            raise RequestError(
                Problem(
                    f"sigma_data {sigma_data}, prediction '{prediction}'.",
                    "sigma_data above 0; prediction 'edm' or 'v'.",
                )
            )
        self.network, self.sigma_data, self.prediction = network, sigma_data, prediction
        self.sigma_max = math.inf if sigma_max is None else sigma_max

    def switch(self, condition: Condition) -> None:
        """Hand the condition on to the network."""
        self.network.switch(condition)

    def velocity(self, x: Tensor, t: float, branches: tuple[str, ...]) -> tuple[Tensor, ...]:
        """Velocity `[B, T, D]` of each branch for the flow-matching state `x` at t in (0, 1]."""
        size = t * t + (self.sigma_data * (1.0 - t)) ** 2
        root = math.sqrt(size)
        skip = (t - self.sigma_data**2 * (1.0 - t)) / size
        gain = self.sigma_data / root if self.prediction == "v" else -self.sigma_data / root
        outputs = self.network.predict(x / root, self._level(t), branches)
        return tuple(skip * x + gain * f for f in outputs)

    def _level(self, t: float) -> float:
        sigma = sigma_of(t)
        if sigma > self.sigma_max * (1 + 1e-9) or (self.prediction == "edm" and not math.isfinite(sigma)):
            limit = self.sigma_max / (1 + self.sigma_max) if math.isfinite(self.sigma_max) else 1.0
            raise RequestError(
                Problem(
                    f"the network knows noise levels up to t = {limit:.6g} (sigma {self.sigma_max:g}), not t = {t:.6g}.",
                    fix="schedule: karras, or timesteps that start lower.",
                    key="schedule",
                )
            )
        return math.log(sigma) / 4.0 if self.prediction == "edm" else math.atan(sigma) * 2.0 / math.pi

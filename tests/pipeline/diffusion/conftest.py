"""Analytic velocity fields and a recording denoiser: networks whose right answer is known in closed form."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

Field = Callable[[Tensor, float], Tensor]


def point(target: float | Tensor) -> Field:
    """Every trajectory ends in `target`: v = (x − target)/t."""
    return lambda x, t: (x - target) / t


def gaussian(mean: float, std: float) -> Field:
    """The exact field for data N(mean, std²): v = E[noise − x0 | x]."""

    def field(x: Tensor, t: float) -> Tensor:
        variance = ((1 - t) * std) ** 2 + t * t
        off = x - (1 - t) * mean
        return t / variance * off - (mean + (1 - t) * std**2 / variance * off)

    return field


def two_bumps(x: Tensor, t: float) -> Tensor:
    """The exact field for data ½N(−1, 0.3²) + ½N(1, 0.3²): nonlinear in x and in t."""
    std = 0.3
    variance = ((1 - t) * std) ** 2 + t * t
    means = (-1.0, 1.0)
    logits = torch.stack([-((x - (1 - t) * m) ** 2) / (2 * variance) for m in means])
    weights = logits.softmax(0)
    x0 = sum(w * (m + (1 - t) * std**2 / variance * (x - (1 - t) * m)) for w, m in zip(weights, means, strict=True))
    return (x - x0) / t


class Recorder:
    """A denoiser over analytic fields: the condition maps branch names to fields (or is one field for all)."""

    def __init__(self) -> None:
        self.switches: list[object] = []
        self.calls: list[tuple[float, tuple[str, ...], object]] = []
        self.states: list[Tensor] = []

    def switch(self, condition: object) -> None:
        self.switches.append(condition)

    def velocity(self, x: Tensor, t: float, branches: tuple[str, ...]) -> tuple[Tensor, ...]:
        condition = self.switches[-1]
        self.calls.append((t, branches, condition))
        self.states.append(x.clone())
        return tuple((condition[b] if isinstance(condition, dict) else condition)(x, t) for b in branches)

    @property
    def rows(self) -> int:
        return sum(len(branches) for _, branches, _ in self.calls)


def drawn(purpose: str, step: int, shape: tuple[int, ...]) -> Tensor:
    """Noise by (purpose, step), as a run gives it."""
    generator = torch.Generator().manual_seed(zlib.crc32(f"{purpose}/{step}".encode()))
    return torch.randn(tuple(shape), generator=generator)


@pytest.fixture(scope="session")
def fields() -> SimpleNamespace:
    return SimpleNamespace(point=point, gaussian=gaussian, two_bumps=two_bumps)


@pytest.fixture(scope="session")
def recorder() -> type[Recorder]:
    return Recorder


@pytest.fixture(scope="session")
def noise() -> Callable[..., Tensor]:
    return drawn

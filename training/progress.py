"""Where a training run stands: parameters, optimizer, their average, steps and seconds spent; saved and resumed whole."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import torch

from .average import Average


def write(state: Any, path: Path) -> None:
    """Save ``state`` whole or not at all: a run may be killed meanwhile, and another process may be reading."""
    fresh = path.with_suffix(".tmp")
    torch.save(state, fresh)
    fresh.replace(path)


class Progress:
    """One run's state. ``minutes`` of wall clock, or ``steps`` where given, are its budget."""

    def __init__(
        self, parameters: list[torch.nn.Parameter], optimizer: torch.optim.Optimizer, average: Average, *,
        minutes: float, steps: int | None = None,
    ) -> None:  # fmt: skip
        self.parameters, self.optimizer, self.average = parameters, optimizer, average
        self.minutes, self.steps = minutes, steps
        self.step, self.spent_s = 0, 0.0
        self._began = time.monotonic()

    def begin(self) -> None:
        """Start the clock, behind which lies what was spent before a resume."""
        self._began = time.monotonic() - self.spent_s

    def tick(self) -> None:
        """Read the clock."""
        self.spent_s = time.monotonic() - self._began

    def share(self) -> float:
        """How much of the budget is spent, 0 … 1."""
        return self.step / self.steps if self.steps else self.spent_s / (60 * self.minutes)

    def set_rate(self, peak: float, *, warmup: int, floor: float = 0.03) -> None:
        """Linear warm-up over ``warmup`` steps, then a half cosine over the budget down to ``floor`` of the peak."""
        cosine = floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * self.share()))
        for group in self.optimizer.param_groups:
            group["lr"] = peak * min(1.0, (self.step + 1) / warmup) * cosine

    def descend(self, loss: torch.Tensor, *, longest: float = 1.0) -> None:
        """One step down ``loss``; gradients longer than ``longest`` are shortened to it."""
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.follow(longest=longest)

    def follow(self, *, longest: float = 1.0) -> None:
        """One step along the gradients that the parameters hold."""
        torch.nn.utils.clip_grad_norm_(self.parameters, longest)
        self.optimizer.step()
        self.step += 1
        self.average.update(self.step)

    def save(self, path: Path) -> None:
        """Write all that ``restore`` needs."""
        state = {
            "parameters": [p.detach() for p in self.parameters], "average": self.average.shadow,
            "optimizer": self.optimizer.state_dict(), "step": self.step, "spent_s": self.spent_s,
        }  # fmt: skip
        write(state, path)

    def restore(self, path: Path) -> None:
        """Go on where ``save`` was called."""
        state: dict[str, Any] = torch.load(path, map_location=self.parameters[0].device, weights_only=True)
        with torch.no_grad():
            for parameter, value in zip(self.parameters, state["parameters"], strict=True):
                parameter.copy_(value)
        self.average.shadow = list(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.spent_s = state["step"], state["spent_s"]

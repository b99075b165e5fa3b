"""A parameter that is either fixed or drawn: the types a preset may write, and the drawing.

Every parameter has its own generator, seeded by the take's seed and the parameter's name, so adding an effect never
changes what another one draws. Knows no effect.
"""

from __future__ import annotations

import hashlib
from typing import TypeVar

import numpy as np
from pydantic import AfterValidator, Field

T = TypeVar("T")


def within(low: float, high: float, unit: str) -> AfterValidator:
    """Validator: a number, or a pair [from, to] in order, inside [low, high]."""

    def check(value: float | tuple[float, float]) -> float | tuple[float, float]:
        ends = value if isinstance(value, tuple) else (value,)
        for end in ends:
            if not low <= end <= high:
                raise ValueError(f"{end:g} {unit} is outside {low:g} to {high:g} {unit}".replace("  ", " ").rstrip())
        if ends[0] > ends[-1]:
            raise ValueError(f"[{ends[0]:g}, {ends[-1]:g}] runs backwards; write [low, high] with low <= high")
        return value

    return AfterValidator(check)


Number = float | tuple[float, float]
Whole = int | tuple[int, int]
SOME = Field(min_length=1)  # for lists to draw from


class Draws:
    """Parameters of one take: `number` and `whole` are uniform in [low, high], `choice` is uniform over a list."""

    def __init__(self, seed: int, purpose: str) -> None:
        self._seed, self._purpose = seed, purpose

    def _generator(self, name: str) -> np.random.Generator:
        text = f"{self._purpose}.{name}"
        words = np.frombuffer(hashlib.sha256(f"segue.draw.1/{self._seed}/{text}".encode()).digest(), dtype=np.uint32)
        return np.random.Generator(np.random.PCG64(np.random.SeedSequence([int(w) for w in words])))

    def number(self, name: str, value: Number) -> float:
        """A fixed number as it stands; a pair drawn uniformly."""
        if isinstance(value, tuple):
            return float(self._generator(name).uniform(value[0], value[1]))
        return float(value)

    def whole(self, name: str, value: Whole) -> int:
        """A fixed whole number as it stands; a pair drawn uniformly, both ends included."""
        if isinstance(value, tuple):
            return int(self._generator(name).integers(value[0], value[1], endpoint=True))
        return int(value)

    def choice(self, name: str, value: T | tuple[T, ...]) -> T:
        """A single value as it stands; one of several, each as likely."""
        if isinstance(value, tuple):
            chosen: T = value[int(self._generator(name).integers(len(value)))]
            return chosen
        return value

"""A step given to a process of a Ray cluster, and what is said when none comes back."""

from __future__ import annotations

import dataclasses
from concurrent.futures import Future
from typing import Any

from ..pipeline.errors import RunError

RETRIES = 2  # times that Ray does a step again whose process has died


@dataclasses.dataclass(eq=False)
class Call:
    """A step given away. `place` is the process among those with the model, or (`weights` None) among those beside it."""

    number: int
    stage: str | None  # None: keep
    weights: str | None
    place: int = -1
    future: Future[Any] = dataclasses.field(default_factory=Future)
    given_up: bool = False  # its process doesn't answer, and the runner was told so

    def what(self) -> str:
        return f"{'writing its takes' if self.stage is None else f'stage {self.stage!r}'} of job {self.number}"

    def lost(self, error: Exception) -> RunError:
        """What the runner hears of a process that died, by what Ray says of it."""
        made = RunError(f"{self.what()}: its process on the Ray cluster died, and so it did when Ray tried again, "
                        f"{RETRIES} times ({told(error)}). Was it short of memory?")  # fmt: skip
        made.__cause__ = error
        return made


def told(error: Exception) -> str:
    """The first words of an error of Ray's that say something, on one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines or [type(error).__name__])[0][:300]

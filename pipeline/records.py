"""What the catalog remembers, as plain records: runs, stages, takes. Knows no database."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from .atomic import process_alive
from .context import Numerics

Status = Literal["running", "done", "failed", "cancelled"]


@dataclass(frozen=True)
class RunRecord:
    """One run. `yaml` is the preset's text, `options` what else it was started with (inputs, out folder …);
    times are ISO 8601 UTC. `interrupted`: it says running, but its process is gone."""

    id: str
    preset: str
    yaml: str
    seed: int
    numerics: Numerics
    options: Mapping[str, Any]
    created: str
    finished: str | None
    status: Status
    message: str
    process: str

    @property
    def alive(self) -> bool:
        """Whether a process is working on it right now."""
        return self.status == "running" and process_alive(self.process)

    @property
    def interrupted(self) -> bool:
        return self.status == "running" and not self.alive

    @property
    def resumable(self) -> bool:
        """Whether `segue runs resume` has something to do."""
        return self.status != "done" and not self.alive

    @property
    def ended(self) -> str | None:
        """When it was last heard of, ISO 8601 UTC: its end, or its beginning where it was killed; None while it runs."""
        return None if self.alive else self.finished or self.created


@dataclass(frozen=True)
class Pin:
    """A run not yet done, and the keys of the takes it would go on from: kept in the store until it is done or forgotten."""

    run: RunRecord
    keys: frozenset[str]


@dataclass(frozen=True)
class TakeRecord:
    """One take of a run, as the catalog remembers it (`prompt` and `report` as plain data)."""

    stage: str
    index: int
    seed: int
    key: str
    cached: bool
    duration_s: float
    prompt: Mapping[str, Any]
    overall: float | None
    report: Mapping[str, Any] | None
    audio: str | None

    @property
    def id(self) -> str:
        return f"{self.stage}/{self.index}"


@dataclass(frozen=True)
class StageRecord:
    """One stage of a run: what it took."""

    name: str
    type: str
    variant: str | None
    seconds: float
    cached: int
    takes: int
    steps_run: int
    forwards: int

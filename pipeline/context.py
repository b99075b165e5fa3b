"""What a stage may ask for while it runs, what it is handed (`Job`) and what it gives back (`Result`).

A stage never sees the executor; it sees a `Context`. This module knows no stage type and no store.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch

from ..scoring.report import QualityReport
from .prompt import Prompt
from .take import Audio, Latent, Take

if TYPE_CHECKING:
    from .models.base import Model, VariantInfo


@dataclass(frozen=True)
class Numerics:
    """What decides bytes besides spec, seed and weights; fixed when a run is created, part of every key.

    `tile_frames` is the latent chunk of autoencoder decoding (0: whole). `micro_batch` is how many takes share a forward.
    """

    device: str = "cpu"
    dtype: str = "float32"
    threads: int = 1
    micro_batch: int = 1
    tile_frames: int = 0
    versions: Mapping[str, str] = field(default_factory=dict)

    def portable(self) -> Numerics:
        """The same without the device's number: cuda:1 gives what cuda:0 gives."""
        return replace(self, device=self.device.split(":")[0])


@dataclass(frozen=True)
class Job:
    """One take to be made: its index and seed in this stage, its prompt in full, and its source takes.

    `sources` are by the key that names them in the spec (``source``, ``sources[1]``, ``timbre``).
    """

    index: int
    seed: int
    prompt: Prompt
    sources: Mapping[str, Take]
    key: str

    @property
    def source(self) -> Take:
        """The source named by `source`."""
        return self.sources["source"]

    @property
    def main(self) -> Take | None:
        """The take this job works on: `source`, else the first of `sources`; None for a stage that starts from nothing."""
        return main_of(self.sources)


def main_of(sources: Mapping[str, Take]) -> Take | None:
    """The take worked on among sources by key; references such as `timbre` are never it."""
    return sources.get("source") or sources.get("sources[0]")


@dataclass(frozen=True, eq=False)
class Result:
    """What a stage made of a job. Views left None are as the source has them only if `same_signal` is set. `decodes`: the
    sound is what the latent decodes to (filled in when the stage is done, from what it gave).

    `facts` go into the take's lineage (plain JSON data: drawn parameters, steps run, peak gain, file names …).
    `prompt` is laid over the job's prompt. `steps_run` and `forwards` are counted per take.
    """

    audio: Audio | None = None
    latent: Latent | None = None
    same_signal: bool = False
    prompt: Prompt | None = None
    report: QualityReport | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    steps_run: int = 0
    forwards: int = 0
    decodes: bool = False


class Context(Protocol):
    """What a stage may ask for while it runs."""

    stage: str                     # this stage's name
    preset: str                    # the preset's text, its seed decided
    run_seed: int
    numerics: Numerics
    out: Path | None               # the run's folder, for stages that write files
    created: str                   # the run's creation time, ISO 8601 UTC, the same after a resume

    def info(self, variant: str | None, task: str | None = None) -> VariantInfo:
        """Facts of a variant, without loading weights."""

    def model(self, stage: Any) -> Model:
        """The loaded weights a `DiffusionStage` asks for (variant, adapters), on the device."""

    def latent(self, take: Take, info: VariantInfo) -> Latent:
        """The take's latent in the variant's autoencoder; encodes (counted, once per take) only when there is none."""

    def audio(self, take: Take, rate_hz: int | None = None, channels: int | None = None) -> Audio:
        """The take's audio, resampled and up/down-mixed when asked."""

    def noise(self, seed: int, purpose: str, step: int, shape: Sequence[int]) -> torch.Tensor:
        """Standard normal noise, float32 on the CPU, from one generator per (seed, purpose, step)."""

    def step(self, jobs: Sequence[Job], step: int, steps: int) -> None:
        """Report a finished denoising step; raises `Cancelled` when a stop was asked for."""

    def warn(self, message: str) -> None:
        """Tell the user, without stopping."""

    def path(self, text: str) -> Path:
        """A path of the preset as a real one."""

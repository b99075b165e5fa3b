"""`separate`: one stem out of a mix, by torchaudio's Hybrid Demucs (Défossez 2021, arXiv 2111.03600).

An extra (`segue-audio[torchaudio]`), imported only when the stage is used. Knows nothing of the generating models, whose
own way to a stem is `extract`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field

from ..pipeline.audio_file import remix, resample
from ..pipeline.context import Context, Job, Result
from ..pipeline.errors import Problem, RunError
from ..pipeline.scope import Scope
from ..pipeline.spec import Name, Stage
from ..pipeline.take import Audio
from ..pipeline.torchaudio_extra import torchaudio_problem
from ..scoring.adapters import AdapterError
from ..scoring.adapters.hdemucs import RATE_HZ, STEMS, load_hdemucs, stems_of
from .kept import kept

Stem = Literal["drums", "bass", "other", "vocals"]
_NEED = "stage type 'separate'"


class Separate(Stage):
    """One stem (drums, bass, other, vocals) of a mix, by Hybrid Demucs."""

    version: ClassVar[int] = 1
    reads_prompt: ClassVar[frozenset[str]] = frozenset()
    type: Literal["separate"] = "separate"
    source: Name
    stem: Stem = Field(description="drums, bass, other or vocals")
    weights: str | None = Field(
        None, min_length=1, max_length=1000,
        description="state dict of torchaudio's hdemucs_high (.safetensors or .pt), relative to the preset; left out: "
        "the bundle HDEMUCS_HIGH_MUSDB_PLUS, which torchaudio downloads once",
    )
    segment_s: float = Field(10.0, ge=1, le=120, description="length of the pieces worked on, in seconds")
    overlap_s: float = Field(1.0, ge=0, le=10, description="cross-fade between pieces, in seconds; under half a piece")

    def check(self, scope: Scope) -> Iterator[Problem]:
        """torchaudio must load, the weights must be there, and pieces must be longer than two cross-fades."""
        problem = torchaudio_problem(_NEED)
        if problem is not None:
            yield problem.at(stage=scope.stage, key="type")
        if self.weights is not None:
            path = scope.path(self.weights)
            if path.suffix not in (".safetensors", ".pt"):
                yield scope.problem(f"'{path.name}' is no .safetensors or .pt file.", "name a state dict", "weights")
            elif not path.is_file():
                yield scope.problem(f"there is no weights file '{path}'.", "write the path of one", "weights")
        if 2 * self.overlap_s >= self.segment_s:
            yield scope.problem(
                f"cross-fades of {self.overlap_s:g} s don't fit into pieces of {self.segment_s:g} s.",
                f"write overlap_s below {self.segment_s / 2:g}", "overlap_s",
            )

    def weight_paths(self) -> tuple[str, ...]:
        return (self.weights,) if self.weights is not None else ()

    def run(self, jobs: Sequence[Job], ctx: Context) -> list[Result]:
        model = kept(ctx, lambda: self._model(ctx))
        return [self._one(model, job, ctx) for job in jobs]

    def _model(self, ctx: Context) -> torch.nn.Module:
        try:
            model: torch.nn.Module = load_hdemucs(str(ctx.path(self.weights)) if self.weights else None, ctx.numerics.device)
        except AdapterError as error:
            raise RunError(f"stage '{ctx.stage}': {error}") from error
        return model

    def _one(self, model: torch.nn.Module, job: Job, ctx: Context) -> Result:
        source = ctx.audio(job.source)
        mix = remix(resample(source, RATE_HZ), 2).samples.to(ctx.numerics.device)
        stems = stems_of(model, mix, segment_s=self.segment_s, overlap_s=self.overlap_s)
        stem = resample(Audio(stems[STEMS.index(self.stem)].cpu(), RATE_HZ), source.rate_hz).samples
        length = source.samples.shape[-1]
        stem = torch.nn.functional.pad(stem[:, :length], (0, max(0, length - stem.shape[-1])))
        facts: dict[str, Any] = {"stem": self.stem, "weights": self.weights or "HDEMUCS_HIGH_MUSDB_PLUS"}
        return Result(audio=Audio(stem.contiguous(), source.rate_hz), facts=facts)

"""`separate`: one stem out of a mix, by torchaudio's Hybrid Demucs (Défossez 2021, arXiv 2111.03600).

An extra (`segue-audio[torchaudio]`), imported only when the stage is used. Knows nothing of the generating models, whose
own way to a stem is `extract`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field

from ..pipeline.audio_file import remix, resample
from ..pipeline.context import Context, Job, Result
from ..pipeline.errors import Problem, RunError
from ..pipeline.scope import Scope
from ..pipeline.spec import Name, Stage
from ..pipeline.take import Audio
from ..pipeline.torchaudio_extra import import_torchaudio, torchaudio_problem
from .kept import kept

Stem = Literal["drums", "bass", "other", "vocals"]
STEMS: tuple[str, ...] = ("drums", "bass", "other", "vocals")  # the order of the model's outputs
RATE_HZ = 44_100
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
        torchaudio = import_torchaudio(_NEED)
        if self.weights is None:
            model = torchaudio.pipelines.HDEMUCS_HIGH_MUSDB_PLUS.get_model()
        else:
            model = torchaudio.models.hdemucs_high(sources=list(STEMS))
            path = ctx.path(self.weights)
            try:
                model.load_state_dict(_state_dict(str(path)))
            except (OSError, RuntimeError, KeyError, ValueError) as error:
                raise RunError(
                    f"stage '{ctx.stage}': '{path}' does not hold the weights of hdemucs_high: {str(error)[:300]}"
                ) from error
        return model.to(ctx.numerics.device).eval()

    def _one(self, model: torch.nn.Module, job: Job, ctx: Context) -> Result:
        source = ctx.audio(job.source)
        mix = remix(resample(source, RATE_HZ), 2).samples.to(ctx.numerics.device)
        stems = normalised(
            lambda x: in_pieces(
                lambda piece: model(piece.unsqueeze(0))[0], x,
                piece=round(self.segment_s * RATE_HZ), overlap=round(self.overlap_s * RATE_HZ),
            ),
            mix,
        )
        stem = resample(Audio(stems[STEMS.index(self.stem)].cpu(), RATE_HZ), source.rate_hz).samples
        length = source.samples.shape[-1]
        stem = torch.nn.functional.pad(stem[:, :length], (0, max(0, length - stem.shape[-1])))
        facts: dict[str, Any] = {"stem": self.stem, "weights": self.weights or "HDEMUCS_HIGH_MUSDB_PLUS"}
        return Result(audio=Audio(stem.contiguous(), source.rate_hz), facts=facts)


def _state_dict(path: str) -> dict[str, torch.Tensor]:
    if path.endswith(".safetensors"):
        from safetensors.torch import load_file

        return load_file(path)
    found = torch.load(path, map_location="cpu", weights_only=True)  # tensors only; code in the file is refused
    if not isinstance(found, dict):
        raise ValueError("the file holds no state dict")
    return found


def normalised(separate: Callable[[torch.Tensor], torch.Tensor], mix: torch.Tensor) -> torch.Tensor:
    """`separate` on `[C, T]` brought to mean 0 and deviation 1 (of its mono sum), and brought back: `[S, C, T]`.

    Demucs was trained on such input. The mean, which is no sound, is left out of the stems; silence gives silent stems.
    """
    mono = mix.mean(dim=0)
    mean, deviation = mono.mean(), mono.std() if mono.numel() > 1 else torch.zeros(())
    if not deviation > 1e-8:
        return torch.zeros(len(STEMS), *mix.shape, device=mix.device)
    return separate((mix - mean) / deviation) * deviation


def in_pieces(
    separate: Callable[[torch.Tensor], torch.Tensor], mix: torch.Tensor, *, piece: int, overlap: int
) -> torch.Tensor:
    """`separate` (`[C, n]` -> `[S, C, n]`) over `[C, T]` in pieces of `piece` samples that overlap by `overlap`.

    Neighbours are cross-faded with linear weights that add up to 1, so a separation that doesn't look at its neighbours
    comes out exactly as if it had been done at once. The last piece is padded with zeros to full length, and what is
    made of the padding is dropped. Needs 0 <= 2·overlap < piece.
    """
    if not 0 <= 2 * overlap < piece:
        raise ValueError(f"pieces of {piece} samples can't overlap by {overlap}; an overlap is under half a piece")
    length, hop = mix.shape[-1], piece - overlap
    starts = range(0, max(1, length - overlap), hop)
    fade = (torch.arange(overlap, device=mix.device) + 1.0) / (overlap + 1.0)
    total: torch.Tensor | None = None
    for start in starts:
        part = mix[:, start : start + piece]
        stems = separate(torch.nn.functional.pad(part, (0, piece - part.shape[-1])))[..., : part.shape[-1]]
        weight = torch.ones(part.shape[-1], device=mix.device)
        if overlap and start > 0:
            weight[:overlap] = fade[: weight.shape[0]]
        if overlap and start != starts[-1]:
            weight[-overlap:] = fade.flip(0)
        if total is None:
            total = torch.zeros(*stems.shape[:-1], length, device=mix.device, dtype=stems.dtype)
        total[..., start : start + part.shape[-1]] += stems * weight
    assert total is not None
    return total

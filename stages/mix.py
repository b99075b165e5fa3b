"""`mix`: two or more takes into one, as waveforms or as latents of one autoencoder.

Waveforms add like on a mixing desk. Latents of an autoencoder do not add up to the sum of the sounds; a weighted mean of
them is a point between, which a refine stage can then make into something of its own (seed document, question on
latent-space mixing). Knows nothing of how either view came to be.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator
from torch.nn.functional import pad

from ..pipeline.audio_file import remix, resample
from ..pipeline.context import Context, Job, Result
from ..pipeline.errors import Problem, RunError
from ..pipeline.scope import Scope
from ..pipeline.spec import Name, Stage
from ..pipeline.take import Audio, Latent, Take

GAIN_DB = (-120.0, 40.0)


class Mix(Stage):
    """Two or more sources added, with gains. The prompt is the first source's."""

    version: ClassVar[int] = 1
    reads_prompt: ClassVar[frozenset[str]] = frozenset()
    type: Literal["mix"] = "mix"
    sources: tuple[Name, ...] = Field(min_length=2, max_length=64, description="two or more inputs or stages")
    gains_db: tuple[float, ...] | None = Field(
        None, description="one gain per source in dB, as many as sources; left out, all 0"
    )
    domain: Literal["waveform", "latent"] = Field(
        "waveform", description="add samples, or weighted latents (which blends rather than overlays)"
    )
    normalize: Literal["none", "sum"] = Field(
        "none", description="'sum' divides by the sum of the linear gains: a weighted mean"
    )
    align: Literal["pad", "trim"] = Field(
        "pad", description="sources start together; unequal ends: as long as the longest, or as the shortest"
    )

    @model_validator(mode="after")
    def _one_gain_each(self) -> Self:
        if self.gains_db is not None:
            if len(self.gains_db) != len(self.sources):
                raise ValueError(
                    f"{len(self.gains_db)} gains_db for {len(self.sources)} sources; write one gain for each source"
                )
            for gain in self.gains_db:
                if not GAIN_DB[0] <= gain <= GAIN_DB[1]:
                    raise ValueError(f"gain {gain:g} dB is outside {GAIN_DB[0]:g} to {GAIN_DB[1]:g} dB")
        return self

    def weights(self) -> list[float]:
        """The linear gain of each source, 10^(dB/20)."""
        return [10.0 ** (g / 20.0) for g in self.gains_db or [0.0] * len(self.sources)]

    def expected_duration_s(self, scope: Scope) -> float | None:
        """The longest source's length, or with `align: trim` the shortest's."""
        known = [d for d in map(scope.duration_s, self.sources) if d is not None]
        if len(known) < len(self.sources):
            return None
        return min(known) if self.align == "trim" else max(known)

    def check(self, scope: Scope) -> Iterator[Problem]:
        """A latent mix needs a source made by a model, for an input file has no latent of its own."""
        if self.domain == "latent" and not any(map(scope.diffused, self.sources)):
            yield scope.problem(
                f"domain: latent, yet none of {', '.join(self.sources)} comes from a stage that makes latents.",
                "write domain: waveform, or mix takes of generate, refine, cover … stages",
                "domain",
            )

    def run(self, jobs: Sequence[Job], ctx: Context) -> list[Result]:
        return [self._latents(job, ctx) if self.domain == "latent" else self._waveforms(job, ctx) for job in jobs]

    def _waveforms(self, job: Job, ctx: Context) -> Result:
        audios = [ctx.audio(job.sources[key]) for key in self.references()]
        rate_hz = max(a.rate_hz for a in audios)
        channels = max(a.channels for a in audios)
        signals = [remix(resample(a, rate_hz), channels).samples for a in audios]
        mixed = add(signals, self.weights(), trim=self.align == "trim", mean=False)
        if self.normalize == "sum":
            mixed = mixed / sum(self.weights())
        return Result(audio=Audio(mixed, rate_hz), facts={**self._facts(), "rate_hz": rate_hz, "channels": channels})

    def _latents(self, job: Job, ctx: Context) -> Result:
        takes = [job.sources[key] for key in self.references()]
        codec = next((c for c in map(_codec_of, takes) if c is not None), None)
        if codec is None:
            raise RunError(
                f"stage '{ctx.stage}': none of {', '.join(t.id for t in takes)} has a latent to mix. Write domain: waveform."
            )
        latents = [take.signal.latent(codec) for take in takes]
        if any(latent.t != latents[0].t for latent in latents):
            raise RunError(
                f"stage '{ctx.stage}': latents of unequal noise levels {[latent.t for latent in latents]} can't be mixed."
            )
        frames = add(
            [latent.frames.T for latent in latents], self.weights(), trim=self.align == "trim",
            mean=self.normalize == "sum",
        ).T.contiguous()
        first = latents[0]
        mixed = Latent(frames, first.frame_rate_hz, first.codec, t=first.t, samples=self._samples(latents))
        return Result(latent=mixed, facts=self._facts())

    def _samples(self, latents: Sequence[Latent]) -> int | None:
        """Length in samples: of the longest (None where that one means whole frames) or of the shortest that tells."""
        if self.align == "trim":
            return min((latent.samples for latent in latents if latent.samples is not None), default=None)
        longest = max(latent.frames.shape[0] for latent in latents)
        lengths = [latent.samples for latent in latents if latent.frames.shape[0] == longest]
        return None if None in lengths else max(n for n in lengths if n is not None)

    def _facts(self) -> dict[str, Any]:
        return {"gains_db": list(self.gains_db or [0.0] * len(self.sources)), "domain": self.domain}


def _codec_of(take: Take) -> str | None:
    """The autoencoder a take's sound went through last. Its lineage says so, whichever views happen to be there yet."""
    latent = take.signal.known()[1]
    made = next((step["codec"] for step in reversed(take.lineage) if "codec" in step), None)
    return made if made is not None or latent is None else latent.codec


def add(signals: Sequence[torch.Tensor], weights: Sequence[float], *, trim: bool, mean: bool) -> torch.Tensor:
    """The weighted sum of signals `[C, T_i]` that start together, as long as the longest (`trim`: the shortest).

    `mean` divides each column by the sum of the weights of the signals that reach it, so that past the end of a short
    latent the others keep their scale instead of fading towards zero (which is not what silence is in a latent).
    """
    lengths = [s.shape[-1] for s in signals]
    length = min(lengths) if trim else max(lengths)
    total = torch.zeros(signals[0].shape[0], length)
    reach = torch.zeros(length)
    for signal, weight in zip(signals, weights, strict=True):
        part = signal[:, :length]
        total += weight * pad(part, (0, length - part.shape[-1]))
        reach[: part.shape[-1]] += weight
    return total / reach if mean else total

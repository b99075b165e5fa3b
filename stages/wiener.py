"""`wiener`: a stem cut out of a mix by estimates of what plays in it, so that every sound of it was in the mix.

What `extract` makes is a sound of its own: right in its notes, seldom in its phases, and now and then with notes nobody
played. The mix has the right phases; the estimates say how much of each of its time-frequency bins belongs to whom. Knows
nothing of where the estimates come from (`extract`, `separate`, a file).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator

from ..pipeline.context import Context, Job, Result
from ..pipeline.errors import Problem
from ..pipeline.scope import Scope
from ..pipeline.spec import Name, Stage
from ..pipeline.take import Audio
from .score import model_training, worst_training

WINDOW_S = 0.085  # the next power of two samples: 2048 at 24 kHz, 4096 at 44.1 and 48 kHz
_LEAST = 1e-9


class Wiener(Stage):
    """One stem of a mix, filtered out of it by estimates of its stems: where two claim a bin, they share it."""

    reads_prompt: ClassVar[frozenset[str]] = frozenset()
    type: Literal["wiener"] = "wiener"
    source: Name = Field(description="the mix")
    estimates: tuple[Name, ...] = Field(
        min_length=1, max_length=64, description="inputs or stages that sound like stems of it; the more of them, the better"
    )
    exhaustive: bool = Field(
        False, description="true: nothing else plays, so the estimates share all of the mix; false: what they leave of it "
        "stays out of all stems"
    )
    keep: Name | None = Field(None, description="which of the estimates is wanted; left out, the first")

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        if len(set(self.estimates)) < len(self.estimates) or self.source in self.estimates:
            raise ValueError(f"source and estimates must all differ: {self.source}; {', '.join(self.estimates)}")
        if self.keep is not None and self.keep not in self.estimates:
            raise ValueError(f"keep: {self.keep} is none of the estimates {', '.join(self.estimates)}; write one of them")
        return self

    def references(self) -> dict[str, str]:
        return {"source": self.source, **{f"estimates[{i}]": name for i, name in enumerate(self.estimates)}}

    def check(self, scope: Scope) -> Iterator[Problem]:
        """An estimate starts where the mix does and lasts as long: of another length it is of something else."""
        length = scope.duration_s(self.source)
        for i, name in enumerate(self.estimates):
            other = scope.duration_s(name)
            if length is not None and other is not None and abs(other - length) > 0.5:
                yield scope.problem(
                    f"'{name}' lasts {other:g} s and the mix '{self.source}' {length:g} s.",
                    "give estimates made of this very mix", f"estimates[{i}]",
                )

    def run(self, jobs: Sequence[Job], ctx: Context) -> list[Result]:
        return [self._one(job, ctx) for job in jobs]

    def _one(self, job: Job, ctx: Context) -> Result:
        mix = ctx.audio(job.source)
        takes = [job.sources[f"estimates[{i}]"] for i in range(len(self.estimates))]
        highest = max(ctx.audio(take).rate_hz for take in takes)
        if highest < mix.rate_hz:
            ctx.warn(
                f"stage '{ctx.stage}': the estimates end at {highest / 2000:g} kHz and the mix at {mix.rate_hz / 2000:g} kHz; "
                "what lies above is in no stem"
            )
        estimates = torch.stack([_as_long(ctx.audio(take, mix.rate_hz, mix.channels).samples, mix) for take in takes])
        kept = self.estimates.index(self.keep) if self.keep is not None else 0
        (stem,) = wiener_stems(mix.samples, estimates, mix.rate_hz, exhaustive=self.exhaustive, wanted=[kept])
        facts: dict[str, Any] = {"kept": self.estimates[kept], "estimates": list(self.estimates)}
        # The lineage is the mix's; whether the estimates came from preliminary weights is told here.
        if state := worst_training([model_training(take) for take in takes]):
            facts["training"] = state
        return Result(audio=Audio(stem.contiguous(), mix.rate_hz), facts=facts)


def _as_long(samples: torch.Tensor, mix: Audio) -> torch.Tensor:
    """Samples `[C, T']` cut, or silence added, to the mix's length."""
    length = mix.samples.shape[-1]
    return torch.nn.functional.pad(samples[:, :length], (0, max(0, length - samples.shape[-1])))


def wiener_stems(
    mix: torch.Tensor, estimates: torch.Tensor, rate_hz: int, *, exhaustive: bool = False, wanted: Sequence[int] | None = None
) -> torch.Tensor:  # fmt: skip
    """Stems `[K, C, T]` of `mix` `[C, T]` by `estimates` `[K, C, T]`, or those `wanted` of them: of each bin of its STFT stem k
    gets the part

        |E_k| / Σ_j |E_j|                (exhaustive)
        |E_k| / max(Σ_j |E_j|, |M|)      (otherwise)

    The first is the generalised Wiener filter of Liutkus & Badeau 2015 ("Generalized Wiener filtering with fractional power
    spectrograms", ICASSP) with exponent 1; its stems add up to the mix wherever anybody claims anything. With the
    second, what the estimates together leave of the mix stays out of all stems; one estimate alone is then the amplitude
    mask of Wang, Narayanan & Wang 2014 ("On training targets for supervised speech separation", IEEE/ACM TASLP 22(12), there
    FFT-MASK), held to 1. Hann windows of 85 ms, a quarter apart.

    >>> t = torch.arange(24_000) / 24_000
    >>> low, high = (0.1 * torch.sin(2 * torch.pi * f * t)[None] for f in (200, 3_000))
    >>> stems = wiener_stems(low + high, torch.stack([0.8 * low, 1.2 * high]), 24_000)
    >>> [round(float((stem - part).abs()[:, 2_000:-2_000].max()), 2) for stem, part in zip(stems, (0.8 * low, high))]
    [0.0, 0.0]
    """
    n_fft = 1 << int(torch.tensor(WINDOW_S * rate_hz).log2().ceil())
    window = torch.hann_window(n_fft, dtype=mix.dtype, device=mix.device)
    length = mix.shape[-1]
    # as long as a window at least, with a hop of silence behind it, so that the last samples are covered as well as others
    pad = max(0, n_fft - length) + n_fft // 4

    def stft(x: torch.Tensor) -> torch.Tensor:
        return torch.stft(torch.nn.functional.pad(x, (0, pad)), n_fft, n_fft // 4, window=window, return_complex=True)

    spectrum = stft(mix)
    claims = torch.stack([stft(estimate).abs() for estimate in estimates])
    claimed = claims.sum(dim=0) if exhaustive else torch.maximum(claims.sum(dim=0), spectrum.abs())
    share = claims[list(wanted) if wanted is not None else slice(None)] / claimed.clamp_min(_LEAST)
    return torch.stack([
        torch.istft(spectrum * part, n_fft, n_fft // 4, window=window, length=length + pad)[:, :length] for part in share
    ])  # fmt: skip

"""`degrade`: audio made worse on purpose, from the take's seed, every drawn parameter recorded in the take's lineage.

For training pairs and for trying what a restoring stage can do. Knows nothing of what undoes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
import torch
from pydantic import Field, model_validator

from ..pipeline.context import Context, Job, Result
from ..pipeline.errors import Problem
from ..pipeline.scope import Scope
from ..pipeline.spec import Name, Spec, Stage
from ..pipeline.take import Audio
from .degrade_codecs import Codec, round_trip
from .degrade_effects import MAX_CUTOFF, Filter, add_noise, drive, low_pass, quantise, reverberate
from .degrade_ranges import SOME, Draws, Number, Whole, within

Colour = Literal["white", "pink"]


class LowPass(Spec):
    """A zero-phase low-pass, as in SAGA-SR (arXiv 2509.24924, §3.1)."""

    filter: Filter | Annotated[tuple[Filter, ...], SOME] = Field(
        ("chebyshev1", "butterworth", "bessel", "elliptic"), description="one filter, or a list to draw from"
    )
    order: Annotated[Whole, within(2, 10, "")] = Field((2, 10), description="order of one pass, or a range to draw from")
    cutoff_hz: Annotated[Number, within(2_000, 16_000, "Hz")] = Field(
        (2_000.0, 16_000.0), description="cut-off, or a range to draw from; at most 0.45 of the rate"
    )
    ripple_db: Annotated[Number, within(0.01, 3, "dB")] = Field(
        0.5, description="pass-band ripple of one pass (chebyshev1, elliptic)"
    )
    stopband_db: Annotated[Number, within(20, 120, "dB")] = Field(
        40.0, description="stop-band attenuation of one pass (elliptic)"
    )
    resample: bool = Field(True, description="then down to a rate of 2·cut-off and back up, which leaves nothing above")


class Noise(Spec):
    """Noise, so far below the sound."""

    snr_db: Annotated[Number, within(-20, 120, "dB")] = Field(description="signal-to-noise ratio over the whole sound")
    colour: Colour | Annotated[tuple[Colour, ...], SOME] = Field(
        "white", description="white or pink (−3 dB an octave), or a list to draw from"
    )


class LossyCodec(Spec):
    """A lossy codec, there and back."""

    format: Codec | Annotated[tuple[Codec, ...], SOME] = Field("mp3", description="mp3, vorbis or opus, or a list to draw from")
    bitrate_kbps: Annotated[Number, within(6, 512, "kbit/s")] = Field(
        64.0, description="mp3 and opus: bit rate of mono or stereo, snapped to what the codec offers"
    )
    quality: Annotated[Number, within(0, 1, "")] = Field(0.1, description="vorbis: 0 worst to 1 best")


class Reverb(Spec):
    """A synthetic room: exponentially decaying noise."""

    rt60_s: Annotated[Number, within(0.05, 10, "s")] = Field(0.8, description="time in which the sound decays by 60 dB")
    wet: Annotated[Number, within(0, 1, "")] = Field(0.3, description="share of the room: 0 none, 1 nothing else")


class Degrade(Stage):
    """Makes audio worse: reverb, noise, clipping, low-pass, bit depth, codec, in this order, those that are given.

    Every value may be fixed or a pair [low, high], drawn uniformly from the take's seed.
    """

    version: ClassVar[int] = 1
    draws: ClassVar[bool] = True
    reads_prompt: ClassVar[frozenset[str]] = frozenset()
    type: Literal["degrade"] = "degrade"
    source: Name
    reverb: Reverb | None = None
    noise: Noise | None = None
    clip_db: Annotated[Number, within(0, 60, "dB")] | None = Field(
        None, description="peaks are driven this far above full scale and cut off there"
    )
    low_pass: LowPass | None = None
    bit_depth: Annotated[Whole, within(2, 24, "bits")] | None = Field(None, description="bits a sample is rounded to")
    codec: LossyCodec | None = None

    @model_validator(mode="after")
    def _something(self) -> Self:
        if all(getattr(self, name) is None for name in _EFFECTS):
            raise ValueError(
                f"nothing to do; give at least one of {', '.join(_EFFECTS)}, e.g. low_pass: {{cutoff_hz: 4000}} "
                "(low_pass: {} draws everything)"
            )
        return self

    def check(self, scope: Scope) -> Iterator[Problem]:
        """A fixed cut-off above 0.45 of the input file's rate can't be set; a drawn one is brought down to it."""
        facts = scope.input(self.source)
        if facts is None or facts.rate_hz is None or self.low_pass is None:
            return
        wanted, limit = self.low_pass.cutoff_hz, MAX_CUTOFF * facts.rate_hz
        lowest = wanted[0] if isinstance(wanted, tuple) else wanted
        if lowest > limit:
            yield scope.problem(
                f"a cut-off of {lowest:g} Hz is above {limit:g} Hz, which is 0.45 of the {facts.rate_hz} Hz of "
                f"'{self.source}'; there is nothing to cut off.",
                f"write cutoff_hz: {limit:g} or less" if limit >= 2_000 else "leave low_pass out",
                "low_pass.cutoff_hz",
            )

    def run(self, jobs: Sequence[Job], ctx: Context) -> list[Result]:
        return [self._one(job, ctx) for job in jobs]

    def _one(self, job: Job, ctx: Context) -> Result:
        audio = ctx.audio(job.source)
        x, rate_hz = audio.samples.numpy(), audio.rate_hz
        facts: dict[str, Any] = {}
        if not np.isfinite(x).all():
            ctx.warn(f"{ctx.stage}/{job.index}: the source holds NaN or infinite samples and is passed on as it is.")
            return Result(audio=audio, facts={"skipped": "samples that are no numbers"})
        for name, effect in _EFFECTS.items():
            if getattr(self, name) is not None:
                draws = Draws(job.seed, f"degrade.{name}")
                x, facts[name] = effect(self, x, rate_hz, draws, _Normal(ctx, job.seed))
        return Result(audio=Audio(torch.from_numpy(np.ascontiguousarray(x, dtype=np.float32)), rate_hz), facts=facts)

    def _reverb(self, x: np.ndarray, rate_hz: int, draws: Draws, normal: _Normal) -> _Done:
        spec = self.reverb
        assert spec is not None
        drawn = {"rt60_s": draws.number("rt60_s", spec.rt60_s), "wet": draws.number("wet", spec.wet)}
        shape = (x.shape[0], max(1, round(drawn["rt60_s"] * rate_hz)))
        return reverberate(x, normal("degrade.reverb", shape), rate_hz, **drawn), drawn

    def _noise(self, x: np.ndarray, rate_hz: int, draws: Draws, normal: _Normal) -> _Done:
        spec = self.noise
        assert spec is not None
        snr_db, colour = draws.number("snr_db", spec.snr_db), draws.choice("colour", spec.colour)
        y = add_noise(x, normal("degrade.noise", x.shape), rate_hz, snr_db=snr_db, colour=colour)
        return y, {"snr_db": snr_db, "colour": colour, "added": bool(y is not x)}

    def _clip(self, x: np.ndarray, rate_hz: int, draws: Draws, normal: _Normal) -> _Done:
        assert self.clip_db is not None
        drive_db = draws.number("clip_db", self.clip_db)
        y, gain_db = drive(x, drive_db)
        return y, {"drive_db": drive_db, "gain_db": gain_db}

    def _low_pass(self, x: np.ndarray, rate_hz: int, draws: Draws, normal: _Normal) -> _Done:
        spec = self.low_pass
        assert spec is not None
        asked, limit = draws.number("cutoff_hz", spec.cutoff_hz), MAX_CUTOFF * rate_hz
        drawn: dict[str, Any] = {
            "filter": draws.choice("filter", spec.filter), "order": draws.whole("order", spec.order),
            "cutoff_hz": min(asked, limit), "ripple_db": draws.number("ripple_db", spec.ripple_db),
            "stopband_db": draws.number("stopband_db", spec.stopband_db),
        }
        y = low_pass(x, rate_hz, **drawn, resampled=spec.resample)
        facts = {**drawn, "resample_hz": round(2 * drawn["cutoff_hz"]) if spec.resample else None}
        return y, {**facts, "cutoff_asked_hz": asked} if asked > limit else facts

    def _bit_depth(self, x: np.ndarray, rate_hz: int, draws: Draws, normal: _Normal) -> _Done:
        assert self.bit_depth is not None
        bits = draws.whole("bit_depth", self.bit_depth)
        return quantise(x, bits), {"bits": bits}

    def _codec(self, x: np.ndarray, rate_hz: int, draws: Draws, normal: _Normal) -> _Done:
        spec = self.codec
        assert spec is not None
        kind: Codec = draws.choice("format", spec.format)
        kbps, quality = draws.number("bitrate_kbps", spec.bitrate_kbps), draws.number("quality", spec.quality)
        back = round_trip(x, rate_hz, kind, bitrate_kbps=kbps, quality=quality)
        steered = {"quality": quality} if kind == "vorbis" else {"bitrate_kbps": back.asked_kbps}
        return back.samples, {"format": kind, **steered, "measured_kbps": back.actual_kbps, "codec_rate_hz": back.rate_hz}


class _Normal:
    """Standard normal samples of one take, by purpose and shape."""

    def __init__(self, ctx: Context, seed: int) -> None:
        self._ctx, self._seed = ctx, seed

    def __call__(self, purpose: str, shape: Sequence[int]) -> np.ndarray:
        return self._ctx.noise(self._seed, purpose, 0, shape).numpy()


_Done = tuple[np.ndarray, dict[str, Any]]
_EFFECTS: Mapping[str, Callable[[Degrade, np.ndarray, int, Draws, _Normal], _Done]] = {
    "reverb": Degrade._reverb, "noise": Degrade._noise, "clip_db": Degrade._clip, "low_pass": Degrade._low_pass,
    "bit_depth": Degrade._bit_depth, "codec": Degrade._codec,
}

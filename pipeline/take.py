"""What travels along every edge: `Take`, with `Audio` and `Latent` as two views of one `Signal`.

Decoding happens when something first asks for audio, once; encoding when something first asks for a latent, once.
This module knows neither the models that decode nor the store that keeps (both come in through `ViewSource`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import torch

from ..scoring.report import QualityReport
from .prompt import Prompt


@dataclass(frozen=True, eq=False)
class Audio:
    """Samples `[C, T]`, float32 on the CPU, raw (may exceed ±1), at `rate_hz`."""

    samples: torch.Tensor
    rate_hz: int

    def __post_init__(self) -> None:
        if self.samples.ndim != 2:
            raise ValueError(f"audio is [channels, samples], got shape {tuple(self.samples.shape)}")

    @property
    def duration_s(self) -> float:
        return self.samples.shape[-1] / self.rate_hz

    @property
    def channels(self) -> int:
        return self.samples.shape[0]

    def save(self, path: str | Path, **tags: str) -> Path:
        """Write a sound file; the format follows the ending (FLAC and WAV in 24 bit). Peaks above full scale are
        brought under it, which is the only change made. Returns the path."""
        from .audio_write import write_audio

        return write_audio(Path(path), self, tags=tags).path


@dataclass(frozen=True, eq=False)
class Latent:
    """Frames `[T, D]`, float32 on the CPU, of the autoencoder `codec` (its fingerprint) at `frame_rate_hz`.

    `t` is the noise level: 0 clean; above 0 a step checkpoint, resumed without re-noising with the `state` that guidance and
    solver had there (named tensors, leading dimension 1 or none). `samples` is the length of
    the audio it stands for (the decoder gives whole frames; views are cut to this), None when whole frames are meant.
    """

    frames: torch.Tensor
    frame_rate_hz: float
    codec: str
    t: float = 0.0
    samples: int | None = None
    state: Mapping[str, torch.Tensor] = field(default_factory=dict)

    @property
    def duration_s(self) -> float:
        return self.frames.shape[0] / self.frame_rate_hz


class ViewSource(Protocol):
    """Gives the view that is missing (by decoding, encoding or reading it back from the store)."""

    def decode(self, latent: Latent) -> Audio: ...

    def encode(self, audio: Audio, codec: str) -> Latent: ...


class Signal:
    """One sound, two views. At least one view is there from the start; the other comes when asked for. `decodes`: the audio is
    exactly what the latent decodes to, so that the latent alone can stand for the sound (a latent that was encoded from audio,
    or given beside audio that was worked on, can't)."""

    def __init__(
        self, audio: Audio | None = None, latent: Latent | None = None, views: ViewSource | None = None, *, decodes: bool = False
    ) -> None:
        if audio is None and latent is None:
            raise ValueError("a signal needs audio or a latent")
        self._audio, self._latent, self._views = audio, latent, views
        self.decodes = decodes or audio is None

    def __repr__(self) -> str:
        a, z = self._audio, self._latent
        return f"Signal(audio={tuple(a.samples.shape) if a else None}, latent={tuple(z.frames.shape) if z else None})"

    @property
    def has_audio(self) -> bool:
        return self._audio is not None

    def has_latent(self, codec: str | None = None) -> bool:
        return self._latent is not None and codec in (None, self._latent.codec)

    @property
    def duration_s(self) -> float:
        if self._audio is not None:
            return self._audio.duration_s
        assert self._latent is not None
        return self._latent.duration_s

    def audio(self) -> Audio:
        """The audio view, decoded on first use."""
        if self._audio is None:
            assert self._latent is not None
            if self._views is None:
                raise RuntimeError("this signal has only a latent and nothing to decode it with")
            self._audio = self._views.decode(self._latent)
        return self._audio

    def latent(self, codec: str | None = None) -> Latent:
        """The latent view of autoencoder `codec` (any when None), encoded on first use."""
        if self._latent is None or codec not in (None, self._latent.codec):
            if self._views is None or codec is None:
                raise RuntimeError("this signal has no latent of that autoencoder and nothing to encode it with")
            self._latent = self._views.encode(self.audio(), codec)
        return self._latent

    @property
    def checkpoint(self) -> Latent | None:
        """The latent when it is a step checkpoint, still noisy; None for a finished sound. Makes no view."""
        return self._latent if self._latent is not None and self._latent.t > 0 else None

    def known(self) -> tuple[Audio | None, Latent | None]:
        """The views that exist right now, without making any."""
        return self._audio, self._latent


@dataclass(frozen=True, eq=False)
class Take:
    """One candidate result.

    `key` names its content (see store); `lineage` is one plain dict a stage, oldest first (stage, type, seed, drawn
    parameters, steps run …); `reports` keeps every report by the stage that made it, while `report` is the one that
    describes this very audio (None after a stage changed it). `group` names the takes it may be compared with.
    """

    stage: str
    index: int
    seed: int
    prompt: Prompt
    key: str
    signal: Signal
    report: QualityReport | None = None
    reports: Mapping[str, QualityReport] = field(default_factory=dict)
    lineage: tuple[Mapping[str, Any], ...] = ()
    group: str = ""

    @property
    def id(self) -> str:
        return f"{self.stage}/{self.index}"

    @property
    def audio(self) -> Audio:
        return self.signal.audio()

    @property
    def duration_s(self) -> float:
        return self.signal.duration_s

    def plain_lineage(self) -> list[dict[str, Any]]:
        """The lineage without traces, whose seconds differ from run to run."""
        return [{k: v for k, v in step.items() if k != "trace"} for step in self.lineage]

    def with_(self, **changes: Any) -> Take:
        return replace(self, **changes)

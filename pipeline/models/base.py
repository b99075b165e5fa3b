"""What any model family looks like to the rest: facts without weights (`VariantInfo`), and loaded weights (`Model`).

This module knows no stage, no take, and no concrete family.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

from ..prompt import Prompt

if TYPE_CHECKING:  # annotations only: checking a preset must not cost the import of torch
    import torch

    from ..diffusion.denoiser import Condition, Denoiser

Training = Literal["untrained", "preliminary", "trained"]


@dataclass(frozen=True)
class VariantDefaults:
    """What a variant does when a preset says nothing. As the model card and diffusers have it: base and sft 50 steps, CFG 7
    (APG), shift 1; turbo 8 steps, no guidance, shift 3."""

    steps: int
    shift: float
    schedule: str = "linear"
    solver: str = "euler"
    t_start_policy: str = "truncate"
    guidance_kind: str = "none"
    guidance_scale: float = 1.0


@dataclass(frozen=True)
class VariantInfo:
    """Facts of one variant, read from its configuration files only.

    `fingerprint` is a hash over the weights' content; `codec` the one of the autoencoder alone: latents travel without a
    decode/encode round trip between variants of equal `codec`. `tasks` are the stage tasks it can do.
    """

    model: str
    family: str
    variant: str
    tasks: frozenset[str]
    defaults: VariantDefaults
    rate_hz: int
    channels: int
    hop_length: int
    latent_dim: int
    max_duration_s: float
    max_text_tokens: int
    max_lyric_tokens: int
    fingerprint: str
    codec: str
    training: Training = "trained"
    min_steps: int = 1
    max_steps: int = 1000
    strides: tuple[int, ...] = ()  # the autoencoder's down-sampling ratios, from the waveform inwards
    codebook_size: int | None = None  # audio codes are below it; None where the model has no audio tokenizer
    code_frames: int | None = None  # latent frames one audio code stands for
    branches: frozenset[str] = frozenset({"cond", "null"})  # of `diffusion.denoiser`, what its denoiser can be asked for

    @property
    def frame_rate_hz(self) -> float:
        return self.rate_hz / self.hop_length

    def frames(self, samples: int) -> int:
        """Latent frames that hold `samples` audio samples (rounded up)."""
        return -(-samples // self.hop_length)


@dataclass(frozen=True)
class ModelInfo:
    """A model name resolved: its variants, by name, and which one a task gets when none is asked for."""

    name: str
    family: str
    variants: Mapping[str, VariantInfo]
    default_variants: Mapping[str, str] = field(default_factory=dict)  # task -> variant; "" -> any other

    def variant(self, name: str | None, task: str | None = None) -> VariantInfo:
        """The variant of that name, or the default one for `task`. Raises KeyError when there is none."""
        return self.variants[name or self.default_variants.get(task or "", self.default_variants[""])]


@dataclass(frozen=True, eq=False)
class ConditionRequest:
    """What one take wants the decoder to see, before any tensor of the model's own exists.

    `context` says what fills the source half of the context channel, `frames` long:
    ``silence``; ``source`` (`source` `[T, D]` as it is); ``quantized`` (`source` through tokenizer and detokenizer);
    ``codes`` (`codes` string through the detokenizer). `mask` `[T]` is 1 where audio is to be generated (None: all).
    Where `mask` is 0 the context is the source; inside a repaint window it is silence (`silence_in_mask`).
    `timbre` is a reference latent `[T, D]` for the timbre encoder (None: the model's silence).
    """

    prompt: Prompt
    instruction: str
    frames: int
    context: Literal["silence", "source", "quantized", "codes"] = "silence"
    source: torch.Tensor | None = None
    codes: str | None = None
    mask: torch.Tensor | None = None
    silence_in_mask: bool = False
    timbre: torch.Tensor | None = None
    duration_s: float | None = None  # what the prompt's metadata line says; defaults to frames / frame rate


class Model(Protocol):
    """One variant's weights on a device."""

    info: VariantInfo

    def conditions(self, requests: Sequence[ConditionRequest]) -> Condition:
        """The requests (all of one `frames`) as one padded batch; text is encoded once per distinct text and kept."""

    def denoiser(self) -> Denoiser:
        """A fresh denoiser over the transformer (no cached keys or values)."""

    def encode(self, samples: torch.Tensor) -> torch.Tensor:
        """Audio `[B, C, T]` at the model's rate -> latent means `[B, frames, D]`, float32 CPU. T is padded with zeros to
        whole frames."""

    def decode(self, frames: torch.Tensor) -> torch.Tensor:
        """Latents `[B, frames, D]` -> audio `[B, C, frames·hop]`, float32 CPU, tiled as the numerics say."""

    def token_counts(self, prompt: Prompt, instruction: str) -> tuple[int, int]:
        """How many text and lyric tokens the prompt takes before any is cut off."""


class Counters(Protocol):
    """Where models report what they did; the run's counts."""

    def add(
        self, name: Literal["model_swaps", "text_encodes", "audio_encodes", "audio_decodes"], n: int = 1
    ) -> None: ...

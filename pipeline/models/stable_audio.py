"""Stable Audio Open behind the `Model` protocol: T5 text, seconds, and a v-prediction transformer as a flow denoiser.

Conditions are those of diffusers' `StableAudioPipeline`: projected T5 states with padding set to zero, start and end
seconds as two more tokens and as the global state; the null branch is all zeros. There is no context channel and there are
no lyrics. Two differences, on purpose: only the length asked for is denoised (the pipeline always denoises its whole
window and cuts), and tempo and key of the prompt are written into the text, as the model has no field for them.
This module knows no schedule and no stage.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from diffusers.models.embeddings import get_1d_rotary_pos_embed
from torch import Tensor

from ..diffusion.denoiser import COND, NULL, Condition
from ..diffusion.wrappers import EDMDenoiser
from ..errors import Problem, RequestError
from ..prompt import Prompt
from . import autoencoder
from .base import ConditionRequest
from .loaded import LoadedModel

_SCHEDULER = "CosineDPMSolverMultistepScheduler"  # its convention of noise levels: atan(sigma)·2/π


@dataclass(frozen=True, eq=False)
class StableAudioParts:
    """Loaded components; `ids` are their content fingerprints, by component name."""

    transformer: Any
    vae: Any
    text_encoder: Any
    tokenizer: Any
    projection_model: Any
    scheduler: Mapping[str, Any]
    ids: Mapping[str, str]
    device: torch.device
    dtype: torch.dtype


def describe_prompt(prompt: Prompt) -> str:
    """Caption, tempo and key as one line of text, the way the model's training captions read."""
    facts = [prompt.caption or "", f"{prompt.bpm} BPM" if prompt.bpm else "", prompt.keyscale or ""]
    return ", ".join(fact for fact in facts if fact.strip())


class StableAudioModel(LoadedModel[StableAudioParts]):
    """One Stable Audio checkpoint on a device."""

    def token_counts(self, prompt: Prompt, instruction: str) -> tuple[int, int]:
        """Text tokens before any is cut off, and 0: there are no lyrics."""
        return len(self.parts.tokenizer(describe_prompt(prompt)).input_ids), 0

    def _text_states(self, text: str) -> Tensor:
        """Projected states of the text `[1, L, E]`, L the tokenizer's own maximum, padding set to zero."""
        p = self.parts

        def encode() -> tuple[Tensor]:
            tokens = p.tokenizer(
                text,
                padding="max_length",
                max_length=self.info.max_text_tokens,
                truncation=True,
                return_tensors="pt",
            )
            mask = tokens.attention_mask.to(p.device)
            states = p.text_encoder(tokens.input_ids.to(p.device), attention_mask=mask)[0]
            self._counters.add("text_encodes")
            projected = p.projection_model(text_hidden_states=states.to(p.dtype)).text_hidden_states
            return (projected * mask[..., None].to(projected.dtype),)

        return self._remembered.get(("t5", p.ids["text_encoder"], p.ids["projection_model"], text), encode)[0]

    def _seconds(self, start: float, end: float) -> tuple[Tensor, Tensor]:
        p = self.parts
        out = p.projection_model(
            start_seconds=torch.tensor([start], device=p.device),
            end_seconds=torch.tensor([end], device=p.device),
        )
        return out.seconds_start_hidden_states, out.seconds_end_hidden_states

    @torch.no_grad()
    def conditions(self, requests: Sequence[ConditionRequest]) -> Condition:
        """The requests, all of one number of frames, as one batch.

        Raises ValueError for unequal lengths; RequestError for a source, mask or codes, which this family has no channel for.
        """
        frames = {r.frames for r in requests}
        if len(frames) != 1:
            raise ValueError(f"a batch needs requests of one length, got frames {sorted(frames)}")
        states, globals_ = [], []
        for request in requests:
            if request.context != "silence" or request.mask is not None or request.timbre is not None:
                raise RequestError(
                    Problem(
                        f"model '{self.info.model}' has no context channel, so it takes no source, mask, codes or timbre.",
                        "use it to generate and refine, or an ACE-Step model.",
                    )
                )
            seconds = (
                request.duration_s
                if request.duration_s is not None
                else request.frames / self.info.frame_rate_hz
            )
            start, end = self._seconds(0.0, seconds)
            states.append(torch.cat([self._text_states(describe_prompt(request.prompt)), start, end], dim=1))
            globals_.append(torch.cat([start, end], dim=2))
        encoder = torch.cat(states)
        return Condition(
            batch=len(states),
            frames=frames.pop(),
            encoder_states=encoder,
            encoder_mask=torch.ones(encoder.shape[:2], dtype=torch.bool, device=encoder.device),
            null_state=torch.zeros_like(encoder[:1, :1]),
            extra={"global_states": torch.cat(globals_)},
        )

    def denoiser(self) -> EDMDenoiser:
        """A fresh flow-matching denoiser; noise levels above the scheduler's sigma_max are refused."""
        config = self.parts.scheduler
        if config.get("prediction_type") != "v_prediction" or config.get("_class_name") != _SCHEDULER:
            raise RequestError(
                Problem(
                    f"this checkpoint is for {config.get('_class_name')} with '{config.get('prediction_type')}'; "
                    f"Segue runs Stable Audio checkpoints of {_SCHEDULER} with 'v_prediction'.",
                    "use Stable Audio Open or a checkpoint trained like it.",
                )
            )
        network = StableAudioNetwork(self)
        return EDMDenoiser(network, float(config["sigma_data"]), "v", float(config["sigma_max"]))

    def encode(self, samples: Tensor) -> Tensor:
        """Audio `[B, C, T]` -> latent means `[B, ceil(T / hop), D]`, float32 on the CPU, in bounded memory."""
        self._counters.add("audio_encodes", samples.shape[0])
        return autoencoder.encode(self.parts.vae, samples, self._tile)

    def decode(self, frames: Tensor) -> Tensor:
        """Latents `[B, N, D]` -> audio `[B, C, N · hop]`, float32 on the CPU, in bounded memory."""
        self._counters.add("audio_decodes", frames.shape[0])
        return autoencoder.decode(self.parts.vae, frames, self._tile)


class StableAudioNetwork:
    """The transformer in its own convention: scaled input, level = atan(σ)·2/π, v-prediction. Branches in one forward."""

    def __init__(self, model: StableAudioModel) -> None:
        self._model = model
        self._condition: Condition | None = None
        self._rotary: tuple[Tensor, Tensor] | None = None
        self.forwards = 0

    def switch(self, condition: Condition) -> None:
        """Begin a segment."""
        if "global_states" not in condition.extra:
            raise ValueError("this condition was not made by a Stable Audio model")
        self._condition = condition
        width = self._model.parts.transformer.config.attention_head_dim // 2
        cosine, sine = get_1d_rotary_pos_embed(
            width, condition.frames + 1, use_real=True, repeat_interleave_real=False
        )
        self._rotary = (cosine.to(self._model.parts.device), sine.to(self._model.parts.device))

    def predict(self, x: Tensor, level: float, branches: tuple[str, ...]) -> tuple[Tensor, ...]:
        """The v-prediction `[B, T, D]` of each branch for the scaled input `x`."""
        condition, parts = self._condition, self._model.parts
        if condition is None:
            raise RuntimeError("a prediction was asked for before a segment was begun with switch(condition)")
        if not branches or len(set(branches)) < len(branches) or not set(branches) <= {COND, NULL}:
            raise ValueError(
                f"a Stable Audio model knows the branches '{COND}' and '{NULL}', each once; got {branches}"
            )
        if x.shape[:2] != (condition.batch, condition.frames):
            raise ValueError(
                f"x has shape {tuple(x.shape)}, the condition {condition.batch} takes of {condition.frames} frames"
            )
        states = condition.encoder_states
        given = torch.cat([states if b == COND else torch.zeros_like(states) for b in branches])
        with torch.inference_mode():
            sample = x.to(device=parts.device, dtype=parts.dtype).transpose(1, 2).repeat(len(branches), 1, 1)
            (out,) = parts.transformer(
                sample,
                sample.new_full((1,), level),
                encoder_hidden_states=given,
                global_hidden_states=condition.extra["global_states"].repeat(len(branches), 1, 1),
                rotary_embedding=self._rotary,
                return_dict=False,
            )
        self.forwards += 1
        out = out.transpose(1, 2).to(device=x.device, dtype=x.dtype, copy=True)
        return out.chunk(len(branches))

"""ACE-Step behind the `Model` protocol: text, lyrics and timbre to encoder states, sources and masks to context latents.

Every tensor is built as diffusers' `AceStepPipeline` builds it for one take; each take is encoded alone and padded
afterwards under a mask, so that a take in a batch sees what it sees alone (there, unequal prompts attend to padding).
Text is encoded once per distinct text, timbre once per distinct reference. This module knows no stage and no schedule.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

import torch
from torch import Tensor

from ..conditioning import format_lyrics, format_text, parse_audio_codes
from ..diffusion.denoiser import Condition
from ..errors import Problem, RequestError
from ..prompt import Prompt
from . import autoencoder
from .acestep_denoiser import AceStepDenoiser
from .base import ConditionRequest
from .loaded import LoadedModel
from .variants import REFERENCE_S


@dataclass(frozen=True, eq=False)
class AceStepParts:
    """Loaded components. `ids` are their content fingerprints, by component name (they key what is remembered)."""

    transformer: Any
    vae: Any
    text_encoder: Any
    tokenizer: Any
    condition_encoder: Any
    audio_tokenizer: Any | None
    audio_token_detokenizer: Any | None
    ids: Mapping[str, str]
    device: torch.device
    dtype: torch.dtype


class AceStepModel(LoadedModel[AceStepParts]):
    """One ACE-Step variant's weights on a device."""

    # ---- text, lyrics, timbre ---------------------------------------------------------------------------------------

    def token_counts(self, prompt: Prompt, instruction: str) -> tuple[int, int]:
        """Text and lyric tokens of the prompt before any is cut off (limits: `info.max_text_tokens`, `max_lyric_tokens`)."""
        tokenizer = self.parts.tokenizer
        text = format_text(prompt, instruction, prompt.duration_s)
        return len(tokenizer(text).input_ids), len(tokenizer(format_lyrics(prompt)).input_ids)

    def _text_states(self, text: str, lyrics: str) -> tuple[Tensor, Tensor]:
        """Contextual states of the text `[1, L, E]` and plain embeddings of the lyrics `[1, M, E]`."""
        p = self.parts

        def encode() -> tuple[Tensor, Tensor]:
            ids = self._tokens(text, self.info.max_text_tokens)
            states = p.text_encoder(input_ids=ids).last_hidden_state
            embedded = p.text_encoder.get_input_embeddings()(self._tokens(lyrics, self.info.max_lyric_tokens))
            self._counters.add("text_encodes")
            return states, embedded

        return self._remembered.get(("text", p.ids["text_encoder"], p.ids["tokenizer"], text, lyrics), encode)

    def _tokens(self, text: str, limit: int) -> Tensor:
        ids = self.parts.tokenizer(text, truncation=True, max_length=limit, return_tensors="pt").input_ids
        return ids.to(self.parts.device)

    def _timbre(self, reference: Tensor | None) -> tuple[str, Tensor]:
        """A name for the reference and its embedding `[1, 1, H]`. No reference: the model's silence, 30 s of it."""
        p = self.parts
        frames = ceil(REFERENCE_S * self.info.frame_rate_hz)
        if reference is None:
            name, latent = "silence", p.condition_encoder.silence_latent[:, :frames]
        else:
            name = hashlib.sha256(reference.detach().float().cpu().contiguous().numpy().tobytes()).hexdigest()
            latent = reference_frames(reference, frames)[None]

        def encode() -> tuple[Tensor]:
            order = torch.zeros(1, dtype=torch.long, device=p.device)
            return (p.condition_encoder.timbre_encoder(latent.to(device=p.device, dtype=p.dtype), order)[0],)

        return name, self._remembered.get(("timbre", p.ids["condition_encoder"], name), encode)[0]

    def _encoder_states(self, request: ConditionRequest) -> Tensor:
        """What cross-attention sees for one take: lyrics, timbre, text, in this order, `[1, L, H]`."""
        p = self.parts
        seconds = (
            request.duration_s if request.duration_s is not None else request.frames / self.info.frame_rate_hz
        )
        text, lyrics = (
            format_text(request.prompt, request.instruction, seconds),
            format_lyrics(request.prompt),
        )
        name, timbre = self._timbre(request.timbre)

        def encode() -> tuple[Tensor]:
            text_states, lyric_embeddings = self._text_states(text, lyrics)
            everything = torch.ones(lyric_embeddings.shape[:2], dtype=torch.bool, device=p.device)
            encoder = p.condition_encoder
            sung = encoder.lyric_encoder(inputs_embeds=lyric_embeddings, attention_mask=everything)
            return (torch.cat([sung, timbre, encoder.text_projector(text_states)], dim=1),)

        key = (
            "states",
            p.ids["condition_encoder"],
            p.ids["text_encoder"],
            p.ids["tokenizer"],
            text,
            lyrics,
            name,
        )
        return self._remembered.get(key, encode)[0]

    # ---- context ----------------------------------------------------------------------------------------------------

    def silence(self, frames: int) -> Tensor:
        """The model's latent of silence `[frames, D]`, repeated where it is too short."""
        silent = self.parts.condition_encoder.silence_latent[0]
        return silent.repeat(ceil(frames / silent.shape[0]), 1)[:frames].to(self.parts.dtype)

    def _source(self, request: ConditionRequest) -> Tensor:
        """What fills the source half of the context, `[frames, D]`."""
        p, frames = self.parts, request.frames
        if request.context == "silence":
            return self.silence(frames)
        if request.context == "codes":
            return self._from_codes(request.codes or "", frames)
        if request.source is None or request.source.shape != (frames, self.info.latent_dim):
            given = "none" if request.source is None else f"{tuple(request.source.shape)}"
            raise ValueError(
                f"context '{request.context}' wants a source latent {(frames, self.info.latent_dim)}, got {given}"
            )
        source = request.source.to(device=p.device, dtype=p.dtype)
        if request.context == "source":
            return source
        tokenizer, detokenizer = self._quantizer()
        quantized, _ = tokenizer.tokenize(source[None], p.condition_encoder.silence_latent.to(p.dtype))
        return detokenizer(quantized)[0, :frames]

    def _from_codes(self, text: str, frames: int) -> Tensor:
        tokenizer, detokenizer = self._quantizer()
        codes = parse_audio_codes(text, tokenizer.quantizer.codebook_size)
        window = int(detokenizer.config.pool_window_size)
        if abs(len(codes) * window - frames) >= window:
            rate = self.info.frame_rate_hz
            raise RequestError(
                Problem(
                    f"{len(codes)} audio codes stand for {len(codes) * window / rate:g} s; asked for are {frames / rate:g} s.",
                    f"set duration_s to {len(codes) * window / rate:g}, or give {ceil(frames / window)} codes.",
                )
            )
        indices = torch.zeros(
            1,
            len(codes),
            tokenizer.config.fsq_input_num_quantizers,
            dtype=torch.long,
            device=self.parts.device,
        )
        indices[0, :, 0] = torch.tensor(codes, device=self.parts.device)
        latent = detokenizer(tokenizer.quantizer.get_output_from_indices(indices).to(self.parts.dtype))[
            0, :frames
        ]
        return (
            torch.cat([latent, self.silence(frames - latent.shape[0])])
            if latent.shape[0] < frames
            else latent
        )

    def _quantizer(self) -> tuple[Any, Any]:
        p = self.parts
        if p.audio_tokenizer is None or p.audio_token_detokenizer is None:
            raise RequestError(
                Problem(
                    f"model '{self.info.model}' has no audio tokenizer, which covers and audio codes need.",
                    "use a model that ships audio_tokenizer and audio_token_detokenizer.",
                )
            )
        return p.audio_tokenizer, p.audio_token_detokenizer

    def _context(self, request: ConditionRequest) -> Tensor:
        """Source latents beside the mask of frames to be made, `[frames, 2·D]`."""
        p = self.parts
        source = self._source(request)
        if request.mask is None:
            mask = torch.ones_like(source)
        else:
            if request.mask.shape != (request.frames,):
                raise ValueError(
                    f"the mask has shape {tuple(request.mask.shape)}, wanted ({request.frames},)"
                )
            mask = request.mask.to(device=p.device, dtype=p.dtype)[:, None].expand_as(source)
        if request.silence_in_mask:
            source = torch.where(mask > 0.5, self.silence(request.frames), source)
        return torch.cat([source, mask], dim=-1)

    # ---- the protocol -----------------------------------------------------------------------------------------------

    @torch.no_grad()
    def conditions(self, requests: Sequence[ConditionRequest]) -> Condition:
        """The requests, all of one number of frames, as one batch; encoder states padded at the end under a mask.

        Raises ValueError for unequal lengths or a source of another length, RequestError for audio codes that can't be.
        """
        frames = {r.frames for r in requests}
        if len(frames) != 1:
            raise ValueError(f"a batch needs requests of one length, got frames {sorted(frames)}")
        rows = [self._encoder_states(r)[0] for r in requests]
        longest = max(len(row) for row in rows)
        states = rows[0].new_zeros(len(rows), longest, rows[0].shape[-1])
        mask = torch.zeros(len(rows), longest, dtype=torch.bool, device=states.device)
        for n, row in enumerate(rows):
            states[n, : len(row)] = row
            mask[n, : len(row)] = True
        null = self.parts.condition_encoder.null_condition_emb.detach().to(states.dtype)
        context = torch.stack([self._context(r) for r in requests])
        return Condition(len(rows), frames.pop(), states, mask, context, null)

    def denoiser(self) -> AceStepDenoiser:
        """A fresh denoiser over the transformer, with nothing cached."""
        return AceStepDenoiser(self)

    def encode(self, samples: Tensor) -> Tensor:
        """Audio `[B, C, T]` -> latent means `[B, ceil(T / hop), D]`, float32 on the CPU, in bounded memory."""
        self._counters.add("audio_encodes", samples.shape[0])
        return autoencoder.encode(self.parts.vae, samples, self._tile)

    def decode(self, frames: Tensor) -> Tensor:
        """Latents `[B, N, D]` -> audio `[B, C, N · hop]`, float32 on the CPU, in bounded memory."""
        self._counters.add("audio_decodes", frames.shape[0])
        return autoencoder.decode(self.parts.vae, frames, self._tile)


def reference_frames(latent: Tensor, frames: int) -> Tensor:
    """A timbre reference `[frames, D]` of fixed length from a latent `[T, D]`, as the model was trained on it.

    Repeated where it is shorter; then three thirds: from the front, from one third in, from the end (AceStepPipeline
    does the same to the waveform, at 30 s). A latent of exactly `frames` comes back unchanged.
    """
    if latent.ndim != 2 or latent.shape[0] == 0:
        raise ValueError(f"a timbre reference is [frames >= 1, D], got {tuple(latent.shape)}")
    if latent.shape[0] < frames:
        latent = latent.repeat(ceil(frames / latent.shape[0]), 1)
    total, third = latent.shape[0], frames // 3
    last = frames - 2 * third
    middle = total // 3
    return torch.cat([latent[:third], latent[middle : middle + third], latent[total - last :]])

"""The trained parts together: conditions from prompts, context from sources, the velocity that the transformer predicts.

The transformer's forward drops the padding mask of its conditions, which is right for one prompt and wrong for a
batch of unequal ones; ``PaddedCrossAttention`` puts it back, so that training never attends to padding.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from diffusers.models.transformers.ace_step_transformer import AceStepAttnProcessor2_0, AceStepTransformer1DModel
from diffusers.pipelines.ace_step.modeling_ace_step import _pack_sequences
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from ..mini import Mini
from ..vocabulary import TEMPOS, number_tokens, related_rows
from .tasks import REFERENCE_FRAMES, Batch


@contextlib.contextmanager
def precision(device: torch.device, half: bool) -> Iterator[None]:
    """``half``: compute in bfloat16, otherwise as the weights are. The fused attention's backward pass is slow in bfloat16 on a
    CPU: there it is done by plain matrix products."""
    plain = sdpa_kernel(SDPBackend.MATH) if half and device.type == "cpu" else contextlib.nullcontext()
    with torch.autocast(device.type, torch.bfloat16, enabled=half), plain:
        yield


def _tempo_rows(mini: Mini) -> tuple[torch.Tensor, torch.Tensor]:
    """The tokens of tempos and their embeddings."""
    related = related_rows(mini.tokenizer, mini.text_encoder.config.hidden_size)
    tokens = [token for number in TEMPOS for token in number_tokens(mini.tokenizer, number)]
    return torch.tensor(tokens), torch.stack([torch.from_numpy(related[token]) for token in tokens])


class PaddedCrossAttention(AceStepAttnProcessor2_0):
    """ACE-Step's attention with the conditions' padding mask ``[B, L]`` (True where there is a token)."""

    def __init__(self) -> None:
        super().__init__()
        self.mask: torch.Tensor | None = None

    def __call__(self, attn: Any, hidden_states: torch.Tensor, encoder_hidden_states: torch.Tensor | None = None,
                 attention_mask: torch.Tensor | None = None, image_rotary_emb: Any = None) -> torch.Tensor:  # fmt: skip
        if attn.is_cross_attention and encoder_hidden_states is not None and self.mask is not None:
            attention_mask = self.mask[:, None, None, :]
        return super().__call__(attn, hidden_states, encoder_hidden_states, attention_mask, image_rotary_emb)


class FlowNetwork(nn.Module):
    """Text encoder, condition encoder and one transformer; tokenizer and detokenizer are used frozen."""

    def __init__(self, mini: Mini, variant: str = "base") -> None:
        super().__init__()
        self.text_encoder = mini.text_encoder
        self.condition_encoder = mini.condition_encoder
        self.transformer: AceStepTransformer1DModel = mini.transformer[variant]
        self.tokenizer = mini.tokenizer
        self.audio_tokenizer = mini.audio_tokenizer.eval().requires_grad_(False)
        self.detokenizer = mini.audio_token_detokenizer.eval().requires_grad_(False)
        # One reference a prompt: nothing to sort by prompt, and no number to wait for from the device.
        self.condition_encoder.timbre_encoder.unpack_timbre_embeddings = lambda packed, order: (
            packed[:, None], torch.ones_like(order)[:, None])  # fmt: skip
        self._tempo_rows = _tempo_rows(mini)
        self.padding = PaddedCrossAttention()
        for layer in self.transformer.layers:
            layer.cross_attn.set_processor(self.padding)

    @torch.no_grad()
    def hold_tempos(self) -> None:
        """Put the embeddings of tempos back to where they start. An optimizer moves each number's row for itself, and what
        neighbours share, by which one tempo is learnt from the others, would be lost in that."""
        tokens, rows = self._tempo_rows
        weight = self.text_encoder.get_input_embeddings().weight
        weight[tokens.to(weight.device)] = rows.to(weight)

    @property
    def silence(self) -> torch.Tensor:
        """The latent of silence from its beginning on, ``[15000, 64]``."""
        return self.condition_encoder.silence_latent[0]

    def tokenize(self, batch: Batch, multiple: int | None = None) -> tuple[torch.Tensor, ...]:
        """Token numbers and masks of the text prompts, then of the lyrics, each ``[B, L]``; L a multiple of ``multiple``."""
        parts: list[torch.Tensor] = []
        for texts, longest in (([p.text for p in batch.prompts], 256), ([p.lyrics for p in batch.prompts], 512)):
            made = self.tokenizer(texts, padding="longest", truncation=True, max_length=longest, return_tensors="pt",
                                  pad_to_multiple_of=multiple)  # fmt: skip
            parts += [made.input_ids, made.attention_mask.bool()]
        return tuple(parts)

    def read(self, batch: Batch) -> tuple[torch.Tensor, ...]:
        """What ``encode`` takes, on the device: tokens and masks, references and whose they are."""
        tokens = self.tokenize(batch) if batch.tokens is None else batch.tokens
        return tuple(part.to(self.silence.device, non_blocking=True) for part in (*tokens, batch.references, batch.referenced))

    def conditions(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Packed conditions ``[B, L, D]`` and their mask ``[B, L]``: lyrics, timbre, text, as the pipeline packs them."""
        return self.encode(*self.read(batch))

    def encode(
        self, text: torch.Tensor, text_mask: torch.Tensor, lyric: torch.Tensor, lyric_mask: torch.Tensor,
        references: torch.Tensor, referenced: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
        """``conditions`` from what ``read`` gives; reads no number back from the device."""
        encoder = self.condition_encoder
        text_states = encoder.text_projector(self.text_encoder(input_ids=text).last_hidden_state)
        lyric_states = encoder.lyric_encoder(
            inputs_embeds=self.text_encoder.get_input_embeddings()(lyric), attention_mask=lyric_mask)
        timbre = self._timbre(len(text), references, referenced)
        timbre_mask = torch.ones(timbre.shape[:2], dtype=torch.long, device=timbre.device)
        states, mask = _pack_sequences(lyric_states, timbre, lyric_mask, timbre_mask)
        return _pack_sequences(states, text_states, mask, text_mask)

    def _timbre(self, size: int, references: torch.Tensor, referenced: torch.Tensor) -> torch.Tensor:
        """Timbre embeddings ``[B, 1, D]``; of those without a reference, that of as much silence."""
        encoder = self.condition_encoder.timbre_encoder
        zero = torch.zeros(1, dtype=torch.long, device=self.silence.device)
        timbre = encoder(self.silence[None, :REFERENCE_FRAMES], zero)[0].expand(size + 1, -1, -1)  # the last: of nobody
        if len(referenced):
            timbre = timbre.index_copy(0, referenced, encoder(references, referenced)[0].to(timbre.dtype))
        return timbre[:size]

    def context(self, batch: Batch) -> torch.Tensor:
        """``lay_out`` of a batch."""
        device = self.silence.device
        return self.lay_out(*(part.to(device, non_blocking=True) for part in (batch.source, batch.mask, batch.covers)))

    @torch.no_grad()
    def lay_out(self, source: torch.Tensor, mask: torch.Tensor, covers: torch.Tensor) -> torch.Tensor:
        """Context latents ``[B, T, 128]``: the source (covers through the tokens) and the mask."""
        size, frames = source.shape[:2]
        if len(covers):
            chosen = source[covers.clamp_max(size - 1)]  # beyond: padding, which goes to nobody
            quantized, _ = self.audio_tokenizer.tokenize(chosen, self.condition_encoder.silence_latent)
            all_rows = torch.cat([source, source[:1]])
            source = all_rows.index_copy(0, covers, self.detokenizer(quantized)[:, :frames].to(source.dtype))[:size]
        return torch.cat([source, mask[..., None].expand_as(source)], dim=-1)

    def empty_context(self, context: torch.Tensor) -> torch.Tensor:
        """The context of a generation from text alone, as many as ``context`` ``[B, T, 128]``: silence, all of it to be made."""
        silent = self.silence[: context.shape[1]].to(context).expand(len(context), -1, -1)
        return torch.cat([silent, torch.ones_like(silent)], dim=-1)

    def velocity(
        self, noisy: torch.Tensor, time: torch.Tensor, states: torch.Tensor, mask: torch.Tensor | None,
        context: torch.Tensor,
    ) -> torch.Tensor:  # fmt: skip
        """The predicted ``noise − x0`` at ``time`` ``[B]``."""
        self.padding.mask = mask
        return self.transformer(
            hidden_states=noisy, timestep=time, timestep_r=time, encoder_hidden_states=states, context_latents=context,
            return_dict=False,
        )[0]  # fmt: skip

    def null_states(self, states: torch.Tensor) -> torch.Tensor:
        """The unconditional sequence: one embedding repeated."""
        return self.condition_encoder.null_condition_emb.expand_as(states)

    def trained_state(self) -> dict[str, dict[str, torch.Tensor]]:
        """The state that ``build_mini`` reads."""
        parts = ("text_encoder", "condition_encoder", "transformer")
        return {name: {k: v.detach().cpu().clone() for k, v in getattr(self, name).state_dict().items()} for name in parts}

"""Attention with what does not change computed once: a key/value cache for a segment, and local attention for windows.

Works on a diffusers transformer through its own attention processors, never on a copy of the model. Five facts save the
time (all exact; the result equals the plain forward to rounding):

* Cross-attention's keys and values depend on the condition alone: computed once a segment and layer.
* The null branch of guidance is one embedding repeated; softmax over equal scores averages equal values, so its
  cross-attention is ``to_out(V)`` of that *one* token: no query, no softmax, one vector a layer.
* The padding mask of unequal prompts, which the model's forward drops, rides along here.
* A sliding window of w needs keys within w only: attention in blocks of w against three blocks of keys.
* The patchifying convolution leaves its output transposed; laid out in rows, every layer after it runs faster.

Rows are ordered [conditional rows..., null rows...]. Processors are installed for the length of one forward and the
originals put back, so that two denoisers over one transformer never meet. Not for use from two threads at once.
This module knows no model family's text, no take and no schedule; it asks of the transformer only ``layers`` with
``self_attn``/``cross_attn`` in diffusers' ``AttentionModuleMixin`` form, a ``condition_embedder`` and a ``proj_in_conv``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from diffusers.models.attention_dispatch import AttentionBackendName
from diffusers.models.embeddings import apply_rotary_emb
from torch import Tensor, nn


@dataclass(frozen=True, eq=False)
class _LayerCache:
    key: Tensor  # [R, kv_heads, L, head_dim]
    value: Tensor  # [R, kv_heads, L, head_dim]
    null: Tensor | None  # [1, 1, hidden]: the whole cross-attention output of a null row


class CachedCrossAttention:
    """Processor of one cross-attention: its keys and values are there already, whatever states the forward hands in."""

    def __init__(self) -> None:
        self.cache: _LayerCache | None = None
        self.mask: Tensor | None = None  # boolean [R, 1, 1, L], None where nothing is padded

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        image_rotary_emb: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        if self.cache is None:
            raise RuntimeError(
                "cross-attention was asked for before the segment's keys and values were filled in"
            )
        rows = hidden_states.shape[0]
        known = self.cache.key.shape[0]
        null = self.cache.null
        if rows == known:
            return self._attend(attn, hidden_states, self.cache)
        if null is None or rows not in (2 * known, 3 * known):
            raise ValueError(
                f"{rows} rows do not fit {known} cached conditional rows followed by as many null rows"
            )
        out = torch.empty_like(hidden_states)
        out[:known] = self._attend(attn, hidden_states[:known], self.cache)
        out[known:] = null
        return out

    def _attend(self, attn: Any, hidden_states: Tensor, cache: _LayerCache) -> Tensor:
        query = attn.norm_q(attn.to_q(hidden_states).unflatten(-1, (attn.heads, attn.head_dim)))
        out = F.scaled_dot_product_attention(
            query.transpose(1, 2),
            cache.key,
            cache.value,
            attn_mask=self.mask,
            scale=attn.scaling,
            enable_gqa=attn.heads != attn.kv_heads,
        )
        return _to_out(attn, out.transpose(1, 2).flatten(2))


class NullCrossAttention(CachedCrossAttention):
    """Processor for forwards whose rows are null rows only."""

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        image_rotary_emb: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        if self.cache is None or self.cache.null is None:
            raise RuntimeError("there is no null embedding in this segment")
        return self.cache.null.expand_as(hidden_states)


class WindowedSelfAttention:
    """Processor of one self-attention: full, or within ``|i − j| <= window`` computed block by block.

    `_attention_backend` tells the model's forward that this processor keeps the window itself, as diffusers' own flash
    backends do, so that no dense mask of S × S is built at every step.
    """

    _attention_backend = AttentionBackendName.FLASH
    _parallel_config = None

    def __init__(self) -> None:
        self._masks: dict[tuple[int, torch.device], Tensor] = {}

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        image_rotary_emb: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        query = attn.norm_q(attn.to_q(hidden_states).unflatten(-1, (attn.heads, attn.head_dim)))
        key = attn.norm_k(attn.to_k(hidden_states).unflatten(-1, (attn.kv_heads, attn.head_dim)))
        value = attn.to_v(hidden_states).unflatten(-1, (attn.kv_heads, attn.head_dim))
        if image_rotary_emb is not None:
            query, key = (
                apply_rotary_emb(x, image_rotary_emb, use_real=True, use_real_unbind_dim=-2, sequence_dim=1)
                for x in (query, key)
            )
        q, k, v = (x.transpose(1, 2) for x in (query, key, value))
        gqa = attn.heads != attn.kv_heads
        window = attn.sliding_window
        if window is None or q.shape[2] <= window + 1:
            out = F.scaled_dot_product_attention(q, k, v, scale=attn.scaling, enable_gqa=gqa)
        elif q.shape[2] <= 4 * window:  # blocks would not save anything yet
            mask = self._band(q.shape[2], window, q.device)
            out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=attn.scaling, enable_gqa=gqa)
        else:
            out = local_attention(q, k, v, window, attn.scaling)
        return _to_out(attn, out.transpose(1, 2).flatten(2))

    def _band(self, length: int, window: int, device: torch.device) -> Tensor:
        mask = self._masks.get((length, device))
        if mask is None:
            at = torch.arange(length, device=device)
            mask = (at[:, None] - at[None, :]).abs() <= window
            self._masks = {(length, device): mask}
        return mask


def local_attention(query: Tensor, key: Tensor, value: Tensor, window: int, scale: float) -> Tensor:
    """Attention of every position to those within ``|i − j| <= window``; exact, in memory linear in the length.

    `query` `[B, H, S, E]`, `key` and `value` `[B, H_kv, S, E]` with H a multiple of H_kv; gives `[B, H, S, E]`.
    Blocks of `window` queries attend to three blocks of keys under one small mask.
    """
    batch, heads, length, width = query.shape
    blocks = -(-length // window)
    pad = blocks * window - length
    q = F.pad(query, (0, 0, 0, pad)).unflatten(2, (blocks, window))  # [B, H, N, w, E]
    k, v = (
        F.pad(x, (0, 0, window, window + pad)).unfold(2, 3 * window, window).transpose(-1, -2)
        for x in (key, value)
    )
    at = torch.arange(window, device=query.device)
    to = torch.arange(3 * window, device=query.device)
    near = (to[None, :] - at[:, None] - window).abs() <= window  # [w, 3w]
    place = torch.arange(blocks, device=query.device)[:, None] * window + to[None, :] - window
    inside = (place >= 0) & (place < length)  # [N, 3w]
    mask = near[None] & inside[:, None, :]
    mask |= ~mask.any(-1, keepdim=True)  # padded queries must see something; they are cut off below
    fold = lambda x: x.transpose(1, 2).flatten(0, 1)  # noqa: E731  [B, h, N, ...] -> [B·N, h, ...]
    out = F.scaled_dot_product_attention(
        fold(q),
        fold(k),
        fold(v),
        attn_mask=mask[None].expand(batch, -1, -1, -1).flatten(0, 1).unsqueeze(1),
        scale=scale,
        enable_gqa=heads != key.shape[1],
    )
    return (
        out.unflatten(0, (batch, blocks))
        .transpose(1, 2)
        .reshape(batch, heads, blocks * window, width)[:, :, :length]
    )


def _to_out(attn: Any, hidden_states: Tensor) -> Tensor:
    for module in attn.to_out:
        hidden_states = module(hidden_states)
    return hidden_states


class SegmentAttention:
    """One denoiser's cached attention over a transformer.

    `fill` computes a segment's keys and values and forgets the last segment's; `installed` is the context in which a
    forward of the transformer uses them. `states_placeholder` is what to hand the forward as ``encoder_hidden_states``:
    one zero token, so that embedding it costs nothing (the processors do not look at it).
    """

    def __init__(self, transformer: nn.Module) -> None:
        self._transformer = transformer
        layers = list(transformer.layers)
        self._cross = [layer.cross_attn for layer in layers]
        self._self = [layer.self_attn for layer in layers]
        self._cached = [CachedCrossAttention() for _ in layers]
        self._null_only = [NullCrossAttention() for _ in layers]
        self._windowed = WindowedSelfAttention()
        self.fills = 0

    @torch.inference_mode()
    def fill(self, states: Tensor, mask: Tensor | None, null_state: Tensor | None) -> None:
        """Begin a segment. `states` `[R, L, E]`, boolean `mask` `[R, L]` (False is padding), `null_state` `[1, 1, E]`."""
        self.drop()
        embed = self._transformer.condition_embedder
        embedded = embed(states)
        null = embed(null_state) if null_state is not None else None
        padded = None if mask is None or bool(mask.all()) else mask[:, None, None, :]
        for attn, cached, null_only in zip(self._cross, self._cached, self._null_only, strict=True):
            cache = _layer_cache(attn, embedded, null)
            cached.cache = null_only.cache = cache
            cached.mask = padded
        self.fills += 1

    def drop(self) -> None:
        """Forget every cached key and value."""
        for processor in (*self._cached, *self._null_only):
            processor.cache = processor.mask = None

    @contextmanager
    def installed(self, null_only: bool = False) -> Iterator[None]:
        """The transformer uses this segment's cache inside; its own processors are back afterwards, also after an error."""
        cross = self._null_only if null_only else self._cached
        wanted = [*zip(self._cross, cross, strict=True), *((attn, self._windowed) for attn in self._self)]
        before = [attn.processor for attn, _ in wanted]
        hook = self._transformer.proj_in_conv.register_forward_hook(_channels_last)
        try:
            for attn, processor in wanted:
                attn.set_processor(processor)
            yield
        finally:
            hook.remove()
            for (attn, _), original in zip(wanted, before, strict=True):
                attn.set_processor(original)

    def states_placeholder(self, like: Tensor) -> Tensor:
        """`[1, 1, E]` zeros of the condition embedder's input width, on the device and in the type of `like`."""
        width = self._transformer.condition_embedder.in_features
        return like.new_zeros(1, 1, width)


def _channels_last(module: nn.Module, args: tuple[Any, ...], out: Tensor) -> Tensor:
    """The same `[B, H, S]`, laid out so that the forward's transpose of it is contiguous: every linear layer and norm that
    follows then works on plain rows (one matrix product over all of them) instead of strided batches."""
    return out.transpose(1, 2).contiguous().transpose(1, 2)


def _layer_cache(attn: Any, embedded: Tensor, null: Tensor | None) -> _LayerCache:
    key = attn.norm_k(attn.to_k(embedded).unflatten(-1, (attn.kv_heads, attn.head_dim)))
    value = attn.to_v(embedded).unflatten(-1, (attn.kv_heads, attn.head_dim))
    null_out = None
    if null is not None:
        one = attn.to_v(null).unflatten(-1, (attn.kv_heads, attn.head_dim))
        # grouped heads: query head h reads key/value head h // (heads / kv_heads)
        null_out = _to_out(attn, one.repeat_interleave(attn.heads // attn.kv_heads, dim=2).flatten(2))
    return _LayerCache(key.transpose(1, 2).contiguous(), value.transpose(1, 2).contiguous(), null_out)

"""Configurations of segue-mini: the very classes of ACE-Step 1.5, a few hundred times smaller.

Every component is the class that the real checkpoints use (diffusers' ``AceStep*``, ``AutoencoderOobleck``,
transformers' ``Qwen3Model``); only the numbers in their configurations differ. Nothing here trains or reads files.
What this module does *not* know: how good any weights are (see ``evaluate``), where they are stored (``build_mini``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from diffusers import AceStepTransformer1DModel, AutoencoderOobleck, FlowMatchEulerDiscreteScheduler
from diffusers.pipelines.ace_step.modeling_ace_step import (
    AceStepAudioTokenDetokenizer,
    AceStepAudioTokenizer,
    AceStepConditionEncoder,
)
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3Model

from .vocabulary import END_OF_TEXT, make_tokenizer, related_rows

RATE_HZ = 24_000
FRAME_RATE_HZ = 25
LATENT_DIM = 64
HOP = 960
CONDITION_DIM = 192
VARIANTS = ("base", "sft", "turbo")

VAE: dict[str, Any] = {
    "encoder_hidden_size": 2 * LATENT_DIM,
    "downsampling_ratios": [6, 4, 4, 10],
    "channel_multiples": [1, 1, 2, 2],
    "decoder_channels": 64,
    "decoder_input_channels": LATENT_DIM,
    "audio_channels": 2,
    "sampling_rate": RATE_HZ,
}
TRANSFORMER: dict[str, Any] = {
    "hidden_size": 256,
    "intermediate_size": 640,
    "num_hidden_layers": 6,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "in_channels": 3 * LATENT_DIM,
    "audio_acoustic_hidden_dim": LATENT_DIM,
    "patch_size": 2,
    "rope_theta": 10_000.0,
    "sliding_window": 32,
    "encoder_hidden_size": CONDITION_DIM,
}
_SMALL_ATTENTION: dict[str, Any] = {
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 48,
    "rope_theta": 10_000.0,
    "sliding_window": 128,
}
CONDITION_ENCODER: dict[str, Any] = {
    "hidden_size": CONDITION_DIM,
    "intermediate_size": 384,
    "text_hidden_dim": CONDITION_DIM,
    "timbre_hidden_dim": LATENT_DIM,
    "num_lyric_encoder_hidden_layers": 1,
    "num_timbre_encoder_hidden_layers": 2,
    **_SMALL_ATTENTION,
}
_TOKENS: dict[str, Any] = {
    "hidden_size": CONDITION_DIM,
    "intermediate_size": 384,
    "audio_acoustic_hidden_dim": LATENT_DIM,
    "pool_window_size": 5,
    "num_attention_pooler_hidden_layers": 2,
    **_SMALL_ATTENTION,
}
# Eight dimensions of eight levels: 24 bits a token (the real model's 16 are too few for so small a network); 2**24 is
# also the largest codebook whose indices diffusers' float32 arithmetic still counts exactly.
AUDIO_TOKENIZER: dict[str, Any] = {**_TOKENS, "fsq_dim": CONDITION_DIM, "fsq_input_levels": [8] * 8}
AUDIO_TOKEN_DETOKENIZER: dict[str, Any] = dict(_TOKENS)
TEXT_ENCODER: dict[str, Any] = {
    "hidden_size": CONDITION_DIM,
    "intermediate_size": 384,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 48,
    "max_position_embeddings": 4096,
    "tie_word_embeddings": True,
}


@dataclass
class Mini:
    """All parts of the miniature, as live modules (float32, on the CPU until moved)."""

    vae: AutoencoderOobleck
    text_encoder: Qwen3Model
    tokenizer: PreTrainedTokenizerFast
    condition_encoder: AceStepConditionEncoder
    audio_tokenizer: AceStepAudioTokenizer
    audio_token_detokenizer: AceStepAudioTokenDetokenizer
    transformer: dict[str, AceStepTransformer1DModel]
    scheduler: FlowMatchEulerDiscreteScheduler


def make_vae() -> AutoencoderOobleck:
    """The autoencoder: 24 kHz stereo ``[B, 2, T]`` to latents ``[B, 64, T / 960]`` at 25 Hz."""
    return AutoencoderOobleck(**VAE)


def make_text_encoder(tokenizer: PreTrainedTokenizerFast) -> Qwen3Model:
    """A two-layer Qwen3 whose embedding has one row for each of the tokenizer's tokens; numbers and keys start related."""
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.convert_tokens_to_ids(END_OF_TEXT),
        bos_token_id=None,
        **TEXT_ENCODER,
    )
    model = Qwen3Model(config)
    rows = related_rows(tokenizer, TEXT_ENCODER["hidden_size"])
    with torch.no_grad():
        for token, row in rows.items():
            model.get_input_embeddings().weight[token] = torch.from_numpy(row)
    return model


def make_transformer(variant: str) -> AceStepTransformer1DModel:
    """The diffusion transformer of one variant; turbo says so in its configuration, as the real ones do."""
    if variant not in VARIANTS:
        raise ValueError(f"variant {variant!r} is none of {', '.join(VARIANTS)}")
    return AceStepTransformer1DModel(**TRANSFORMER, is_turbo=variant == "turbo", model_version=variant)


def make_scheduler() -> FlowMatchEulerDiscreteScheduler:
    """The scheduler as ACE-Step registers it: timesteps in [0, 1], shift applied by the pipeline."""
    return FlowMatchEulerDiscreteScheduler(num_train_timesteps=1, shift=1.0)


def make_mini(seed: int = 0) -> Mini:
    """All parts with seeded random weights; the three transformers start from the same values."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        tokenizer = make_tokenizer()
        base = make_transformer("base")
        transformers = {"base": base}
        for variant in VARIANTS[1:]:
            transformers[variant] = make_transformer(variant)
            transformers[variant].load_state_dict(base.state_dict())
        mini = Mini(
            vae=make_vae(),
            text_encoder=make_text_encoder(tokenizer),
            tokenizer=tokenizer,
            condition_encoder=AceStepConditionEncoder(**CONDITION_ENCODER),
            audio_tokenizer=AceStepAudioTokenizer(**AUDIO_TOKENIZER),
            audio_token_detokenizer=AceStepAudioTokenDetokenizer(**AUDIO_TOKEN_DETOKENIZER),
            transformer=transformers,
            scheduler=make_scheduler(),
        )
    return mini


@torch.no_grad()
def set_silence_latent(mini: Mini) -> None:
    """Fill the condition encoder's silence with the autoencoder's encoding (mean) of a long silence.

    Its first frames differ from the rest, as those of any encoded clip do: before a clip there is nothing. A transformer
    whose positions are all relative has nothing else by which to know where a clip begins. The end is cut away, because
    silence of any length is taken from here."""
    parameter = next(mini.vae.parameters())
    silence = torch.zeros(1, 2, 48 * HOP, device=parameter.device, dtype=parameter.dtype)
    frames = mini.vae.encode(silence).latent_dist.mode()[0].T.float()
    latent = mini.condition_encoder.silence_latent
    latent.copy_(frames[24].expand_as(latent))
    latent[:, :24] = frames[:24]

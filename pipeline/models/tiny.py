"""Random checkpoints in the real formats, of any size: for tests and benchmarks. They hold shapes, and no music.

`build_tiny_acestep` and `build_tiny_stable_audio` write folders that diffusers' own pipelines open. Weights come from one
seed. This module knows no stage; nothing at run time uses it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

_TOKENS_SEED_TEXT = (
    "# Instruction Fill the audio semantic mask based on the given conditions: Caption Metas - bpm: timesignature: keyscale: "
    "duration: seconds Languages en Lyric [verse] [chorus] [Instrumental] N/A major minor"
)


@dataclass(frozen=True)
class TinySize:
    """Sizes of a random ACE-Step checkpoint. The default has about 0.3 M parameters."""

    hidden: int = 64
    layers: int = 2
    heads: int = 4
    kv_heads: int = 2
    head_dim: int = 16
    intermediate: int = 96
    sliding_window: int = 8
    latent_dim: int = 8
    encoder_hidden: int = 48
    text_hidden: int = 32
    rate_hz: int = 1200
    ratios: tuple[int, ...] = (2, 4, 6)
    silence_frames: int = 15000


def size_for(parameters: int) -> TinySize:
    """Sizes whose transformer has about `parameters` parameters, in the proportions of the released 2-billion model."""
    hidden = 256
    while _transformer_parameters(hidden + 128, 12) <= parameters and hidden < 2048:
        hidden += 128
    layers = max(2, round(parameters / (_transformer_parameters(hidden, 12) / 12)))
    return TinySize(
        hidden=hidden, layers=layers, heads=hidden // 64, kv_heads=max(1, hidden // 128), head_dim=64, intermediate=3 * hidden,
        sliding_window=128, latent_dim=64, encoder_hidden=hidden, text_hidden=256, rate_hz=48000, ratios=(2, 4, 4, 6, 10),
    )  # fmt: skip


def _transformer_parameters(hidden: int, layers: int) -> int:
    attention = 2 * (2 * hidden * hidden + 2 * hidden * hidden // 2)
    return layers * (attention + 9 * hidden * hidden) + 14 * hidden * hidden


def build_tiny_acestep(
    folder: Path | str,
    seed: int = 0,
    size: TinySize | None = None,
    kind: str = "base",
    dtype: torch.dtype = torch.float32,
) -> Path:
    """Write a random ACE-Step checkpoint of one variant (`kind`: base, sft, turbo) in the official layout; gives the folder.

    Weights are drawn so that the output depends on every input: the null embedding, the silence latent and the padding
    tests would otherwise pass by accident.
    """
    from diffusers import AceStepPipeline, AutoencoderOobleck, FlowMatchEulerDiscreteScheduler
    from diffusers.models.transformers.ace_step_transformer import AceStepTransformer1DModel
    from diffusers.pipelines.ace_step import (
        AceStepAudioTokenDetokenizer,
        AceStepAudioTokenizer,
        AceStepConditionEncoder,
    )

    s = size or TinySize()
    folder = Path(folder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        common: dict[str, Any] = {
            "num_attention_heads": s.heads, "num_key_value_heads": s.kv_heads, "head_dim": s.head_dim,
            "intermediate_size": s.intermediate, "sliding_window": s.sliding_window, "rope_theta": 10000.0,
        }  # fmt: skip
        tokenizer = _word_tokenizer()
        transformer = AceStepTransformer1DModel(
            hidden_size=s.hidden, num_hidden_layers=s.layers, in_channels=3 * s.latent_dim,
            audio_acoustic_hidden_dim=s.latent_dim, encoder_hidden_size=s.encoder_hidden,
            is_turbo=kind == "turbo", model_version=kind, **common,
        )  # fmt: skip
        condition = AceStepConditionEncoder(
            hidden_size=s.encoder_hidden, text_hidden_dim=s.text_hidden, timbre_hidden_dim=s.latent_dim,
            num_lyric_encoder_hidden_layers=2, num_timbre_encoder_hidden_layers=2, **common,
        )  # fmt: skip
        condition.silence_latent = 0.3 * torch.randn(1, s.silence_frames, s.latent_dim)
        quantizing = {"hidden_size": s.encoder_hidden, "audio_acoustic_hidden_dim": s.latent_dim, **common}
        codec = AceStepAudioTokenizer(fsq_dim=s.encoder_hidden, fsq_input_levels=[8, 5, 5], **quantizing)
        back = AceStepAudioTokenDetokenizer(**quantizing)
        vae = AutoencoderOobleck(
            encoder_hidden_size=2 * s.latent_dim, downsampling_ratios=list(s.ratios), channel_multiples=[1] * len(s.ratios),
            decoder_channels=8, decoder_input_channels=s.latent_dim, audio_channels=2, sampling_rate=s.rate_hz,
        )  # fmt: skip
        parts: dict[str, Any] = {
            "transformer": transformer, "condition_encoder": condition, "audio_tokenizer": codec,
            "audio_token_detokenizer": back, "vae": vae, "text_encoder": _text_encoder(s.text_hidden, len(tokenizer)),
        }  # fmt: skip
        for part in parts.values():
            part.eval()
            if dtype != torch.float32:
                part.to(dtype)
    scheduler = FlowMatchEulerDiscreteScheduler(num_train_timesteps=1, shift=1.0)
    AceStepPipeline(tokenizer=tokenizer, scheduler=scheduler, **parts).save_pretrained(folder)
    return folder


def build_tiny_stable_audio(folder: Path | str, seed: int = 0, frames: int = 64) -> Path:
    """Write a random Stable Audio checkpoint in the official layout, for clips of up to `frames` latent frames."""
    from diffusers import (
        AutoencoderOobleck,
        EDMDPMSolverMultistepScheduler,
        StableAudioDiTModel,
        StableAudioPipeline,
    )
    from diffusers.pipelines.stable_audio import StableAudioProjectionModel
    from transformers import T5Config, T5EncoderModel

    folder = Path(folder)
    tokenizer = _t5_tokenizer()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        t5 = T5Config(vocab_size=len(tokenizer), d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4)
        parts: dict[str, Any] = {
            "transformer": StableAudioDiTModel(
                sample_size=frames, in_channels=8, num_layers=2, attention_head_dim=16, num_attention_heads=4,
                num_key_value_attention_heads=2, out_channels=8, cross_attention_dim=32, time_proj_dim=16,
                global_states_input_dim=64, cross_attention_input_dim=32,
            ),
            "projection_model": StableAudioProjectionModel(
                text_encoder_dim=32, conditioning_dim=32, min_value=0, max_value=512
            ),
            "text_encoder": T5EncoderModel(t5),
            "vae": AutoencoderOobleck(
                encoder_hidden_size=16, downsampling_ratios=[2, 4, 6], channel_multiples=[1, 1, 1],
                decoder_channels=8, decoder_input_channels=8, audio_channels=2, sampling_rate=1200,
            ),
        }  # fmt: skip
        for part in parts.values():
            part.eval()
    scheduler = EDMDPMSolverMultistepScheduler(
        sigma_min=0.3, sigma_max=500, sigma_data=1.0, prediction_type="v_prediction"
    )
    StableAudioPipeline(tokenizer=tokenizer, scheduler=scheduler, **parts).save_pretrained(folder)
    _name_cosine_scheduler(folder)
    return folder


def _name_cosine_scheduler(folder: Path) -> None:
    """Put the released checkpoints' scheduler in: its class needs torchsde to be made, its configuration file does not."""
    name = "CosineDPMSolverMultistepScheduler"
    path = folder / "scheduler" / "scheduler_config.json"
    config = json.loads(path.read_text()) | {
        "_class_name": name,
        "sigma_schedule": "exponential",
        "solver_order": 2,
    }
    path.write_text(json.dumps(config, indent=2))
    path = folder / "model_index.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"scheduler": ["diffusers", name]}, indent=2))


def _t5_tokenizer() -> Any:
    """A T5 tokenizer whose pieces are single characters and a few words."""
    from transformers import T5Tokenizer

    words = ["\u2581jazz", "\u2581trio", "\u2581warm", "\u2581drums"]
    pieces = ["<pad>", "</s>", "<unk>", "\u2581", *words, *map(chr, range(33, 127))]
    return T5Tokenizer(
        vocab=[(piece, -float(n)) for n, piece in enumerate(pieces)], extra_ids=0, model_max_length=24
    )


def _text_encoder(hidden: int, vocabulary: int) -> Any:
    from transformers import Qwen3Config, Qwen3Model

    config = Qwen3Config(
        vocab_size=vocabulary, hidden_size=hidden, intermediate_size=2 * hidden, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=16, max_position_embeddings=4096, tie_word_embeddings=True,
    )  # fmt: skip
    return Qwen3Model(config)


def _word_tokenizer() -> Any:
    """A byte-level tokenizer trained on the template's own words: any text goes through it."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    raw.train_from_iterator([_TOKENS_SEED_TEXT], trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=raw,
        eos_token="<|endoftext|>",
        pad_token="<|endoftext|>",
        padding_side="right",
        model_max_length=4096,
    )

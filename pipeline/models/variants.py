"""What each family's variants can do and do by default: facts from configuration files, no weights.

Sources: ACE-Step 1.5's own defaults (base and sft 50 steps, CFG 7 as APG, shift 1; turbo 8 steps, no guidance, shift 3),
Stable Audio Open's model card and `StableAudioPipeline` (100 steps, guidance 7, 47 s). This module knows no folder layout
and no network.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

from .base import Training, VariantDefaults, VariantInfo

ACESTEP = "acestep"
STABLE_AUDIO = "stable_audio"

ACESTEP_PARTS = (
    "transformer",
    "vae",
    "text_encoder",
    "tokenizer",
    "condition_encoder",
    "audio_tokenizer",
    "audio_token_detokenizer",
    "scheduler",
)
ACESTEP_OPTIONAL = ("audio_tokenizer", "audio_token_detokenizer", "scheduler")
STABLE_AUDIO_PARTS = ("transformer", "vae", "text_encoder", "tokenizer", "projection_model", "scheduler")

PIPELINE_FAMILY = {"AceStepPipeline": ACESTEP, "StableAudioPipeline": STABLE_AUDIO}

_ANY = frozenset({"generate", "refine", "cover", "repaint", "super_resolve"})
_STEMS = frozenset({"extract", "lego", "complete"})
_QUANTIZED = frozenset({"cover"})  # needs the audio tokenizer
_NO_CONTEXT = frozenset({"generate", "refine", "super_resolve"})

_GUIDED = VariantDefaults(steps=50, shift=1.0, guidance_kind="apg", guidance_scale=7.0)
# respace: nearest to a 50-step reference at every denoise of benchmarks/t_start.py, on distilled weights as on undistilled ones
# (at 0.5: 0.030 against 0.118 for truncate and snap, for 8 forwards in place of 2).
_TURBO = VariantDefaults(steps=8, shift=3.0, schedule="turbo", t_start_policy="respace")
_STABLE_AUDIO = VariantDefaults(
    steps=100, shift=1.0, schedule="karras", solver="dpmpp", guidance_kind="cfg", guidance_scale=7.0
)
ACESTEP_MAX_S = 600.0
ACESTEP_TEXT_TOKENS = 256
ACESTEP_LYRIC_TOKENS = 2048
TURBO_MAX_STEPS = 20
REFERENCE_S = 30.0  # length of a timbre reference
_CODE_LEVELS = (8, 8, 8, 5, 5, 5)  # of a tokenizer whose configuration names none (AceStepAudioTokenizer's own)
_CODE_FRAMES = 5


def acestep_kind(transformer: Mapping[str, Any], hint: str = "") -> str:
    """base, sft or turbo: from the transformer's configuration, else from the name it goes by."""
    version = str(transformer.get("model_version") or "").lower()
    for kind in ("turbo", "sft", "base"):
        if kind in version or (kind == "turbo" and transformer.get("is_turbo")):
            return kind
    return next((kind for kind in ("turbo", "sft") if kind in hint.lower()), "base")


def acestep_info(
    model: str,
    variant: str,
    kind: str,
    configs: Mapping[str, Mapping[str, Any]],
    fingerprint: str,
    codec: str,
    training: Training = "trained",
) -> VariantInfo:
    """Facts of an ACE-Step variant from its components' configurations."""
    vae = configs["vae"]
    tasks = _ANY | (_STEMS if kind == "base" else frozenset())
    coded = "audio_tokenizer" in configs and "audio_token_detokenizer" in configs
    if not coded:
        tasks -= _QUANTIZED
    return VariantInfo(
        model=model,
        family=ACESTEP,
        variant=variant,
        tasks=tasks,
        defaults=_TURBO if kind == "turbo" else _GUIDED,
        rate_hz=int(vae["sampling_rate"]),
        channels=int(vae["audio_channels"]),
        hop_length=prod(vae["downsampling_ratios"]),
        strides=tuple(vae["downsampling_ratios"]),
        latent_dim=int(vae["decoder_input_channels"]),
        max_duration_s=ACESTEP_MAX_S,
        max_text_tokens=ACESTEP_TEXT_TOKENS,
        max_lyric_tokens=ACESTEP_LYRIC_TOKENS,
        fingerprint=fingerprint,
        codec=codec,
        training=training,
        max_steps=TURBO_MAX_STEPS if kind == "turbo" else 1000,
        codebook_size=prod(configs["audio_tokenizer"].get("fsq_input_levels") or _CODE_LEVELS) if coded else None,
        code_frames=int(configs["audio_token_detokenizer"].get("pool_window_size", _CODE_FRAMES)) if coded else None,
        branches=frozenset({"cond", "null", "empty"}),
    )


def stable_audio_info(
    model: str,
    variant: str,
    configs: Mapping[str, Mapping[str, Any]],
    fingerprint: str,
    codec: str,
    training: Training = "trained",
) -> VariantInfo:
    """Facts of a Stable Audio checkpoint. It has no lyrics and no context channel: it generates, refines and restores.

    The longest clip is what the transformer was built for (`sample_size` latent frames), 47.5 s for Stable Audio Open.
    """
    vae, transformer = configs["vae"], configs["transformer"]
    hop = prod(vae["downsampling_ratios"])
    rate = int(vae["sampling_rate"])
    return VariantInfo(
        model=model,
        family=STABLE_AUDIO,
        variant=variant,
        tasks=_NO_CONTEXT,
        defaults=_STABLE_AUDIO,
        rate_hz=rate,
        channels=int(vae["audio_channels"]),
        hop_length=hop,
        strides=tuple(vae["downsampling_ratios"]),
        latent_dim=int(vae["decoder_input_channels"]),
        max_duration_s=int(transformer["sample_size"]) * hop / rate,
        max_text_tokens=_t5_limit(configs["tokenizer"]),
        max_lyric_tokens=0,
        fingerprint=fingerprint,
        codec=codec,
        training=training,
    )


def _t5_limit(tokenizer: Mapping[str, Any]) -> int:
    """The tokenizer's own limit; where it names none (transformers writes a huge number), Stable Audio Open's 128."""
    limit = tokenizer.get("model_max_length")
    return int(limit) if limit and limit <= 4096 else 128


def default_variants(kinds: Mapping[str, str]) -> dict[str, str]:
    """Which variant a task gets when none is asked for, from variant name -> kind.

    Turbo where there is one; extract, lego and complete go to base, which alone was trained on stems.
    """

    def first(*wanted: str) -> str:
        for kind in wanted:
            for name, has in kinds.items():
                if has == kind:
                    return name
        return next(iter(kinds))

    chosen = {"": first("turbo", "sft", "base")}
    if "base" in kinds.values():
        chosen.update({task: first("base") for task in sorted(_STEMS)})
    return chosen

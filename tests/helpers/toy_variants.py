"""Facts of variants that no weights stand behind, for checks that run before any is loaded."""

from typing import Any

from segue.pipeline.models.base import VariantDefaults, VariantInfo


def variant(name: str, tasks: set[str], **changes: Any) -> VariantInfo:
    facts: dict[str, Any] = {
        "model": "toy",
        "family": "toy",
        "variant": name,
        "tasks": frozenset(tasks),
        "rate_hz": 48000,
        "channels": 2,
        "defaults": VariantDefaults(steps=8, shift=3.0),
        "hop_length": 1920,
        "latent_dim": 64,
        "max_duration_s": 600.0,
        "max_text_tokens": 256,
        "max_lyric_tokens": 2048,
        "fingerprint": "f",
        "codec": "c",
        "max_steps": 20,
    }
    return VariantInfo(**(facts | changes))

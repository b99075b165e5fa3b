"""Loaded components to a model of their family: the one place that knows every family's class.

The libraries behind the families take seconds to import: not before a weight is needed. Knows nothing of what is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import torch

from .base import Counters, VariantInfo
from .files import component_fingerprint
from .memory import TensorMemory
from .resolve import VariantFiles
from .variants import ACESTEP

if TYPE_CHECKING:
    from .acestep import AceStepModel
    from .stable_audio import StableAudioModel


def assemble(
    files: VariantFiles,
    info: VariantInfo,
    components: Mapping[str, Any],
    counters: Counters,
    remembered: TensorMemory,
    *,
    device: torch.device,
    dtype: torch.dtype,
    tile_frames: int,
) -> AceStepModel | StableAudioModel:
    """The model of a variant from its loaded `components`, by name (of an optional one that is not there: None)."""
    ids = {name: component_fingerprint(name, folder) for name, folder in files.parts.items()}
    common: dict[str, Any] = {"ids": ids, "device": device, "dtype": dtype}
    if files.family == ACESTEP:
        from .acestep import AceStepModel, AceStepParts

        named: dict[str, Any] = {f.name: components.get(f.name) for f in fields(AceStepParts) if f.name not in common}
        return AceStepModel(info, AceStepParts(**common, **named), counters, remembered, tile_frames)
    from .stable_audio import StableAudioModel, StableAudioParts

    named = {f.name: components[f.name] for f in fields(StableAudioParts) if f.name not in common}
    return StableAudioModel(info, StableAudioParts(**common, **named), counters, remembered, tile_frames)

"""What a trainer of a diffusion model needs beside two sounds: each side's clean latent, its seed, and the noise it began from.

Knows no format; `docs` for readers are in the card.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from ..pipeline.keys import canonical_json
from ..scoring.groups import GroupEntry
from .export_source import NightRecord
from .keeping import read_latent


@dataclass(frozen=True)
class LatentFacts:
    """A clean latent: frames `[T, D]` float32 of the autoencoder `codec` (its fingerprint), at `frame_rate_hz`; the decoded
    sound is cut to `samples` (None: whole frames)."""

    frames: np.ndarray
    codec: str
    frame_rate_hz: float
    samples: int | None


@dataclass(frozen=True)
class InitialNoise:
    """The noise `[T, D]` (float32, standard normal, on the CPU) that the last denoising of a take began from.

    It is `segue.pipeline.keys.noise(seed, purpose, step, shape)`; without Segue: `torch.randn(shape,
    generator=torch.Generator().manual_seed(generator_seed))`. The start was (1 − t_start)·clean + t_start·noise, where clean is
    the source's latent; from pure noise t_start is 1.
    """

    seed: int
    generator_seed: int
    shape: tuple[int, int]
    t_start: float
    purpose: str = "initial"
    step: int = 0


def generator_seed(seed: int, purpose: str, step: int) -> int:
    """The number `pipeline.keys.noise` seeds its generator with: 63 bits (first eight bytes, big-endian, shifted right by one) of
    SHA-256 over the canonical JSON ``["segue.noise.1", seed, purpose, step]``."""
    text = canonical_json(["segue.noise.1", seed, purpose, step])
    return int.from_bytes(hashlib.sha256(text.encode("ascii")).digest()[:8], "big") >> 1


def latent_facts(path: Path) -> LatentFacts:
    """What a night's latent file holds. Raises as `read_latent` does."""
    latent, _ = read_latent(path)
    return LatentFacts(latent.frames.numpy(), latent.codec, latent.frame_rate_hz, latent.samples)


def initial_noise(entry: GroupEntry, latent: LatentFacts, record: NightRecord) -> InitialNoise | None:
    """The noise a take began from, by its lineage. None where no model made it, or where the latent is not of the model that did.

    A stage that finishes a step checkpoint draws no noise to begin with: the stage that made the checkpoint did.
    """
    steps = [s for s in entry.generation.extra.get("lineage", ()) if s.get("timesteps") and not s.get("passed_by")]
    if not steps or steps[-1].get("codec") != latent.codec:
        return None
    unfinished = _unfinished(record.folder / "pipelines", str(entry.generation.extra.get("pipeline", "")))
    at = len(steps) - 1
    while at > 0 and steps[at - 1].get("stage") in unfinished:
        at -= 1
    step = steps[at]
    seed = step.get("seed")
    if seed is None:
        return None
    frames, dim = (int(n) for n in latent.frames.shape)
    start = float(step.get("t_start", 1.0))
    return InitialNoise(int(seed), generator_seed(int(seed), "initial", 0), (frames, dim), start)


@lru_cache(maxsize=256)
def _unfinished(folder: Path, name: str) -> frozenset[str]:
    """Stages of a preset as run that stop half-way and keep a checkpoint."""
    try:
        preset = yaml.safe_load((folder / f"{name}.yaml").read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError):
        return frozenset()
    stages: Any = preset.get("stages") if isinstance(preset, Mapping) else None
    if not isinstance(stages, Mapping):
        return frozenset()
    return frozenset(str(n) for n, s in stages.items() if isinstance(s, Mapping) and s.get("stop_at") is not None)

"""Names for content: canonical JSON, digests, seeds, noise and the key of a take.

Same key, same bytes: a take's key holds everything that decides its samples and nothing else.
This module knows no stage type, no model and no file; it is handed plain facts.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any

import torch

from .context import Numerics

DIGEST_LENGTH = 40  # hex digits kept of a SHA-256: 160 bits
KEY_SCHEME = 1      # raise when the layout of `take_key` changes: every older key is then another key

_LIBRARIES = {
    "segue": "segue-audio", "torch": "torch", "diffusers": "diffusers", "transformers": "transformers",
    "numpy": "numpy", "scipy": "scipy", "soxr": "soxr", "soundfile": "soundfile",
}


def canonical_json(obj: Any) -> str:
    """The one JSON text of `obj`: keys sorted, no blanks, ASCII only, floats in their shortest exact form
    (``repr``).

    Takes None, bool, int, float, str, lists, tuples and mappings with text keys; a tuple reads as a list.
    ``1`` and ``1.0`` differ, as do ``0.0`` and ``-0.0``. Raises TypeError for any other type and ValueError
    for NaN and infinities, each naming the place (``$.guidance.scale``).
    """
    return json.dumps(_plain(obj, "$"), sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def _plain(obj: Any, place: str) -> Any:
    if obj is None or isinstance(obj, bool | int | str):
        return obj
    if isinstance(obj, float):
        if not math.isfinite(obj):
            raise ValueError(f"{place} is {obj}: a key holds finite numbers only")
        return obj
    if isinstance(obj, Mapping):
        for name in obj:
            if not isinstance(name, str):
                raise TypeError(f"{place} has the key {name!r} ({type(name).__name__}): keys are text")
        return {str(name): _plain(value, f"{place}.{name}") for name, value in obj.items()}
    if isinstance(obj, list | tuple):
        return [_plain(value, f"{place}[{i}]") for i, value in enumerate(obj)]
    raise TypeError(f"{place} is a {type(obj).__name__}: give plain data (None, bool, int, float, str, list, dict)")


def digest(obj: Any) -> str:
    """SHA-256 of `canonical_json(obj)`, its first 40 hex digits."""
    return hashlib.sha256(canonical_json(obj).encode("ascii")).hexdigest()[:DIGEST_LENGTH]


def _integer(facts: Sequence[Any]) -> int:
    """63 bits out of the SHA-256 of the facts: its first eight bytes, big-endian, the lowest bit dropped."""
    return int.from_bytes(hashlib.sha256(canonical_json(list(facts)).encode("ascii")).digest()[:8], "big") >> 1


def derive_seed(run_seed: int, stage_name: str, take_index: int) -> int:
    """A seed in [0, 2**63) for take `take_index` of a stage.

    First eight bytes (big-endian, shifted right by one) of SHA-256 over the canonical JSON
    ``["segue.seed.1", run_seed, stage_name, take_index]``.
    """
    return _integer(("segue.seed.1", run_seed, stage_name, take_index))


def take_seed(stage_seed: int | None, run_seed: int, stage_name: str, take_index: int) -> int:
    """The seed of a take. A seed set on the stage is take 0's as it stands, and the others derive from it;
    without one every take's seed derives from the run's."""
    if stage_seed is None:
        return derive_seed(run_seed, stage_name, take_index)
    return stage_seed if take_index == 0 else derive_seed(stage_seed, stage_name, take_index)


def noise(seed: int, purpose: str, step: int, shape: Sequence[int]) -> torch.Tensor:
    """Standard normal noise, float32 on the CPU, from one generator per (seed, purpose, step).

    The generator is seeded with 63 bits out of SHA-256 over ``["segue.noise.1", seed, purpose, step]``, so
    neighbouring seeds, purposes and steps are unrelated. (torch's CPU generator uses the lower 32 of them.)
    The global generator is neither read nor moved. The same arguments with another shape give other noise.
    """
    generator = torch.Generator(device="cpu").manual_seed(_integer(("segue.noise.1", seed, purpose, step)))
    return torch.randn(tuple(shape), generator=generator, dtype=torch.float32, device="cpu")


@functools.cache
def _versions() -> tuple[tuple[str, str], ...]:
    found: list[tuple[str, str]] = []
    for name, distribution in _LIBRARIES.items():
        try:
            found.append((name, metadata.version(distribution)))
        except metadata.PackageNotFoundError:
            found.append((name, "absent"))
    # torch says which build it is (+cpu, +cu130 …), its wheel's metadata not always
    found = [(name, str(torch.__version__) if name == "torch" else version) for name, version in found]
    found.append(("cpu", torch.backends.cpu.get_cpu_capability()))
    return tuple(found)


def versions() -> dict[str, str]:
    """Versions of the libraries that decide bytes (``absent`` where one isn't installed), and the CPU's
    vector instructions (``cpu``), since torch's kernels and its normal noise round differently on AVX2 and
    AVX-512."""
    return dict(_versions())


def audio_key(samples: torch.Tensor, rate_hz: int) -> str:
    """The key of given audio (an input file): SHA-256 over rate, shape and the raw float32 samples `[C,
    T]`."""
    data = samples.detach().to(device="cpu", dtype=torch.float32).contiguous()
    head = canonical_json(["segue.audio.1", rate_hz, list(data.shape)])
    return hashlib.sha256(head.encode("ascii") + b"\0" + data.numpy().tobytes()).hexdigest()[:DIGEST_LENGTH]


def numerics_facts(numerics: Numerics) -> dict[str, Any]:
    """`Numerics` as plain data; `Numerics(**facts)` is the way back."""
    return {
        "device": numerics.device, "dtype": numerics.dtype, "threads": numerics.threads,
        "micro_batch": numerics.micro_batch, "tile_frames": numerics.tile_frames, "versions": dict(numerics.versions),
    }


def take_key(
    *, stage: Mapping[str, Any], prompt: Mapping[str, Any], seed: int | None, inputs: Mapping[str, str],
    fingerprint: str, numerics: Numerics,
) -> str:
    """The key of a take: a digest over everything that decides its bytes.

    `stage` are the resolved spec's `key_facts()`, `prompt` what the stage reads of the job's prompt
    (`Stage.prompt_facts`), `seed` the take's (None for a stage that draws nothing), `inputs` the keys of its
    sources by the key that names them (``source``, ``sources[1]``), `fingerprint` that of weights and adapters
    (empty without any).
    Names and notes are not part of it.
    """
    return digest({
        "scheme": KEY_SCHEME, "stage": stage, "prompt": prompt, "seed": seed, "inputs": inputs,
        "fingerprint": fingerprint, "numerics": numerics_facts(numerics),
    })


def group_id(*, prompt: Mapping[str, Any], inputs: Mapping[str, str], stage: Mapping[str, Any]) -> str:
    """Names the takes that had the same chance: those that share prompt, conditioning inputs (their keys, by
    name) and scoring stage (its name and `key_facts()`)."""
    return digest({"group": 1, "prompt": prompt, "inputs": inputs, "stage": stage})[:16]

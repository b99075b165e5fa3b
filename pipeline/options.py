"""How a run is carried out, apart from what it makes: device, dtype, threads, micro-batch; and the numerics that follow.

Everything here is fixed when a run is created, recorded with it, and used again when it is resumed.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field

from .context import Numerics
from .errors import Problem, RequestError
from .keys import versions
from .spec import Spec


class RunOptions(Spec):
    """Choices about the machine. What is left None is decided when the run is created, and then recorded.

    `micro_batch`: takes that share a forward (1 on a CPU: there a take alone is the take in company, byte for byte).
    `tile_frames`: latent frames decoded at once, 0 for whole clips. `device_budget_gb`: memory the pool may fill.
    """

    device: str | None = Field(None, description="cpu, cuda, cuda:1, mps; automatic when left out")
    dtype: Literal["float32", "bfloat16", "float16"] | None = None
    micro_batch: int | None = Field(None, ge=1, le=256)
    threads: int | None = Field(None, ge=1, le=1024)
    tile_frames: int | None = Field(None, ge=0, le=100_000)
    offline: bool = False
    cpu_offload: bool = False
    device_budget_gb: float | None = Field(None, gt=0)


def decide(options: RunOptions) -> tuple[RunOptions, Numerics]:
    """Every open choice made for this machine. Raises `RequestError` for a device that is not there."""
    device = options.device or _best_device()
    kind = device.split(":")[0]
    if kind == "cuda" and not torch.cuda.is_available():
        raise RequestError(_absent(device, "CUDA"))
    if kind == "mps" and not torch.backends.mps.is_available():
        raise RequestError(_absent(device, "MPS"))
    if kind not in ("cpu", "cuda", "mps"):
        raise RequestError(Problem(f"unknown device '{device}'", "write cpu, cuda, cuda:0 or mps", key="device"))
    filled = options.model_copy(
        update={
            "device": device,
            "dtype": options.dtype or ("bfloat16" if kind == "cuda" else "float32"),
            "micro_batch": options.micro_batch or (1 if kind == "cpu" else 4),
            "threads": options.threads or torch.get_num_threads(),
            "tile_frames": options.tile_frames if options.tile_frames is not None else _tile_frames(kind),
        }
    )
    return filled, numerics_of(filled)


def _absent(device: str, kind: str) -> Problem:
    return Problem(f"device '{device}' was asked for, and torch sees no {kind} device", "use --device cpu", key="device")


def numerics_of(options: RunOptions) -> Numerics:
    """The part of decided options that decides bytes."""
    assert options.device and options.dtype and options.micro_batch and options.threads and options.tile_frames is not None
    return Numerics(
        device=options.device, dtype=options.dtype, threads=options.threads, micro_batch=options.micro_batch,
        tile_frames=options.tile_frames, versions=versions(),
    )


def _best_device() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _tile_frames(kind: str) -> int:
    """Latent frames decoded at once. On a GPU from the device's *whole* memory, so that two runs on one machine agree.

    On a CPU 50: blocks that small are reused by the allocator instead of mapped anew at every layer (8 s of audio through
    the embedded encoder: 2.9 s in place of 5.6 s whole, two threads; `benchmarks/autoencoder.py`).
    """
    if kind != "cuda":
        return 50
    gigabytes = torch.cuda.get_device_properties(0).total_memory / 2**30
    if gigabytes >= 46:
        return 1536
    return 1024 if gigabytes >= 15 else 512

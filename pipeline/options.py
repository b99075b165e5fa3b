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
from .models.memory import free_bytes
from .spec import Spec

_GPU_LADDER = ((46, 1536), (28, 1024), (18, 512), (11, 256), (6, 128), (0, 64))  # GiB free -> frames
_CPU_LADDER = ((4, 50), (2, 25), (0, 12))
_BATCH_LADDER = ((60, 16), (36, 8), (18, 4), (11, 2), (0, 1))  # GiB free on a GPU -> takes that share a forward


class RunOptions(Spec):
    """Choices about the machine. What is left None is decided when the run is created, and then recorded.

    `micro_batch`: takes that share a forward (1 on a CPU: there a take alone is the take in company, byte for byte); left None,
    from the memory that is free when the run is created, and halved where it turns out too many.
    `tile_frames`: latent frames decoded at once, 0 for whole clips; left None, from the memory that is free when the run is
    created. `device_budget_gb`: memory the pool may fill.
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
    free = free_bytes(device)
    filled = options.model_copy(
        update={
            "device": device,
            "dtype": options.dtype or ("bfloat16" if kind == "cuda" else "float32"),
            "micro_batch": options.micro_batch or micro_batch_for(kind, free),
            "threads": options.threads or torch.get_num_threads(),
            "tile_frames": options.tile_frames if options.tile_frames is not None else tile_for(kind, free),
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


def micro_batch_for(kind: str, free: int) -> int:
    """Takes that share a forward on a device of that kind with `free` bytes of free memory: 1 on a CPU.

    From a ladder with few rungs, as the tile. About 7 GB of weights are still to come; a minute of music at the released size
    (1,500 frames, bfloat16, guided, so two branches) takes some 2 GB a take in the transformer's widest layer. These are
    estimates, no GPU measured them: what is too many is halved when it runs out of memory, and marked.
    """
    return 1 if kind == "cpu" else next(takes for gigabytes, takes in _BATCH_LADDER if free >= gigabytes * 2**30)


def tile_for(kind: str, free: int) -> int:
    """Latent frames decoded at once on a device of that kind with `free` bytes of free memory.

    From a ladder whose rungs lie a factor of about 1.5 to 2 apart, so that memory that comes and goes in small amounts does not
    change the numerics. Decoding takes 12 MB a frame at the size of the released models (float32, on a CPU), counted as 16; on a
    GPU about 7 GB of weights are still to come. On a CPU 50 frames are the fastest, however much is free: blocks that small are
    reused by the allocator instead of mapped anew at every layer (8 s of audio through the embedded encoder: 0.44 s in place of
    0.66 s whole, two threads). Both figures: `benchmarks/autoencoder.py`.
    """
    ladder = _GPU_LADDER if kind == "cuda" else _CPU_LADDER
    return next(frames for gigabytes, frames in ladder if free >= gigabytes * 2**30)

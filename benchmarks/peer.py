"""What the benchmarks share: a random checkpoint, the peer over it, honest pairing of two timings. Ratios within one run.

Everything is float32 on the CPU. Times are medians of alternating rounds (ours, theirs, ours, theirs …), so that a machine
whose speed drifts does not favour either.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import platform
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from segue.pipeline.context import Numerics
from segue.pipeline.models.base import ModelInfo
from segue.pipeline.models.pool import Pool
from segue.pipeline.models.resolve import describe_model
from segue.pipeline.models.tiny import build_tiny_acestep, size_for
from segue.pipeline.session import Counts


def alternate(a: Callable[[], Any], b: Callable[[], Any], rounds: int) -> tuple[float, float, float]:
    """Median seconds of `a` and of `b` over alternating rounds after one warm-up each, and the median of the ratios b/a."""
    a(), b()
    times: list[tuple[float, float]] = []
    for _ in range(rounds):
        times.append((timed(a), timed(b)))
    return (
        statistics.median(t[0] for t in times), statistics.median(t[1] for t in times),
        statistics.median(t[1] / t[0] for t in times),
    )


def timed(f: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    f()
    return time.perf_counter() - begun


@contextlib.contextmanager
def random_checkpoint(parameters: int) -> Iterator[Path]:
    """A folder with a random ACE-Step checkpoint (base) of about that many transformer parameters."""
    with tempfile.TemporaryDirectory() as folder:
        yield build_tiny_acestep(Path(folder) / "base", size=size_for(parameters))


def peer_of(folder: Path) -> Any:
    """diffusers' own AceStepPipeline over the folder."""
    from diffusers import AceStepPipeline

    logging.getLogger("diffusers").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipe = AceStepPipeline.from_pretrained(folder, torch_dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def pool_of(folder: Path | str, micro_batch: int = 1) -> tuple[ModelInfo, Pool]:
    """Our pool over the same folder."""
    info = describe_model(str(folder), offline=True)
    numerics = Numerics(threads=torch.get_num_threads(), micro_batch=micro_batch)
    return info, Pool(info, numerics, Counts())


def parameters_of(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def machine() -> dict[str, Any]:
    return {
        "threads": torch.get_num_threads(), "torch": torch.__version__, "machine": platform.machine(),
        "python": platform.python_version(),
    }


def arguments(about: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--out", type=Path, help="write the JSON here as well")
    parser.add_argument("--rounds", type=int, default=3)
    return parser


def report(result: dict[str, Any], out: Path | None) -> None:
    """Print the result as JSON (and write it)."""
    text = json.dumps({**result, "machine": machine()}, indent=2)
    print(text)
    if out is not None:
        out.write_text(text + "\n", encoding="utf-8")

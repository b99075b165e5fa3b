"""A model as folders in the official layout, which diffusers' own pipelines open.

Weights are written in the number type they are stored in, as safetensors. A folder appears whole or not at all.
This module knows no stage.
"""

from __future__ import annotations

import inspect
import shutil
import tempfile
from pathlib import Path
from typing import Any

from ..errors import Problem, RequestError
from .base import ModelInfo
from .loading import load_component, quiet
from .resolve import LocatedModel, describe_model
from .variants import ACESTEP


def export_model(model: ModelInfo | str, out_dir: Path | str, variant: str | None = None) -> list[Path]:
    """Write a model's variants as official folders; gives the folders.

    With `variant` that one variant becomes `out_dir` itself; without, each becomes `out_dir/<variant>` (and `out_dir` is a
    model folder with all of them). Raises RequestError for an unknown variant, an existing target, or a family that is
    in the official layout already.
    """
    info = describe_model(model) if isinstance(model, str) else model
    if not isinstance(info, LocatedModel):
        raise TypeError("export needs a model from describe_model, which knows where its files are")
    if info.family != ACESTEP:
        raise RequestError(
            Problem(f"model '{info.name}' is in the official layout already.", "copy its folder.")
        )
    if variant is not None and variant not in info.variants:
        raise RequestError(
            Problem(
                f"model '{info.name}' has no variant '{variant}'.", f"use one of {', '.join(info.variants)}."
            )
        )
    out = Path(out_dir)
    targets = {variant: out} if variant is not None else {name: out / name for name in info.variants}
    for target in targets.values():
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise RequestError(
                Problem(f"{target} exists and is not empty; nothing was written.", "name a new folder.")
            )
    for name, target in targets.items():
        _write(info, name, target)
    return list(targets.values())


def _write(info: LocatedModel, variant: str, target: Path) -> None:
    from diffusers import AceStepPipeline, FlowMatchEulerDiscreteScheduler

    files = info.files(variant)
    wanted = set(inspect.signature(AceStepPipeline.__init__).parameters) - {"self", "scheduler"}
    parts: dict[str, Any] = {
        n: load_component(files.family, n, f, None) for n, f in files.parts.items() if n in wanted
    }
    parts["scheduler"] = FlowMatchEulerDiscreteScheduler(num_train_timesteps=1, shift=1.0)
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        with quiet():
            AceStepPipeline(**parts).save_pretrained(scratch, safe_serialization=True)
        scratch.chmod(0o755)
        if target.exists():
            target.rmdir()
        scratch.replace(target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)

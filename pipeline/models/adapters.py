"""LoRA over a transformer for one stage: laid on and taken off by diffusers' own loader, leaving the weights as they were.

This module knows no stage and no variant.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from ..errors import Problem, RequestError
from .files import PICKLED, file_hash, read_header, read_json
from .loading import quiet

AdapterChoice = tuple[Path, float]
"""A LoRA's folder or .safetensors file, and its scale."""


def adapter_file(path: Path) -> Path:
    """The safetensors file of a LoRA given as a file or a folder.

    Raises RequestError when there is none, more than one, or only pickled weights.
    """
    if path.is_dir():
        files = sorted(path.glob("*.safetensors"))
        if len(files) == 1:
            return files[0]
        if len(files) > 1:
            named = [
                f
                for f in files
                if f.name in ("pytorch_lora_weights.safetensors", "adapter_model.safetensors")
            ]
            if len(named) == 1:
                return named[0]
            raise RequestError(
                Problem(
                    f"{path} holds several LoRA files: {', '.join(f.name for f in files)}.",
                    "name one of the files.",
                    key="adapters",
                )
            )
        pickled = sorted(f.name for f in path.iterdir() if f.suffix in PICKLED)
        cause = f"{path} holds no .safetensors file" + (
            f", only {', '.join(pickled)}, which is not loaded." if pickled else "."
        )
        raise RequestError(Problem(cause, "save the LoRA as safetensors.", key="adapters"))
    if path.suffix in PICKLED:
        raise RequestError(
            Problem(
                f"{path} is a pickled file, which can run code when opened; it is not loaded.",
                "save the LoRA as safetensors.",
                key="adapters",
            )
        )
    if not path.is_file():
        raise RequestError(
            Problem(
                f"there is no LoRA at {path}.",
                "check the path; it is relative to the preset.",
                key="adapters",
            )
        )
    return path


def adapter_fingerprint(path: Path) -> str:
    """SHA-256 (hex) over a LoRA's weights and, where there is one beside it, its adapter_config.json."""
    file = adapter_file(Path(path))
    digest = hashlib.sha256(file_hash(file).encode())
    config = file.parent / "adapter_config.json"
    if config.is_file():
        digest.update(file_hash(config).encode())
    return digest.hexdigest()


def lay_on(transformer: Any, adapters: Sequence[AdapterChoice]) -> None:
    """Load the LoRAs and set their scales. On any failure the transformer is left without adapters.

    Raises RequestError when a file holds no LoRA layer of this transformer.
    """
    try:
        with torch.random.fork_rng(devices=[]):  # peft fills every LoRA from the global generator before it reads it
            names = [_load(transformer, path, n) for n, (path, _) in enumerate(adapters)]
        if names:
            transformer.set_adapters(names, weights=[scale for _, scale in adapters])
        transformer.requires_grad_(False)
        transformer.eval()
    except BaseException:
        take_off(transformer)
        raise


def take_off(transformer: Any) -> None:
    """Remove every LoRA; the weights are bit for bit what they were, as LoRA layers never change them."""
    if getattr(transformer, "peft_config", None):
        transformer.unload_lora()


def _load(transformer: Any, path: Path, number: int) -> str:
    from diffusers.loaders import AceStepLoraLoaderMixin

    file = adapter_file(path)
    read_header(file)
    name = f"segue_{number}"
    try:
        with quiet():
            state, metadata = AceStepLoraLoaderMixin.lora_state_dict(
                str(file.parent),
                weight_name=file.name,
                use_safetensors=True,
                local_files_only=True,
                return_lora_metadata=True,
            )
            state = _scaled(_bare(state), _settings(file, metadata))
            _check_fit(transformer, state, file)
            prefixed = {f"transformer.{key}": value for key, value in state.items()}
            transformer.load_lora_adapter(prefixed, adapter_name=name, prefix="transformer")
    except (ValueError, KeyError, RuntimeError, TypeError) as error:
        raise RequestError(
            Problem(
                f"{file} can't be laid over this transformer: {error}.",
                "use a LoRA made for this model family.",
                key="adapters",
            )
        ) from error
    return name


def _bare(state: dict[str, Any]) -> dict[str, Any]:
    """LoRA keys as the transformer names its layers, without diffusers' and peft's prefixes."""
    return {
        key.removeprefix("base_model.model.").removeprefix("transformer."): value
        for key, value in state.items()
    }


def _settings(file: Path, metadata: dict[str, Any] | None) -> dict[str, Any]:
    """What the LoRA was trained with: from the file's own metadata (diffusers) or adapter_config.json beside it (peft)."""
    if metadata:
        return {key.removeprefix("transformer."): value for key, value in metadata.items()}
    config = file.parent / "adapter_config.json"
    return read_json(config) if config.is_file() else {}


def _scaled(state: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    """The weights with alpha / rank (alpha / √rank for rsLoRA) multiplied in, as a LoRA's own scale is that factor.

    (Hu et al. 2021, arXiv 2106.09685, section 4.1; Kalajdzievski 2023, arXiv 2312.03732.) Without settings the factor is 1,
    as diffusers takes it.
    """
    if settings.get("use_dora") or any("lora_magnitude" in key for key in state):
        raise ValueError("it is a DoRA, which diffusers does not load")
    alpha, patterns = settings.get("lora_alpha"), settings.get("alpha_pattern") or {}
    if alpha is None:
        return state
    out = dict(state)
    for key, down in state.items():
        if ".lora_A" not in key:
            continue
        layer = key.split(".lora_A")[0]
        own = next((v for k, v in patterns.items() if layer == k or layer.endswith(f".{k}")), alpha)
        rank = down.shape[0]
        up = key.replace(".lora_A", ".lora_B")
        out[up] = state[up] * (own / (rank**0.5 if settings.get("use_rslora") else rank))
    return out


def _check_fit(transformer: Any, state: dict[str, Any], file: Path) -> None:
    modules = {name for name, _ in transformer.named_modules()}
    targets = {key.split(".lora")[0] for key in state if ".lora" in key}
    strangers = sorted(targets - modules)
    if not targets or strangers:
        layers = ", ".join(strangers[:3])
        what = f"its layers {layers} are not in the transformer" if strangers else "it holds no LoRA layer"
        raise RequestError(
            Problem(
                f"{file} does not fit this model: {what}.",
                "use a LoRA made for this model family.",
                key="adapters",
            )
        )

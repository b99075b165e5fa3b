"""From a component's folder to the loaded class of diffusers or transformers. Safetensors only, local files only, no remote code.

This module knows which class a component is, and nothing of what it is for.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from ..errors import RunError
from .files import check_component, component_config, read_header, weight_files

_CLASSES = {
    "vae": "diffusers:AutoencoderOobleck",
    "tokenizer": "transformers:AutoTokenizer",
    "acestep.transformer": "diffusers:AceStepTransformer1DModel",
    "acestep.text_encoder": "transformers:AutoModel",
    "acestep.condition_encoder": "diffusers.pipelines.ace_step:AceStepConditionEncoder",
    "acestep.audio_tokenizer": "diffusers.pipelines.ace_step:AceStepAudioTokenizer",
    "acestep.audio_token_detokenizer": "diffusers.pipelines.ace_step:AceStepAudioTokenDetokenizer",
    "stable_audio.transformer": "diffusers:StableAudioDiTModel",
    "stable_audio.text_encoder": "transformers:T5EncoderModel",
    "stable_audio.projection_model": "diffusers.pipelines.stable_audio:StableAudioProjectionModel",
}


def component_class(family: str, name: str) -> Any:
    """The class that loads a component of a family; imported when it is first asked for."""
    module, _, attribute = _CLASSES.get(f"{family}.{name}", _CLASSES.get(name, "")).partition(":")
    if not module:
        raise KeyError(f"family '{family}' has no component '{name}'")
    return getattr(import_module(module), attribute)


def load_component(family: str, name: str, folder: Path, dtype: torch.dtype | None) -> Any:
    """Load one component onto the CPU, in `dtype` (None: as stored), frozen and in evaluation mode.

    Of a scheduler the configuration is all that is needed: a dict, without the class (and what it would import). torch's
    global generator, from which the libraries fill weights before they read them, stands afterwards as it stood before.

    Raises RequestError when files are missing or damaged (before loading), RunError when the class can't take them or they
    lack some of its weights (the libraries would make those up).
    """
    check_component(name, folder)
    if name == "scheduler":
        return component_config(folder)
    cls = component_class(family, name)
    try:
        with quiet():
            if name == "tokenizer":
                return cls.from_pretrained(str(folder), local_files_only=True)
            keyword = {"dtype" if name == "text_encoder" else "torch_dtype": dtype or stored_type(folder)}
            with torch.random.fork_rng(devices=[]):
                module, told = cls.from_pretrained(
                    str(folder), local_files_only=True, use_safetensors=True, output_loading_info=True, **keyword
                )
    except (OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
        raise RunError(
            f"{folder} can't be loaded as {cls.__name__}: {error}. The folder's configuration and weights don't belong "
            "together, or the installed diffusers/transformers is too old for it."
        ) from error
    absent = sorted(told["missing_keys"])
    if absent:
        more = f" and {len(absent) - 3} more" if len(absent) > 3 else ""
        raise RunError(
            f"the weights in {folder} lack {', '.join(absent[:3])}{more}, which {cls.__name__} needs. "
            "Download or export the model again."
        )
    return module.eval().requires_grad_(False)


def verify_weights(family: str, name: str, folder: Path) -> None:
    """Check that the weights fit the class, by names and shapes, without reading them or taking memory.

    For components of diffusers. Raises RunError naming what does not fit.
    """
    check_component(name, folder)
    cls = component_class(family, name)
    config = component_config(folder)
    with torch.device("meta"), quiet():
        wanted = {k: tuple(v.shape) for k, v in cls.from_config(config).state_dict().items()}
    held = {k: shape for path in weight_files(folder) for k, (_, shape) in read_header(path).items()}
    absent = sorted(wanted.keys() - held.keys())
    unlike = sorted(k for k in wanted.keys() & held.keys() if wanted[k] != held[k])
    if absent or unlike:
        raise RunError(
            f"the weights in {folder} don't fit {cls.__name__}: "
            + "; ".join(
                [f"missing {k}" for k in absent[:3]]
                + [f"{k} is {held[k]}, wanted {wanted[k]}" for k in unlike[:3]]
            )
            + "."
        )


def stored_type(folder: Path) -> torch.dtype:
    """The number type most of a component's weights are stored in."""
    names: dict[str, int] = {}
    for path in weight_files(folder):
        for kind, shape in read_header(path).values():
            names[kind] = names.get(kind, 0) + max(1, *shape, 1)
    stored = max(names, key=lambda k: names[k], default="F32")
    known: Mapping[str, torch.dtype] = {"F16": torch.float16, "BF16": torch.bfloat16}
    return known.get(stored, torch.float32)


@contextmanager
def quiet() -> Iterator[None]:
    """No progress bars and no deprecation notes of the libraries while loading; their settings are as before afterwards."""
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    level = diffusers_logging.get_verbosity(), transformers_logging.get_verbosity()
    bar = transformers_logging.is_progress_bar_enabled()
    diffusers_logging.set_verbosity_error()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        diffusers_logging.set_verbosity(level[0])
        transformers_logging.set_verbosity(level[1])
        if bar:
            transformers_logging.enable_progress_bar()

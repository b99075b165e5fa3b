"""What an adapter to another's quality model is: stated facts, and samples in, figures out.

Adapters import their packages when they are made, never earlier, and hold the model until `close`. Knows no single
adapter, no stage and no file format.
"""

from __future__ import annotations

import importlib
import importlib.util
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any, Protocol

import numpy as np
import soxr

from ..metrics import METRICS
from ..samples import Array, as_samples

Range = tuple[float | None, float | None]


@dataclass(frozen=True)
class AdapterFacts:
    """What is known of an adapter before anything is loaded.

    `version` is ours: raised when the same sound and weights give another figure. `packages` are (module, distribution)
    it needs beside Segue's own dependencies, `extra` the extra of segue-audio that installs them (None: nothing is
    missing). `licence` names that of the code and of the weights. `rate_hz` is what the model hears (everything is
    resampled and, for `channels` 1, mixed to mono). `ranges` are the lowest and highest values of each metric (None: no
    end). `model` says what may be given as the model; `default_model` is what is used when nothing is given.
    """

    name: str
    about: str
    version: int
    licence: str
    rate_hz: int
    ranges: Mapping[str, Range]
    source: str
    extra: str | None = None
    packages: tuple[tuple[str, str], ...] = ()
    channels: int = 1
    model: str = ""
    default_model: str | None = None
    needs_model: bool = False
    needs_text: bool = False
    needs_references: bool = False

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of its figures, in `scoring.metrics.METRICS` as any other."""
        return tuple(self.ranges)

    @property
    def higher_is_better(self) -> Mapping[str, bool | None]:
        """Which way is better, by figure (None: neither)."""
        return MappingProxyType({name: METRICS[name].higher_is_better for name in self.ranges})

    def installed(self) -> dict[str, str | None]:
        """The version of each package it needs; None where one is not there."""
        return {distribution: _version(distribution) for _, distribution in self.packages}


class Adapter(Protocol):
    """A loaded quality model."""

    @property
    def facts(self) -> AdapterFacts: ...

    def score(self, samples: Any, rate_hz: int, *, text: str | None = None) -> dict[str, float | None]:
        """Every metric of `facts.metrics` for `[C, T]` at any rate; the same sound always gives the same. `text` is what
        the sound should be, for those that ask. None where a figure does not exist (silence, no text)."""

    def close(self) -> None:
        """Let go of the model; it can't be asked afterwards."""


class Separator(Protocol):
    """A loaded model that takes a mix apart."""

    @property
    def facts(self) -> AdapterFacts: ...

    def separate(self, samples: Any, rate_hz: int) -> dict[str, Array]:
        """The stems of `[C, T]` by name, as long and at the same rate."""

    def close(self) -> None:
        """Let go of the model; it can't be asked afterwards."""


class AdapterError(RuntimeError):
    """An adapter's model can't be loaded or asked; says which, why, and what to give."""


class MissingExtra(AdapterError):
    """A package an adapter needs is absent or does not load; `cause` and `fix` say it apart."""

    def __init__(self, cause: str, fix: str) -> None:
        super().__init__(f"{cause} Fix: {fix}")
        self.cause, self.fix = cause, fix


def missing_extra(facts: AdapterFacts) -> MissingExtra | None:
    """Why the adapter's packages can't be used, or None. Nothing is imported."""
    absent = [d for module, d in facts.packages if importlib.util.find_spec(module) is None]
    if not absent:
        return None
    return MissingExtra(
        f"adapter '{facts.name}' needs {' and '.join(absent)}, which {'is' if len(absent) == 1 else 'are'} not installed.",
        f'pip install "segue-audio[{facts.extra}]", or leave the adapter out',
    )


def import_package(facts: AdapterFacts, module: str) -> ModuleType:
    """A module of the adapter's packages, imported now. Raises MissingExtra when it is absent or does not load
    (torchaudio's Linux wheels are built against CUDA torch, and raise OSError beside a CPU one)."""
    missing = missing_extra(facts)
    if missing is not None:
        raise missing
    try:
        return importlib.import_module(module)
    except (ImportError, OSError) as error:
        raise MissingExtra(
            f"adapter '{facts.name}' needs {module.split('.')[0]}, which is installed but does not load ({str(error)[:200]}).",
            f"install the build that belongs to the installed torch, as segue-audio[{facts.extra}] asks, or uninstall it",
        ) from error


def state_dict(path: Path) -> dict[str, Any]:
    """The tensors by name in a .safetensors file, or in one of `torch.save` (tensors only; code in it is refused).
    Raises OSError or ValueError for a file that holds none."""
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return load_file(path)
        except SafetensorError as error:
            raise ValueError(f"the file is no whole safetensors file ({error})") from error
    import torch

    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError("the file holds something else than tensors") from error
    if not isinstance(found, dict):
        raise ValueError("the file holds no state dict")
    return found


def mono_at(samples: Any, rate_hz: int, wanted_hz: int) -> Array:
    """`[C, T]` as float32 `[T']` at `wanted_hz`: the mean of the channels, resampled by soxr. Raises ValueError as
    `as_samples` does, and for NaN or Inf."""
    x = as_samples(samples, rate_hz)
    if not np.isfinite(x).all():
        raise ValueError("samples hold NaN or Inf; a quality model's answer to them would mean nothing")
    mono = x.mean(axis=0, dtype=np.float64).astype(np.float32)
    return mono if rate_hz == wanted_hz else soxr.resample(mono, rate_hz, wanted_hz, quality="VHQ").astype(np.float32)


def windows(mono: Array, length: int, hop: int) -> list[Array]:
    """Pieces of `length` samples every `hop`, the last one moved back so that it ends with the sound; a shorter sound
    is one piece, as it is."""
    if mono.size <= length:
        return [mono]
    starts = [*range(0, mono.size - length, hop), mono.size - length]
    return [mono[s : s + length] for s in starts]


def silent(mono: Array) -> bool:
    """Whether no sample is above −80 dBFS: there is nothing to judge."""
    return not mono.size or float(np.abs(mono).max()) < 1e-4


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None

"""Others' quality models behind one protocol: facts first, packages and weights only when one is asked for.

`ADAPTERS` has the facts of each by name; `load_adapter` makes one. Their figures stand in reports beside the others
and never enter the overall score: what they were trained on is not what is judged here. `SEPARATORS` and `load_separator`
are the same for models that judge nothing and take a mix apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from . import audiobox, clap, dnsmos, fad, hdemucs, squim
from .fad import Sound, frechet_audio_distance
from .protocol import Adapter, AdapterError, AdapterFacts, MissingExtra, Separator, missing_extra

__all__ = [
    "ADAPTERS", "SEPARATORS", "Adapter", "AdapterError", "AdapterFacts", "MissingExtra", "Separator",
    "frechet_audio_distance", "load_adapter", "load_separator", "missing_extra",
]  # fmt: skip

ADAPTERS: Mapping[str, AdapterFacts] = MappingProxyType(
    {facts.name: facts for facts in (audiobox.FACTS, clap.FACTS, dnsmos.FACTS, fad.FACTS, squim.FACTS)}
)
SEPARATORS: Mapping[str, AdapterFacts] = MappingProxyType({hdemucs.FACTS.name: hdemucs.FACTS})
_MADE_BY: Mapping[str, Any] = {
    "audiobox": audiobox.Audiobox, "clap": clap.Clap, "dnsmos": dnsmos.Dnsmos, "squim": squim.Squim,
}  # fmt: skip


def load_adapter(
    name: str, model: str | None = None, *, device: str = "cpu", references: Iterable[Sound] | None = None
) -> Adapter:
    """The adapter `name` with its weights: `model` as its facts say, on `device`. `references` are the sounds, (samples
    `[C, T]`, rate) each, that one with `needs_references` compares with.

    Raises ValueError for an unknown name or missing references, MissingExtra (with what to install) when a package is
    absent, AdapterError when the weights can't be loaded.
    """
    if name not in ADAPTERS:
        raise ValueError(f"no adapter '{name}'; there is {', '.join(ADAPTERS)}")
    missing = missing_extra(ADAPTERS[name])
    if missing is not None:
        raise missing
    if ADAPTERS[name].needs_references:
        if references is None:
            raise ValueError(f"adapter '{name}' compares with reference clips; give references=[(samples, rate_hz), …]")
        return fad.Fad(references, model, device)
    made: Adapter = _MADE_BY[name](model, device)
    return made


def load_separator(name: str, model: str | None = None, *, device: str = "cpu") -> Separator:
    """The separator `name` with its weights: `model` as its facts say, on `device`.

    Raises ValueError for an unknown name, MissingExtra (with what to install) when a package is absent, AdapterError when the
    weights can't be loaded.
    """
    if name not in SEPARATORS:
        raise ValueError(f"no separator '{name}'; there is {', '.join(SEPARATORS)}")
    missing = missing_extra(SEPARATORS[name])
    if missing is not None:
        raise missing
    return hdemucs.Hdemucs(model, device)

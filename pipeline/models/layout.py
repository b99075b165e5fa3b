"""Model folders on disk: the ``segue.json`` manifest and diffusers' own layout, as variants with their components' folders.

Reads configuration files; loads no weight. This module knows no names, no environment and no network.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from ..errors import Problem, RequestError
from .base import Training, VariantInfo
from .files import check_component, combined_fingerprint, component_config, missing, read_json
from .variants import (
    ACESTEP,
    ACESTEP_OPTIONAL,
    ACESTEP_PARTS,
    PIPELINE_FAMILY,
    STABLE_AUDIO_PARTS,
    acestep_info,
    acestep_kind,
    stable_audio_info,
)

MANIFEST = "segue.json"


@dataclass(frozen=True)
class VariantFiles:
    """Where a variant's components lie, by component name, and what is known of it before any hash."""

    variant: str
    family: str
    kind: str
    parts: Mapping[str, Path]
    training: Training = "trained"

    def check(self) -> None:
        """Raise RequestError for the first component that is missing, pickled or damaged."""
        for name, folder in self.parts.items():
            check_component(name, folder)

    def info(self, model: str, marks: dict[tuple[str, Path], str] | None = None) -> VariantInfo:
        """The variant's facts; hashes its files (remembered). Says nothing of what `check` would find.

        `marks` remembers fingerprints of components among variants that share some, for as long as their files are known to
        stay."""
        configs = {
            n: component_config(f) for n, f in self.parts.items() if n != "tokenizer" or _has_config(f)
        }
        configs.setdefault("tokenizer", {})
        marks = {} if marks is None else marks
        fingerprint = combined_fingerprint(self.parts, marks)
        codec = combined_fingerprint({"vae": self.parts["vae"]}, marks)
        if self.family == ACESTEP:
            return acestep_info(model, self.variant, self.kind, configs, fingerprint, codec, self.training)
        return stable_audio_info(model, self.variant, configs, fingerprint, codec, self.training)


def read_manifest(folder: Path) -> tuple[list[VariantFiles], str]:
    """The variants of a ``segue.json``: folders are relative to it and may be shared between variants."""
    path = folder / MANIFEST
    data = read_json(path)
    training = data.get("training", "trained")
    if (
        training not in get_args(Training)
        or data.get("family") != ACESTEP
        or not isinstance(data.get("variants"), dict)
    ):
        raise RequestError(
            Problem(
                f"{path} is no model manifest: it needs family '{ACESTEP}', training one of {', '.join(get_args(Training))}, "
                "and variants with a folder for each part.",
                "compare it with the segue.json of the shipped segue-mini.",
            )
        )
    found, root = [], folder.resolve()
    for variant, parts in data["variants"].items():
        absent = [p for p in ACESTEP_PARTS if p not in parts and p not in ACESTEP_OPTIONAL]
        if absent:
            raise RequestError(
                Problem(
                    f"{path}: variant '{variant}' names no {', '.join(absent)}.",
                    "name a folder for each part.",
                )
            )
        folders = {p: _inside(root, str(parts[p]), path) for p in ACESTEP_PARTS if p in parts}
        kind = acestep_kind(component_config(folders["transformer"]), hint=variant)
        found.append(VariantFiles(variant, ACESTEP, kind, folders, training))
    return found, str(data.get("note", ""))


def _inside(root: Path, relative: str, manifest: Path) -> Path:
    path = (root / relative).resolve()
    if not path.is_relative_to(root):
        raise RequestError(
            Problem(f"{manifest} points outside its folder: '{relative}'.", "keep the parts beside it.")
        )
    return path


def read_official(folder: Path, variant: str | None = None) -> VariantFiles:
    """A folder in the layout of diffusers' `save_pretrained`."""
    index = read_json(folder / "model_index.json")
    family = PIPELINE_FAMILY.get(str(index.get("_class_name")))
    if family is None:
        raise RequestError(
            Problem(
                f"{folder / 'model_index.json'} is for {index.get('_class_name')}; Segue runs {', '.join(PIPELINE_FAMILY)}.",
                "name a model of one of these families.",
            )
        )
    wanted = ACESTEP_PARTS if family == ACESTEP else STABLE_AUDIO_PARTS
    optional = ACESTEP_OPTIONAL if family == ACESTEP else ()
    parts: dict[str, Path] = {}
    for part in wanted:
        entry: Any = index.get(part)
        if isinstance(entry, list) and entry and entry[0] is not None:
            parts[part] = folder / part
        elif part not in optional:
            raise RequestError(missing(folder / part))
    kind = "base"
    if family == ACESTEP:
        kind = acestep_kind(component_config(parts["transformer"]), hint=folder.name)
    return VariantFiles(variant or kind, family, kind, parts)


def _has_config(folder: Path) -> bool:
    return (folder / "tokenizer_config.json").is_file()

"""The presets that come with Segue: where they lie, and what each says of itself. Knows no stage type and builds no graph,
so that listing them costs nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .yaml_reader import read_file, read_yaml

FOLDER = Path(__file__).parent
"""Where the shipped presets lie."""


@dataclass(frozen=True)
class PresetInfo:
    """A shipped preset: its name (what `load` takes), what it is about, its file."""

    name: str
    about: str
    path: Path


def presets() -> tuple[PresetInfo, ...]:
    """The shipped presets, by name."""
    found = []
    for path in sorted(FOLDER.glob("*.yaml")):
        data = read_yaml(read_file(path), str(path)).data
        about = data.get("about") if isinstance(data, dict) else None
        found.append(PresetInfo(path.stem, " ".join(str(about or "").split()), path))
    return tuple(found)

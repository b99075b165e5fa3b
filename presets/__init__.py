"""Presets: shipped YAML files, their loader, and the JSON Schema that editors use.

Names are loaded when they are first used: listing the presets needs neither stages nor graph.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .loader import load as load
    from .schema import json_schema as json_schema
    from .shipped import PresetInfo as PresetInfo
    from .shipped import presets as presets

_HOME_OF = {"load": "loader", "json_schema": "schema", "PresetInfo": "shipped", "presets": "shipped"}

__all__ = ["PresetInfo", "json_schema", "load", "presets"]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_HOME_OF[name]}", __name__), name)
    globals()[name] = value
    return value

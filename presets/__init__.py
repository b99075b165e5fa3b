"""Presets: shipped YAML files, their loader, and the JSON Schema that editors use."""

from .loader import PresetInfo, load, presets
from .schema import json_schema

__all__ = ["PresetInfo", "json_schema", "load", "presets"]

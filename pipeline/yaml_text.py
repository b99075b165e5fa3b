"""The scalars of a preset's YAML, and a pipeline written as preset text.

Plain scalars mean what YAML 1.2's core schema says (chapter 10.3.2), not what YAML 1.1 made of them: ``no``, ``on``,
``4:4`` and ``2024-01-01`` are text, ``1e-3`` is a number. Writing quotes every text that either version would read as
something else. Knows no stage type; reading whole files is the presets' part.
"""

from __future__ import annotations

import math
import re
from typing import Any

import yaml

from .spec import Preset, Stage

Scalar = str | int | float | bool | None

_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_SPECIAL = re.compile(r"[-+]?(\.inf|\.Inf|\.INF)|\.nan|\.NaN|\.NAN")
_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}


def plain_scalar(text: str) -> Scalar:
    """The value of an unquoted scalar. Numbers too large for a float, ``.inf`` and ``.nan`` come back as floats that are
    not finite, for the caller to refuse."""
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text) and len(text) < 4000:
        return int(text, 0) if text[:2] in ("0o", "0x") else int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    if _SPECIAL.fullmatch(text):
        return math.nan if "n" in text.lower().replace("inf", "") else math.copysign(math.inf, -1 if text[0] == "-" else 1)
    return text


def to_yaml(pipeline: Preset) -> str:
    """The pipeline as preset text: what is at its default is left out, the order is that of the declaration, and loading
    it gives an equal pipeline. Paths stay as they were written."""
    data = pipeline.model_dump(mode="json", exclude_defaults=True, exclude={"stages"})
    data = {key: data[key] for key in type(pipeline).model_fields if key in data}
    outputs = data.pop("outputs", None)
    data["stages"] = {name: _stage(stage) for name, stage in pipeline.stages.items()}
    if outputs is not None:
        data["outputs"] = outputs
    return plain_yaml(data)


def plain_yaml(data: dict[str, Any]) -> str:
    """Plain data (None, bool, int, float, str, lists, mappings with text keys) as YAML, in the order it is given."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110, default_flow_style=False)


def _stage(stage: Stage) -> dict[str, Any]:
    """Type first, then what it reads, then the rest as declared."""
    given = stage.model_dump(mode="json", exclude_defaults=True)
    sources = [key.split("[")[0] for key in stage.references()]
    order = ["type", *dict.fromkeys(sources), *type(stage).model_fields]
    return {"type": stage.type, **{key: given[key] for key in dict.fromkeys(order) if key in given and key != "type"}}


class _Dumper(yaml.SafeDumper):
    """SafeDumper that quotes what `plain_scalar` would not read as the same text, and keeps short data on one line."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


_ODD = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ufeff]")
_NO_BLOCK = re.compile(r"[ \t](\n|\Z)|\A\s")


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.Node:
    """Several lines as a block, what would be read as something else (or can't be seen) in double quotes."""
    style = None
    if _ODD.search(value) or not isinstance(plain_scalar(value), str):
        style = '"'
    elif "\n" in value.strip("\n") and not _NO_BLOCK.search(value):
        style = "|"
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


def _list(dumper: yaml.SafeDumper, value: list[Any]) -> yaml.Node:
    flat = all(not isinstance(item, dict) for item in value) and len(str(value)) < 90
    return dumper.represent_sequence("tag:yaml.org,2002:seq", value, flow_style=flat)


def _mapping(dumper: yaml.SafeDumper, value: dict[str, Any]) -> yaml.Node:
    inner = all(not isinstance(item, dict | list) and "\n" not in str(item) for item in value.values())
    small = inner and len(str(value)) < 70 and "type" not in value
    return dumper.represent_mapping("tag:yaml.org,2002:map", value, flow_style=small)


_Dumper.add_representer(str, _text)
_Dumper.add_representer(list, _list)
_Dumper.add_representer(dict, _mapping)

__all__ = ["Scalar", "plain_scalar", "plain_yaml", "to_yaml"]

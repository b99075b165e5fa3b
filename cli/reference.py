"""The fields of stages as plain rows, from their JSON Schema: what `segue stages` prints and the docs hold.

Knows nothing of any single stage.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from ..pipeline.spec import DiffusionStage, Stage

_KINDS = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
    "null": "null",
}


@dataclass(frozen=True)
class FieldRow:
    """One field: what it takes, in which range, what it is when left out (`default` None: required)."""

    name: str
    kind: str
    range: str
    default: str | None
    about: str


@dataclass(frozen=True)
class Reference:
    """One stage type, or one of the blocks (`Prompt`, `Guidance` …) its fields are made of."""

    name: str
    title: str
    about: str
    fields: tuple[FieldRow, ...]
    common: tuple[str, ...] = ()  # names of the fields every stage (or every denoising stage) has
    task: str | None = None
    diffuses: bool = False


def stage_reference(type_name: str, cls: type[Stage]) -> Reference:
    """The reference of one stage type. The type's own fields come first, those it shares with others last."""
    schema = cls.model_json_schema()
    base: type[Stage] = DiffusionStage if issubclass(cls, DiffusionStage) else Stage
    shared = [name for name in cls.model_fields if name in base.model_fields and name != "type"]
    own = [name for name in cls.model_fields if name not in shared]
    rows = tuple(_row(name, schema, cls) for name in [*own, *shared])
    return Reference(type_name, cls.__name__, _doc(cls), rows, tuple(shared), cls.task, cls.diffuses)


def block_references(classes: Mapping[str, type[Stage]]) -> tuple[Reference, ...]:
    """The blocks that fields of these stages refer to, by name, each once."""
    found: dict[str, type[BaseModel]] = {}
    for cls in classes.values():
        for field in cls.model_fields.values():
            _collect(field.annotation, found)
    return tuple(
        Reference(
            name, name, _doc(cls), tuple(_row(f, cls.model_json_schema(), cls) for f in cls.model_fields)
        )
        for name, cls in sorted(found.items())
    )


def _collect(annotation: Any, found: dict[str, type[BaseModel]]) -> None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        if annotation.__name__ not in found:
            found[annotation.__name__] = annotation
            for field in annotation.model_fields.values():
                _collect(field.annotation, found)
        return
    for inner in getattr(annotation, "__args__", ()):
        _collect(inner, found)


def _doc(cls: type) -> str:
    return " ".join((inspect.getdoc(cls) or "").split("\n\n")[0].split())


def _row(name: str, schema: Mapping[str, Any], cls: type[BaseModel]) -> FieldRow:
    field, part = cls.model_fields[name], schema["properties"][name]
    default = None if field.is_required() else _default(field.get_default(call_default_factory=True))
    kinds = list(dict.fromkeys(_kinds(part, schema)))
    if len(kinds) > 1 and "null" in kinds and default == "null":
        kinds.remove("null")  # "left out" says it already
    ranges = list(dict.fromkeys(r for r in _ranges(part) if r))
    return FieldRow(name, " or ".join(kinds), "; ".join(ranges), default, field.description or "")


def _default(value: Any) -> str:
    if isinstance(value, BaseModel):
        plain = value.model_dump(mode="json", exclude_defaults=True)
        return json.dumps(plain, ensure_ascii=False) if plain else "{}"
    if isinstance(value, tuple) and any(isinstance(v, BaseModel) for v in value):
        return json.dumps([v.model_dump(mode="json") for v in value], ensure_ascii=False)
    return json.dumps(value, ensure_ascii=False, default=str)


def _kinds(part: Mapping[str, Any], schema: Mapping[str, Any]) -> Iterator[str]:
    if "$ref" in part:
        target = part["$ref"].rsplit("/", 1)[-1]
        inner = schema.get("$defs", {}).get(target, {})
        if "enum" in inner:
            yield from _kinds(inner, schema)
        else:
            yield target
    elif "anyOf" in part or "oneOf" in part or "allOf" in part:
        for option in part.get("anyOf") or part.get("oneOf") or part["allOf"]:
            yield from _kinds(option, schema)
    elif "const" in part:
        yield json.dumps(part["const"])
    elif "enum" in part:
        yield "one of " + ", ".join(str(v) for v in part["enum"])
    elif part.get("type") == "array":
        yield _array(part, schema)
    elif part.get("type") == "object":
        yield "mapping"
    else:
        yield _KINDS.get(part.get("type", ""), "anything")


def _array(part: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    if "prefixItems" in part:
        return "[" + ", ".join(" or ".join(_kinds(p, schema)) for p in part["prefixItems"]) + "]"
    return "list of " + " or ".join(_kinds(part.get("items", {}), schema))


def _ranges(part: Mapping[str, Any]) -> Iterator[str]:
    low, high = part.get("minimum"), part.get("maximum")
    above, below = part.get("exclusiveMinimum"), part.get("exclusiveMaximum")
    if low is not None and high is not None:
        yield f"{_number(low)} to {_number(high)}"
    else:
        if low is not None:
            yield f"at least {_number(low)}"
        if above is not None:
            yield f"above {_number(above)}"
        if high is not None:
            yield f"at most {_number(high)}"
        if below is not None:
            yield f"below {_number(below)}"
    if "maxLength" in part:
        yield f"at most {part['maxLength']:,} characters"
    if part.get("type") == "array" and "prefixItems" not in part:
        if part.get("minItems"):
            yield f"at least {part['minItems']} item{'s' * (part['minItems'] != 1)}"
        if "items" in part:
            yield from (f"each {r}" for r in _ranges(part["items"]))
    for option in part.get("anyOf", part.get("oneOf", ())):
        yield from _ranges(option)


def _number(value: float) -> str:
    return "2⁶³−1" if value == 2**63 - 1 else f"{value:g}" if isinstance(value, float) else f"{value:,}"

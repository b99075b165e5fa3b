"""JSON Schema (2020-12) of a preset, for editors: every stage type with its keys, told apart by `type`.

Made from the specs alone, so it can't drift from them. What only the whole graph can tell (references, circles, tasks of
variants) is not in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic.json_schema import models_json_schema

from ..pipeline.pipeline import Pipeline
from ..pipeline.spec import NAME_PATTERN, Stage


def json_schema(types: Mapping[str, type[Stage]] | None = None) -> dict[str, Any]:
    """The schema of a preset over the given stage types (all by default). Plain JSON data, keys in a stable order."""
    if types is None:
        from ..stages import STAGES

        types = STAGES
    models: list[Any] = [(cls, "validation") for cls in (Pipeline, *types.values())]
    refs, made = models_json_schema(models, ref_template="#/$defs/{model}")
    definitions = made["$defs"]
    whole = definitions.pop(refs[Pipeline, "validation"]["$ref"].rsplit("/", 1)[1])
    definitions.pop("Stage", None)
    branches = []
    for name, cls in types.items():
        ref = refs[cls, "validation"]
        stage = definitions[ref["$ref"].rsplit("/", 1)[1]]
        stage["required"] = ["type", *(key for key in stage.get("required", []) if key != "type")]
        stage["properties"]["type"] = {"const": name, "description": _first_line(cls)}
        branches.append(ref)
    names = {"pattern": NAME_PATTERN, "maxLength": 64}
    whole["properties"]["stages"] = {
        "type": "object",
        "title": "Stages",
        "description": "the stages by name; each reads inputs or other stages",
        "minProperties": 1,
        "propertyNames": names,
        "additionalProperties": {
            "type": "object",
            "required": ["type"],
            "properties": {"type": {"enum": list(types)}},
            "oneOf": branches,
        },
    }
    if "inputs" in whole["properties"]:
        whole["properties"]["inputs"] |= {"propertyNames": names}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Segue preset",
        **{key: value for key, value in whole.items() if key != "title"},
        "$defs": dict(sorted(definitions.items())),
    }


def _first_line(cls: type[Stage]) -> str:
    return (cls.__doc__ or "").strip().split("\n\n")[0].replace("\n", " ").replace("    ", "")

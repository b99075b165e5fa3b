"""The JSON Schema editors use says of shipped presets, and of slips in them, what the loader says."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from segue.pipeline.pipeline import Pipeline
from segue.presets.loader import presets
from segue.presets.schema import json_schema
from segue.presets.yaml_reader import read_file, read_yaml
from segue.stages import STAGES

SCHEMA = json_schema()


def fits(value: Any, schema: dict[str, Any]) -> bool:
    """Whether `value` fits, over the keywords our schema uses (an unknown one fails the test)."""
    known = {
        "$defs",
        "$schema",
        "title",
        "description",
        "default",
        "examples",
        "type",
        "properties",
        "required",
        "additionalProperties",
        "enum",
        "const",
        "anyOf",
        "oneOf",
        "$ref",
        "items",
        "prefixItems",
        "minItems",
        "maxItems",
        "minLength",
        "maxLength",
        "pattern",
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "minProperties",
        "maxProperties",
        "propertyNames",
    }
    assert set(schema) <= known, set(schema) - known
    if "$ref" in schema and not fits(value, SCHEMA["$defs"][schema["$ref"].removeprefix("#/$defs/")]):
        return False
    kinds = {
        "object": isinstance(value, dict),
        "array": isinstance(value, list),
        "string": isinstance(value, str),
        "null": value is None,
        "boolean": isinstance(value, bool),
        "integer": isinstance(value, int) and not isinstance(value, bool),
        "number": isinstance(value, int | float) and not isinstance(value, bool),
    }
    if "type" in schema and not kinds[schema["type"]]:
        return False
    if ("enum" in schema and value not in schema["enum"]) or ("const" in schema and value != schema["const"]):
        return False
    if "anyOf" in schema and not any(fits(value, s) for s in schema["anyOf"]):
        return False
    if "oneOf" in schema and sum(fits(value, s) for s in schema["oneOf"]) != 1:
        return False
    if isinstance(value, dict):
        return _object_fits(value, schema)
    if isinstance(value, list):
        lead = schema.get("prefixItems", [])
        rest = schema.get("items", {})
        return (
            all(fits(v, s) for v, s in zip(value, lead, strict=False))
            and all(fits(v, rest) for v in value[len(lead) :])
            and schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", 10**9)
        )
    if isinstance(value, str):
        sized = schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", 10**9)
        return sized and ("pattern" not in schema or re.search(schema["pattern"], value) is not None)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return (
            schema.get("minimum", value) <= value <= schema.get("maximum", value)
            and ("exclusiveMinimum" not in schema or value > schema["exclusiveMinimum"])
            and ("exclusiveMaximum" not in schema or value < schema["exclusiveMaximum"])
        )
    return True


def _object_fits(value: dict[str, Any], schema: dict[str, Any]) -> bool:
    properties, more = schema.get("properties", {}), schema.get("additionalProperties", True)
    if any(key not in value for key in schema.get("required", [])) or len(value) < schema.get("minProperties", 0):
        return False
    if "propertyNames" in schema and not all(fits(key, schema["propertyNames"]) for key in value):
        return False
    for key, item in value.items():
        rule = properties.get(key, more)
        if rule is False or (isinstance(rule, dict) and not fits(item, rule)):
            return False
    return True


@pytest.mark.parametrize("info", presets(), ids=lambda p: p.name)
def test_shipped_presets_fit(info: Any) -> None:
    assert fits(read_yaml(read_file(info.path)).data, SCHEMA)


GOOD: dict[str, Any] = {"stages": {"a": {"type": "generate", "steps": 8, "prompt": {"duration_s": 8}}}}


@pytest.mark.parametrize(
    ("change", "ok"),
    [
        ({}, True),
        ({"takes": 4}, True),
        ({"takes": 0}, False),
        ({"takes": "4"}, False),
        ({"stages": {}}, False),
        ({"stages": {"A": {"type": "generate"}}}, False),
        ({"stages": {"a": {"type": "genrate"}}}, False),
        ({"stages": {"a": {"steps": 4}}}, False),
        ({"stages": {"a": {"type": "generate", "stepps": 4}}}, False),
        ({"stages": {"a": {"type": "refine"}}}, False),
        ({"stages": {"a": {"type": "refine", "source": "b", "denoise": 2}}}, False),
        ({"odd": 1}, False),
        ({"inputs": {"no name": "x"}}, False),
    ],
)
def test_slips_do_not_fit(change: dict[str, Any], ok: bool) -> None:
    assert fits({**GOOD, **change}, SCHEMA) is ok


def test_every_stage_type_is_a_branch_with_all_its_keys() -> None:
    branches = SCHEMA["properties"]["stages"]["additionalProperties"]["oneOf"]
    made = [SCHEMA["$defs"][b["$ref"].removeprefix("#/$defs/")] for b in branches]
    assert [m["properties"]["type"]["const"] for m in made] == list(STAGES)
    assert all(set(m["properties"]) == set(STAGES[m["properties"]["type"]["const"]].model_fields) for m in made)
    assert all(m["additionalProperties"] is False and "type" in m["required"] for m in made)
    assert set(SCHEMA["properties"]) == set(Pipeline.model_fields)


def test_it_is_plain_json_and_the_same_each_time() -> None:
    assert json.dumps(SCHEMA) == json.dumps(json_schema())

"""pydantic's complaints about a preset as `Problem`s: stage, key, line, what was given, what to write instead.

Knows the shape of specs (fields, nested specs, unions) and the words people bring from other tools; no stage type by name.
"""

from __future__ import annotations

import typing
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from ..pipeline.errors import Problem, did_you_mean
from ..pipeline.pipeline import Pipeline
from ..pipeline.places import nearest_line
from ..pipeline.plain_kinds import kinds_in
from ..pipeline.spec import DiffusionStage, Prompt, Stage

_SYNONYMS = {
    "model": "variant", "weights": "variant", "cfg": "guidance.scale", "cfg_scale": "guidance.scale",
    "guidance_scale": "guidance.scale", "num_inference_steps": "steps", "inference_steps": "steps",
    "duration": "prompt.duration_s", "batch_size": "takes", "n": "takes", "input": "source", "input_stage": "source",
    "src": "source", "src_stage": "source", "src_audio": "source", "from": "source", "inputs": "sources",
    "source": "sources", "sources": "source", "track_name": "track", "track_classes": "tracks",
    "complete_track_classes": "tracks", "repainting_start": "start_s", "repainting_end": "end_s", "start": "start_s",
    "end": "end_s", "audio_cover_strength": "strength", "audio_code_hints": "audio_codes", "sampler": "solver",
    "scheduler": "schedule", "t_start": "denoise", "strength": "denoise", "loras": "adapters", "lora": "adapters",
    "if": "when", "description": "about", "reference": "timbre", "title": "name", "top_k": "keep",
}  # fmt: skip
_KINDS = {
    "int_type": "a whole number", "int_parsing": "a whole number", "int_from_float": "a whole number",
    "float_type": "a number", "float_parsing": "a number", "string_type": "text", "bool_type": "true or false",
    "bool_parsing": "true or false", "tuple_type": "a list", "list_type": "a list", "dict_type": "a mapping (name: value)",
    "mapping_type": "a mapping (name: value)", "model_type": "a mapping (key: value)", "finite_number": "a finite number",
    "model_attributes_type": "a mapping (key: value)", "too_short": None, "none_required": "left out",
}  # fmt: skip

_LIMITS = {
    "greater_than_equal": "{ge} or more", "greater_than": "more than {gt}", "less_than_equal": "{le} or less",
    "less_than": "less than {lt}", "string_too_short": "at least {min_length} character",
    "string_too_long": "at most {max_length} characters", "too_short": "a list of at least {min_length}",
    "too_long": "a list of at most {max_length}", "tuple_length": "a list of {length}",
}  # fmt: skip
_OF_A_BRANCH = {"literal_error", "too_short", "tuple_length"}  # with complaints further in, only that branch's own

Path_ = tuple[str, ...]


def spec_problems(
    error: ValidationError, cls: type[BaseModel], data: Any, lines: Mapping[Path_, int], at: Path_ = ()
) -> list[Problem]:
    """The problems in `data`, which was meant to be a `cls` and stands at YAML path `at` (``("stages", name)``)."""
    stage = at[1] if len(at) == 2 and at[0] == "stages" else None
    grouped: dict[Path_, list[Any]] = {}
    for one in error.errors(include_url=False):
        path = _data_path(one, data)
        if one["type"] == "missing" and path[-1].isdigit():  # an entry of a pair: the list is too short
            pair = {**one, "type": "tuple_length", "ctx": {"length": int(path[-1]) + 1}}
            grouped[path[:-1]] = [e for e in grouped.get(path[:-1], []) if e["type"] != "tuple_length"] + [pair]
        else:
            grouped.setdefault(path, []).append(one)
    deepest = [p for p in grouped if not any(q != p and q[: len(p)] == p and _is_kind(grouped[p]) for q in grouped)]
    found = []
    for path in deepest:
        cause, fix = _said(grouped[path], path, cls)
        key = ".".join(path) if all(p.replace("_", "a").isalnum() for p in path) else path[0] if path else None
        line = nearest_line(dict(lines), (*at, *path))
        found.append(Problem(cause, fix, stage=stage, key=key or None, line=line))
    return found


def _is_kind(errors: Iterable[Any]) -> bool:
    return all(e["type"] in _KINDS or e["type"] in _OF_A_BRANCH for e in errors)


def _data_path(error: Any, data: Any) -> Path_:
    """pydantic's loc without the names it gives to the branches of a union."""
    here, path = data, []
    for i, part in enumerate(error["loc"]):
        last = i == len(error["loc"]) - 1
        if (isinstance(here, Mapping) and part in here) or (
            isinstance(here, list | tuple) and isinstance(part, int) and part < len(here)
        ):
            here = here[part]
        elif not (last and error["type"] == "missing"):
            continue
        path.append(str(part))
    return tuple(path)


def _said(errors: list[Any], path: Path_, cls: type[BaseModel]) -> tuple[str, str]:
    """Cause and fix for the errors of one key (several where it is a union)."""
    first = errors[0]
    kind, given, context = first["type"], first.get("input"), first.get("ctx") or {}
    if kind == "extra_forbidden":
        return _unknown_key(path, model_at(cls, path[:-1]) or cls)
    if kind == "missing":
        return f"'{path[-1]}' is missing, and has no default", f"add {path[-1]}: {_about(cls, path)}"
    if len(errors) > 1 and any(e["type"] in _KINDS for e in errors):
        wanted = dict.fromkeys(_wanted(e) for e in errors)
        return f"{_shown(given)} can't stand here", f"write {' or '.join(wanted)}"
    if kind == "literal_error":
        allowed = str(context.get("expected", "")).replace("'", "").replace(" or ", ", ").split(", ")
        return f"{_shown(given)} is none of the values.{did_you_mean(str(given), allowed)}", f"write one of {', '.join(allowed)}"
    if kind == "value_error":
        return str(context.get("error", first["msg"])), (_about(cls, path, "it is ") or _plain_fix(cls, path)) if path else ""
    if kind == "string_type" and isinstance(given, int | float):
        text = str(given).lower() if isinstance(given, bool) else str(given)
        return f"this must be text, and {text} reads as {_kind(given)}", f'put it in quotes: {path[-1]}: "{text}"'
    if _KINDS.get(kind):
        return f"{_shown(given)} is not {_KINDS[kind]}", f"write {_KINDS[kind]}{_about(cls, path, ': ')}"
    told = first["msg"].replace("Input should", "must").replace("String should", "must").replace("Tuple should", "must")
    if kind == "tuple_length":
        told = f"must have {context['length']} entries"
    fix = f"write {_LIMITS[kind].format(**context)}{_about(cls, path, ': ')}" if kind in _LIMITS else _about(cls, path, "it is ")
    return f"{_shown(given)} {told}" if told.startswith("must") else f"{_shown(given)}: {told}", fix


def _plain_fix(cls: type[BaseModel], path: Path_) -> str:
    """What to write at `path` in place of a value of another kind, where that is one plain kind; else empty."""
    kinds = kinds_in(annotation_at(cls, path)) - {type(None), tuple}
    if kinds and kinds <= {int, float}:
        return "write a whole number" if float not in kinds else "write a number"
    return "write true or false" if kinds == {bool} else ""


def _wanted(error: Any) -> str:
    known = _KINDS.get(error["type"])
    if error["type"] in _LIMITS:
        return _LIMITS[error["type"]].format(**(error.get("ctx") or {}))
    return known or str(error["msg"]).replace("Input should be ", "").replace("Value error, ", "")


def _unknown_key(path: Path_, model: type[BaseModel]) -> tuple[str, str]:
    key, known = path[-1], list(model.model_fields)
    owner = _owner(model)
    near = did_you_mean(key, known)
    listed = f"its keys are {', '.join(known)}"
    is_stage = issubclass(model, Stage)
    target = _SYNONYMS.get(key, "")
    if (is_stage or model is Pipeline) and key in Prompt.model_fields:
        return f"{owner} has no key '{key}'; it belongs to the prompt", f"write prompt: {{{key}: …}} (prompt.{key})"
    if target and target.split(".")[0] in known:
        head, _, tail = target.partition(".")
        return f"{owner} has no key '{key}'", f"write {head}: {{{tail}: …}} ({target})" if tail else f"write {target}: …"
    if is_stage and not issubclass(model, DiffusionStage) and key in DiffusionStage.model_fields:
        return f"{owner} has no key '{key}'; this stage does not denoise", "leave it out, or set it on a stage that denoises"
    if model is Pipeline and (key in DiffusionStage.model_fields or key in ("type", "source")):
        return f"a preset has no key '{key}'; it belongs to a stage", f"write it under stages, in the stage it is for; {listed}"
    return f"{owner} has no key '{key}'.{near}", listed


def _owner(model: type[BaseModel]) -> str:
    if model is Pipeline:
        return "a preset"
    if issubclass(model, Stage):
        return f"stage type '{model.model_fields['type'].default}'"
    return f"'{model.__name__.lower()}'"


def model_at(cls: Any, path: Path_) -> type[BaseModel] | None:
    """The spec class that stands at `path` inside `cls`, through optionals, unions, lists and mappings."""
    for part in path:
        if part.isdigit():
            continue  # a place in a list: the spec of its items is known already
        if isinstance(cls, type) and issubclass(cls, BaseModel):
            if part not in cls.model_fields:
                return None
            cls = cls.model_fields[part].annotation
        cls = _spec_in(cls)
        if cls is None:
            return None
    return cls if isinstance(cls, type) and issubclass(cls, BaseModel) else None


def _spec_in(annotation: Any) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for arg in typing.get_args(annotation) if (found := _spec_in(arg)) is not None), None)


def annotation_at(cls: type[BaseModel], path: Path_) -> Any:
    """The annotation of the key at `path` inside `cls`; None when there is no such key."""
    owner = model_at(cls, path[:-1]) if len(path) > 1 else cls
    if owner is None or path[-1] not in owner.model_fields:
        return None
    return owner.model_fields[path[-1]].annotation


def _about(cls: type[BaseModel], path: Path_, head: str = "") -> str:
    owner = model_at(cls, path[:-1]) if len(path) > 1 else cls
    info = owner.model_fields.get(path[-1]) if owner and path else None
    text = (info.description or "") if info else ""
    return f"{head}{text}" if text else "" if head else "…"


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "true/false"
    return "a number" if isinstance(value, int | float) else "text"


def _shown(value: Any) -> str:
    text = repr(value) if not isinstance(value, bool | None) else {True: "true", False: "false", None: "nothing (null)"}[value]
    return text if len(text) <= 60 else f"{text[:57]}…"

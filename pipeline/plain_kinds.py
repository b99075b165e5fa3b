"""Which plain kinds of value an annotation takes, so that nothing is turned into another kind without a word.

pydantic, left alone, reads ``"8"`` and ``true`` as numbers. A preset that writes them has a slip in it, and is told so.
Knows no spec.
"""

from __future__ import annotations

import types
import typing
from typing import Any

_NUMBERS: set[Any] = {int, float}
_PLAIN: set[Any] = {int, float, bool, type(None)}


def kinds_in(annotation: Any) -> set[Any]:
    """The plain types an annotation allows, e.g. ``{str, NoneType}``; literals count as the types of their values,
    ``tuple[float, ...]`` as ``tuple``."""
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Literal:
        return {type(a) for a in args}
    if origin in (typing.Union, types.UnionType):
        return set().union(*(kinds_in(a) for a in args))
    if origin is typing.Annotated:
        return kinds_in(args[0])
    return {origin or annotation}


def refuse_coercion(annotation: Any, value: Any) -> None:
    """Raise ValueError where `value` is text or true/false and the annotation takes numbers and no such thing, or text or a
    number and it takes true/false. Lists are looked into one by one; a value that is none is held against what else may
    stand in a list's place (a number or a pair)."""
    if isinstance(value, list | tuple):
        for inner in _items(annotation):
            for item in value:
                refuse_coercion(inner, item)
        return
    if not isinstance(value, bool | int | float | str):
        return  # most fields are left out: None costs no look at the annotation
    kinds = kinds_in(annotation) - {tuple, list}
    if not kinds <= _PLAIN:
        return
    if isinstance(value, bool) and bool not in kinds and kinds & _NUMBERS:
        raise ValueError(f"{str(value).lower()} is true/false, and this takes a number")
    if isinstance(value, int | float) and not isinstance(value, bool) and bool in kinds and not kinds & _NUMBERS:
        raise ValueError(f"{value} is a number, and this takes true or false")
    if isinstance(value, str):
        if bool in kinds:
            raise ValueError(f"'{value}' is text, and this takes true or false")
        if kinds & _NUMBERS:
            hint = f"; write {value} without quotes" if _is_number(value) else ""
            raise ValueError(f"'{value}' is text, and this takes a number{hint}")


def _items(annotation: Any) -> list[Any]:
    """What the items of a list may be, where that is one kind for all and the annotation takes nothing but lists."""
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _items(args[0])
    if origin in (typing.Union, types.UnionType):
        lists = [a for a in args if typing.get_origin(a) in (tuple, list)]
        return _items(lists[0]) if len(lists) == 1 else []
    if origin in (tuple, list):
        kinds = [a for a in args if a is not Ellipsis]
        return kinds[:1] if len({str(k) for k in kinds}) == 1 else []
    return []


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True

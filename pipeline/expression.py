"""The small language of `when`: comparisons over reports and prompts, parsed here and never handed to Python.

    scored.overall < 7 and "clipping" in scored.defects

Grammar, loosest first: ``or``, ``and``, ``not``, then one comparison or a chain of them (``< <= > >= == !=``, ``in``,
``not in``) over numbers, strings, ``true false none``, lists of these, parentheses and names `stage.field` or `prompt.field`.
There is no arithmetic, no call, no attribute of an attribute. This module knows no stage, report or take: names are looked
up through a function it is handed.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from .expression_parser import (
    MAX_LENGTH,
    BoolOp,
    Compare,
    ExpressionError,
    Field,
    Literal,
    Node,
    Not,
    Parser,
    Value,
    kind_of,
    must_be_answerable,
    shown,
    walk,
)

__all__ = ["Expression", "ExpressionError", "Kinds", "Lookup", "Value", "parse"]

Lookup = Callable[[str, str], Value]
Kinds = Callable[[str, str], str | None]

_ORDER = {"<", "<=", ">", ">="}


@dataclass(frozen=True)
class Expression:
    """A parsed `when`. Made by `parse`; equal text gives an equal expression."""

    text: str
    root: Node

    def names(self) -> set[tuple[str, str]]:
        """Every (root, field) it reads, e.g. ``{("scored", "overall"), ("prompt", "bpm")}``."""
        return {(n.root, n.field) for n in walk(self.root) if isinstance(n, Field)}

    def clashes(self, kind: Kinds) -> Iterator[ExpressionError]:
        """Comparisons that no take could answer, because the two sides are of kinds that can't be compared. `kind(root,
        field)` says what a field holds where it is there at all, in the words of `kind_of`; None where that is not known."""
        for node in walk(self.root):
            if isinstance(node, Compare):
                for a, op, b in zip(node.items, node.ops, node.items[1:], strict=False):
                    first, second = _kind_beforehand(a, kind), _kind_beforehand(b, kind)
                    if first and second and not _comparable(first, op, second):
                        yield ExpressionError(
                            f"'{self.text}' asks for {_named(a)} {op} {_named(b)}, and these are {first} and {second}",
                            "compare values of one kind (numbers stand without quotes), or ask for a text in a list",
                        )

    def evaluate(self, lookup: Lookup) -> bool:
        """The answer for one take. `lookup(root, field)` gives a value or raises KeyError.

        Every name is looked up, also where and/or would not need it: a missing field is an error, never a false.
        Raises ExpressionError for a missing field, for kinds that can't be compared, and for none or NaN in an ordering.
        """
        values: dict[tuple[str, str], Value] = {}
        for root, field in sorted(self.names()):
            try:
                values[root, field] = lookup(root, field)
            except KeyError as missing:
                why = str(missing.args[0]) if missing.args else f"no field '{field}'"
                raise ExpressionError(
                    f"'{self.text}' reads {root}.{field}, which this take has not: {why}",
                    "name a field that the report or prompt has",
                ) from missing
        return _truth(self.root, values, self.text)


def parse(text: str) -> Expression:
    """Read a `when`. Raises ExpressionError, whatever the text, and nothing else."""
    if len(text) > MAX_LENGTH:
        raise ExpressionError(f"the expression has {len(text)} characters, at most {MAX_LENGTH} are read", "say it shorter")
    root = Parser(text).whole()
    must_be_answerable(root, text)
    return Expression(text.strip(), root)


def _truth(node: Node, values: dict[tuple[str, str], Value], text: str) -> bool:
    if isinstance(node, BoolOp):
        test = any if node.word == "or" else all
        return test(_truth(item, values, text) for item in node.items)
    if isinstance(node, Not):
        return not _truth(node.item, values, text)
    if isinstance(node, Compare):
        sides = [_value(item, values, text) for item in node.items]
        return all(_compare(a, op, b, text) for a, op, b in zip(sides, node.ops, sides[1:], strict=False))
    value = _value(node, values, text)
    if isinstance(value, bool):
        return value
    raise ExpressionError(f"'{shown(value)}' in '{text}' is neither true nor false", "compare it with something")


def _value(node: Node, values: dict[tuple[str, str], Value], text: str) -> Value:
    if isinstance(node, Literal):
        return node.value
    if isinstance(node, Field):
        return values[node.root, node.field]
    return _truth(node, values, text)


def _compare(a: Value, op: str, b: Value, text: str) -> bool:
    if any(isinstance(v, float) and math.isnan(v) for v in (a, b)):
        raise ExpressionError(f"'{text}' meets a value that is not a number (NaN)", "score again, or compare another field")
    if op in ("in", "not in"):
        return _contains(a, b, text) == (op == "in")
    if op in ("==", "!="):
        if a is not None and b is not None and kind_of(a) != kind_of(b):
            raise ExpressionError(
                f"'{text}' compares {shown(a)}, {kind_of(a)}, with {shown(b)}, {kind_of(b)}; they can never be equal",
                "compare values of one kind (numbers stand without quotes)",
            )
        return (a == b) == (op == "==")
    assert op in _ORDER
    if a is None or b is None:
        raise ExpressionError(
            f"'{text}' orders a value that does not exist for this take (none)",
            "ask first: field != none and field < …",
        )
    if isinstance(a, str) and isinstance(b, str):
        return _ordered(a, op, b)
    if kind_of(a) == kind_of(b) == "a number":
        return _ordered(a, op, b)
    raise ExpressionError(
        f"'{text}' orders {shown(a)}, {kind_of(a)}, and {shown(b)}, {kind_of(b)}",
        "'<' and its kin take two numbers or two texts",
    )


def _kind_beforehand(node: Node, kind: Kinds) -> str | None:
    if isinstance(node, Literal):
        return kind_of(node.value)
    return kind(node.root, node.field) if isinstance(node, Field) else "true/false"


def _comparable(a: str, op: str, b: str) -> bool:
    if op in ("in", "not in"):
        return (b == "a list" and a != "a list") or a == b == "text"
    if op in ("==", "!="):
        return a == b or "none" in (a, b)
    return a == b and a in ("a number", "text")


def _named(node: Node) -> str:
    if isinstance(node, Field):
        return f"{node.root}.{node.field}"
    return shown(node.value) if isinstance(node, Literal) else "(…)"


def _ordered(a: Any, op: str, b: Any) -> bool:
    return bool({"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}[op](a, b))


def _contains(item: Value, place: Value, text: str) -> bool:
    if isinstance(place, tuple) and not isinstance(item, tuple):
        return item in place
    if isinstance(place, str) and isinstance(item, str):
        return item in place
    raise ExpressionError(
        f"'{text}' looks for {shown(item)}, {kind_of(item)}, in {shown(place)}, {kind_of(place)}",
        'write e.g. "clipping" in scored.defects',
    )

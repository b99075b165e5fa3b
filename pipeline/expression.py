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
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NoReturn

from .errors import RunError

Value = float | int | str | bool | None | tuple["Value", ...]
Lookup = Callable[[str, str], Value]

MAX_LENGTH = 1000
MAX_DEPTH = 32

_TOKEN = re.compile(
    r"""\s*(?:(?P<number>\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?)
          |(?P<word>[A-Za-z_][A-Za-z0-9_]*)
          |(?P<string>"[^"\n]*"|'[^'\n]*')
          |(?P<op><=|>=|==|!=|[<>()\[\],.\-]))""",
    re.VERBOSE | re.ASCII,
)
_HINTS = {
    "=": "write '==' to compare", "&": "write 'and'", "|": "write 'or'", "!": "write 'not' or '!='",
    "+": "there is no arithmetic here", "*": "there is no arithmetic here", "/": "there is no arithmetic here",
    '"': "close the string with the same quote", "'": "close the string with the same quote",
}  # fmt: skip
_CONSTANTS: dict[str, bool | None] = {
    "true": True, "True": True, "false": False, "False": False, "none": None, "None": None, "null": None,
}  # fmt: skip
_KEYWORDS = {"and", "or", "not", "in"}
_ORDER = {"<", "<=", ">", ">="}


class ExpressionError(RunError):
    """A `when` that can't be read, or that can't be answered for a take. `cause` and `fix` say why and what instead."""

    def __init__(self, cause: str, fix: str = "") -> None:
        self.cause, self.fix = cause, fix
        super().__init__(f"{cause} Fix: {fix}" if fix else cause)


@dataclass(frozen=True)
class _Literal:
    value: Value


@dataclass(frozen=True)
class _Field:
    root: str
    field: str


@dataclass(frozen=True)
class _Not:
    item: _Node


@dataclass(frozen=True)
class _Bool:
    word: str  # and | or
    items: tuple[_Node, ...]


@dataclass(frozen=True)
class _Compare:
    items: tuple[_Node, ...]
    ops: tuple[str, ...]


_Node = _Literal | _Field | _Not | _Bool | _Compare


@dataclass(frozen=True)
class Expression:
    """A parsed `when`. Made by `parse`; equal text gives an equal expression."""

    text: str
    root: _Node

    def names(self) -> set[tuple[str, str]]:
        """Every (root, field) it reads, e.g. ``{("scored", "overall"), ("prompt", "bpm")}``."""
        return {(n.root, n.field) for n in _walk(self.root) if isinstance(n, _Field)}

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
    root = _Parser(text).whole()
    _must_be_answerable(root, text)
    return Expression(text.strip(), root)


class _Parser:
    """Recursive descent over the tokens, at most MAX_DEPTH deep."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = list(_tokens(text))
        self.at = 0
        self.depth = 0

    def whole(self) -> _Node:
        if not self.tokens:
            raise ExpressionError("the expression is empty", "write e.g. scored.overall < 7, or leave `when` out")
        node = self.either()
        if self.at < len(self.tokens):
            self.fail("did not expect", "join conditions with 'and' or 'or'")
        return node

    def peek(self) -> str:
        return self.tokens[self.at][1] if self.at < len(self.tokens) and self.tokens[self.at][0] != "string" else ""

    def take(self, *words: str) -> str:
        word = self.peek()
        if word in words and word:
            self.at += 1
            return word
        return ""

    def fail(self, what: str, fix: str = "") -> NoReturn:
        if self.at < len(self.tokens):
            _, word, column = self.tokens[self.at]
            raise ExpressionError(f"{what} '{word}' at column {column + 1} of '{self.text}'", fix)
        raise ExpressionError(f"'{self.text}' ends too early", fix or "finish the comparison")

    def deeper(self) -> None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise ExpressionError(f"the expression nests deeper than {MAX_DEPTH}", "take brackets and 'not's away")

    def either(self) -> _Node:
        self.deeper()
        items = [self.both()]
        while self.take("or"):
            items.append(self.both())
        self.depth -= 1
        return items[0] if len(items) == 1 else _Bool("or", tuple(items))

    def both(self) -> _Node:
        items = [self.negation()]
        while self.take("and"):
            items.append(self.negation())
        return items[0] if len(items) == 1 else _Bool("and", tuple(items))

    def negation(self) -> _Node:
        if not self.take("not"):
            return self.comparison()
        self.deeper()
        node = _Not(self.negation())
        self.depth -= 1
        return node

    def comparison(self) -> _Node:
        items, ops = [self.operand()], []
        while op := self.operator():
            ops.append(op)
            items.append(self.operand())
        return _Compare(tuple(items), tuple(ops)) if ops else items[0]

    def operator(self) -> str:
        if op := self.take("<", "<=", ">", ">=", "==", "!=", "in"):
            return op
        if self.peek() == "not":
            self.at += 1
            if self.take("in"):
                return "not in"
            self.fail("expected 'in' after 'not', not", "write 'not in', or put 'not' before the comparison")
        return ""

    def operand(self) -> _Node:
        if self.take("("):
            node = self.either()
            if not self.take(")"):
                self.fail("expected ')', not", "close the bracket")
            return node
        if self.take("["):
            return self.listing()
        if self.at >= len(self.tokens):
            self.fail("")
        kind, word, _ = self.tokens[self.at]
        if kind == "string":
            self.at += 1
            return _Literal(word[1:-1])
        if kind == "number" or word == "-":
            return _Literal(self.number())
        if kind == "word" and word not in _KEYWORDS:
            self.at += 1
            return self.name(word)
        self.fail("expected a name, number or string, not", "write e.g. scored.overall < 7")

    def number(self) -> float | int:
        minus = bool(self.take("-"))
        if self.at >= len(self.tokens) or self.tokens[self.at][0] != "number":
            self.fail("expected a number after '-', not")
        text = self.tokens[self.at][1]
        self.at += 1
        value = int(text) if text.isdigit() else float(text)
        if math.isinf(value):
            raise ExpressionError(f"the number {text} is too large", "write a smaller number")
        return -value if minus else value

    def listing(self) -> _Node:
        values: list[Value] = []
        while not self.take("]"):
            node = self.operand()
            if not isinstance(node, _Literal) or isinstance(node.value, tuple):
                self.fail("a list holds only numbers and strings; before", 'write e.g. ["clipping", "gap"]')
            values.append(node.value)
            if not self.take(",") and self.peek() != "]":
                self.fail("expected ',' or ']', not", "close the list")
        return _Literal(tuple(values))

    def name(self, word: str) -> _Node:
        if word in _CONSTANTS and self.peek() != ".":
            return _Literal(_CONSTANTS[word])
        if not self.take("."):
            raise ExpressionError(
                f"'{word}' in '{self.text}' is no value by itself",
                f"write a field of a scoring stage such as {word}.overall, or put text in quotes",
            )
        if self.at >= len(self.tokens) or self.tokens[self.at][0] != "word" or self.peek() in _KEYWORDS:
            self.fail(f"expected a field after '{word}.', not", f"write e.g. {word}.overall")
        field = self.tokens[self.at][1]
        self.at += 1
        if self.peek() in (".", "("):
            self.fail(
                f"'{word}.{field}' is a plain value; did not expect",
                "there are no calls and no fields of fields",
            )
        return _Field(word, field)


def _tokens(text: str) -> Iterator[tuple[str, str, int]]:
    at, end = 0, len(text.rstrip())
    while at < end:
        match = _TOKEN.match(text, at)
        if match is None:
            start = at + len(text[at:]) - len(text[at:].lstrip())
            raise ExpressionError(f"can't read {text[start]!r} at column {start + 1} of '{text}'", _HINTS.get(text[start], ""))
        kind = str(match.lastgroup)
        yield kind, match.group(kind), match.start(kind)
        at = match.end()


def _walk(node: _Node) -> Iterator[_Node]:
    yield node
    if isinstance(node, _Not):
        yield from _walk(node.item)
    elif isinstance(node, _Bool | _Compare):
        for item in node.items:
            yield from _walk(item)


def _must_be_answerable(node: _Node, text: str) -> None:
    """The whole, and every part joined by and/or/not, must be yes or no as far as that shows without a take."""
    if isinstance(node, _Bool):
        for item in node.items:
            _must_be_answerable(item, text)
    elif isinstance(node, _Not):
        _must_be_answerable(node.item, text)
    elif isinstance(node, _Literal) and not isinstance(node.value, bool):
        raise ExpressionError(f"'{_show(node.value)}' in '{text}' is neither true nor false", "compare it with something")
    elif isinstance(node, _Field) and node.root != "prompt":
        raise ExpressionError(
            f"'{node.root}.{node.field}' in '{text}' is neither true nor false",
            f"compare it, e.g. {node.root}.{node.field} > 0",
        )


def _truth(node: _Node, values: dict[tuple[str, str], Value], text: str) -> bool:
    if isinstance(node, _Bool):
        test = any if node.word == "or" else all
        return test(_truth(item, values, text) for item in node.items)
    if isinstance(node, _Not):
        return not _truth(node.item, values, text)
    if isinstance(node, _Compare):
        sides = [_value(item, values, text) for item in node.items]
        return all(_compare(a, op, b, text) for a, op, b in zip(sides, node.ops, sides[1:], strict=False))
    value = _value(node, values, text)
    if isinstance(value, bool):
        return value
    raise ExpressionError(f"'{_show(value)}' in '{text}' is neither true nor false", "compare it with something")


def _value(node: _Node, values: dict[tuple[str, str], Value], text: str) -> Value:
    if isinstance(node, _Literal):
        return node.value
    if isinstance(node, _Field):
        return values[node.root, node.field]
    return _truth(node, values, text)


def _kind(value: Value) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true/false"
    if isinstance(value, int | float):
        return "a number"
    return "a list" if isinstance(value, tuple) else "text"


def _show(value: Value) -> str:
    if isinstance(value, str):
        return f'"{value}"'
    return str(value).lower() if isinstance(value, bool | None) else str(value)


def _compare(a: Value, op: str, b: Value, text: str) -> bool:
    if any(isinstance(v, float) and math.isnan(v) for v in (a, b)):
        raise ExpressionError(f"'{text}' meets a value that is not a number (NaN)", "score again, or compare another field")
    if op in ("in", "not in"):
        return _contains(a, b, text) == (op == "in")
    if op in ("==", "!="):
        if a is not None and b is not None and _kind(a) != _kind(b):
            raise ExpressionError(
                f"'{text}' compares {_show(a)}, {_kind(a)}, with {_show(b)}, {_kind(b)}; they can never be equal",
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
    if _kind(a) == _kind(b) == "a number":
        return _ordered(a, op, b)
    raise ExpressionError(
        f"'{text}' orders {_show(a)}, {_kind(a)}, and {_show(b)}, {_kind(b)}",
        "'<' and its kin take two numbers or two texts",
    )


def _ordered(a: Any, op: str, b: Any) -> bool:
    return bool({"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}[op](a, b))


def _contains(item: Value, place: Value, text: str) -> bool:
    if isinstance(place, tuple) and not isinstance(item, tuple):
        return item in place
    if isinstance(place, str) and isinstance(item, str):
        return item in place
    raise ExpressionError(
        f"'{text}' looks for {_show(item)}, {_kind(item)}, in {_show(place)}, {_kind(place)}",
        'write e.g. "clipping" in scored.defects',
    )

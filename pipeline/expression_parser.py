"""Text to the tree of a `when` expression: tokens, recursive descent, and what the tree may not be.

Knows neither takes nor reports; answering is `expression`'s part, where the language is described.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NoReturn

from .errors import RunError

Value = float | int | str | bool | None | tuple["Value", ...]

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


class ExpressionError(RunError):
    """A `when` that can't be read, or that can't be answered for a take. `cause` and `fix` say why and what instead."""

    def __init__(self, cause: str, fix: str = "") -> None:
        self.cause, self.fix = cause, fix
        super().__init__(f"{cause} Fix: {fix}" if fix else cause)


@dataclass(frozen=True)
class Literal:
    value: Value


@dataclass(frozen=True)
class Field:
    root: str
    field: str


@dataclass(frozen=True)
class Not:
    item: Node


@dataclass(frozen=True)
class BoolOp:
    word: str  # and | or
    items: tuple[Node, ...]


@dataclass(frozen=True)
class Compare:
    items: tuple[Node, ...]
    ops: tuple[str, ...]


Node = Literal | Field | Not | BoolOp | Compare


class Parser:
    """Recursive descent over the tokens, at most MAX_DEPTH deep."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = list(_tokens(text))
        self.at = 0
        self.depth = 0

    def whole(self) -> Node:
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

    def either(self) -> Node:
        self.deeper()
        items = [self.both()]
        while self.take("or"):
            items.append(self.both())
        self.depth -= 1
        return items[0] if len(items) == 1 else BoolOp("or", tuple(items))

    def both(self) -> Node:
        items = [self.negation()]
        while self.take("and"):
            items.append(self.negation())
        return items[0] if len(items) == 1 else BoolOp("and", tuple(items))

    def negation(self) -> Node:
        if not self.take("not"):
            return self.comparison()
        self.deeper()
        node = Not(self.negation())
        self.depth -= 1
        return node

    def comparison(self) -> Node:
        items, ops = [self.operand()], []
        while op := self.operator():
            ops.append(op)
            items.append(self.operand())
        return Compare(tuple(items), tuple(ops)) if ops else items[0]

    def operator(self) -> str:
        if op := self.take("<", "<=", ">", ">=", "==", "!=", "in"):
            return op
        if self.peek() == "not":
            self.at += 1
            if self.take("in"):
                return "not in"
            self.fail("expected 'in' after 'not', not", "write 'not in', or put 'not' before the comparison")
        return ""

    def operand(self) -> Node:
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
            return Literal(word[1:-1])
        if kind == "number" or word == "-":
            return Literal(self.number())
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
        if isinstance(value, float) and math.isinf(value):
            raise ExpressionError(f"the number {text} is too large", "write a smaller number")
        return -value if minus else value

    def listing(self) -> Node:
        values: list[Value] = []
        while not self.take("]"):
            node = self.operand()
            if not isinstance(node, Literal) or isinstance(node.value, tuple):
                self.fail("a list holds only numbers and strings; before", 'write e.g. ["clipping", "gap"]')
            values.append(node.value)
            if not self.take(",") and self.peek() != "]":
                self.fail("expected ',' or ']', not", "close the list")
        return Literal(tuple(values))

    def name(self, word: str) -> Node:
        if word in _CONSTANTS and self.peek() != ".":
            return Literal(_CONSTANTS[word])
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
        return Field(word, field)


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


def walk(node: Node) -> Iterator[Node]:
    yield node
    if isinstance(node, Not):
        yield from walk(node.item)
    elif isinstance(node, BoolOp | Compare):
        for item in node.items:
            yield from walk(item)


def must_be_answerable(node: Node, text: str) -> None:
    """The whole, and every part joined by and/or/not, must be yes or no as far as that shows without a take."""
    if isinstance(node, BoolOp):
        for item in node.items:
            must_be_answerable(item, text)
    elif isinstance(node, Not):
        must_be_answerable(node.item, text)
    elif isinstance(node, Literal) and not isinstance(node.value, bool):
        raise ExpressionError(f"'{shown(node.value)}' in '{text}' is neither true nor false", "compare it with something")
    elif isinstance(node, Field) and node.root != "prompt":
        raise ExpressionError(
            f"'{node.root}.{node.field}' in '{text}' is neither true nor false",
            f"compare it, e.g. {node.root}.{node.field} > 0",
        )


def kind_of(value: Value) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true/false"
    if isinstance(value, int | float):
        return "a number"
    return "a list" if isinstance(value, tuple) else "text"


def shown(value: Value) -> str:
    if isinstance(value, str):
        return f'"{value}"'
    return str(value).lower() if isinstance(value, bool | None) else str(value)

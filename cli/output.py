"""What the commands print: tables and one JSON document on stdout, everything else on stderr.

Colours follow rich (`NO_COLOR`, a pipe and a dumb terminal switch them off). Text that comes from files or
people is never read as markup. Knows no command.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

PIPE_WIDTH = 10_000  # a table that goes into a pipe is never cut: grep sees whole cells


def stdout() -> Console:
    """The console of results. Made anew each time: `sys.stdout` may have been replaced."""
    console = Console(highlight=False, markup=False, emoji=False)
    return (
        console
        if console.is_terminal
        else Console(highlight=False, markup=False, emoji=False, width=PIPE_WIDTH)
    )


def stderr() -> Console:
    """The console of everything that is not a result."""
    return Console(stderr=True, highlight=False, markup=False, emoji=False)


def emit_json(document: Any) -> None:
    """Print one JSON document. NaN is refused: it is not JSON."""
    utf8 = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=not utf8, allow_nan=False) + "\n")
    sys.stdout.flush()


def table(
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    right: Iterable[str] = (),
    title: str | None = None,
) -> Table:
    """A table of plain cells; `right` names the columns of numbers."""
    made = Table(title=title, title_justify="left", title_style="bold", header_style="bold")
    aligned = set(right)
    for name in columns:
        made.add_column(name, justify="right" if name in aligned else "left", overflow="fold")
    for row in rows:
        made.add_row(*(Text(_cell(value)) for value in row))
    return made


def _cell(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def say(text: str) -> None:
    """A line of the result."""
    stdout().print(text, soft_wrap=True)


def note(text: str, style: str | None = None) -> None:
    """A line beside the result, on stderr."""
    stderr().print(text, style=style, soft_wrap=True)


def warn(text: str) -> None:
    _labelled("warning", text, "yellow")


def error(text: str) -> None:
    _labelled("error", text, "bold red")


def _labelled(label: str, text: str, style: str) -> None:
    line = Text(f"{label}: ", style=style)
    line.append(" ".join(text.split()), style="default")
    stderr().print(line, soft_wrap=True)


def seconds(value: float) -> str:
    """A duration for people: ``0.42 s``, ``12.3 s``, ``3 min 20 s``."""
    if value < 60:
        return f"{value:.2f} s" if value < 10 else f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def size(count: int) -> str:
    """Bytes for people, in powers of 1000."""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"

"""Drawings of a pipeline: a line for `repr`, lanes for the terminal, Mermaid text, a PNG, and SVG for notebooks.

All take a `Graph` (with variants and checked take counts) or a bare `Pipeline`. Names and texts are escaped. Knows no
stage type.
"""

from __future__ import annotations

import html
from itertools import pairwise
from pathlib import Path

from .graph import Graph
from .sketch import Arrow, Box, Sketch, sketch
from .spec import Preset

_MARKS = {"input": "○", "diffuses": "●", "chooses": "◆", "scores": "◇", "stage": "■"}
_FILLS = {"input": "#eef0f3", "diffuses": "#dbe7ff", "chooses": "#ffe6c7", "scores": "#dff3df", "stage": "#f3e9fb"}
_BOX_W, _BOX_H, _CELL_W, _CELL_H = 190.0, 62.0, 212.0, 104.0
_EDGE, _INK, _FAINT = "#8892a0", "#1c2530", "#5b6675"
_TURNS = {
    "0011": "─", "1100": "│", "0101": "╭", "0110": "╮", "1001": "╰", "1010": "╯", "1101": "├", "1110": "┤", "0111": "┬",
    "1011": "┴", "1111": "┼", "0100": "│", "1000": "│", "0010": "─", "0001": "─",
}  # fmt: skip

Point = tuple[float, float]


def as_line(pipeline: Preset) -> str:
    """One line for `repr`: name, stages, takes."""
    stages = pipeline.stages
    shown = [f"{name}: {stage.type}" for name, stage in list(stages.items())[:6]]
    more = f", … {len(stages) - 6} more" if len(stages) > 6 else ""
    takes = f", takes={pipeline.takes}" if pipeline.takes > 1 else ""
    return f"Pipeline({pipeline.name!r}, {', '.join(shown)}{more}{takes})"


def as_text(of: Graph | Preset) -> str:
    """The graph as lanes, one row a stage, sources above readers; ends with a line break."""
    drawn = sketch(of)
    rows = _Lanes(drawn).rows()
    width = max(len(lanes) for lanes, _ in rows) + 2
    name_width = max(len(b.name) for b in drawn.boxes)
    title_width = max(len(b.title) for b in drawn.boxes)
    lines = [drawn.title, ""]
    for lanes, box in rows:
        if box is None:
            lines.append(lanes.rstrip())
            continue
        takes = "" if box.kind == "input" else f"{box.takes} take{'s' * (box.takes != 1)}"
        notes = "  ".join(box.notes)
        text = f"{lanes:<{width}}{box.name:<{name_width}}  {box.title:<{title_width}}  {takes:<9}  {notes}"
        lines.append(text.rstrip())
    return "\n".join(lines) + "\n"


class _Lanes:
    """A column for every source still to be read; a row for every box, and one for the turns above it."""

    def __init__(self, drawn: Sketch) -> None:
        self.drawn = drawn
        self.lanes: list[str | None] = []  # whose output runs down this column
        self.left = {b.name: sum(a.start == b.name for a in drawn.arrows) for b in drawn.boxes}

    def rows(self) -> list[tuple[str, Box | None]]:
        found: list[tuple[str, Box | None]] = []
        for box in self.drawn.boxes:
            before = list(self.lanes)
            sources = [a.start for a in self.drawn.arrows if a.end == box.name]
            columns = {before.index(s) for s in sources}
            for source in sources:
                self.left[source] -= 1
                if self.left[source] == 0:
                    self.lanes[self.lanes.index(source)] = None
            place = next((c for c in sorted(columns) if self.lanes[c] is None), None)
            if place is None:
                place = self._free()
            self.lanes[place] = box.name
            if columns - {place}:
                found.append((self._turns(before, columns, place), None))
            marks = [_MARKS[box.kind] if i == place else "│" if n else " " for i, n in enumerate(self.lanes)]
            found.append((" ".join(marks).rstrip(), box))
            if self.left[box.name] == 0:
                self.lanes[place] = None
            while self.lanes and self.lanes[-1] is None:
                self.lanes.pop()
        return found

    def _free(self) -> int:
        if None not in self.lanes:
            self.lanes.append(None)
        return self.lanes.index(None)

    def _turns(self, before: list[str | None], columns: set[int], place: int) -> str:
        """The row above a box: lanes that end in it, or branch off to it, turn sideways towards column `place`."""
        first, last = min(columns | {place}), max(columns | {place})
        text = ""
        for i, lane in enumerate(self.lanes):
            old = before[i] if i < len(before) else None
            if not first <= i <= last:
                text += "│ " if lane else "  "
                continue
            joined = i in columns or i == place
            up, down = (old is not None and i in columns), joined and lane is not None
            if not joined and lane is not None:
                glyph = "│"  # passes over
            else:
                glyph = _TURNS[f"{up:d}{down:d}{i > first:d}{i < last:d}"]
            text += glyph + ("─" if i < last else " ")
        return text


def as_mermaid(of: Graph | Preset) -> str:
    """A Mermaid flowchart; ends with a line break."""
    drawn = sketch(of)
    ids = {b.name: f"n{i}" for i, b in enumerate(drawn.boxes)}
    lines = ["flowchart TD"]
    for box in drawn.boxes:
        words = [f"<b>{_mermaid(box.name)}</b>", _mermaid(_subtitle(box)), *(_mermaid(n) for n in box.notes)]
        label = "<br>".join(words)
        lines.append(f'  {ids[box.name]}(["{label}"])' if box.kind == "input" else f'  {ids[box.name]}["{label}"]')
        lines.append(f"  style {ids[box.name]} fill:{_FILLS[box.kind]},stroke:{_EDGE},color:{_INK}")
    for arrow in drawn.arrows:
        label = f"|{_mermaid(arrow.label)}|" if arrow.label else ""
        lines.append(f"  {ids[arrow.start]} -->{label} {ids[arrow.end]}")
    return "\n".join(lines) + "\n"


def _mermaid(text: str) -> str:
    return "".join(c if c.isalnum() or c in " .,_·/-…'" else f"#{ord(c)};" for c in " ".join(text.split()))


def _subtitle(box: Box) -> str:
    return box.title if box.kind == "input" or box.takes == 1 else f"{box.title} · {box.takes} takes"


def as_html(of: Graph | Preset) -> str:
    """A self-contained SVG in a div, for notebooks. Every text is escaped; no script, no style sheet."""
    drawn = sketch(of)
    xs = [b.x for b in drawn.boxes] + [x for a in drawn.arrows for x, _ in a.via]
    left, span = min(xs), max(xs) - min(xs)
    width, height = (span + 1) * _CELL_W + 8, (max(b.row for b in drawn.boxes) + 1) * _CELL_H

    def at(x: float, row: int) -> Point:
        return 4 + (x - left + 0.5) * _CELL_W, row * _CELL_H + 4

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" '
        f'height="{height:.0f}" style="max-width:100%;font-family:system-ui,sans-serif" role="img">',
        f"<title>{html.escape(drawn.title)}</title>",
    ]
    tops = {b.name: at(b.x, b.row) for b in drawn.boxes}
    parts += [_svg_arrow(a, [tops[a.start], *(at(*place) for place in a.via), tops[a.end]]) for a in drawn.arrows]
    parts += [_svg_box(b, *tops[b.name]) for b in drawn.boxes]
    return f'<div><div style="font-weight:600">{html.escape(drawn.title)}</div>{"".join(parts)}</svg></div>'


def _svg_arrow(arrow: Arrow, tops: list[Point]) -> str:
    """A curve between rows, straight down past the boxes of the rows it crosses."""
    path = f"M{tops[0][0]:.1f},{tops[0][1] + _BOX_H:.1f}"
    for (x0, y0), (x1, y1) in pairwise(tops):
        bend = (y1 - y0 - _BOX_H) / 2
        path += f" C{x0:.1f},{y0 + _BOX_H + bend:.1f} {x1:.1f},{y1 - bend:.1f} {x1:.1f},{y1:.1f}"
        path += f" V{y1 + _BOX_H:.1f}" if (x1, y1) != tops[-1] else ""
    x, y = tops[-1]
    tip = f"M{x - 4:.1f},{y - 7:.1f} L{x:.1f},{y:.1f} L{x + 4:.1f},{y - 7:.1f} Z"
    side, anchor = (-9, "end") if tops[-2][0] < x else (9, "start")
    place = f'x="{x + side:.1f}" y="{y - 6:.1f}" text-anchor="{anchor}"'
    text = f'<text {place} font-size="10" fill="{_FAINT}">{html.escape(arrow.label)}</text>' if arrow.label else ""
    return f'<path d="{path}" fill="none" stroke="{_EDGE}" stroke-width="1.4"/><path d="{tip}" fill="{_EDGE}"/>{text}'


def _svg_box(box: Box, x: float, y: float) -> str:
    w, h = _BOX_W, _BOX_H
    radius = h / 2 if box.kind == "input" else 8
    lines = [(box.name, 13, 600, _INK), (_subtitle(box), 11, 400, _INK), (" · ".join(box.notes), 10, 400, _FAINT)]
    texts = "".join(
        f'<text x="{x:.1f}" y="{y + 20 + i * 16:.1f}" text-anchor="middle" font-size="{size}" font-weight="{weight}" '
        f'fill="{ink}">{html.escape(_short(text, 32))}</text>'
        for i, (text, size, weight, ink) in enumerate(lines)
        if text
    )
    full = html.escape("\n".join([box.name, _subtitle(box), *box.notes]))
    return (
        f'<g><title>{full}</title><rect x="{x - w / 2:.1f}" y="{y:.1f}" width="{w}" height="{h}" rx="{radius}" '
        f'fill="{_FILLS[box.kind]}" stroke="{_EDGE}"/>{texts}</g>'
    )


def _short(text: str, most: int) -> str:
    text = " ".join(text.split())
    return text if len(text) <= most else text[: most - 1] + "…"


def as_png(of: Graph | Preset, path: str | Path) -> Path:
    """The graph as a PNG at `path` (matplotlib); returns the path."""
    from .drawing_png import save_png

    return save_png(sketch(of), Path(path), _FILLS)

"""A sketch as a PNG, by matplotlib's object interface (no pyplot, no global figure). Knows no pipeline."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, PathPatch, Polygon
from matplotlib.path import Path as MplPath

from .sketch import Sketch

_EDGE, _INK, _FAINT = "#8892a0", "#1c2530", "#5b6675"
_CELL_W, _CELL_H, _BOX_W, _BOX_H = 2.5, 1.15, 2.2, 0.74  # inches


def save_png(drawn: Sketch, path: Path, fills: Mapping[str, str], dpi: int = 150) -> Path:
    """Draw boxes and arrows, sources above readers, and write the file (large graphs at a lower dpi)."""
    xs = [b.x for b in drawn.boxes] + [x for a in drawn.arrows for x, _ in a.via]
    left, rows = min(xs), max(b.row for b in drawn.boxes) + 1
    width, height = (max(xs) - left + 1) * _CELL_W + 0.3, rows * _CELL_H + 0.55
    figure = Figure(figsize=(width, height), facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    axes.axis("off")
    axes.text(0.15, 0.28, _plain(drawn.title), fontsize=11, weight="bold", color=_INK, va="center")
    at = {b.name: ((b.x - left + 0.5) * _CELL_W + 0.15, 0.55 + b.row * _CELL_H + _BOX_H / 2) for b in drawn.boxes}
    for arrow in drawn.arrows:
        stops = [((x - left + 0.5) * _CELL_W + 0.15, 0.55 + row * _CELL_H) for x, row in arrow.via]
        corners = [(at[arrow.start][0], at[arrow.start][1] + _BOX_H / 2)]
        for x, y in stops:
            corners += [(x, y), (x, y + _BOX_H)]
        corners.append((at[arrow.end][0], at[arrow.end][1] - _BOX_H / 2))
        curve = [corners[0]]
        codes = [MplPath.MOVETO]
        for i, (start, end) in enumerate(pairwise(corners)):
            bend = (end[1] - start[1]) / 2
            if i % 2:  # straight down past the boxes of a row
                curve.append(end)
                codes.append(MplPath.LINETO)
            else:
                curve += [(start[0], start[1] + bend), (end[0], end[1] - bend), end]
                codes += [MplPath.CURVE4] * 3
        x, y = corners[-1]
        axes.add_patch(PathPatch(MplPath(curve, codes), edgecolor=_EDGE, facecolor="none", linewidth=1.2))
        axes.add_patch(Polygon([(x - 0.05, y - 0.09), (x, y), (x + 0.05, y - 0.09)], color=_EDGE, linewidth=0))
        if arrow.label:
            leftward = corners[-2][0] < x
            label = axes.text(x + (-0.12 if leftward else 0.12), y - 0.09, _plain(arrow.label))
            label.set(ha="right" if leftward else "left", va="center", fontsize=7.5, color=_FAINT)
    for box in drawn.boxes:
        x, y = at[box.name]
        rounding = _BOX_H / 2 if box.kind == "input" else 0.1
        axes.add_patch(
            FancyBboxPatch(
                (x - _BOX_W / 2, y - _BOX_H / 2),
                _BOX_W,
                _BOX_H,
                boxstyle=f"round,pad=0,rounding_size={rounding}",
                facecolor=fills[box.kind],
                edgecolor=_EDGE,
                linewidth=1,
                zorder=3,
            )
        )
        takes = "" if box.kind == "input" or box.takes == 1 else f" · {box.takes} takes"
        notes = " · ".join(box.notes)
        texts = ((box.name, 9.5, "bold", _INK), (box.title + takes, 8, "normal", _INK), (notes, 7, "normal", _FAINT))
        shown = [t for t in texts if t[0]]
        for i, (text, size, weight, ink) in enumerate(shown):
            row = y + (i - (len(shown) - 1) / 2) * 0.2
            axes.text(x, row, _short(text, size), fontsize=size, weight=weight, color=ink, ha="center", va="center", zorder=4)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=max(20, min(dpi, int(16_000 / max(width, height)))), format="png")
    return path


def _plain(text: str) -> str:
    """Text that matplotlib shows as it stands (no mathematics between dollar signs)."""
    return text.replace("$", r"\$")


def _short(text: str, size: float) -> str:
    most = int(_BOX_W * 72 / (size * 0.55))
    text = " ".join(text.split())
    return _plain(text if len(text) <= most else text[: most - 1] + "…")

"""What a drawing of a pipeline shows, and where: plain boxes and arrows, taken from a `Graph`.

Drawing never fails: references that lead nowhere are said in the box, circles are cut where they close. This module knows
no output format.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

from .graph import Graph
from .spec import DiffusionStage, Preset


@dataclass(frozen=True)
class Box:
    """A stage or input. `row` is its rank from the top (every arrow points down), `x` its centre in box widths."""

    name: str
    kind: str  # "input", "diffuses", "chooses", "scores" or "stage"
    title: str  # type and variant
    notes: tuple[str, ...]
    takes: int
    row: int
    x: float


@dataclass(frozen=True)
class Arrow:
    """From a source to its reader; `label` is the reader's key where that is not plainly its source. `via` are the
    places (x, row) at which it passes between the boxes of the rows it crosses."""

    start: str
    end: str
    label: str
    via: tuple[tuple[float, int], ...] = ()


@dataclass(frozen=True)
class Sketch:
    """Boxes in order (sources first) and arrows."""

    title: str
    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]

    def box(self, name: str) -> Box:
        return next(b for b in self.boxes if b.name == name)


def sketch(of: Graph | Preset) -> Sketch:
    """The drawing of a graph; of a pipeline as far as it can be told without its model."""
    graph = of if isinstance(of, Graph) else Graph(of)
    pipeline = graph.pipeline
    places = {name: i for i, name in enumerate((*graph.inputs, *graph.order))}
    arrows, seen = [], set()
    for name in graph.order:
        for key, source in graph.sources(name).items():
            if places[source] < places[name] and (source, name) not in seen:
                seen.add((source, name))
                arrows.append(Arrow(source, name, "" if key == "source" or key.startswith("sources[") else key))
    rows = _rows(list(places), arrows)
    chains = {(a.start, a.end): [a.start, *_passing(a, rows), a.end] for a in arrows}
    ranks = {**rows, **{n: rows[c[0]] + i for c in chains.values() for i, n in enumerate(c)}}
    columns = _columns(ranks, [pair for c in chains.values() for pair in pairwise(c)], set(rows))
    boxes = [Box(n, *_about(graph, n), takes=graph.takes(n), row=rows[n], x=columns[n]) for n in places]
    routed = [replace(a, via=tuple((columns[n], ranks[n]) for n in chains[a.start, a.end][1:-1])) for a in arrows]
    return Sketch(f"{pipeline.name} · {pipeline.model}", tuple(boxes), tuple(routed))


def _passing(arrow: Arrow, rows: dict[str, int]) -> list[str]:
    """A name for each place where the arrow crosses a row."""
    return [f"{arrow.start} {arrow.end} {row}" for row in range(rows[arrow.start] + 1, rows[arrow.end])]


def _about(graph: Graph, name: str) -> tuple[str, str, tuple[str, ...]]:
    """Kind, title and notes of a box."""
    if name in graph.inputs:
        return "input", "input", (graph.pipeline.inputs[name].replace("\\", "/").rsplit("/", 1)[-1],)
    stage = graph.stage(name)
    notes = []
    if isinstance(stage, DiffusionStage) and stage.steps:
        notes.append(f"{stage.steps} steps")
    notes += [f"{k} {v:g}" for k in ("denoise", "strength") if isinstance(v := getattr(stage, k, None), float)]
    notes += [f"{k} {v}" for k in ("track", "keep") if (v := getattr(stage, k, None)) is not None]
    if stage.when is not None:
        notes.append(f"when {stage.when}")
    known = {*graph.pipeline.inputs, *graph.pipeline.stages}
    notes += [f"reads unknown '{s}'" for s in stage.references().values() if s not in known]
    variant = f" · {stage.variant}" if isinstance(stage, DiffusionStage) and stage.variant else ""
    for kind in ("diffuses", "chooses", "scores"):
        if getattr(stage, kind):
            return kind, f"{stage.type}{variant}", tuple(notes)
    return "stage", f"{stage.type}{variant}", tuple(notes)


def _rows(names: list[str], arrows: list[Arrow]) -> dict[str, int]:
    """Longest path from the top; inputs and sourceless stages slide down to just above their first reader."""
    rows = dict.fromkeys(names, 0)
    for name in names:
        rows[name] = max((rows[a.start] + 1 for a in arrows if a.end == name), default=0)
    for name in names:
        readers = [rows[a.end] for a in arrows if a.start == name]
        if readers and not any(a.end == name for a in arrows):
            rows[name] = min(readers) - 1
    return rows


def _columns(ranks: dict[str, int], steps: list[tuple[str, str]], boxes: set[str]) -> dict[str, float]:
    """Centres: each row in the order of its neighbours' mean place (sweeps down and up), spread around 0. Places where
    an arrow passes take a quarter of a box."""
    layers: list[list[str]] = [[] for _ in range(max(ranks.values(), default=0) + 1)]
    for name, row in ranks.items():
        layers[row].append(name)
    above: dict[str, list[str]] = {name: [] for name in ranks}
    below: dict[str, list[str]] = {name: [] for name in ranks}
    for start, end in steps:
        above[end].append(start)
        below[start].append(end)
    width = {name: 1.0 if name in boxes else 0.25 for name in ranks}
    x = {n: i - (len(layer) - 1) / 2 for layer in layers for i, n in enumerate(layer)}
    for sweep in range(8):
        near, walk = (above, layers) if sweep % 2 == 0 else (below, layers[::-1])
        for layer in walk:
            want = {n: sum(x[m] for m in near[n]) / len(near[n]) if near[n] else x[n] for n in layer}
            x.update(_spread(sorted(layer, key=lambda n: (want[n], x[n])), want, width))
    return x


def _spread(layer: list[str], want: dict[str, float], width: dict[str, float]) -> dict[str, float]:
    """Places in this order without overlap, as near to the wanted ones as a common shift allows."""
    places: list[float] = []
    for i, name in enumerate(layer):
        least = places[-1] + (width[layer[i - 1]] + width[name]) / 2 if places else want[name]
        places.append(max(want[name], least))
    shift = sum(want[n] - p for n, p in zip(layer, places, strict=True)) / max(len(layer), 1)
    return {n: p + shift for n, p in zip(layer, places, strict=True)}

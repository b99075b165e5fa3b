"""How evenly a dataset covers its strata: takes, groups and pairs for every stratum and every pair of strata, and the emptiest
cells, against the plan's grid where it has one. Reads the record (`groups.jsonl`, `pairs.jsonl`, `plan.yaml`) and no score."""

from __future__ import annotations

import itertools
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .group_heads import group_heads, pair_groups
from .plan import load_plan
from .prompt_sources import Grid, as_text

MAX_VALUES = 64
"""An axis with more values is counted for itself and not in pairs: it names prompts rather than strata."""

Stratum = tuple[tuple[str, str], ...]


@dataclass
class Tally:
    """What there is of a stratum."""

    takes: int = 0
    groups: int = 0
    pairs: int = 0

    def add(self, other: Tally) -> None:
        self.takes += other.takes
        self.groups += other.groups
        self.pairs += other.pairs

    def document(self) -> dict[str, int]:
        return {"takes": self.takes, "groups": self.groups, "pairs": self.pairs}


@dataclass
class Coverage:
    """What a dataset covers. `axes` maps an axis and a value to its tally, `cells` two axes and their values; values the plan's
    grid asks for are there with zeros. `wide` are axes with too many values for pairs, `grid` is the plan's."""

    total: Tally
    axes: dict[str, dict[str, Tally]]
    cells: dict[tuple[str, str], dict[tuple[str, str], Tally]]
    wide: tuple[str, ...] = ()
    grid: Grid | None = None
    combinations: dict[Stratum, Tally] = field(default_factory=dict)

    def emptiest(self, limit: int = 20) -> list[tuple[dict[str, str], Tally]]:
        """Pairs of strata with the fewest groups, emptiest first, then in the order of the axes."""
        found = [
            ({a: x, b: y}, tally) for (a, b), values in self.cells.items() for (x, y), tally in values.items()
        ]
        return sorted(found, key=lambda cell: (cell[1].groups, cell[1].takes))[:limit]

    def grid_cells(self) -> tuple[int, int] | None:
        """How many of the grid's combinations have a group, and how many there are; None without a grid."""
        if self.grid is None:
            return None
        axes = self.grid.axes
        wanted = {name: {as_text(value) for value in values} for name, values in axes.items()}
        seen = set()
        for stratum in self.combinations:
            given = dict(stratum)
            if all(given.get(name) in values for name, values in wanted.items()):
                seen.add(tuple(given[name] for name in wanted))
        return len(seen), self.grid.cells

    def document(self) -> dict[str, Any]:
        """Plain data, as ``segue coverage --json`` prints it."""
        covered = self.grid_cells()
        return {
            **self.total.document(),
            "axes": {name: {value: tally.document() for value, tally in values.items()} for name, values in self.axes.items()},
            "cells": [
                {"strata": {a: x, b: y}, **tally.document()}
                for (a, b), values in self.cells.items() for (x, y), tally in values.items()
            ],
            "emptiest": [{"strata": strata, **tally.document()} for strata, tally in self.emptiest()],
            "wide": list(self.wide),
            "grid": None if covered is None or self.grid is None else {
                "covered": covered[0], "cells": covered[1], "asked": self.grid.count or self.grid.cells,
            },
        }  # fmt: skip


def coverage(folder: Path) -> Coverage:
    """The coverage of a night's folder (or of any folder with a ``groups.jsonl``). Raises RequestError where there is none."""
    combinations: dict[Stratum, Tally] = defaultdict(Tally)
    of_group: dict[str, Tally] = {}
    shared: set[str] = set()
    for head in group_heads(folder / "groups.jsonl"):
        tally = combinations[tuple(sorted(head.strata.items()))]
        if of_group.setdefault(head.id, tally) is not tally:
            shared.add(head.id)
        tally.takes += head.takes
        tally.groups += 1
    _count_pairs(folder, of_group, _by_take(folder / "groups.jsonl", shared, combinations) if shared else {}, shared)
    plan = folder / "plan.yaml"
    return tallied(combinations, load_plan(plan).prompts.grid if plan.exists() else None)


def _by_take(groups: Path, shared: Set[str], combinations: Mapping[Stratum, Tally]) -> dict[str, Tally]:
    """The tally of every take of the groups whose id stands there for several strata: a prompt that a plan has twice, under
    other tags, gives two groups of one id."""
    found: dict[str, Tally] = {}
    with groups.open("rb") as lines:
        for head, line in zip(group_heads(groups), lines, strict=False):
            if head.id in shared:
                tally = combinations[tuple(sorted(head.strata.items()))]
                found |= {entry["take"]: tally for entry in json.loads(line)["entries"]}
    return found


def _count_pairs(folder: Path, of_group: Mapping[str, Tally], of_take: Mapping[str, Tally], shared: Set[str]) -> None:
    """Count every pair where its group belongs, by its chosen take where the group's id does not say it."""
    path = folder / "pairs.jsonl"
    if not path.exists():
        return
    with path.open("rb") as lines:
        for group, line in zip(pair_groups(path), lines if shared else itertools.repeat(b""), strict=False):
            tally = of_group.get(group)
            if group in shared:
                tally = of_take.get((json.loads(line)["chosen"].get("provenance") or {}).get("take", ""))
            if tally is not None:
                tally.pairs += 1


def tallied(combinations: Mapping[Stratum, Tally], grid: Grid | None = None) -> Coverage:
    """The coverage of what there is of each combination of strata."""
    axes: dict[str, dict[str, Tally]] = {}
    for name, values in (grid.axes if grid is not None else {}).items():
        axes[name] = {as_text(value): Tally() for value in values}
    total = Tally()
    for stratum, tally in sorted(combinations.items()):
        total.add(tally)
        for name, value in stratum:
            axes.setdefault(name, {}).setdefault(value, Tally()).add(tally)
    wide = tuple(name for name, values in axes.items() if len(values) > MAX_VALUES)
    narrow = [name for name in axes if name not in wide]
    cells = {
        (a, b): {(x, y): Tally() for x in axes[a] for y in axes[b]} for a, b in itertools.combinations(narrow, 2)
    }
    for stratum, tally in combinations.items():
        given = dict(stratum)
        for a, b in itertools.combinations([name for name in narrow if name in given], 2):
            cells[a, b][given[a], given[b]].add(tally)
    return Coverage(total, axes, cells, wide, grid, dict(combinations))


def covered_prompts(folder: Path) -> Iterator[tuple[dict[str, Any], dict[str, str]]]:
    """The prompts of an earlier dataset, each once, with their strata. Raises RequestError where there is none."""
    seen: set[int] = set()
    for head in group_heads(folder / "groups.jsonl"):
        name = hash(repr(sorted(head.prompt.items())))
        if name not in seen:
            seen.add(name)
            yield head.prompt, head.strata

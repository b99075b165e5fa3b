"""A grid's prompts, the most wanted first: at each draw the cell that leaves axes and pairs of axes most evenly covered.

The imbalance of N prompts is the sum, over every axis and every pair of axes, of Pearson's χ² against even coverage, each in
units of what chance would give (its degrees of freedom, k − 1): Σ (n − N/k)² / (N/k) / (k − 1), with n the prompts that have a
value (or pair of values) and k how many values (or pairs) there are. That is (k/N · Σ n² − N) / (k − 1), so one more prompt
lowers it most (raises it least) in the cell with the smallest Σ n·k/(k − 1) over its own values and pairs of values. No cell
comes again while another was drawn less often: a prompt twice is one group, not two. Ties go by
an order out of the plan's seed. Each draw depends on those before it alone: the first 10 of 20 prompts are those of a count
of 10.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ..pipeline.keys import derive_seed
from ..pipeline.prompt import Prompt
from .plan import Plan
from .prompt_sources import Axis, TaggedPrompt, as_text, span

Cell = tuple[int, ...]

_UNIT = 2**20  # weights are whole numbers, so that ties are ties


def draw_cells(shape: Sequence[int], seed: int, before: Iterable[Cell] = ()) -> Iterator[Cell]:
    """Cells of a grid of `shape` (values an axis) without end, each where coverage is least; `before` are covered already."""
    order = _shuffled(math.prod(shape), seed)
    want, drawn = np.zeros((2, *shape), dtype=np.int64)  # Σ n·k/(k − 1) of each cell, and how often it was drawn itself
    flat_want, flat_drawn = want.reshape(-1), drawn.reshape(-1)
    weights = [(axes, round(k / (k - 1) * _UNIT)) for axes, k in _axes_and_pairs(shape)]

    def cover(cell: Cell) -> None:
        for axes, weight in weights:
            want[tuple(cell[a] if a in axes else slice(None) for a in range(len(shape)))] += weight
        drawn[cell] += 1

    for cell in before:
        cover(cell)
    while True:
        fresh = np.flatnonzero(flat_drawn == flat_drawn.min())
        wanted = flat_want[fresh]
        least = fresh[wanted == wanted.min()]
        cell = tuple(int(i) for i in np.unravel_index(least[order[least].argmin()], want.shape))
        cover(cell)
        yield cell


def _shuffled(count: int, seed: int) -> np.ndarray:
    """0 … count−1 in an order out of the seed: ranks of splitmix64's outputs (Steele et al. 2014), the same on every machine."""
    with np.errstate(over="ignore"):
        x = (np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)) + np.uint64(seed)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        x ^= x >> np.uint64(31)
    return np.argsort(np.argsort(x, kind="stable"), kind="stable").astype(np.int64)


def imbalance(shape: Sequence[int], cells: Iterable[Cell]) -> float:
    """The imbalance of some cells, as this module's head defines it; 0.0 for none.

    >>> imbalance((2, 2), [(0, 0), (1, 1), (0, 1), (1, 0)])
    0.0
    >>> imbalance((2, 2), [(0, 0), (0, 0)])  # each axis: 2/2·4 − 2 = 2, their pair: (4/2·4 − 2) / 3 = 2
    6.0
    """
    made = list(cells)
    total = 0.0
    for axes, k in _axes_and_pairs(shape):
        found = Counter(tuple(cell[a] for a in axes) for cell in made)
        if made:
            total += (k / len(made) * sum(n * n for n in found.values()) - len(made)) / (k - 1)
    return total


def _axes_and_pairs(shape: Sequence[int]) -> list[tuple[tuple[int, ...], int]]:
    """Every axis and pair of axes with more than one value (or pair of values), and how many."""
    chosen = [axes for n in (1, 2) for axes in itertools.combinations(range(len(shape)), n)]
    counted = [(axes, math.prod(shape[a] for a in axes)) for axes in chosen]
    return [(axes, k) for axes, k in counted if k > 1]


def grid_prompts(plan: Plan) -> Iterator[TaggedPrompt]:
    """The prompts of the plan's grid. `tags` hold the axes' values. Raises RequestError where `beyond` can't be read."""
    grid, seed = plan.prompts.grid, plan.seed
    assert grid is not None
    if seed is None:
        raise ValueError("a grid is drawn with the plan's seed, and there is none yet; call Plan.begun first")
    before: Iterable[Cell] = ()
    if grid.beyond is not None:
        from .coverage import covered_prompts

        axes = grid.axes
        found = (cell_of(axes, prompt, strata) for prompt, strata in covered_prompts(plan.path(grid.beyond)))
        before = [cell for cell in found if cell is not None]
    cells = draw_cells([len(v) for v in grid.axes.values()], derive_seed(seed, "grid", 0), before)
    count = grid.count if grid.count is not None else grid.cells
    axes, fixed = grid.axes, grid.fixed
    return (_prompt(axes, fixed, cell, number, seed) for number, cell in enumerate(itertools.islice(cells, count)))


def cell_of(axes: Mapping[str, Sequence[Any]], prompt: Mapping[str, Any], strata: Mapping[str, str]) -> Cell | None:
    """The cell an earlier prompt stands in: by its strata, else by its own fields (a tempo within a range); None where one of
    the axes does not have it."""
    cell = []
    for name, values in axes.items():
        texts = [as_text(value) for value in values]
        given = strata.get(name)
        place = texts.index(given) if given in texts else None
        if place is None and name in prompt:
            place = next((i for i, value in enumerate(values) if _holds(name, value, prompt[name])), None)
        if place is None:
            return None
        cell.append(place)
    return tuple(cell)


def _holds(name: str, value: Any, given: Any) -> bool:
    bounds = span(name, value)
    return bounds[0] <= given <= bounds[1] if bounds and isinstance(given, int | float) else bool(value == given)


def _prompt(axes: Mapping[str, Axis], fixed: Mapping[str, Any], cell: Cell, number: int, seed: int) -> TaggedPrompt:
    chosen = {name: values[i] for (name, values), i in zip(axes.items(), cell, strict=True)}
    tags = {name: as_text(value) for name, value in chosen.items()}
    for name, value in chosen.items():
        bounds = span(name, value)
        if bounds is not None:
            chosen[name] = bounds[0] + derive_seed(seed, f"grid.{name}", number) % (bounds[1] - bounds[0] + 1)
    given = {**fixed, **chosen}
    if "caption" in fixed:
        given["caption"] = fixed["caption"].format(**{name: as_text(value) for name, value in given.items()})
    fields = {name: value for name, value in given.items() if name in Prompt.model_fields}
    return TaggedPrompt(**fields, tags=tags)

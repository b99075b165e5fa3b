"""`segue coverage`: how evenly a night's dataset covers its strata."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import output
from .options import Json

if TYPE_CHECKING:
    from ..dataset.coverage import Coverage

Emptiest = Annotated[int, typer.Option("--emptiest", min=0, metavar="N", help="Emptiest pairs of strata to show.")]


def coverage(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder of a night.")],
    emptiest: Emptiest = 12,
    as_json: Json = False,
) -> None:
    """Show how evenly a dataset covers its strata: genre, tempo, key, whatever the prompts are tagged with.

    For each stratum its takes, groups and pairs; the emptiest pairs of strata; and how many combinations of the plan's grid have
    a group. --json prints every pair of strata.
    """
    from ..dataset.coverage import coverage as measured

    found = measured(out)
    if as_json:
        output.emit_json({"folder": str(out), **found.document()})
    else:
        _print(out, found, emptiest)


def _print(out: Path, found: Coverage, emptiest: int) -> None:
    total = found.total
    console = output.stdout()
    output.say(f"{out}: {total.takes} takes in {total.groups} groups, {total.pairs} pairs")
    columns = ("value", "takes", "groups", "pairs")
    for name, values in found.axes.items():
        rows = [(value, t.takes, t.groups, t.pairs) for value, t in values.items()]
        console.print(output.table(columns, rows, right=columns[1:], title=name))
    cells = found.emptiest(emptiest)
    if cells:
        rows = [(", ".join(f"{k}: {v}" for k, v in strata.items()), t.takes, t.groups, t.pairs) for strata, t in cells]
        console.print(output.table(("strata", *columns[1:]), rows, right=columns[1:], title="emptiest pairs of strata"))
    for name in found.wide:
        output.note(f"{name} has {len(found.axes[name])} values and is left out of the pairs of strata")
    covered = found.grid_cells()
    if covered is not None and found.grid is not None:
        asked = found.grid.count or found.grid.cells
        output.say(f"grid: {covered[0]} of {covered[1]} combinations have a group; the plan asks for {asked} prompts")

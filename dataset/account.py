"""The account of a night: what was asked for, what came of it, what went wrong, how the time was spent. ``night.json``.

Counted from the record and the catalog, never estimated. Knows no stage and no model.
"""

from __future__ import annotations

import json
from importlib import metadata
from typing import Any

from ..pipeline.atomic import write_text
from .catalog import NightCatalog
from .folder import NightFolder
from .pairing import collector_at_rest
from .plan import Budget, Plan
from .record import lean_groups
from .tallies import MARKS, NightTally

FAILURES = 1000  # of this many jobs that went wrong the cause is told


def in_force(plan: Plan, catalog: NightCatalog) -> Plan:
    """The plan of a begun night with the budget it was last begun with: only that may differ from the plan that is kept."""
    noted = catalog.fact("budget")
    if noted is None:
        return plan
    return plan.model_copy(update={"budget": Budget(**noted)}).placed(plan._base, plan._file, plan._lines)


def write_account(folder: NightFolder, plan: Plan, catalog: NightCatalog) -> dict[str, Any]:
    """Count everything, write ``night.json`` and give its content."""
    settled, states = catalog.settled(), catalog.counts()
    account: dict[str, Any] = {
        "night": catalog.fact("night"), "name": plan.name, "about": plan.about, "created": plan.created, "seed": plan.seed,
        "segue": metadata.version("segue-audio"), "numerics": catalog.fact("numerics"), "weights": catalog.fact("weights"),
        "budget": plan.budget.model_dump(exclude_none=True), "audio": plan.audio,
        "jobs": {**states, "settled_prompts": settled.blocks},
        "groups": settled.groups, "takes": settled.takes, "pairs": pairs_written(folder),
        **_takes(folder, plan), "failures": [vars(failure) for failure in catalog.failures(FAILURES)],
        "runners": [_runner(row) for row in catalog.runners()],
    }  # fmt: skip
    write_text(folder.account, json.dumps(account, indent=2, ensure_ascii=False) + "\n", "the night's account")
    return account


def pairs_written(folder: NightFolder) -> int:
    """How many pairs `pairs.jsonl` holds, those of judgements among them."""
    if not folder.pairs.exists():
        return 0
    with folder.pairs.open("rb") as file:
        return sum(1 for _ in file)


def _takes(folder: NightFolder, plan: Plan) -> dict[str, Any]:
    """What the record says of its takes: which could not be compared and why, marks by their histogram's steps, defects."""
    tally = NightTally(plan.name, plan.created or "", plan.seed)
    with collector_at_rest():
        for group in lean_groups(folder.groups):
            tally.add(group)
    defects = dict(sorted(tally.defects.items(), key=lambda item: (-item[1], item[0])))
    return {
        "scored": tally.scored, "refused": tally.refused, "silent": tally.silent, "no_numbers": tally.broken, "defects": defects,
        "seconds_of_audio": round(tally.seconds, 3),
        "marks": {f"{step * MARKS:g}": tally.marks[step] for step in sorted(tally.marks)},
    }  # fmt: skip


def _runner(row: dict[str, Any]) -> dict[str, Any]:
    """A process's row, with the share of its time the model was at work."""
    share = row["busy_s"] / row["wall_s"] if row["wall_s"] else None
    return {
        "started": row["started"], "wall_s": round(row["wall_s"], 3), "model_busy_s": round(row["busy_s"], 3),
        "model_busy": None if share is None else round(share, 4), "model_swaps": row["swaps"], "jobs": row["jobs"],
    }  # fmt: skip

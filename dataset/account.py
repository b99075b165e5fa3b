"""The account of a night: what was asked for, what came of it, what went wrong, how the time was spent. ``night.json``.

Counted from the record and the catalog, never estimated. Knows no stage and no model.
"""

from __future__ import annotations

import json
from collections import Counter
from importlib import metadata
from typing import Any

from ..pipeline.atomic import write_text
from ..scoring.groups import GroupEntry
from .catalog import NightCatalog
from .folder import NightFolder
from .ledger import read_groups
from .plan import Plan

FAILURES = 1000  # of this many jobs that went wrong the cause is told


def write_account(folder: NightFolder, plan: Plan, catalog: NightCatalog) -> dict[str, Any]:
    """Count everything, write ``night.json`` and give its content."""
    settled, states = catalog.settled(), catalog.counts()
    account: dict[str, Any] = {
        "night": catalog.fact("night"), "name": plan.name, "about": plan.about, "created": plan.created, "seed": plan.seed,
        "segue": metadata.version("segue-audio"), "numerics": catalog.fact("numerics"), "weights": catalog.fact("weights"),
        "budget": plan.budget.model_dump(exclude_none=True), "audio": plan.audio,
        "jobs": {**states, "settled_prompts": settled.blocks},
        "groups": settled.groups, "takes": settled.takes, "pairs": _lines(folder),
        **_takes(folder), "failures": [vars(failure) for failure in catalog.failures(FAILURES)],
        "runners": [_runner(row) for row in catalog.runners()],
    }  # fmt: skip
    write_text(folder.account, json.dumps(account, indent=2, ensure_ascii=False) + "\n", "the night's account")
    return account


def _lines(folder: NightFolder) -> int:
    if not folder.pairs.exists():
        return 0
    with folder.pairs.open("rb") as file:
        return sum(1 for _ in file)


def _takes(folder: NightFolder) -> dict[str, Any]:
    """What the record says of its takes: which could not be compared and why, scores by whole points, defects."""
    unfit, refused, defects, scores = Counter[str](), Counter[str](), Counter[str](), Counter[int]()
    for group in read_groups(folder.groups):
        for entry in group.entries:
            unfit.update([_unfit(entry)] if _unfit(entry) else [])
            refused.update([entry.refused.split(":")[0]] if entry.refused else [])
            defects.update(entry.defects)
            if entry.overall is not None:
                scores[min(9, int(entry.overall))] += 1
    return {
        "unfit": dict(sorted(unfit.items())), "refused": dict(sorted(refused.items())),
        "defects": dict(sorted(defects.items(), key=lambda item: (-item[1], item[0]))),
        "scores": {f"{low}-{low + 1}": scores[low] for low in range(10)},
    }  # fmt: skip


def _unfit(entry: GroupEntry) -> str | None:
    if not entry.finite:
        return "no numbers"
    return "silent" if entry.silent else "not scored" if entry.overall is None else None


def _runner(row: dict[str, Any]) -> dict[str, Any]:
    """A process's row, with the share of its time the model was at work."""
    share = row["busy_s"] / row["wall_s"] if row["wall_s"] else None
    return {
        "started": row["started"], "wall_s": round(row["wall_s"], 3), "model_busy_s": round(row["busy_s"], 3),
        "model_busy": None if share is None else round(share, 4), "model_swaps": row["swaps"], "jobs": row["jobs"],
    }  # fmt: skip

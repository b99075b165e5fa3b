"""Groups of takes as a night logs them, from a few numbers each."""

from __future__ import annotations

import hashlib
from typing import Any

from segue.scoring.groups import Generation, Group, GroupEntry
from segue.scoring.metrics import metric
from segue.scoring.pair_rules import Judgement, PairStrategy, derive
from segue.scoring.pair_schema import Pair
from segue.scoring.report import Defect, QualityReport


def scored_take(index: int, overall: float | None, *, made: dict[str, Any] | None = None, metrics: dict[str, float] | None = None,
                prefix: str = "", **more: Any) -> GroupEntry:
    """Take ``t{index}`` of 8 s with a whole report; `made` are settings, `more` fields of the entry."""
    name = more.pop("take", f"{prefix}t{index}")
    values = {"crest_db": 12.0, **(metrics or {})}
    report = QualityReport(
        overall=min(max(overall or 0.0, 0.0), 10.0), scorer="segue 1", duration_s=8.0, rate_hz=48_000,
        metrics={n: metric(n, v) for n, v in values.items()}, defects=(Defect(type="hum", severity=0.5, start_s=0, end_s=1),),
    )
    return GroupEntry(**{
        "take": name, "index": index, "key": f"{index:040x}", "seed": index, "overall": overall, "report": report,
        "duration_s": 8.0, "rate_hz": 48_000, "audio_path": f"audio/{name}.flac",
        "pcm_sha256": hashlib.sha256(name.encode()).hexdigest(),
        "generation": Generation(**{"seed": index, "model": "turbo", "steps": 8, "shift": 3.0, **(made or {})}), **more,
    })


def scored_group(*entries: GroupEntry, **more: Any) -> Group:
    prompt = {"caption": "warm jazz", "lyrics": "la", "bpm": 96, "keyscale": "C major", "duration_s": 8.0}
    return Group(**{"id": "g", "stage": "scored", "prompt": prompt, "entries": entries, **more})


def takes(*scores: float | None, **more: Any) -> list[GroupEntry]:
    return [scored_take(i, score, **more) for i, score in enumerate(scores)]


def logged(*genres: str) -> list[Group]:
    return [
        scored_group(*takes(9.0, 5.0, 1.0, prefix=f"{i}/"), id=f"g{i}", strata={"genre": g} if g else {})
        for i, g in enumerate(genres)
    ]


def word(chosen: str, rejected: str, labeller: str = "ann", **more: Any) -> Judgement:
    return Judgement(**{"group": "g", "chosen": chosen, "rejected": rejected, "labeller": labeller, **more})


def sides(pair: Pair) -> tuple[int, int]:
    return pair.chosen.generation_params.seed, pair.rejected.generation_params.seed


def found(group: Group, said: tuple[Judgement, ...] = (), **strategy: Any) -> list[tuple[int, int]]:
    return [sides(pair) for pair in derive(group, [PairStrategy(**strategy)], said)]

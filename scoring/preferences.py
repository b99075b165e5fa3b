"""From scores to preferences: groups of takes that had the same chance, and pairs (chosen, rejected) derived
from them.

A whole group is logged with every score; pairs are derived afterwards, so that a strategy can be changed
later. A pair's JSON has the user's fixed keys at their places; every further fact stands beside them
(`provenance`, `strategy` …). Pure: knows no file, no take and no model. The records are in `groups` and
`pair_schema`, the rules in `pair_rules`; this is the door.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .groups import Generation, Group, GroupEntry
from .pair_rules import SAME_LENGTH_S, TIE, derive, derive_all, pairs_best_worst
from .pair_schema import Chosen, Pair, Rejected
from .pair_strategy import NAMES, Judgement, PairStrategy, Quota

__all__ = [
    "SAME_LENGTH_S", "SAME_PROMPT_DIFFERENT_SEEDS", "TIE", "Generation", "Group", "GroupEntry", "Judgement", "Pair",
    "PairStrategy", "Quota", "derive", "derive_all", "margin_correlations", "pairs_best_worst",
]  # fmt: skip

SAME_PROMPT_DIFFERENT_SEEDS = NAMES["seeds"]


def margin_correlations(pairs: Sequence[Pair]) -> dict[str, float | None]:
    """Whether the margin goes with something that should not decide: loudness, bandwidth, duration.

    For loudness (`loudness_lufs`) and bandwidth (metric ``bandwidth_hz``): correlation of the margin with the
    chosen side's surplus, every pair counted both ways round, so Σ m·d / √(Σ m² · Σ d²); +1 means the louder
    always won, in proportion. For duration, which is equal within a pair: Pearson's r of margin and length.
    None where fewer than three pairs have the quantity or it does not vary.

    >>> made = [GroupEntry(take=str(i), index=i, seed=i, overall=s, loudness_lufs=l, duration_s=8.0, pcm_sha256=str(i),
    ...                    generation=Generation(seed=i)) for i, (s, l) in enumerate([(8.0, -10.0), (6.0, -12.0)])]
    >>> pairs = [p for name in "abc" for p in pairs_best_worst(Group(id=name, stage="scored", entries=tuple(made)))]
    >>> found = margin_correlations(pairs)  # the louder always won; nothing is known of the bandwidth, all are as long
    >>> round(found["loudness"], 6), found["bandwidth"], found["duration"]
    (1.0, None, None)
    """
    scored = [p for p in pairs if p.margin is not None]
    loud = [(p.margin, _gap(_loudness(p.chosen), _loudness(p.rejected))) for p in scored]
    band = [(p.margin, _gap(*(s.quality_report.get("bandwidth_hz") for s in (p.chosen, p.rejected)))) for p in scored]
    long = [(p.margin, p.prompt.metadata.duration) for p in scored]
    return {"loudness": _correlation(loud, centred=False), "bandwidth": _correlation(band, centred=False),
            "duration": _correlation(long, centred=True)}


def _loudness(side: Chosen | Rejected) -> float | None:
    return side.provenance.loudness_lufs if side.provenance else None


def _gap(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a - b


def _correlation(points: Sequence[tuple[float | None, float | None]], centred: bool) -> float | None:
    x = np.array([p for p in points if None not in p], dtype=float).reshape(-1, 2)
    if len(x) < 3:
        return None
    if centred:
        x = x - x.mean(axis=0)
    norms = np.sqrt((x**2).sum(axis=0))
    if norms.min() < 1e-9:
        return None
    return float((x[:, 0] * x[:, 1]).sum() / norms.prod())

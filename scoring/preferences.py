"""From scores to preferences: groups of takes that had the same chance, and pairs (chosen, rejected) derived
from them.

A whole group is logged with every score; pairs are derived afterwards, so that a strategy can be changed
later. A pair's JSON has the user's fixed keys at their places; every further fact stands beside them
(`provenance`, `strategy` …). Pure: knows no file, no take and no model. The records are in `groups` and
`pair_schema`, the rules in `pair_rules`, the audit in `pair_audit`; this is the door.
"""

from __future__ import annotations

from collections.abc import Sequence

from .groups import Generation, Group, GroupEntry
from .pair_audit import Audit, audit
from .pair_rules import SAME_LENGTH_S, TIE, derive, derive_all, pairs_best_worst
from .pair_schema import Pair
from .pair_strategy import NAMES, Judgement, PairStrategy, Quota

__all__ = [
    "SAME_LENGTH_S", "SAME_PROMPT_DIFFERENT_SEEDS", "TIE", "Audit", "Generation", "Group", "GroupEntry", "Judgement", "Pair",
    "PairStrategy", "Quota", "audit", "derive", "derive_all", "margin_correlations", "pairs_best_worst",
]  # fmt: skip

SAME_PROMPT_DIFFERENT_SEEDS = NAMES["seeds"]


def margin_correlations(pairs: Sequence[Pair]) -> dict[str, float | None]:
    """Whether the margin goes with something that should not decide: loudness, bandwidth, duration. See
    `Audit.correlations`.

    >>> made = [GroupEntry(take=str(i), index=i, seed=i, overall=s, loudness_lufs=l, duration_s=8.0, pcm_sha256=str(i),
    ...                    generation=Generation(seed=i)) for i, (s, l) in enumerate([(8.0, -10.0), (6.0, -12.0)])]
    >>> pairs = [p for name in "abc" for p in pairs_best_worst(Group(id=name, stage="scored", entries=tuple(made)))]
    >>> found = margin_correlations(pairs)  # the louder always won; nothing is known of the bandwidth, all are as long
    >>> round(found["loudness"], 6), found["bandwidth"], found["duration"]
    (1.0, None, None)
    """
    return audit(pairs, ()).correlations

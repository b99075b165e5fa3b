"""A group's takes as the rules of pairs see them: the comparable ones, in one fixed order, and no more of each than a rule reads.

So the same rules run over groups that were just made, read from a log, or kept in an index. Pure; decides no pair.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from .groups import TakeFacts
from .pair_strategy import OVERALL


class Candidate(NamedTuple):
    """A take that may be part of a pair. `order` is its place among its group's; takes with one `made` were made alike."""

    order: int
    take: str
    pcm_sha256: str
    overall: float
    duration_s: float
    parent: str | None
    made: int


class Candidates(NamedTuple):
    """A group's candidates in their order; `measured` gives what each of them has of a metric of the reports."""

    takes: Sequence[Candidate]
    measured: Callable[[str], Sequence[float | None]]

    def values(self, metric: str) -> Sequence[float | None]:
        """``overall`` or a metric of the report, take by take."""
        return [t.overall for t in self.takes] if metric == OVERALL else self.measured(metric)


def candidates_of(entries: Iterable[TakeFacts]) -> tuple[list[TakeFacts], Candidates]:
    """The comparable ones of a group's takes, and beside them what the rules see; the order of `entries` has no influence.

    >>> from segue.scoring.groups import Generation, GroupEntry
    >>> takes = [GroupEntry(take=f"t{i}", index=i, seed=i, overall=s, duration_s=8.0, generation=Generation(seed=i, steps=8 * i),
    ...                     pcm_sha256=str(i)) for i, s in enumerate((5.0, None, 1.0))]
    >>> [(c.order, c.take, c.made) for c in candidates_of(reversed(takes))[1].takes]
    [(0, 't0', 0), (1, 't2', 1)]
    """
    takes = sorted(entries, key=_order)
    fair = [e for e in takes if e.comparable]
    parents = {e.take: e.parent for e in takes if e.parent is not None}
    codes: dict[object, int] = {}
    found = [
        Candidate(i, e.take, e.pcm_sha256, e.overall or 0.0, e.duration_s, e.parent,
                  codes.setdefault(_made(e, parents), len(codes)))
        for i, e in enumerate(fair)
    ]  # fmt: skip
    return fair, Candidates(found, lambda metric: [e.value(metric) for e in fair])


def _order(entry: TakeFacts) -> tuple[object, ...]:
    return entry.index, entry.take, entry.pcm_sha256, entry.overall is not None, entry.overall


def _made(entry: TakeFacts, parents: Mapping[str, str]) -> tuple[object, ...]:
    """How a take was made: its settings, and out of how many takes of the group, one after the other (a repaired take was
    not made like the one before the repair)."""
    seen: set[str] = set()
    parent = entry.parent
    while parent is not None and parent not in seen:
        seen.add(parent)
        parent = parents.get(parent)
    return len(seen), entry.generation.settings()

"""From groups to pairs: carries out a `PairStrategy` over the takes of a group, and over a whole log of groups.

Pure: the same groups, strategies and judgements give the same pairs, whatever the order of a group's entries. Knows no
file.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Generic, NamedTuple, Protocol, TypeVar

from .candidates import Candidates, candidates_of
from .groups import GroupFacts
from .pair_picks import SAME_LENGTH_S, TIE, Pick, picks
from .pair_record import pair_id, pair_record
from .pair_schema import Pair
from .pair_strategy import Judgement, PairStrategy, Quota

__all__ = [
    "SAME_LENGTH_S", "TIE", "Found", "Judgement", "PairStrategy", "Quota", "derive", "derive_all", "find_all", "pairs_best_worst",
]  # fmt: skip


class Comparing(Protocol):
    """A group, as far as finding pairs in it needs it."""

    @property
    def id(self) -> str: ...

    @property
    def strata(self) -> dict[str, str]: ...

    @property
    def candidates(self) -> Candidates: ...


Comparable = TypeVar("Comparable", bound=Comparing)


class Found(NamedTuple, Generic[Comparable]):
    """A comparison that is a pair, in the group it was found in. `id` names the pair, `strategy` what it was found by."""

    group: Comparable
    id: str
    strategy: str
    pick: Pick


class _Whole:
    """A group with its takes at hand."""

    def __init__(self, group: GroupFacts) -> None:
        self.group, self.id, self.strata = group, group.id, group.strata
        self.takes, self.candidates = candidates_of(group.entries)

    def pair(self, found: Found[_Whole]) -> Pair:
        best, worst = (self.takes[side.order] for side in (found.pick.best, found.pick.worst))
        return pair_record(self.group, best, worst, strategy=found.strategy, margin=found.pick.margin, metric=found.pick.metric,
                           labeller=found.pick.labeller)  # fmt: skip


def derive(group: GroupFacts, strategies: Sequence[PairStrategy], judgements: Iterable[Judgement] = ()) -> list[Pair]:
    """The pairs of one group, strategy by strategy.

    Only takes that are scored, finite, neither silent nor refused, that sound different and are of equal duration
    (within 1 ms) are compared. Strategies that share a name (the same `compare`) give an unordered pair of sounds once;
    the first of them has its way. `judgements` of other groups are passed over; of one labeller's words on the same two
    takes the last counts. A human pair's margin is the share of all who judged the two that was for the chosen one,
    less the share against it (0 … 1); without a majority there is none.

    >>> from segue.scoring.groups import Generation, Group, GroupEntry
    >>> takes = [GroupEntry(take=f"take {i}", index=i, seed=i, overall=score, duration_s=8.0, generation=Generation(seed=i),
    ...                     pcm_sha256=str(i)) for i, score in enumerate((6.5, 8.0, 3.25))]
    >>> group = Group(id="g", stage="scored", entries=tuple(takes))
    >>> [(p.chosen.quality_score, p.rejected.quality_score, p.margin) for p in derive(group, [PairStrategy(margin=1.0)])]
    [(8.0, 3.25, 4.75)]
    >>> [p.margin for p in derive(group, [PairStrategy(rule="margin", margin=2)])]  # 8 - 6.5 is too little
    [4.75, 3.25]
    >>> said = [Judgement(group="g", chosen="take 2", rejected="take 1", labeller=who) for who in ("ann", "bob")]
    >>> said += [Judgement(group="g", chosen="take 1", rejected="take 2", labeller="eve")]
    >>> [(p.chosen.quality_score, round(p.margin, 3)) for p in derive(group, [PairStrategy(compare="human")], said)]
    [(3.25, 0.333)]
    """
    own = [j for j in judgements if j.group == group.id]
    whole = _Whole(group)
    return [whole.pair(found) for found in _find(whole, strategies, own)]


def _find(group: Comparable, strategies: Sequence[PairStrategy], judgements: Sequence[Judgement]) -> Iterator[Found[Comparable]]:
    given: dict[str, set[frozenset[str]]] = defaultdict(set)
    for strategy in strategies:
        for pick in picks(group.candidates, strategy, judgements):
            chosen, rejected = pick.best.pcm_sha256, pick.worst.pcm_sha256
            sounds = frozenset((chosen, rejected))
            if sounds not in given[strategy.name]:
                given[strategy.name].add(sounds)
                yield Found(group, pair_id(group.id, strategy.name, chosen, rejected), strategy.name, pick)


def derive_all(
    groups: Iterable[GroupFacts], strategies: Sequence[PairStrategy], *, quotas: Quota | None = None,
    judgements: Iterable[Judgement] = (),
) -> Iterator[Pair]:
    """The pairs of many groups, in their order, one at a time; groups are read as pairs are asked for. A pair that several
    groups of one id give comes once. With `quotas` a stratum that has its pairs gives no more; earlier groups go first.

    >>> from segue.scoring.groups import Generation, Group, GroupEntry
    >>> takes = [GroupEntry(take=f"take {i}", index=i, seed=i, overall=score, duration_s=8.0, generation=Generation(seed=i),
    ...                     pcm_sha256=str(i)) for i, score in enumerate((6.5, 8.0))]
    >>> groups = [Group(id=name, stage="scored", strata={"genre": genre}, entries=tuple(takes))
    ...           for name, genre in (("a", "jazz"), ("b", "jazz"), ("c", "folk"))]
    >>> [p.group for p in derive_all(groups, [PairStrategy()])]
    ['a', 'b', 'c']
    >>> [p.group for p in derive_all(groups, [PairStrategy()], quotas=Quota(by=("genre",), pairs=1))]
    ['a', 'c']
    """
    wholes = (_Whole(group) for group in groups)
    for found in find_all(wholes, strategies, quotas=quotas, judgements=judgements):
        yield found.group.pair(found)


def find_all(
    groups: Iterable[Comparable], strategies: Sequence[PairStrategy], *, quotas: Quota | None = None,
    judgements: Iterable[Judgement] = (),
) -> Iterator[Found[Comparable]]:
    """What `derive_all` derives, before it is made into records: the rules over anything that has candidates.

    >>> from types import SimpleNamespace
    >>> from segue.scoring.candidates import Candidate
    >>> takes = [Candidate(i, str(i), str(i), score, 8.0, None, 0) for i, score in enumerate((6.5, 8.0))]
    >>> group = SimpleNamespace(id="g", strata={}, candidates=Candidates(takes, lambda metric: [None, None]))
    >>> [(f.strategy, f.pick.best.take, f.pick.margin) for f in find_all([group], [PairStrategy()])]
    [('same_prompt_different_seeds', '1', 1.5)]
    """
    said: dict[str, list[Judgement]] = defaultdict(list)
    for judgement in judgements:
        said[judgement.group].append(judgement)
    given: set[str] = set()
    counts: Counter[tuple[str, ...]] = Counter()
    for group in groups:
        stratum = tuple(group.strata.get(key, "") for key in quotas.by) if quotas else ()
        if quotas and counts[stratum] >= quotas.pairs:
            continue
        for found in _find(group, strategies, said.get(group.id, ())):
            if found.id in given or (quotas and counts[stratum] >= quotas.pairs):
                continue
            given.add(found.id)
            counts[stratum] += 1
            yield found


def pairs_best_worst(group: GroupFacts, *, margin: float = 0.0, k: int = 1) -> list[Pair]:
    """Strategy 1, "same prompt, different seeds": each of the k best takes that were made alike against each of the k
    worst, from a gap of `margin` points on (see `derive`). Raises ValueError for k < 1 or a negative or non-finite margin.

    >>> from segue.scoring.groups import Generation, Group, GroupEntry
    >>> takes = [GroupEntry(take=f"take {i}", index=i, seed=i, overall=score, duration_s=8.0, generation=Generation(seed=i),
    ...                     pcm_sha256=str(i)) for i, score in enumerate((6.5, 8.0, 3.25))]
    >>> group = Group(id="g", stage="scored", entries=tuple(takes))
    >>> [(p.chosen.quality_score, p.rejected.quality_score, p.margin) for p in pairs_best_worst(group, margin=1.0)]
    [(8.0, 3.25, 4.75)]
    >>> pairs_best_worst(group, margin=5.0)
    []
    """
    return derive(group, [PairStrategy(rule="topk", k=k, margin=margin)])

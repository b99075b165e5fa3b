"""From groups to pairs: carries out a `PairStrategy` over the takes of a group, and over a whole log of groups.

Pure: the same groups, strategies and judgements give the same pairs, whatever the order of a group's entries. Knows no
file.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence

from .groups import GroupFacts
from .pair_picks import SAME_LENGTH_S, TIE, picks
from .pair_record import pair_record
from .pair_schema import Pair
from .pair_strategy import Judgement, PairStrategy, Quota

__all__ = ["SAME_LENGTH_S", "TIE", "Judgement", "PairStrategy", "Quota", "derive", "derive_all", "pairs_best_worst"]


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
    pairs: list[Pair] = []
    given: dict[str, set[frozenset[str]]] = defaultdict(set)
    for strategy in strategies:
        for pick in picks(group.entries, strategy, own):
            sounds = frozenset((pick.best.pcm_sha256, pick.worst.pcm_sha256))
            if sounds not in given[strategy.name]:
                given[strategy.name].add(sounds)
                pairs.append(pair_record(
                    group, pick.best, pick.worst, strategy=strategy.name, margin=pick.margin, metric=pick.metric,
                    labeller=pick.labeller,
                ))
    return pairs


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
    said: dict[str, list[Judgement]] = defaultdict(list)
    for judgement in judgements:
        said[judgement.group].append(judgement)
    given: set[str] = set()
    counts: Counter[tuple[str, ...]] = Counter()
    for group in groups:
        stratum = tuple(group.strata.get(key, "") for key in quotas.by) if quotas else ()
        if quotas and counts[stratum] >= quotas.pairs:
            continue
        for pair in derive(group, strategies, said.get(group.id, ())):
            if pair.id in given or (quotas and counts[stratum] >= quotas.pairs):
                continue
            given.add(pair.id)
            counts[stratum] += 1
            yield pair


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

"""Which comparisons of a group's takes a `PairStrategy` takes: ranking, rules, repairs, domination and majorities.

Pure; is handed the takes that may be compared, gives (better, worse, gap). Builds no record.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import itemgetter
from typing import NamedTuple

from .candidates import Candidate, Candidates
from .pair_strategy import OVERALL, Judgement, PairStrategy, sign

SAME_LENGTH_S = 1e-3  # takes whose lengths differ by at most this are of equal duration
TIE = 1e-6            # values that differ by no more than this are a tie, whatever the margin asked for

_Ranked = tuple[float, Candidate]  # more is better


class Pick(NamedTuple):
    """A comparison that becomes a pair: `margin` in the unit of `metric`; `width` is what a cap goes by (for domination
    in standard deviations, otherwise the margin)."""

    best: Candidate
    worst: Candidate
    margin: float
    width: float
    metric: str = OVERALL
    labeller: str | None = None


def picks(candidates: Candidates, strategy: PairStrategy, judgements: Sequence[Judgement] = ()) -> list[Pick]:
    """The comparisons among a group's `candidates`, at most `strategy.cap`. The order of `judgements` (of this group) has an
    influence only in that a labeller's last word on two takes counts.

    >>> from segue.scoring.candidates import candidates_of
    >>> from segue.scoring.groups import Generation, GroupEntry
    >>> takes = [GroupEntry(take=f"t{i}", index=i, seed=i, overall=s, duration_s=8.0, generation=Generation(seed=i),
    ...                     pcm_sha256=str(i)) for i, s in enumerate((5.0, 9.0, 1.0, 7.0))]
    >>> _, found = candidates_of(takes)
    >>> [(p.best.take, p.worst.take, p.margin) for p in picks(found, PairStrategy(rule="topk", k=2))]
    [('t1', 't2', 8.0), ('t1', 't0', 4.0), ('t3', 't2', 6.0), ('t3', 't0', 2.0)]
    >>> [(p.best.take, p.worst.take, p.margin) for p in picks(found, PairStrategy(rule="topk", k=2, cap=2))]
    [('t1', 't2', 8.0), ('t3', 't2', 6.0)]
    """
    if strategy.compare == "human":
        found = _majorities(candidates.takes, judgements, strategy.margin)
    elif strategy.rule == "domination":
        found = _dominations(candidates, strategy)
    else:
        found = _ranked_picks(candidates, strategy)
    seen: set[frozenset[str]] = set()
    kept = []
    for pick in found:
        sounds = frozenset((pick.best.pcm_sha256, pick.worst.pcm_sha256))
        if len(sounds) == 2 and sounds not in seen and as_long(pick.best, pick.worst):
            seen.add(sounds)
            kept.append(pick)
    if strategy.cap is None or len(kept) <= strategy.cap:
        return kept
    widest = sorted(range(len(kept)), key=lambda i: -kept[i].width)[: strategy.cap]
    return [kept[i] for i in sorted(widest)]


def as_long(a: Candidate, b: Candidate) -> bool:
    """Whether two takes are of equal duration, within `SAME_LENGTH_S`.

    >>> a, b, c = (Candidate(0, "t", "", 5.0, duration_s, None, 0) for duration_s in (8.0, 8.0009, 8.0011))
    >>> as_long(a, b), as_long(a, c)
    (True, False)
    """
    return abs(a.duration_s - b.duration_s) <= SAME_LENGTH_S


def _ranked_picks(candidates: Candidates, strategy: PairStrategy) -> Iterator[Pick]:
    metric = strategy.ranked_by
    ranked = _ranked(candidates, metric)
    floor = strategy.margin * (_sd([value for value, _ in ranked]) if strategy.margin_unit == "sd" else 1.0)
    if not ranked or ranked[0][0] - ranked[-1][0] < floor:
        return  # most groups under a high margin: nothing more needs to be known of them
    for best, worst in _repairs(ranked, strategy) if strategy.compare == "repair" else _ruled(ranked, strategy, floor):
        gap = best[0] - worst[0]
        if gap > TIE and gap >= floor:
            yield Pick(best[1], worst[1], gap, gap, metric)


def _ranked(candidates: Candidates, metric: str) -> list[_Ranked]:
    """Best first; takes without the metric are left out."""
    direction = sign(metric)
    pairs = zip(candidates.values(metric), candidates.takes, strict=True)
    found = [(direction * value, take) for value, take in pairs if value is not None]
    found.sort(key=itemgetter(0), reverse=True)  # stable: equal values stay in the takes' order
    return found


def _sd(values: Sequence[float]) -> float:
    mean = math.fsum(values) / len(values) if values else 0.0
    return math.sqrt(math.fsum((v - mean) ** 2 for v in values) / len(values)) if values else 0.0


def _ruled(ranked: list[_Ranked], strategy: PairStrategy, floor: float) -> Iterator[tuple[_Ranked, _Ranked]]:
    for part in _parts(ranked, made_alike=strategy.compare == "seeds"):
        apart = _made_differently if strategy.compare == "params" else _any
        if strategy.rule == "best_worst":
            yield from _widest(part, apart)
        elif strategy.rule == "topk":
            top = min(strategy.k, len(part) // 2)
            yield from ((a, b) for a in part[:top] for b in reversed(part[len(part) - top :]) if apart(a, b))
        else:
            for i, a in enumerate(part):
                for b in reversed(part[i + 1 :]):
                    if a[0] - b[0] < floor:
                        break  # those that come now are nearer still
                    if apart(a, b):
                        yield a, b


def _made_differently(a: _Ranked, b: _Ranked) -> bool:
    return a[1].made != b[1].made


def _any(a: _Ranked, b: _Ranked) -> bool:
    return True


def _widest(part: list[_Ranked], apart: Callable[[_Ranked, _Ranked], bool]) -> Iterator[tuple[_Ranked, _Ranked]]:
    """The comparison with the largest gap, if there is any."""
    found: tuple[_Ranked, _Ranked] | None = None
    for i, a in enumerate(part):
        if found and a[0] - part[-1][0] <= found[0][0] - found[1][0]:
            break
        b = next((b for b in reversed(part[i + 1 :]) if apart(a, b)), None)
        if b is not None and (found is None or a[0] - b[0] > found[0][0] - found[1][0]):
            found = a, b
    if found:
        yield found


def _parts(ranked: list[_Ranked], made_alike: bool) -> Iterator[list[_Ranked]]:
    """Takes apart by length (within a part all are within `SAME_LENGTH_S`) and, if wanted, by settings; a sound that
    stands in a part twice counts once. Each part is best first; parts of shorter takes come first, then those with the
    better best take."""
    takes = [take for _, take in ranked]
    kinds = {(take.duration_s, take.made if made_alike else 0) for take in takes}
    if len(kinds) == 1 and len({take.pcm_sha256 for take in takes}) == len(takes):
        yield ranked  # the usual group, by the short way
        return
    sets: dict[int | None, list[_Ranked]] = defaultdict(list)
    for one in ranked:
        sets[one[1].made if made_alike else None].append(one)
    parts: list[list[_Ranked]] = []
    for alike in sets.values():
        lengths: list[list[_Ranked]] = []
        for one in sorted(alike, key=lambda r: r[1].duration_s):
            if lengths and as_long(lengths[-1][0][1], one[1]):
                lengths[-1].append(one)
            else:
                lengths.append([one])
        parts += lengths
    parts.sort(key=lambda part: part[0][1].duration_s)
    for part in parts:
        if part[0][1].duration_s != part[-1][1].duration_s:  # sorting by length has mixed them
            part.sort(key=lambda r: (-r[0], r[1].order))
        once = {take.pcm_sha256: take for _, take in reversed(part)}  # the best of each sound
        yield [one for one in part if once[one[1].pcm_sha256] is one[1]]


def _repairs(ranked: list[_Ranked], strategy: PairStrategy) -> Iterator[tuple[_Ranked, _Ranked]]:
    """(repaired, before), best repair first; those that got worse are left to the caller's floor."""
    before = {one[1].take: one for one in reversed(ranked)}
    repairs: dict[str, list[_Ranked]] = defaultdict(list)
    for one in ranked:
        parent = before.get(one[1].parent or "")
        if parent is not None and parent is not one and as_long(parent[1], one[1]):
            repairs[parent[1].take].append(one)
    most = {"best_worst": 1, "topk": strategy.k}.get(strategy.rule)
    for take in sorted(repairs, key=lambda t: before[t][1].order):
        yield from ((one, before[take]) for one in repairs[take][:most])


def _dominations(candidates: Candidates, strategy: PairStrategy) -> Iterator[Pick]:
    """Every comparison in which one take is nowhere worse and somewhere better by the margin. The pair's metric is the
    one that shows it most clearly, in standard deviations."""
    columns = [[None if v is None else sign(name) * v for v in candidates.values(name)] for name in strategy.metrics]
    known = []
    for take, *values in zip(candidates.takes, *columns, strict=True):
        found = [v for v in values if v is not None]
        if len(found) == len(values):
            known.append((take, found))
    spreads = [_sd(column) for column in zip(*(values for _, values in known), strict=True)]
    in_sd = strategy.margin_unit == "sd"
    takes = {take.take: take for take in reversed(candidates.takes)}
    for best, better in known:
        for worst, less in known:
            gaps = [a - b for a, b in zip(better, less, strict=True)]
            clear = [
                (gap / spread, -i)
                for i, (gap, spread) in enumerate(zip(gaps, spreads, strict=True))
                if gap > TIE and gap >= strategy.margin * (spread if in_sd else 1.0)
            ]
            if clear and min(gaps) >= -TIE and _may_compare(best, worst, strategy, takes):
                width, place = max(clear)
                yield Pick(best, worst, gaps[-place], width, strategy.metrics[-place])


def _may_compare(best: Candidate, worst: Candidate, strategy: PairStrategy, takes: dict[str, Candidate]) -> bool:
    if strategy.compare == "repair":
        return best.parent is not None and takes.get(best.parent) is worst
    alike = best.made == worst.made
    return {"seeds": alike, "params": not alike}.get(strategy.compare, True)


def _majorities(takes: Sequence[Candidate], judgements: Iterable[Judgement], margin: float) -> Iterator[Pick]:
    named = {name: take for take in reversed(takes) for name in (take.take, take.pcm_sha256)}
    words: dict[tuple[str, str], dict[str, int]] = defaultdict(dict)  # two sounds -> labeller -> 1 the first, -1 the second
    for judgement in judgements:
        a, b = named.get(judgement.chosen), named.get(judgement.rejected)
        if a is not None and b is not None:
            first, second = sorted((a.pcm_sha256, b.pcm_sha256))
            words[first, second][judgement.labeller] = 0 if judgement.tie else 1 if a.pcm_sha256 == first else -1
    for (first, second), said in sorted(words.items(), key=lambda item: sorted(named[s].order for s in item[0])):
        votes = Counter(said.values())
        share = (votes[1] - votes[-1]) / len(said)
        best, worst = (named[first], named[second]) if share > 0 else (named[second], named[first])
        if abs(share) > TIE and abs(share) >= margin:
            yield Pick(best, worst, abs(share), abs(share), "votes", "+".join(sorted(said)))

"""Which comparisons of a group's takes a `PairStrategy` takes: ranking, rules, repairs, domination and majorities.

Pure; is handed takes that may be compared, gives (better, worse, gap). Builds no record.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from .groups import TakeFacts
from .pair_strategy import OVERALL, Judgement, PairStrategy, sign

SAME_LENGTH_S = 1e-3  # takes whose lengths differ by at most this are of equal duration
TIE = 1e-6            # values that differ by no more than this are a tie, whatever the margin asked for


class Pick(NamedTuple):
    """A comparison that becomes a pair: `margin` in the unit of `metric`; `width` is what a cap goes by (for domination
    in standard deviations, otherwise the margin)."""

    best: TakeFacts
    worst: TakeFacts
    margin: float
    width: float
    metric: str = OVERALL
    labeller: str | None = None


class _Ranked(NamedTuple):
    value: float  # more is better
    entry: TakeFacts
    settings: tuple[object, ...] | None = None


def picks(entries: Iterable[TakeFacts], strategy: PairStrategy, judgements: Sequence[Judgement] = ()) -> list[Pick]:
    """The comparisons among `entries` (of one group), at most `strategy.cap`. The order of `entries` has no influence,
    that of `judgements` (of this group) only in that a labeller's last word on two takes counts.

    >>> from segue.scoring.groups import Generation, GroupEntry
    >>> takes = [GroupEntry(take=f"t{i}", index=i, seed=i, overall=s, duration_s=8.0, generation=Generation(seed=i),
    ...                     pcm_sha256=str(i)) for i, s in enumerate((5.0, 9.0, 1.0, 7.0))]
    >>> [(p.best.take, p.worst.take, p.margin) for p in picks(takes, PairStrategy(rule="topk", k=2))]
    [('t1', 't2', 8.0), ('t1', 't0', 4.0), ('t3', 't2', 6.0), ('t3', 't0', 2.0)]
    >>> [(p.best.take, p.worst.take, p.margin) for p in picks(takes, PairStrategy(rule="topk", k=2, cap=2))]
    [('t1', 't2', 8.0), ('t3', 't2', 6.0)]
    """
    takes = sorted(entries, key=_order)
    fair = [e for e in takes if e.comparable]
    parents = {e.take: e.parent for e in takes if e.parent is not None}
    if strategy.compare == "human":
        found = _majorities(fair, judgements, strategy.margin)
    elif strategy.rule == "domination":
        found = _dominations(fair, parents, strategy)
    else:
        found = _ranked_picks(fair, parents, strategy)
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


def as_long(a: TakeFacts, b: TakeFacts) -> bool:
    """Whether two takes are of equal duration, within `SAME_LENGTH_S`.

    >>> from segue.scoring.groups import Generation, GroupEntry
    >>> a, b, c = (GroupEntry(take="t", index=0, seed=0, duration_s=d, generation=Generation(seed=0), pcm_sha256="")
    ...            for d in (8.0, 8.0009, 8.0011))
    >>> as_long(a, b), as_long(a, c)
    (True, False)
    """
    return abs(a.duration_s - b.duration_s) <= SAME_LENGTH_S


def _order(entry: TakeFacts) -> tuple[object, ...]:
    return entry.index, entry.take, entry.pcm_sha256, entry.overall is not None, entry.overall


def _ranked_picks(entries: Sequence[TakeFacts], parents: Mapping[str, str], strategy: PairStrategy) -> Iterator[Pick]:
    metric = strategy.ranked_by
    ranked = _ranked(entries, metric)
    floor = strategy.margin * (_sd([r.value for r in ranked]) if strategy.margin_unit == "sd" else 1.0)
    if not ranked or ranked[0].value - ranked[-1].value < floor:
        return  # most groups under a high margin: nothing more needs to be known of them
    if strategy.compare in ("seeds", "params"):
        ranked = [_Ranked(value, entry, _made(entry, parents)) for value, entry, _ in ranked]
    for best, worst in _repairs(ranked, strategy) if strategy.compare == "repair" else _ruled(ranked, strategy, floor):
        gap = best.value - worst.value
        if gap > TIE and gap >= floor:
            yield Pick(best.entry, worst.entry, gap, gap, metric)


def _ranked(entries: Iterable[TakeFacts], metric: str) -> list[_Ranked]:
    """Best first; takes without the metric are left out."""
    direction = sign(metric)
    found = [_Ranked(direction * value, e) for e in entries if (value := e.value(metric)) is not None]
    return sorted(found, key=lambda r: -r.value)  # stable: equal values stay in the entries' order


def _made(entry: TakeFacts, parents: Mapping[str, str]) -> tuple[object, ...]:
    """How a take was made: its settings, and out of how many takes of the group, one after the other (a repaired take was
    not made like the one before the repair)."""
    seen: set[str] = set()
    parent = entry.parent
    while parent is not None and parent not in seen:
        seen.add(parent)
        parent = parents.get(parent)
    return len(seen), entry.generation.settings()


def _sd(values: Sequence[float]) -> float:
    mean = math.fsum(values) / len(values) if values else 0.0
    return math.sqrt(math.fsum((v - mean) ** 2 for v in values) / len(values)) if values else 0.0


def _ruled(ranked: list[_Ranked], strategy: PairStrategy, floor: float) -> Iterator[tuple[_Ranked, _Ranked]]:
    for part in _parts(ranked, made_alike=strategy.compare == "seeds"):
        apart = _settings_differ if strategy.compare == "params" else _any
        if strategy.rule == "best_worst":
            yield from _widest(part, apart)
        elif strategy.rule == "topk":
            top = min(strategy.k, len(part) // 2)
            yield from ((a, b) for a in part[:top] for b in reversed(part[len(part) - top :]) if apart(a, b))
        else:
            for i, a in enumerate(part):
                for b in reversed(part[i + 1 :]):
                    if a.value - b.value < floor:
                        break  # those that come now are nearer still
                    if apart(a, b):
                        yield a, b


def _settings_differ(a: _Ranked, b: _Ranked) -> bool:
    return a.settings != b.settings


def _any(a: _Ranked, b: _Ranked) -> bool:
    return True


def _widest(part: list[_Ranked], apart: Callable[[_Ranked, _Ranked], bool]) -> Iterator[tuple[_Ranked, _Ranked]]:
    """The comparison with the largest gap, if there is any."""
    found: tuple[_Ranked, _Ranked] | None = None
    for i, a in enumerate(part):
        if found and a.value - part[-1].value <= found[0].value - found[1].value:
            break
        b = next((b for b in reversed(part[i + 1 :]) if apart(a, b)), None)
        if b is not None and (found is None or a.value - b.value > found[0].value - found[1].value):
            found = a, b
    if found:
        yield found


def _parts(ranked: list[_Ranked], made_alike: bool) -> Iterator[list[_Ranked]]:
    """Takes apart by length (within a part all are within `SAME_LENGTH_S`) and, if wanted, by settings; a sound that
    stands in a part twice counts once. Each part is best first; parts of shorter takes come first, then those with the
    better best take."""
    sets: dict[object, list[_Ranked]] = defaultdict(list)
    for one in ranked:
        sets[one.settings if made_alike else None].append(one)
    parts: list[list[_Ranked]] = []
    for alike in sets.values():
        lengths: list[list[_Ranked]] = []
        for one in sorted(alike, key=lambda r: r.entry.duration_s):
            if lengths and as_long(lengths[-1][0].entry, one.entry):
                lengths[-1].append(one)
            else:
                lengths.append([one])
        parts += lengths
    parts.sort(key=lambda part: part[0].entry.duration_s)
    for part in parts:
        if part[0].entry.duration_s != part[-1].entry.duration_s:  # sorting by length has mixed them
            part.sort(key=lambda r: (-r.value, *_order(r.entry)))
        once = {one.entry.pcm_sha256: one for one in reversed(part)}  # the best of each sound
        yield [one for one in part if once[one.entry.pcm_sha256] is one]


def _repairs(ranked: list[_Ranked], strategy: PairStrategy) -> Iterator[tuple[_Ranked, _Ranked]]:
    """(repaired, before), best repair first; those that got worse are left to the caller's floor."""
    before = {one.entry.take: one for one in reversed(ranked)}
    repairs: dict[str, list[_Ranked]] = defaultdict(list)
    for one in ranked:
        parent = before.get(one.entry.parent or "")
        if parent is not None and parent is not one and as_long(parent.entry, one.entry):
            repairs[parent.entry.take].append(one)
    most = {"best_worst": 1, "topk": strategy.k}.get(strategy.rule)
    for take in sorted(repairs, key=lambda t: _order(before[t].entry)):
        yield from ((one, before[take]) for one in repairs[take][:most])


def _dominations(entries: Sequence[TakeFacts], parents: Mapping[str, str], strategy: PairStrategy) -> Iterator[Pick]:
    """Every comparison in which one take is nowhere worse and somewhere better by the margin. The pair's metric is the
    one that shows it most clearly, in standard deviations."""
    directions = [sign(name) for name in strategy.metrics]
    known = []
    for entry in entries:
        values = [entry.value(name) for name in strategy.metrics]
        found = [d * v for d, v in zip(directions, values, strict=True) if v is not None]
        if len(found) == len(values):
            known.append((entry, found, _made(entry, parents)))
    spreads = [_sd(column) for column in zip(*(values for _, values, _ in known), strict=True)]
    in_sd = strategy.margin_unit == "sd"
    takes = {entry.take: entry for entry in reversed(entries)}
    for best, better, made in known:
        for worst, less, otherwise in known:
            gaps = [a - b for a, b in zip(better, less, strict=True)]
            clear = [
                (gap / spread, -i)
                for i, (gap, spread) in enumerate(zip(gaps, spreads, strict=True))
                if gap > TIE and gap >= strategy.margin * (spread if in_sd else 1.0)
            ]
            if clear and min(gaps) >= -TIE and _may_compare(best, worst, made == otherwise, strategy, takes):
                width, place = max(clear)
                yield Pick(best, worst, gaps[-place], width, strategy.metrics[-place])


def _may_compare(
    best: TakeFacts, worst: TakeFacts, alike: bool, strategy: PairStrategy, takes: dict[str, TakeFacts]
) -> bool:
    if strategy.compare == "repair":
        return best.parent is not None and takes.get(best.parent) is worst
    return {"seeds": alike, "params": not alike}.get(strategy.compare, True)


def _majorities(entries: Sequence[TakeFacts], judgements: Iterable[Judgement], margin: float) -> Iterator[Pick]:
    named = {name: e for e in reversed(entries) for name in (e.take, e.pcm_sha256)}
    words: dict[tuple[str, str], dict[str, int]] = defaultdict(dict)  # two sounds -> labeller -> 1 the first, -1 the second
    for judgement in judgements:
        a, b = named.get(judgement.chosen), named.get(judgement.rejected)
        if a is not None and b is not None:
            first, second = sorted((a.pcm_sha256, b.pcm_sha256))
            words[first, second][judgement.labeller] = 0 if judgement.tie else 1 if a.pcm_sha256 == first else -1
    for (first, second), said in sorted(words.items(), key=lambda item: sorted(_order(named[s]) for s in item[0])):
        votes = Counter(said.values())
        share = (votes[1] - votes[-1]) / len(said)
        best, worst = (named[first], named[second]) if share > 0 else (named[second], named[first])
        if abs(share) > TIE and abs(share) >= margin:
            yield Pick(best, worst, abs(share), abs(share), "votes", "+".join(sorted(said)))

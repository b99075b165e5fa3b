"""Whether pairs teach what they should: what the margin goes with, how evenly strata are served, which settings win.

Watches groups and pairs go by and keeps a few numbers of each, so that a set of any size can be audited. Judges nothing:
it gives the figures by which a person sees a bias.
"""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict

from .groups import GroupFacts
from .pair_schema import Chosen, Pair, Rejected

SIDE_QUANTITIES = ("loudness", "bandwidth")  # those that can differ within a pair; its length can't


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Stratum(_Record):
    """What one value of a stratum has: groups, takes, pairs."""

    groups: int = 0
    takes: int = 0
    pairs: int = 0


class Balance(_Record):
    """How pairs spread over the values of one stratum key. `evenness` is their entropy over that of an even spread: 1 even,
    0 all on one value; None where there is one value or no pair."""

    values: dict[str, Stratum]
    evenness: float | None


class SettingBias(_Record):
    """How often a setting's value stood on each side, of pairs whose sides differ in that setting; `share` chosen."""

    setting: str
    value: str
    chosen: int
    rejected: int
    share: float


class StrategyAudit(_Record):
    """Pairs of one strategy. `correlations` as in `Audit`; `margins` are least, median, largest by metric, in its unit."""

    pairs: int
    correlations: dict[str, float | None]
    margins: dict[str, tuple[float, float, float]]


class Audit(_Record):
    """The figures of a set of pairs.

    `correlations`: the margin with loudness, bandwidth and duration, see `correlations_of`; margins of different metrics are
    first divided by their own root mean square. `chosen_higher`: share of the pairs in which the chosen side was louder, or
    had more bandwidth, of those where the sides differ (0.5 is no bias). `share_used`: takes on any side over
    `comparable` ones.
    """

    pairs: int
    groups: int
    groups_paired: int
    takes: int
    comparable: int
    takes_used: int
    share_used: float | None
    correlations: dict[str, float | None]
    chosen_higher: dict[str, float | None]
    strategies: dict[str, StrategyAudit]
    balance: dict[str, Balance]
    settings: tuple[SettingBias, ...]


class Point(NamedTuple):
    """A pair as the correlations see it: the margin; the chosen side's surplus of loudness (LU) and bandwidth (Hz); the
    length (s)."""

    margin: float | None
    loudness: float | None
    bandwidth: float | None
    duration: float | None


class Auditor:
    """Shown every group and every pair once, in any order, gives the `Audit`."""

    def __init__(self) -> None:
        self._points: dict[str, dict[str, list[Point]]] = defaultdict(lambda: defaultdict(list))  # strategy -> metric
        self._groups: Counter[str] = Counter()  # group -> pairs
        self._strata: dict[str, tuple[dict[str, str], int]] = {}  # group -> (its strata, takes)
        self._comparable = 0
        self._used: set[tuple[str, str]] = set()
        self._sides: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])

    def group(self, group: GroupFacts) -> None:
        self.count(group.id, group.strata, len(group.entries), sum(e.comparable for e in group.entries))

    def count(self, id: str, strata: dict[str, str], takes: int, comparable: int) -> None:
        """A group, how many takes it has and how many of them may be compared."""
        known, before = self._strata.get(id, (strata, 0))
        self._strata[id] = (known, before + takes)
        self._comparable += comparable

    def pair(self, pair: Pair) -> None:
        self._points[pair.strategy][pair.metric].append(point_of(pair))
        self._groups[pair.group] += 1
        for side in (pair.chosen, pair.rejected):
            if side.provenance:
                self._used.add((pair.group, side.provenance.take or side.provenance.pcm_sha256))
        won, lost = _settings(pair.chosen), _settings(pair.rejected)
        for name in won.keys() | lost.keys():
            if won.get(name) != lost.get(name):
                self._sides[name, _shown(won.get(name))][0] += 1
                self._sides[name, _shown(lost.get(name))][1] += 1

    def result(self) -> Audit:
        pooled: dict[str, list[Point]] = defaultdict(list)
        for by_metric in self._points.values():
            for metric, some in by_metric.items():
                pooled[metric] += some
        points = _one_scale(pooled)
        takes = sum(takes for _, takes in self._strata.values())
        return Audit(
            pairs=len(points), groups=len(self._strata), groups_paired=len(self._groups), takes=takes,
            comparable=self._comparable,
            takes_used=len(self._used), share_used=len(self._used) / self._comparable if self._comparable else None,
            correlations=correlations_of(points),
            chosen_higher={name: _higher([getattr(p, name) for p in points]) for name in SIDE_QUANTITIES},
            strategies={name: _strategy(by_metric) for name, by_metric in sorted(self._points.items())},
            balance=self._balance(), settings=self._biases(),
        )

    def _balance(self) -> dict[str, Balance]:
        found: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(lambda: [0, 0, 0]))
        for key in sorted({key for strata, _ in self._strata.values() for key in strata}):
            for name, (strata, takes) in self._strata.items():
                counts = found[key][strata.get(key, "")]
                for place, more in enumerate((1, takes, self._groups[name])):
                    counts[place] += more
        return {
            key: Balance(
                values={value: Stratum(groups=g, takes=t, pairs=p) for value, (g, t, p) in sorted(values.items())},
                evenness=evenness([p for _, _, p in values.values()]),
            )
            for key, values in found.items()
        }

    def _biases(self) -> tuple[SettingBias, ...]:
        return tuple(
            SettingBias(setting=name, value=value, chosen=won, rejected=lost, share=won / (won + lost))
            for (name, value), (won, lost) in sorted(self._sides.items())
        )


def audit(pairs: Iterable[Pair], groups: Iterable[GroupFacts]) -> Audit:
    """The figures of `pairs`, derived from `groups`.

    >>> from segue.scoring.groups import Generation, Group, GroupEntry
    >>> from segue.scoring.pair_rules import PairStrategy, derive_all
    >>> takes = [GroupEntry(take=str(i), index=i, seed=i, overall=s, loudness_lufs=l, duration_s=8.0, pcm_sha256=str(i),
    ...                     generation=Generation(seed=i, steps=8 * i))
    ...          for i, (s, l) in enumerate([(6.0, -12.0), (8.0, -10.0)], 1)]
    >>> groups = [Group(id=name, stage="scored", entries=tuple(takes), strata={"genre": genre})
    ...           for name, genre in (("a", "jazz"), ("b", "jazz"), ("c", "folk"))]
    >>> found = audit(derive_all(groups, [PairStrategy(compare="params")]), groups)
    >>> found.pairs, found.share_used, round(found.correlations["loudness"], 6), found.chosen_higher["loudness"]
    (3, 1.0, 1.0, 1.0)
    >>> round(found.balance["genre"].evenness, 3), [(b.setting, b.value, b.share) for b in found.settings]
    (0.918, [('steps', '16', 1.0), ('steps', '8', 0.0)])
    """
    watching = Auditor()
    for pair in pairs:
        watching.pair(pair)
    for group in groups:
        watching.group(group)
    return watching.result()


def point_of(pair: Pair) -> Point:
    """What the correlations need of a pair.

    >>> from segue.scoring.pair_schema import GenerationParams, PairPrompt
    >>> made = GenerationParams(seed=1)
    >>> sides = [dict(audio_path="", quality_score=s, quality_report={"bandwidth_hz": b}, generation_params=made)
    ...          for s, b in ((8.0, 16000.0), (6.0, 12000.0))]
    >>> point_of(Pair(prompt=PairPrompt(), chosen=sides[0], rejected=sides[1], margin=2.0))
    Point(margin=2.0, loudness=None, bandwidth=4000.0, duration=None)
    """
    best, worst = pair.chosen, pair.rejected
    loud = [side.provenance.loudness_lufs if side.provenance else None for side in (best, worst)]
    band = [side.quality_report.get("bandwidth_hz") for side in (best, worst)]
    return Point(pair.margin, _gap(*loud), _gap(*band), pair.prompt.metadata.duration)


def correlations_of(points: Sequence[Point]) -> dict[str, float | None]:
    """Whether the margin goes with something that should not decide.

    For loudness and bandwidth: correlation of the margin with the chosen side's surplus, every pair counted both ways round,
    so Σ m·d / √(Σ m² · Σ d²); +1 means the louder always won, in proportion. For duration, which is equal within a pair:
    Pearson's r of margin and length. None where fewer than three pairs have the quantity or it does not vary.

    >>> found = correlations_of([Point(m, m, -m, 8.0) for m in (1.0, 2.0, 3.0)])
    >>> round(found["loudness"], 6), round(found["bandwidth"], 6), found["duration"]
    (1.0, -1.0, None)
    """
    known = [p for p in points if p.margin is not None]
    return {
        "loudness": _correlation([(p.margin, p.loudness) for p in known], centred=False),
        "bandwidth": _correlation([(p.margin, p.bandwidth) for p in known], centred=False),
        "duration": _correlation([(p.margin, p.duration) for p in known], centred=True),
    }


def evenness(counts: Sequence[int]) -> float | None:
    """Entropy of the counts over that of an even spread (Pielou's J); None for fewer than two places or no count at all.

    >>> evenness([5, 5]), evenness([9, 0]), evenness([3]), round(evenness([3, 1]), 3)
    (1.0, 0.0, None, 0.811)
    """
    total = sum(counts)
    if len(counts) < 2 or total == 0:
        return None
    return math.fsum(c / total * math.log(total / c) for c in counts if c) / math.log(len(counts))


def _strategy(by_metric: dict[str, list[Point]]) -> StrategyAudit:
    margins = {}
    for metric, points in sorted(by_metric.items()):
        known = [p.margin for p in points if p.margin is not None]
        if known:
            margins[metric] = (min(known), float(np.median(known)), max(known))
    points = _one_scale(by_metric)
    return StrategyAudit(pairs=len(points), correlations=correlations_of(points), margins=margins)


def _one_scale(by_metric: dict[str, list[Point]]) -> list[Point]:
    """Points of several metrics, each metric's margins over their root mean square."""
    found = []
    for points in by_metric.values():
        known = [p.margin**2 for p in points if p.margin is not None]
        scale = math.sqrt(math.fsum(known) / len(known)) if known else 1.0
        found += [p._replace(margin=p.margin / scale) if p.margin is not None else p for p in points]
    return found


def _higher(surpluses: Iterable[float | None]) -> float | None:
    known = [s for s in surpluses if s]
    return sum(s > 0 for s in known) / len(known) if known else None


def _settings(side: Chosen | Rejected) -> dict[str, Any]:
    four, beside = side.generation_params, side.provenance
    found: dict[str, Any] = {"model": four.model, "steps": four.steps, "shift": four.shift}
    if beside:
        found |= {"sampler": beside.sampler, "schedule": beside.schedule, "model_id": beside.model_id}
        found |= {f"guidance.{name}": value for name, value in (beside.guidance or {}).items()} | beside.varied
    return found


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


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

"""What may be asked of pairs: `PairStrategy` (which takes, by which rule), `Quota` (how many per stratum), and
`Judgement` (what a person said of two takes). Frozen plain data that refuses senseless wishes; derives nothing.
"""

from __future__ import annotations

import difflib
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from .metrics import METRICS

Compare = Literal["seeds", "params", "repair", "reference", "human", "any"]
Rule = Literal["best_worst", "topk", "margin", "domination"]

OVERALL = "overall"
NAMES: dict[str, str] = {
    "seeds": "same_prompt_different_seeds",
    "params": "same_prompt_different_params",
    "repair": "before_after_repair",
    "human": "human_judgement",
    "reference": "reference_anchored",
    "any": "any",
}  # what stands in Pair.strategy


class _Wish(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PairStrategy(_Wish):
    """Which takes of a group are compared, and which of the comparisons become pairs.

    `compare`: seeds (made alike, all settings but the seed), params (settings differ), repair (a take with the one
    it was made from; the repaired one is chosen, or there is no pair), reference (ranked by the distance to
    reference clips), human (by judgements; the rule is the majority, `margin` is on the share of votes), any.

    `rule`: best_worst (the widest comparison), topk (each of the k best with each of the k worst; no take is on both
    sides), margin (every comparison whose gap reaches `margin`), domination (better or equal in all of `metrics`,
    better in one by `margin`). Among repairs a rule holds for each take that was repaired: best_worst takes its best
    repair, topk its k best.

    `margin` (0 or more) is in the metric's own unit, or with `margin_unit: sd` in standard deviations (over the
    comparable takes of the group, N in the denominator); a tie (1e-6) is never a pair. `metric` ranks: overall when left out
    (reference: reference_distance). `cap` keeps the widest pairs of each group. Raises pydantic's ValidationError (a
    ValueError) for a metric that no report holds or that is best in a band, and for keys a rule does not read.
    """

    compare: Compare = "seeds"
    rule: Rule = "best_worst"
    k: int = Field(1, ge=1, le=10_000, description="topk: takes a side")
    margin: float = Field(0.0, ge=0, allow_inf_nan=False)
    margin_unit: Literal["points", "sd"] = "points"
    metric: str | None = Field(None, description="what ranks: overall, or a metric of the report")
    metrics: tuple[str, ...] = Field((), description="domination: all that must be better or equal")
    cap: int | None = Field(None, ge=1, description="pairs at most per group")

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        for name in (*self.metrics, *([self.metric] if self.metric is not None else [])):
            _check_metric(name)
        if self.rule == "domination" and not self.metrics:
            raise ValueError("rule domination needs metrics; write e.g. metrics: [overall, noise_floor_db]")
        if self.rule != "domination" and self.metrics:
            raise ValueError(f"metrics are read by rule domination only, not by {self.rule}; write metric to rank by another one")
        if self.rule == "domination" and self.metric is not None:
            raise ValueError("rule domination ranks by all of metrics; leave metric out")
        if len(set(self.metrics)) < len(self.metrics):
            raise ValueError(f"metrics {list(self.metrics)} name one twice; write each once")
        if self.k != 1 and self.rule != "topk":
            raise ValueError(f"k is {self.k}, which only rule topk reads, not {self.rule}; write rule: topk or leave k out")
        if self.compare == "human":
            self._check_human()
        return self

    def _check_human(self) -> None:
        if self.rule != "best_worst" or self.metric is not None:
            raise ValueError("human judgements are comparisons already and no metric ranks them; leave rule and metric out")
        if self.margin_unit != "points" or self.margin > 1:
            raise ValueError("the margin of human judgements is a share of votes, 0 to 1 (margin_unit: points)")

    @property
    def name(self) -> str:
        """What stands in `Pair.strategy`."""
        return NAMES[self.compare]

    @property
    def ranked_by(self) -> str:
        """The metric that ranks: ``overall``, or a name of `METRICS`."""
        return self.metric or ("reference_distance" if self.compare == "reference" else OVERALL)


class Quota(_Wish):
    """At most `pairs` pairs of each stratum, a stratum being the values of `by` in `Group.strata` ("" where a group
    has none)."""

    by: tuple[str, ...] = Field(min_length=1)
    pairs: int = Field(ge=1)


class Judgement(_Wish):
    """One person's word on two takes of a group, named by take id or by `pcm_sha256`. With `tie` neither is better."""

    group: str = Field(min_length=1)
    chosen: str = Field(min_length=1)
    rejected: str = Field(min_length=1)
    labeller: str = Field(min_length=1)
    tie: bool = False
    note: str = ""


def sign(metric: str) -> int:
    """1 where more of the metric is better, -1 where less is. Raises ValueError for a metric that is unknown or best
    in a band.

    >>> sign("overall"), sign("bandwidth_hz"), sign("noise_floor_db")
    (1, 1, -1)
    """
    _check_metric(metric)
    return 1 if metric == OVERALL or METRICS[metric].higher_is_better else -1


def _check_metric(name: str) -> None:
    if name == OVERALL:
        return
    ranking = [OVERALL, *(n for n, facts in METRICS.items() if facts.higher_is_better is not None)]
    if name not in METRICS:
        near = difflib.get_close_matches(name, ranking, n=1)
        advice = f"did you mean '{near[0]}'?" if near else f"write one of {', '.join(ranking)}"
        raise ValueError(f"no metric '{name}'; {advice}")
    if METRICS[name].higher_is_better is None:
        raise ValueError(f"metric '{name}' is best in a band, neither more nor less is better; write one of {', '.join(ranking)}")

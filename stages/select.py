"""`select`: of the takes there are, keeps the best few by any figure of their reports.

It acts on the whole list, changes no take, and decides nothing that the reports don't say. Knows no metric by
name.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from ..pipeline.context import Context
from ..pipeline.errors import Problem, RunError, did_you_mean
from ..pipeline.spec import Name, Stage
from ..pipeline.take import Take
from ..scoring.metrics import METRICS

if TYPE_CHECKING:
    from ..pipeline.scope import Scope

_NO_DIRECTION = "'{by}' is neither better high nor better low: it has a good band"
_SAY_ORDER = "write order: highest or order: lowest, or choose by overall"


class Select(Stage):
    """Keep the `keep` takes that come first by a field of their report; ties go to the lower take index."""

    chooses: ClassVar[bool] = True
    needs_report: ClassVar[bool] = True
    keeps_report: ClassVar[bool] = True

    type: Literal["select"] = "select"
    source: Name = Field(description="scored takes to choose among")
    keep: int = Field(1, ge=1, le=10_000, description="how many takes go on")
    by: str = Field("overall", min_length=1, max_length=120, description="overall, or any metric of the report")
    order: Literal["best", "highest", "lowest"] = Field(
        "best", description="best: the metric's own better way; highest and lowest as they say"
    )

    def check(self, scope: Scope) -> Iterator[Problem]:
        known = scope.report_fields(self.source)
        if self.by == "defects":
            yield scope.problem(
                "'defects' is a list of names and has no order",
                "choose by overall or a metric, e.g. by: overall",
                "by",
            )
        elif known is not None and self.by not in known:
            fields = sorted(known - {"defects"})
            yield scope.problem(
                f"the reports of '{self.source}' have no field '{self.by}'.{did_you_mean(self.by, fields)}",
                f"write one of {', '.join(fields)}",
                "by",
            )
        elif self.order == "best" and self.by in METRICS and METRICS[self.by].higher_is_better is None:
            yield scope.problem(_NO_DIRECTION.format(by=self.by), _SAY_ORDER, "order")
        if self.keep > scope.takes(self.source):
            scope.warn(
                f"keeps {self.keep} of {scope.takes(self.source)} takes, which is all of them",
                "lower keep, or raise takes upstream",
                "keep",
            )

    def choose(self, takes: Sequence[Take], ctx: Context) -> list[Take]:
        """The takes that go on, best first, unchanged. Takes without a value come last.

        Raises RunError for a take without a report, a field no report has, or a metric without a direction.
        """
        sign = {"highest": -1.0, "lowest": 1.0}.get(self.order) or self._best_sign(takes, ctx)

        def place(take: Take) -> tuple[bool, float, int]:
            value = self._value(take, ctx)
            absent = value is None or math.isnan(value)
            return (absent, 0.0 if value is None or absent else sign * value, take.index)

        return sorted(takes, key=place)[: self.keep]

    def _best_sign(self, takes: Sequence[Take], ctx: Context) -> float:
        if self.by == "overall":
            return -1.0
        for take in takes:
            self._value(take, ctx)
            found = take.report.metrics.get(self.by) if take.report else None
            if found is not None:
                if found.higher_is_better is None:
                    raise RunError(f"stage '{ctx.stage}': {_NO_DIRECTION.format(by=self.by)}. Fix: {_SAY_ORDER}.")
                return -1.0 if found.higher_is_better else 1.0
        return -1.0

    def _value(self, take: Take, ctx: Context) -> float | None:
        if take.report is None:
            raise RunError(
                f"stage '{ctx.stage}': take '{take.id}' has no report to choose by. "
                f"Fix: put a score stage between '{take.stage}' and '{ctx.stage}'."
            )
        if self.by == "overall":
            return take.report.overall
        if self.by not in take.report.metrics:
            known = ("overall", *sorted(take.report.metrics))
            raise RunError(
                f"stage '{ctx.stage}': the report of take '{take.id}' has no figure '{self.by}'."
                f"{did_you_mean(self.by, known)} Fix: write by: one of {', '.join(known)}."
            )
        return take.report.metrics[self.by].value

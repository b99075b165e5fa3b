"""What a take must be to enter a pair, as a plan says it. Knows the report's fields; `refusals` says which takes it keeps out."""

from __future__ import annotations

from typing import Self

from pydantic import Field, field_validator, model_validator

from ..pipeline.errors import did_you_mean
from ..pipeline.expression import ExpressionError, parse
from ..pipeline.prompt import Prompt
from ..pipeline.spec import Spec
from ..scoring.metrics import METRICS
from ..scoring.profiles import DEFECT_POINTS, FREE

DEFECTS = ("nan", *DEFECT_POINTS, *FREE)


class Gates(Spec):
    """What a take must be to enter a pair; the others are logged all the same."""

    overall_min: float | None = Field(None, ge=0, le=10, description="takes that score lower are refused")
    refuse_defects: tuple[str, ...] = Field((), description="takes with one of these defects are refused, e.g. [clipping]")
    when: str | None = Field(
        None, max_length=1000, description="takes for which this does not hold are refused, e.g. 'report.bandwidth_hz > 8000'"
    )

    @field_validator("refuse_defects")
    @classmethod
    def _known_defects(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if name not in DEFECTS:
                raise ValueError(f"there is no defect '{name}'.{did_you_mean(name, DEFECTS)} Defects are {', '.join(DEFECTS)}")
        return value

    @model_validator(mode="after")
    def _answerable(self) -> Self:
        if self.when is None:
            return self
        try:
            expression = parse(self.when)
        except ExpressionError as error:
            raise ValueError(f"when: {error.cause}; {error.fix}") from None
        fields = {"report": ["overall", "defects", *METRICS], "prompt": list(Prompt.model_fields)}
        for root, field in sorted(expression.names()):
            if root not in fields:
                raise ValueError(f"when reads {root}.{field}; a gate reads report.… (the take's own report) and prompt.…")
            if field not in fields[root]:
                raise ValueError(f"when reads {root}.{field}, and there is no such field.{did_you_mean(field, fields[root])}")
        return self

"""What the gates keep out: which takes may stand in a pair at all. Pure; knows no file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..pipeline.expression import ExpressionError, parse
from ..scoring.groups import GroupEntry
from .gates import Gates


def refusal(entry: GroupEntry, prompt: Mapping[str, Any], gates: Gates) -> str | None:
    """Why the gates keep this take out of pairs, in words; None where they let it through (or it has no report to judge by,
    which keeps it out anyway)."""
    report = entry.report
    if report is None:
        return None
    if gates.overall_min is not None and report.overall < gates.overall_min:
        return f"overall {report.overall:.2f} is below {gates.overall_min:g}"
    found = [defect for defect in report.defect_types() if defect in gates.refuse_defects]
    if found:
        return f"defects: {', '.join(found)}"
    if gates.when is None:
        return None

    def lookup(root: str, field: str) -> Any:
        if root == "report":
            return report.field(field)
        if root == "prompt":
            return prompt.get(field)
        raise KeyError(f"a gate knows report and prompt, not '{root}'")

    try:
        holds = parse(gates.when).evaluate(lookup)
    except ExpressionError as error:
        return f"when can't be answered: {error.cause}"
    return None if holds else f"not: {gates.when}"

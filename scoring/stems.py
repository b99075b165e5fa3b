"""A report of the mix with the reports of its stems inside, and which stem carries which defect.

Where the stems come from (given, extracted by a model, separated) is not known here. Nothing of the mix's own judgement
changes: the overall score and the metrics stay those of the mix; a stem's defect that the mix hides stays with the stem.
"""

from __future__ import annotations

from collections.abc import Mapping

from .report import Defect, QualityReport

NEAR_S = 0.05


def with_stems(report: QualityReport, stems: Mapping[str, QualityReport]) -> QualityReport:
    """`report` with `stems` by name, and in each defect's evidence `stem`: the one that has a defect of the same type at the
    same time (spans at most 50 ms apart), the worst where several have; none where no stem has it (it arises in the mix).

    >>> bad = Defect(type="click", severity=0.5, start_s=1.0, end_s=1.1)
    >>> one = QualityReport(overall=5, defects=(bad,), scorer="1", duration_s=2, rate_hz=24_000)
    >>> with_stems(one, {"bass": one, "drums": one.model_copy(update={"defects": ()})}).defects[0].evidence["stem"]
    'bass'
    """
    return report.model_copy(update={"stems": dict(stems), "defects": tuple(_placed(d, stems) for d in report.defects)})


def carrier(defect: Defect, stems: Mapping[str, QualityReport]) -> str | None:
    """Name of the stem that carries a defect of the mix; None when none does."""
    worst: dict[str, float] = {}
    for name, report in stems.items():
        for d in report.defects:
            meets = d.start_s <= defect.end_s + NEAR_S and defect.start_s <= d.end_s + NEAR_S
            if d.type == defect.type and meets:
                worst[name] = max(worst.get(name, 0.0), d.severity)
    return min(worst, key=lambda name: (-worst[name], name)) if worst else None


def _placed(defect: Defect, stems: Mapping[str, QualityReport]) -> Defect:
    name = carrier(defect, stems)
    return defect.model_copy(update={"evidence": {**defect.evidence, "stem": name}}) if name else defect

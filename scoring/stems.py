"""A report of the mix with the reports of its stems inside, and which stem carries which defect.

Where the stems come from (given, extracted by a model, separated) is not known here. Nothing of the mix's own judgement
changes: the overall score and the metrics stay those of the mix; a stem's defect that the mix hides stays with the stem.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from .report import Defect, QualityReport

NEAR_S = 0.05
LENGTHS_DIFFER_S = 0.1  # by more than this a stem is not as long as its mix
FAINT_LU = 30.0  # so far below the mix a stem is a remnant: raised to be judged alone, its hiss is worse than any


def with_stems(report: QualityReport, stems: Mapping[str, QualityReport]) -> QualityReport:
    """`report` with `stems` by name, and in each defect's evidence `stem`: the one that has a defect of the same type at the
    same time (spans at most 50 ms apart), as `carrier` chooses; none where no stem has it (it arises in the mix).

    >>> bad = Defect(type="click", severity=0.5, start_s=1.0, end_s=1.1)
    >>> one = QualityReport(overall=5, defects=(bad,), scorer="1", duration_s=2, rate_hz=24_000)
    >>> with_stems(one, {"bass": one, "drums": one.model_copy(update={"defects": ()})}).defects[0].evidence["stem"]
    'bass'
    """
    faint = _faint(report, stems)
    placed = tuple(_placed(d, carrier(d, stems, faint=faint)) for d in report.defects)
    return report.model_copy(update={"stems": dict(stems), "defects": placed})


def carrier(defect: Defect, stems: Mapping[str, QualityReport], *, faint: Collection[str] = ()) -> str | None:
    """Name of the stem that carries a defect of the mix: of those that have it, the one in which it is worst. A stem named in
    `faint` only where no other has it. None when none has.

    >>> low, high = (Defect(type="click", severity=s, start_s=1.0, end_s=1.1) for s in (0.2, 0.6))
    >>> bass, drums = (QualityReport(overall=5, defects=(d,), scorer="2", duration_s=2, rate_hz=24_000) for d in (low, high))
    >>> carrier(low, {"bass": bass, "drums": drums}), carrier(low, {"bass": bass, "drums": drums}, faint={"drums"})
    ('drums', 'bass')
    """
    worst: dict[str, float] = {}
    for name, report in stems.items():
        for d in report.defects:
            meets = d.start_s <= defect.end_s + NEAR_S and defect.start_s <= d.end_s + NEAR_S
            if d.type == defect.type and meets:
                worst[name] = max(worst.get(name, 0.0), d.severity)
    return min(worst, key=lambda name: (name in faint, -worst[name], name)) if worst else None


def _faint(report: QualityReport, stems: Mapping[str, QualityReport]) -> frozenset[str]:
    """Stems whose integrated loudness is known to lie more than 30 LU below the mix's."""
    mix = _loudness(report)
    levels = {name: _loudness(stem) for name, stem in stems.items()}
    return frozenset(n for n, level in levels.items() if mix is not None and level is not None and level < mix - FAINT_LU)


def _loudness(report: QualityReport) -> float | None:
    known = report.metrics.get("integrated_lufs")
    return known.value if known is not None else None


def _placed(defect: Defect, stem: str | None) -> Defect:
    return defect.model_copy(update={"evidence": {**defect.evidence, "stem": stem}}) if stem else defect

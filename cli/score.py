"""`segue score`: measure audio files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..pipeline.errors import Problem, RequestError
from . import output
from .frame import quiet_stdout
from .options import Json

if TYPE_CHECKING:
    from ..scoring.report import QualityReport

LONG_S = 600.0  # longer files are not held in memory


def score(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Audio files.")],
    as_json: Json = False,
) -> None:
    """Score audio files: an overall mark from 0 to 10, metrics with units, defects with their times.

    Files of more than ten minutes are read in sections, in memory that does not grow with their length. Files that can't
    be read are named on stderr, the others are scored all the same; the exit code is then 2.
    """
    reports: dict[Path, QualityReport] = {}
    problems: list[Problem] = []
    with quiet_stdout():
        for file in files:
            try:
                reports[file] = _report(file)
            except RequestError as error:
                problems.extend(error.problems)
    if as_json:
        output.emit_json([{"file": str(f), "report": r.model_dump(mode="json")} for f, r in reports.items()])
    else:
        _print(reports)
    if problems:
        raise RequestError(problems)


def _report(file: Path) -> QualityReport:
    """The report of one file. Raises RequestError where it can't be read."""
    from ..pipeline.audio_file import probe_audio, read_audio
    from ..scoring import score as measure
    from ..scoring.streaming import score_file

    facts = probe_audio(file)
    if facts.duration_s is None or facts.duration_s <= LONG_S:
        audio = read_audio(file)
        return measure(audio.samples, audio.rate_hz)
    try:
        return score_file(file)
    except ValueError as error:
        raise RequestError(Problem(cause=str(error), fix="give a whole sound file.")) from error


def _print(reports: dict[Path, QualityReport]) -> None:
    console = output.stdout()
    rows = [
        (f, r.overall, f"{r.duration_s:.2f} s", r.rate_hz, ", ".join(r.defect_types()) or None)
        for f, r in reports.items()
    ]
    if rows:
        columns = ("file", "score", "length", "rate Hz", "defects")
        console.print(output.table(columns, rows, right=("score", "length", "rate Hz")))
    for file, report in reports.items():
        metrics = [
            (name, "–" if m.value is None else f"{m.value:.4g}", m.unit, _better(m.higher_is_better))
            for name, m in report.metrics.items()
        ]
        console.print(
            output.table(("metric", "value", "unit", "better"), metrics, right=("value",), title=str(file))
        )
        if report.defects:
            defects = [(d.type, d.severity, f"{d.start_s:.2f} s", f"{d.end_s:.2f} s") for d in report.defects]
            console.print(
                output.table(("defect", "severity", "from", "to"), defects, right=("severity", "from", "to"))
            )


def _better(higher: bool | None) -> str:
    return "in a band" if higher is None else "higher" if higher else "lower"

"""Stems for `segue score`: files given with ``--stem``, or made by the model ``--separate`` names; and the table of them.

Knows how a file is measured only as a function it is handed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..pipeline.errors import Problem, RequestError, did_you_mean
from . import output
from .options import stem_files

if TYPE_CHECKING:
    from rich.table import Table

    from ..pipeline.take import Audio
    from ..scoring.adapters import Separator
    from ..scoring.report import QualityReport


def requested_stems(given: list[str] | None, separate: str | None, files: Sequence[Path]) -> dict[str, Path]:
    """The files of ``--stem``, by track. Raises RequestError where they can't belong to the files to be scored."""
    stems = {track: Path(file) for track, file in stem_files(given).items()}
    if stems and separate is not None:
        raise RequestError(Problem("--stem and --separate are both given", "give --stem where you have stems, else --separate"))
    if stems and len(files) != 1:
        raise RequestError(Problem(f"--stem is given with {len(files)} files", "score one mix at a time with its stems"))
    for track, file in stems.items():
        if files and file == files[0]:
            raise RequestError(Problem(f"--stem {track}={file} is the very file that is scored", "give that track's own file"))
    return stems


def given_stems(
    report: QualityReport, stems: Mapping[str, Path], measured: Callable[[Path], tuple[QualityReport, Audio | None]]
) -> QualityReport:
    """The mix's report with those of its stems inside. Raises RequestError with every stem that can't be read."""
    from ..scoring.stems import LENGTHS_DIFFER_S, with_stems

    found: dict[str, QualityReport] = {}
    problems: list[Problem] = []
    for track, file in stems.items():
        try:
            found[track], _ = measured(file)
        except RequestError as error:
            problems += [p.at(key=f"--stem {track}") for p in error.problems]
            continue
        if abs(found[track].duration_s - report.duration_s) > LENGTHS_DIFFER_S:
            output.warn(f"stem '{track}' lasts {found[track].duration_s:.2f} s, the mix {report.duration_s:.2f} s; both are "
                        "taken to begin together")  # fmt: skip
    if problems:
        raise RequestError(problems)
    return with_stems(report, found)


def loaded_separator(text: str) -> Separator:
    """The separator of ``--separate NAME[=WEIGHTS]``, loaded. Raises RequestError that says what to give or install."""
    from ..scoring.adapters import SEPARATORS, AdapterError, MissingExtra, load_separator

    name, equals, weights = text.partition("=")
    if name not in SEPARATORS or (equals and not weights):
        fix = f"write {' or '.join(SEPARATORS)}, with =FILE for weights of your own"
        raise RequestError(Problem(f"--separate '{text}' names no separator.{did_you_mean(name, SEPARATORS)}", fix))
    if weights and not Path(weights).is_file():
        raise RequestError(Problem(f"--separate: there is no weights file '{weights}'", "write the path of one"))
    try:
        return load_separator(name, weights or None)
    except MissingExtra as error:
        fix = 'pip install "segue-audio[torchaudio]", or give --stem'
        raise RequestError(Problem(f"--separate: {error.cause}", fix)) from error
    except AdapterError as error:
        raise RequestError(Problem(f"--separate: {error}")) from error


def separated_stems(report: QualityReport, audio: Audio, separator: Separator) -> QualityReport:
    """The mix's report with those of the stems the model makes out of it."""
    from ..scoring import score
    from ..scoring.stems import with_stems

    made = separator.separate(audio.samples, audio.rate_hz)
    return with_stems(report, {track: score(samples, audio.rate_hz) for track, samples in made.items()})


def stems_table(file: Path, report: QualityReport) -> Table:
    """Each stem's score, length and defects."""
    rows = [
        (track, r.overall, f"{r.duration_s:.2f} s", r.rate_hz, ", ".join(r.defect_types()) or None)
        for track, r in report.stems.items()
    ]
    columns = ("stem", "score", "length", "rate Hz", "defects")
    return output.table(columns, rows, right=("score", "length", "rate Hz"), title=f"{file}: stems")

"""`segue score`: measure audio files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..pipeline.errors import Problem, RequestError
from . import output
from .frame import quiet_stdout
from .options import Json
from .score_stems import given_stems, loaded_separator, requested_stems, separated_stems, stems_table

if TYPE_CHECKING:
    from rich.table import Table

    from ..pipeline.take import Audio
    from ..scoring.report import QualityReport

LONG_S = 600.0  # longer files are not held in memory


def score(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Audio files.")],
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="DIR", help="Folder for a picture of each file (PNG).")
    ] = None,
    stem: Annotated[
        list[str] | None,
        typer.Option("--stem", metavar="TRACK=FILE", help="One track of the mix, e.g. drums=drums.wav; may be repeated."),
    ] = None,
    separate: Annotated[
        str | None,
        typer.Option("--separate", metavar="NAME[=WEIGHTS]", help="Make the stems by a model: hdemucs, or hdemucs=weights.pt."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Score audio files: an overall mark from 0 to 10, metrics with units, defects with their times.

    Files of more than ten minutes are read in sections, in memory that does not grow with their length. Files that can't
    be read are named on stderr, the others are scored all the same; the exit code is then 2.
    With --stem (one file then) or --separate each stem is scored too, and a defect of the mix says which stem carries it.
    With --plot each file (of up to ten minutes) gets a picture NAME.png: waveform with its defects, spectrogram, loudness
    over time, stereo field.
    """
    reports: dict[Path, QualityReport] = {}
    pictures: dict[Path, Path] = {}
    problems: list[Problem] = []
    if plot is not None and plot.exists() and not plot.is_dir():
        raise RequestError(Problem(f"--plot {plot} is a file", "name a folder; it is made when it isn't there"))
    stems = requested_stems(stem, separate, files)
    with quiet_stdout():
        model = loaded_separator(separate) if separate is not None else None
        for file in files:
            try:
                report, audio = _measured(file)
                if stems:
                    report = given_stems(report, stems, _measured)
            except RequestError as error:
                problems.extend(error.problems)
                continue
            if model is not None and audio is not None:
                report = separated_stems(report, audio, model)
            elif model is not None:
                problems.append(Problem(f"{file} is too long to be taken apart", "take it apart beforehand, and give --stem"))
            reports[file] = report
            if plot is not None and file not in pictures:
                if audio is None:
                    problems.append(Problem(f"{file} is too long to be drawn", "cut out what you want to see; it was scored"))
                    continue
                pictures[file] = _picture(file, audio, reports[file], plot, set(pictures.values()))
    _emit(reports, pictures, as_json)
    if problems:
        raise RequestError(problems)


def _emit(reports: dict[Path, QualityReport], pictures: dict[Path, Path], as_json: bool) -> None:
    """What was found, as one JSON document or as tables."""
    if as_json:
        drawn = {f: {"plot": str(picture)} for f, picture in pictures.items()}
        output.emit_json(
            [{"file": str(f), "report": r.model_dump(mode="json"), **drawn.get(f, {})} for f, r in reports.items()]
        )
    else:
        _print(reports)
        for picture in pictures.values():
            output.say(str(picture))


def _measured(file: Path) -> tuple[QualityReport, Audio | None]:
    """The report of one file, and its samples where it was short enough to be held. Raises RequestError where it can't be
    read."""
    from ..pipeline.audio_file import probe_audio, read_audio
    from ..scoring import score as measure
    from ..scoring.streaming import score_file

    facts = probe_audio(file)
    if facts.duration_s is None or facts.duration_s <= LONG_S:
        audio = read_audio(file)
        return measure(audio.samples, audio.rate_hz), audio
    try:
        return score_file(file), None
    except ValueError as error:
        raise RequestError(Problem(cause=str(error), fix="give a whole sound file.")) from error


def _picture(file: Path, audio: Audio, report: QualityReport, folder: Path, taken: set[Path]) -> Path:
    """Draw one file into `folder`, under its whole name (a.wav.png), numbered where two files have one name."""
    from ..pipeline.atomic import write_atomic
    from ..scoring.plot import figure_png

    path, number = folder / f"{file.name}.png", 1
    while path in taken:
        number += 1
        path = folder / f"{file.name}-{number}.png"
    write_atomic(path, figure_png(audio.samples, audio.rate_hz, report, title=file.name), f"the picture {path}")
    return path


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
        if report.stems:
            console.print(stems_table(file, report))
        if report.defects:
            console.print(_defects(report))


def _defects(report: QualityReport) -> Table:
    """The defects with their class and times, and the stem that carries each where there are stems (none: it arises in the
    mix)."""
    from ..scoring.detectors import class_of

    carried = ("stem",) if report.stems else ()
    rows = [
        (d.type, class_of(d.type), d.severity, f"{d.start_s:.2f} s", f"{d.end_s:.2f} s", *(d.evidence.get(c) for c in carried))
        for d in report.defects
    ]
    return output.table(("defect", "class", "severity", "from", "to", *carried), rows, right=("severity", "from", "to"))


def _better(higher: bool | None) -> str:
    return "in a band" if higher is None else "higher" if higher else "lower"

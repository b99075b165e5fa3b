"""`segue repair`: mend an audio file's defects with a model, and keep what scores better."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..pipeline.errors import Problem, RequestError
from ..pipeline.events import CancelToken, Listener
from . import output
from .frame import quiet_stdout
from .options import Device, Dtype, Json, Offline, Threads, changes, run_options
from .run import RUNS, Out, carried_out

if TYPE_CHECKING:
    from ..presets.repair import Repair
    from ..scoring.report import QualityReport


def repair(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The audio file.")],
    report: Annotated[
        Path | None, typer.Option("--report", help="Its report, as `segue score --json` prints it; measured when left out.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Model folder, hub id or name; segue-mini when left out.")] = None,
    variant: Annotated[str | None, typer.Option(help="Weights of the family: base, sft, turbo …")] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="PATH=VALUE", help="Change a field of what is run, e.g. prompt.bpm=96; may be repeated."),
    ] = None,
    plans: Annotated[int, typer.Option(min=1, max=20, help="So many of the best plans are tried.")] = 3,
    llm: Annotated[
        Path | None,
        typer.Option("--llm", metavar="FOLDER", help="A causal language model that orders, sets and explains the plans."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plans as a preset and end.")] = False,
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1)] = 0,
    out: Out = None,
    as_json: Json = False,
    device: Device = None,
    dtype: Dtype = None,
    threads: Threads = None,
    offline: Offline = False,
) -> None:
    """Try repairs on an audio file, score each, and say which is better than the file.

    FILE itself is never changed. A repair counts only when the overall score rises and the defects it was for became less.
    """
    overrides = changes(set_)
    with quiet_stdout():
        from ..pipeline.audio_file import read_audio
        from ..pipeline.conditioning import TRACK_NAMES
        from ..presets.repair import repair as carry_out
        from ..presets.repair import repair_preset
        from ..scoring import score
        from ..scoring.repairs import repair_plans

        audio = read_audio(file)
        found = _read(report, file) if report else score(audio.samples, audio.rate_hz)
        length = audio.samples.shape[-1] / audio.rate_hz
        if abs(found.duration_s - length) > 0.1:
            cause = f"the report is of a sound of {found.duration_s:.2f} s, and {file} has {length:.2f} s"
            raise RequestError(Problem(cause, f"measure it anew: segue score {file} --json", file=str(report)))
        possible = repair_plans(found, tracks=TRACK_NAMES)
        wanted = possible[:plans]
        if llm and possible:
            from ..presets.repair_writer import PlanWriter

            wanted = PlanWriter(llm).write(found, possible, most=plans)
    if not wanted:
        output.note(f"nothing to repair: {', '.join(found.defect_types()) or 'no defects'}; overall {found.overall:.2f}")
        if as_json:
            output.emit_json({"before": found.model_dump(mode="json"), "kept": None, "file": None, "attempts": []})
        return
    if dry_run:
        typer.echo(repair_preset(file, wanted, model=model, variant=variant, seed=seed, overrides=overrides), nl=False)
        return

    def work(on_event: Listener, cancel: CancelToken) -> Repair:
        options = run_options(device, dtype, None, threads, None, offline, False)
        return carry_out(file, wanted, model=model, variant=variant, seed=seed, overrides=overrides, out=out or RUNS,
                         options=options, on_event=on_event, cancel=cancel)  # fmt: skip

    done = carried_out(work)
    if as_json:
        output.emit_json(done.document())
    else:
        _print(done)


def _read(path: Path, file: Path) -> QualityReport:
    """The report of ``file`` out of what ``segue score --json`` printed (a list), or one report alone."""
    from pydantic import ValidationError

    from ..scoring.report import QualityReport

    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(data, list):
            named = [entry for entry in data if Path(entry["file"]).name == file.name]
            data = (named or data)[0]["report"] if named or len(data) == 1 else None
        if data is None:
            fix = f"measure it: segue score {file} --json"
            raise RequestError(Problem(f"no report of {file.name} in it", fix, file=str(path)))
        return QualityReport.model_validate(data)
    except OSError as error:
        raise RequestError(Problem(f"can't be read: {error.strerror}", "give the file that `segue score --json` was written to",
                                   file=str(path))) from None  # fmt: skip
    except (ValueError, KeyError, TypeError, IndexError, ValidationError):
        raise RequestError(Problem("this is no report", f"write one with: segue score {file} --json > report.json",
                                   file=str(path))) from None  # fmt: skip


def _print(done: Repair) -> None:
    console = output.stdout()
    defects = ", ".join(done.before.defect_types()) or None
    rows: list[tuple[object, ...]] = [("(the file)", done.before.overall, defects, None, None)]
    rows += [(a.plan.name, a.report.overall, ", ".join(a.report.defect_types()) or None, "yes" if a.better else "no",
              str(a.file) if a.file else None) for a in done.attempts]  # fmt: skip
    console.print(output.table(("repair", "score", "defects", "better", "file"), rows, right=("score",)))
    for attempt in done.attempts:
        output.say(f"{attempt.plan.name}: {attempt.plan.why}")
    kept = done.kept
    output.say(f"kept: {kept.plan.name}, {kept.file}" if kept else "kept: the file as it is; no repair is better")

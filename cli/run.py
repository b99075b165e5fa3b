"""`segue run` and `segue rerun`: carry out a preset, or make an earlier take again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from ..pipeline.errors import Cancelled, RunError
from ..pipeline.events import CancelToken, Listener
from . import output
from .frame import quiet_stdout, stoppable
from .options import (
    CpuOffload,
    Device,
    Dtype,
    Json,
    MicroBatch,
    Offline,
    PresetName,
    Threads,
    TileFrames,
    changes,
    named_files,
    run_options,
)
from .progress import display

if TYPE_CHECKING:
    from ..pipeline.run import Run

T = TypeVar("T")
RUNS = Path("runs/{run_id}")  # the executor puts the id in
Out = Annotated[
    Path | None, typer.Option("--out", help="Folder for the run's files; runs/<run id> when left out.")
]
Inputs = Annotated[
    list[str] | None,
    typer.Option(
        "--input", metavar="NAME=FILE", help="A file for one of the preset's inputs; may be repeated."
    ),
]


def run(
    preset: PresetName,
    inputs: Inputs = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="PATH=VALUE",
            help="Change a field, e.g. prompt.bpm=96 or stages.polish.denoise=0.4; may be repeated.",
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(min=0, max=2**63 - 1, help="Seed of the run; the preset's, or drawn, when left out."),
    ] = None,
    takes: Annotated[
        int | None, typer.Option(min=1, max=10_000, help="Takes where the graph first fans out.")
    ] = None,
    out: Out = None,
    as_json: Json = False,
    device: Device = None,
    dtype: Dtype = None,
    micro_batch: MicroBatch = None,
    threads: Threads = None,
    tile_frames: TileFrames = None,
    offline: Offline = False,
    cpu_offload: CpuOffload = False,
) -> None:
    """Carry out a preset and write its takes, scores and preference pairs.

    What an earlier run has made is taken from the store. Ctrl-C stops at the next step, `segue runs resume`
    goes on.
    """
    files, overrides = named_files(inputs), changes(set_)

    def work(on_event: Listener, cancel: CancelToken) -> Run:
        options = run_options(device, dtype, micro_batch, threads, tile_frames, offline, cpu_offload)
        from ..presets.loader import load

        pipe = load(preset, overrides=overrides)
        return pipe.run(
            out=out or RUNS,
            seed=seed,
            takes=takes,
            inputs=files or None,
            on_event=on_event,
            cancel=cancel,
            options=options,
        )

    carry_out(work, as_json)


def rerun(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="An audio file that a run wrote.")],
    inputs: Inputs = None,
    out: Out = None,
    as_json: Json = False,
    device: Device = None,
    dtype: Dtype = None,
    micro_batch: MicroBatch = None,
    threads: Threads = None,
    tile_frames: TileFrames = None,
    offline: Offline = False,
    cpu_offload: CpuOffload = False,
) -> None:
    """Make the take in FILE again, byte for byte: from the preset, seed and options in its tags.

    Options given here win over those of the tags. A warning says what may make a difference in rounding; an input,
    weights or a device that are not those of then are an error.
    """
    files = named_files(inputs)

    def work(on_event: Listener, cancel: CancelToken) -> Run:
        options = run_options(device, dtype, micro_batch, threads, tile_frames, offline, cpu_offload)
        from ..presets.again import rerun as again

        return again(file, out=out or RUNS, inputs=files or None, on_event=on_event, cancel=cancel, options=options)

    carry_out(work, as_json)


def carry_out(work: Callable[[Listener, CancelToken], Run], as_json: bool) -> None:
    """Do the work (`carried_out`), then print the run."""
    finished = carried_out(work)
    if as_json:
        output.emit_json(finished.document())
    else:
        print_run(finished.document())


def carried_out(work: Callable[[Listener, CancelToken], T]) -> T:
    """Do the work with a progress display and Ctrl-C wired to its token; says how to go on when it fails or is stopped."""
    cancel = CancelToken()
    progress = display()
    try:
        with quiet_stdout(), progress, stoppable(cancel):
            return work(progress, cancel)
    except Cancelled:
        output.note(f"stopped; what was finished is kept.{_how_to_resume(progress.run_id)}")
        raise typer.Exit(1) from None
    except RunError as error:
        output.error(str(error))
        if progress.run_id is not None and "segue runs resume" not in str(error):
            output.note(f"what was finished is kept.{_how_to_resume(progress.run_id)}")
        raise typer.Exit(error.exit_code) from None


def _how_to_resume(run_id: str | None) -> str:
    return f" Go on with: segue runs resume {run_id}" if run_id else ""


def print_run(document: dict[str, Any]) -> None:
    """The tables of a finished run, and the files it made last."""
    console = output.stdout()
    console.print(
        f"run {document['run_id']} of {document['preset']}, seed {document['seed']}, "
        + output.seconds(document["seconds"]),
        style="bold",
        soft_wrap=True,
    )
    stages = [
        (
            s["name"],
            s["type"],
            s["variant"],
            s["takes"],
            s["cached"],
            s["steps_run"] or None,
            s["forwards"] or None,
            s["seconds"],
        )
        for s in document["stages"]
    ]
    numbers = ("takes", "cached", "steps", "forwards", "seconds")
    console.print(output.table(("stage", "type", "variant", *numbers), stages, right=numbers))
    takes = [_take_row(t) for t in document["takes"]]
    console.print(
        output.table(("take", "seed", "length", "score", "defects"), takes, right=("seed", "length", "score"))
    )
    counts = ", ".join(f"{name.replace('_', ' ')} {n}" for name, n in document["counts"].items())
    output.say(f"{counts}, pairs {document['pairs']}")
    if document["model_training"] not in (None, "trained"):
        output.say(
            f"the model is {document['model_training']}: scores say how the run works, not how music sounds"
        )
    output.say("files:")
    for file in document["files"]:
        output.say(f"  {_near(Path(file))}")


def _near(file: Path) -> Path:
    """The path as a person in the working folder would write it."""
    here = Path.cwd()
    return file.relative_to(here) if file.is_relative_to(here) else file


def _take_row(take: dict[str, Any]) -> tuple[object, ...]:
    report = take["report"]
    defects = ", ".join(dict.fromkeys(d["type"] for d in report["defects"])) if report else None
    return (
        take["id"],
        take["seed"],
        f"{take['duration_s']:.2f} s",
        report["overall"] if report else None,
        defects or None,
    )

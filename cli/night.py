"""`segue night`: carry out a plan for dataset building, look at it, stop it, score it anew."""

from __future__ import annotations

import contextlib
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from ..pipeline.errors import RunError
from ..pipeline.events import CancelToken
from . import output
from .frame import quiet_stdout, stoppable
from .options import CpuOffload, Device, Dtype, Json, MicroBatch, Offline, Threads, TileFrames, changes, run_options

if TYPE_CHECKING:
    from ..dataset.runner import Progress
    from ..dataset.status import Status



class PlanOrCommand(TyperGroup):
    """``segue night PLAN …`` is ``segue night run PLAN …``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ("--help", "-h"):
            args = ["run", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(cls=PlanOrCommand, no_args_is_help=True, help="Nights: carry out plans that build preference datasets.")
Folder = Annotated[Path, typer.Argument(metavar="OUT", help="The night's folder.")]


@app.command("run")
def run(
    plan: Annotated[str, typer.Argument(metavar="PLAN", help="Name of a shipped plan, or a YAML file.")],
    out: Annotated[Path, typer.Option("--out", help="The night's folder; where it is begun already, it goes on.")],
    hours: Annotated[float | None, typer.Option(min=0, help="Hours of work; wins over the plan's budget.")] = None,
    pairs: Annotated[int | None, typer.Option(min=1, help="Pairs that are enough; wins over the plan's budget.")] = None,
    takes: Annotated[int | None, typer.Option(min=1, help="Takes that are enough; wins over the plan's budget.")] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="PATH=VALUE", help="Change a field of the plan, e.g. seed=7; may be repeated."),
    ] = None,
    engine: Annotated[str, typer.Option(help="local: this process; ray: a Ray cluster (extra 'ray').")] = "local",
    workers: Annotated[int, typer.Option(min=1, help="Worker processes of engine ray.")] = 2,
    patience: Annotated[
        float, typer.Option(min=0, help="Seconds to wait for a disk, a lost model, or job after job failing, before it ends.")
    ] = 600.0,
    created: Annotated[str | None, typer.Option(help="The plan's timestamp (ISO 8601); now, when left out.")] = None,
    as_json: Json = False,
    device: Device = None,
    dtype: Dtype = None,
    micro_batch: MicroBatch = None,
    threads: Threads = None,
    tile_frames: TileFrames = None,
    offline: Offline = False,
    cpu_offload: CpuOffload = False,
) -> None:
    """Carry out a plan, or go on with it: the same command again loses nothing and makes nothing twice.

    Ctrl-C or `segue night stop` ends it in order; so does a budget that is used up.
    """
    if engine not in ("local", "ray"):
        raise typer.BadParameter(f"'{engine}' is none; write local or ray", param_hint="'--engine'")
    overrides = changes(set_)
    overrides |= {f"budget.{name}": str(n) for name, n in (("pairs", pairs), ("takes", takes), ("hours", hours)) if n is not None}
    options = run_options(device, dtype, micro_batch, threads, tile_frames, offline, cpu_offload)
    from ..dataset.night import run_night
    from ..dataset.plan import load_plan

    loaded = load_plan(plan, overrides=overrides)
    cancel = CancelToken()
    try:
        with quiet_stdout(), stoppable(cancel), _shown() as show:
            ended = run_night(loaded, out, engine=engine, patience_s=patience, options=options, on_progress=show,  # type: ignore[arg-type]
                              cancel=cancel, created=created, workers=workers)  # fmt: skip
    except RunError as error:
        output.error(str(error))
        raise typer.Exit(1) from None
    document = {"out": str(out), "ended": ended.reason, "complete": ended.complete, **ended.account}
    if as_json:
        output.emit_json(document)
    else:
        _print_account(document)
    if cancel.cancelled:
        raise typer.Exit(1)


@contextlib.contextmanager
def _shown() -> Any:
    """Progress on stderr: one line that is written over on a terminal, else a line when the work has moved on by a twentieth."""
    last = [-1.0]
    terminal = sys.stderr.isatty()

    def show(progress: Progress) -> None:
        share = progress.done / progress.of if progress.of else 1.0
        left = "" if progress.left_s is None else f", {output.seconds(progress.left_s)} to go"
        text = (f"{progress.done} of {progress.of} jobs, {progress.takes} takes, {progress.pairs} pairs, "
                f"{output.seconds(progress.seconds)}{left}{'; ' + progress.note if progress.note else ''}")  # fmt: skip
        if terminal:
            sys.stderr.write(f"\r\033[K{text}")
            sys.stderr.flush()
        elif share - last[0] >= 0.05 or progress.note:
            last[0] = share
            output.note(text)

    try:
        yield show
    finally:
        if terminal:
            sys.stderr.write("\n")


def _print_account(document: dict[str, Any]) -> None:
    jobs = document["jobs"]
    output.say(f"night {document['name']}, seed {document['seed']}: {document['ended']}")
    output.say(f"{jobs['done']} jobs done, {jobs['pending'] + jobs['claimed']} left, {jobs['quarantined']} set aside; "
               f"{document['groups']} groups, {document['takes']} takes, {document['pairs']} pairs")
    apart = (("refused", "refused by gates"), ("silent", "silent"), ("no_numbers", "with samples that are no numbers"))
    if told := [f"{document[key]} {words}" for key, words in apart if document[key]]:
        output.say(f"takes kept out of pairs: {', '.join(told)}")
    for failure in document["failures"][:5]:
        output.say(f"job {failure['job']} failed {failure['attempts']} times: {failure['cause']}")
    if document["runners"]:
        last = document["runners"][-1]
        busy = last["model_busy"]
        share = "–" if busy is None else f"{busy:.0%}"
        output.say(f"this process: {output.seconds(last['wall_s'])}, the model at work {share} of it, "
                   f"{last['model_swaps']} changes of weights")
    out = document["out"]
    output.say("files:")
    for name in ("groups.jsonl", "pairs.jsonl", "night.json", "plan.yaml", "audio", "latents"):
        if (Path(out) / name).exists():
            output.say(f"  {Path(out) / name}")


@app.command("status")
def status(
    out: Folder,
    as_json: Json = False,
    watch: Annotated[bool, typer.Option("--watch", help="Show it anew every two seconds until the night has ended.")] = False,
) -> None:
    """Where a night stands: jobs, takes, pairs, the time it will still take, what went wrong."""
    from ..dataset.status import night_status

    while True:
        found = night_status(out)
        if as_json:
            output.emit_json(found.as_dict())
        else:
            _print_status(found)
        if not watch or not found.running:
            return
        time.sleep(2.0)


def _print_status(found: Status) -> None:
    jobs = found.jobs
    eta = "unknown" if found.eta_s is None else output.seconds(found.eta_s)
    output.say(f"{found.name}: {found.prompts_settled} of {found.prompts} prompts settled; jobs: {jobs['done']} done, "
               f"{jobs['claimed']} under way, {jobs['pending']} waiting, {jobs['quarantined']} set aside")
    output.say(f"{found.groups} groups, {found.takes} takes, {found.pairs} pairs; work left: {eta}; "
               f"{found.running} process{'' if found.running == 1 else 'es'} at work"
               + (", asked to stop" if found.stop_asked else ""))
    if found.model_busy is not None:
        output.say(f"the model at work {found.model_busy:.0%} of the time, {found.model_swaps} changes of weights")
    for failure in found.failures[:5]:
        output.say(f"job {failure.job} failed {failure.attempts} times ({failure.state}): {failure.cause}")


@app.command("stop")
def stop(out: Folder) -> None:
    """Ask every process that works on the night to end after the step it is at; what is finished is kept."""
    from ..dataset.night import stop_night

    alive = stop_night(out)
    output.say(f"{alive} process{'' if alive == 1 else 'es'} asked to stop" if alive else "nobody works on this night")


@app.command("rescore")
def rescore(
    out: Folder,
    every: Annotated[bool, typer.Option("--every", help="Also takes that this scorer has scored already.")] = False,
    as_json: Json = False,
) -> None:
    """Score a night's takes anew, by the scorer of this version, and derive its pairs again; nothing is generated.

    Sounds come from the kept latents (from the FLAC where there is no latent). The old record stays beside the new one.
    """
    from ..dataset.rescore import rescore as again

    done = again(out, every=every)
    if as_json:
        output.emit_json(done.as_dict())
        return
    output.say(f"{done.scored} of {done.takes} takes scored anew by {done.scorer}; "
               f"{done.pairs_before} pairs before, {done.pairs} now")
    if done.kept is not None:
        output.say(f"the record as it was: {done.kept}")

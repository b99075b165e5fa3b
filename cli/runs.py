"""`segue runs`: what was run, what it made, going on with what was stopped, and forgetting."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..pipeline.events import CancelToken, Listener
from . import output
from .frame import quiet_stdout
from .options import Json, alone
from .run import carry_out

if TYPE_CHECKING:
    from ..pipeline.records import RunRecord, StageRecord, TakeRecord
    from ..pipeline.run import Run

app = typer.Typer(help="Earlier runs: list, show, resume, forget.", invoke_without_command=True)
RunId = Annotated[str, typer.Argument(metavar="ID", help="The run's id, or the beginning of it.")]


@app.callback()
def runs(ctx: typer.Context, as_json: Json = False) -> None:
    """Earlier runs: list, show, resume, forget."""
    if alone(ctx, as_json):
        list_(as_json=as_json)


@app.command("list")
def list_(
    limit: Annotated[int, typer.Option(min=1, help="How many of the newest.")] = 20,
    as_json: Json = False,
) -> None:
    """List the newest runs, newest first."""
    with quiet_stdout():
        from ..pipeline.catalog import Catalog

        with Catalog() as catalog:
            found = catalog.runs(limit)
    if as_json:
        output.emit_json([_run_facts(r) for r in found])
        return
    rows = [(r.id, r.preset, _status(r), r.seed, r.created, r.message or None) for r in found]
    output.stdout().print(
        output.table(("id", "preset", "status", "seed", "created", "message"), rows, right=("seed",))
    )


@app.command()
def show(run_id: RunId, as_json: Json = False) -> None:
    """Show one run: its stages, its takes, and the preset it carried out."""
    with quiet_stdout():
        from ..pipeline.catalog import Catalog

        with Catalog() as catalog:
            run = catalog.run(run_id)
            stages, takes = catalog.stages(run.id), catalog.takes(run.id)
    if as_json:
        facts = {
            "yaml": run.yaml,
            "stages": [dict(vars(s)) for s in stages],
            "takes": [_take_facts(t) for t in takes],
        }
        output.emit_json({**_run_facts(run), **facts})
        return
    _print(run, stages, takes)


def _print(run: RunRecord, stages: tuple[StageRecord, ...], takes: tuple[TakeRecord, ...]) -> None:
    console = output.stdout()
    console.print(
        f"run {run.id} of {run.preset}, seed {run.seed}: {_status(run)}", style="bold", soft_wrap=True
    )
    if run.message:
        output.say(run.message)
    rows = [
        (s.name, s.type, s.variant, s.takes, s.cached, s.steps_run or None, s.forwards or None, s.seconds)
        for s in stages
    ]
    numbers = ("takes", "cached", "steps", "forwards", "seconds")
    console.print(output.table(("stage", "type", "variant", *numbers), rows, right=numbers))
    made = [(t.id, t.seed, f"{t.duration_s:.2f} s", t.overall, t.audio) for t in takes]
    console.print(
        output.table(("take", "seed", "length", "score", "file"), made, right=("seed", "length", "score"))
    )
    if run.resumable:
        output.say(f"go on with: segue runs resume {run.id}")


@app.command()
def resume(run_id: RunId, as_json: Json = False) -> None:
    """Go on with a run that was stopped, failed or killed; what it had finished is not made again."""

    def work(on_event: Listener, cancel: CancelToken) -> Run:
        from ..presets.again import resume as go_on

        return go_on(run_id, on_event=on_event, cancel=cancel)

    carry_out(work, as_json)


@app.command()
def forget(
    run_ids: Annotated[list[str], typer.Argument(metavar="ID...", help="Ids of runs, or the beginnings of them.")],
    as_json: Json = False,
) -> None:
    """Strike runs from the list, so that `segue cache gc` may remove their takes. Files they wrote stay."""
    with quiet_stdout():
        from ..pipeline.catalog import Catalog

        with Catalog() as catalog:
            ids = catalog.forget_run(*run_ids)
    if as_json:
        output.emit_json({"forgotten": list(ids)})
        return
    output.say(f"forgot {', '.join(ids)}; what only {'it' if len(ids) == 1 else 'they'} kept, segue cache gc may remove")


def _status(run: RunRecord) -> str:
    return "interrupted" if run.interrupted else run.status


def _run_facts(run: RunRecord) -> dict[str, Any]:
    return {
        "id": run.id,
        "preset": run.preset,
        "status": _status(run),
        "seed": run.seed,
        "created": run.created,
        "finished": run.finished,
        "message": run.message,
        "resumable": run.resumable,
        "options": dict(run.options),
    }


def _take_facts(take: TakeRecord) -> Mapping[str, Any]:
    return {"id": take.id, **vars(take)}

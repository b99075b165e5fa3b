"""`segue models`: which models and variants there are, how far they are trained, and exporting one."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..pipeline.errors import Problem, RequestError
from . import output
from .frame import quiet_stdout
from .options import Json, alone

if TYPE_CHECKING:
    from ..pipeline.models.base import VariantInfo

app = typer.Typer(help="Models: list with their variants and defaults, export.", invoke_without_command=True)
ModelName = Annotated[str, typer.Option("--model", help="Model name, folder or hub id.")]
EMBEDDED = "segue-mini"


@app.callback()
def models(ctx: typer.Context, as_json: Json = False) -> None:
    """Models: list with their variants and defaults, export."""
    if alone(ctx, as_json):
        list_(as_json=as_json)


@app.command("list")
def list_(
    model: Annotated[
        list[str] | None, typer.Option("--model", help="Model name, folder or hub id; may be repeated.")
    ] = None,
    as_json: Json = False,
) -> None:
    """List the embedded model and the official ones on this machine, with their variants. Asks no hub."""
    with quiet_stdout():
        from ..pipeline.models.resolve import describe_model, known_names

        names = model or list(known_names())
        found: list[VariantInfo] = []
        absent: list[str] = []
        for name in names:
            try:
                described = describe_model(name, offline=True)
                found.extend(described.variants.values())
            except RequestError:
                if model or name == EMBEDDED:
                    raise
                absent.append(name)
    if as_json:
        output.emit_json({"variants": [_facts(v) for v in found], "not_on_this_machine": absent})
        return
    rows = [
        (
            v.model,
            v.variant,
            v.training,
            v.defaults.steps,
            v.defaults.shift,
            _guidance(v),
            f"{v.rate_hz} Hz",
            f"{v.max_duration_s:g} s",
            ", ".join(sorted(v.tasks)),
        )
        for v in found
    ]
    columns = ("model", "variant", "training", "steps", "shift", "guidance", "rate", "longest", "tasks")
    output.stdout().print(output.table(columns, rows, right=("steps", "shift", "rate", "longest")))
    for state in ("untrained", "preliminary"):
        named = sorted({v.model for v in found if v.training == state})
        if named:
            output.say(f"{', '.join(named)}: {state}. Runs work the same; what it makes is not yet music.")
    if absent:
        output.say(
            f"not on this machine: {', '.join(absent)} "
            "(a run fetches them unless --offline; SEGUE_MODELS names folders)"
        )


def _guidance(info: VariantInfo) -> str:
    d = info.defaults
    return "none" if d.guidance_kind == "none" else f"{d.guidance_kind} {d.guidance_scale:g}"


def _facts(info: VariantInfo) -> dict[str, Any]:
    return {name: sorted(v) if isinstance(v, frozenset) else v for name, v in asdict(info).items()}


@app.command()
def export(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to write to; made when missing.")],
    model: ModelName = EMBEDDED,
    as_json: Json = False,
) -> None:
    """Write a model's variants in the official folder layout, which diffusers itself opens."""
    if folder.exists() and not folder.is_dir():
        raise RequestError(Problem(f"{folder} is a file", "name a folder", key="DIR"))
    with quiet_stdout():
        from ..pipeline.models.export import export_model

        written = export_model(model, folder)
    if as_json:
        output.emit_json([str(path) for path in written])
        return
    for path in written:
        output.say(str(path))

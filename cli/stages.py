"""`segue stages`: the reference of stage types, read from the models that check presets."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from ..pipeline.errors import Problem, RequestError, did_you_mean
from . import output
from .frame import quiet_stdout
from .options import Json


def stages(
    type_name: Annotated[
        str | None, typer.Argument(metavar="TYPE", help="One stage type; all of them when left out.")
    ] = None,
    as_json: Json = False,
) -> None:
    """List the stage types, or the fields of one with kinds, defaults and ranges."""
    with quiet_stdout():
        from ..stages import STAGES
        from .reference import block_references, stage_reference
    if type_name is None:
        every = [stage_reference(name, cls) for name, cls in STAGES.items()]
        if as_json:
            output.emit_json([asdict(r) for r in every])
            return
        rows = [(r.name, "yes" if r.diffuses else "", r.task, r.about) for r in every]
        output.stdout().print(output.table(("type", "denoises", "task", "about"), rows))
        return
    if type_name not in STAGES:
        raise RequestError(
            Problem(
                f"there is no stage type '{type_name}'.{did_you_mean(type_name, STAGES)}",
                f"one of {', '.join(STAGES)}",
            )
        )
    reference = stage_reference(type_name, STAGES[type_name])
    blocks = block_references({type_name: STAGES[type_name]})
    if as_json:
        output.emit_json({**asdict(reference), "blocks": [asdict(b) for b in blocks]})
        return
    console = output.stdout()
    for part in (reference, *blocks):
        console.print(part.name, style="bold")
        console.print(part.about, soft_wrap=True)
        fields = [
            (f.name, f.kind, f.range, "required" if f.default is None else f.default, f.about)
            for f in part.fields
        ]
        console.print(output.table(("field", "value", "range", "default", "about"), fields))

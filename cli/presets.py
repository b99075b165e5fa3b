"""`segue presets`, `show`, `validate`, `schema`: looking at presets without running them."""

from __future__ import annotations

import enum
import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from ..pipeline.errors import Problem, RequestError
from . import output
from .frame import quiet_stdout
from .options import Json, PresetName


class Format(enum.StrEnum):
    """How a preset is shown."""

    text = "text"
    mermaid = "mermaid"
    json = "json"
    png = "png"


def presets(as_json: Json = False) -> None:
    """List the presets that come with Segue."""
    from ..presets.shipped import presets as shipped

    found = shipped()
    if as_json:
        output.emit_json([{"name": p.name, "about": p.about, "file": str(p.path)} for p in found])
        return
    output.stdout().print(output.table(("preset", "about"), [(p.name, p.about) for p in found]))


def show(
    preset: PresetName,
    form: Annotated[Format, typer.Option("--format", help="How to show it.")] = Format.text,
    out: Annotated[Path | None, typer.Option("--out", help="File to write to in place of stdout.")] = None,
) -> None:
    """Show a preset: its graph as text, mermaid or PNG, or all of it as JSON with defaults filled in."""
    with quiet_stdout():
        content = _drawn(preset, form)
    if out is not None:
        from ..pipeline.atomic import write_atomic

        write_atomic(out, content, f"the drawing {out}")
        output.say(str(out))
        return
    if form is Format.png and sys.stdout.isatty():
        raise RequestError(
            Problem("a PNG can't be shown on a terminal", f"write --out {Path(preset).stem}.png")
        )
    if form is Format.png:
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
        return
    sys.stdout.write(content.decode("utf-8").rstrip("\n") + "\n")


def _drawn(preset: str, form: Format) -> bytes:
    from ..pipeline import drawing
    from ..presets.loader import load

    pipe = load(preset)
    if form is Format.json:
        return json.dumps(pipe.model_dump(mode="json"), indent=2, ensure_ascii=False).encode()
    if form is Format.png:
        with tempfile.TemporaryDirectory() as folder:
            return drawing.as_png(pipe, Path(folder) / "graph.png").read_bytes()
    return (drawing.as_text(pipe) if form is Format.text else drawing.as_mermaid(pipe)).encode()


def validate(
    preset: PresetName,
    as_json: Json = False,
) -> None:
    """Check a preset: syntax, fields, references, cycles, what the model's variants can do. Loads no weight.

    Prints every problem with file, line, stage, key, cause and fix; the exit code is 2 when there is one.
    """
    try:
        with quiet_stdout():
            pipe, graph = _checked(preset)
    except RequestError as error:
        if not as_json:
            raise
        output.emit_json({"preset": preset, "valid": False, "problems": [_plain(p) for p in error.problems]})
        raise typer.Exit(error.exit_code) from None
    warnings = [_plain(w) for w in graph.warnings]
    if as_json:
        output.emit_json(
            {
                "preset": preset,
                "valid": True,
                "problems": [],
                "warnings": warnings,
                "stages": list(graph.order),
                "takes": {name: graph.takes(name) for name in graph.order},
            }
        )
        return
    for warning in graph.warnings:
        output.warn(str(warning))
    made = ", ".join(f"{name} ({graph.takes(name)})" for name in graph.outputs)
    output.say(f"{pipe.name} is valid: {len(pipe.stages)} stages, takes written: {made}")


def _plain(problem: Problem) -> dict[str, Any]:
    return {**asdict(problem), "text": str(problem)}


def _checked(preset: str) -> tuple[Any, Any]:
    """The loaded preset and its checked graph."""
    from ..pipeline.prepare import prepare
    from ..presets.loader import load

    pipe = load(preset)
    return pipe, prepare(pipe).graph


def schema() -> None:
    """Print the JSON Schema of presets, so that an editor completes and checks them."""
    with quiet_stdout():
        from ..presets.schema import json_schema

        made = json_schema()
    output.emit_json(made)

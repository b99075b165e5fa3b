"""``python -m segue.cli.docs``: writes the pages of docs/ that are made from schemas and from the commands themselves.

With ``--check`` nothing is written: pages that are not up to date are named, and the exit code is 1. Knows no stage and
no preset by name.
"""

from __future__ import annotations

import argparse
import enum
import inspect
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

from ..pipeline.drawing import as_mermaid
from ..pipeline.graph import Graph
from ..pipeline.spec import DiffusionStage, Stage
from ..presets.loader import load
from ..presets.schema import json_schema
from ..presets.shipped import presets
from ..stages import STAGES
from .main import app
from .reference import FieldRow, Reference, block_references, stage_reference

FOLDER = Path(__file__).resolve().parents[1] / "docs"
NOTE = "<!-- made by `python -m segue.cli.docs`; edit the code it is made from -->"


def stages_page() -> str:
    """`docs/stages.md`: every stage type with its own fields, then the fields they share, then the blocks."""
    references = [stage_reference(name, cls) for name, cls in STAGES.items()]
    parts = [NOTE, "", "# Stages", "", "What each stage does and takes. `segue stages TYPE` prints the same.", ""]
    overview = [(f"[`{r.name}`](#{r.name})", "yes" if r.diffuses else "", r.about) for r in references]
    parts += [*_table(("type", "denoises", "about"), overview), ""]
    for reference in references:
        parts += _stage_section(reference)
    parts += _section("Fields every stage has", "", _rows(Stage, ("type",)))
    beside = "Beside the fields every stage has. What is left out takes the variant's own default (`segue models`)."
    parts += _section("Fields every denoising stage has", beside, _rows(DiffusionStage, Stage.model_fields))
    parts += ["## Blocks", "", "What the fields above are made of.", ""]
    for block in block_references(STAGES):
        parts += _section(block.name, block.about, block.fields, level=3)
    return _joined(parts)


def _stage_section(reference: Reference) -> list[str]:
    own = [f for f in reference.fields if f.name not in reference.common and f.name != "type"]
    also = "Beside these, the fields of every " + ("denoising stage." if reference.diffuses else "stage.")
    return [f"## {reference.name}", "", f"`{reference.title}`. {reference.about}", "", *_field_table(own), also, ""]


def _rows(cls: type[Stage], without: Iterable[str]) -> list[FieldRow]:
    return [f for f in stage_reference("", cls).fields if f.name not in set(without)]


def _section(title: str, about: str, fields: Sequence[FieldRow], level: int = 2) -> list[str]:
    return [f"{'#' * level} {title}", "", *([about, ""] if about else []), *_field_table(fields)]


def _field_table(fields: Sequence[FieldRow]) -> list[str]:
    if not fields:
        return []
    rows = [(f"`{f.name}`", f.kind, f.range, "required" if f.default is None else f"`{f.default}`", f.about) for f in fields]
    return [*_table(("field", "value", "range", "default", "about"), rows), ""]


def presets_page() -> str:
    """`docs/presets.md`: every shipped preset, what it is about and its graph."""
    parts = [NOTE, "", "# Presets", "", "Each runs with `segue run NAME`; `segue show NAME` draws it.", ""]
    for info in presets():
        pipe = load(info.name)
        graph = Graph(pipe)
        made = ", ".join(f"{graph.takes(name)} of `{name}`" for name in graph.outputs)
        inputs = ", ".join(f"`{i}`" for i in pipe.inputs) or "none"
        parts += [f"## {info.name}", "", info.about, "", f"Inputs: {inputs}. Takes written: {made}."]
        parts += ["", "```mermaid", as_mermaid(pipe).strip(), "```", ""]
    return _joined(parts)


def cli_page() -> str:
    """`docs/cli.md`: every command with its arguments and options."""
    root: Any = typer.main.get_command(app)
    parts = [NOTE, "", "# Command line", "", inspect.cleandoc(root.help or ""), ""]
    for path, command in _commands(root, ("segue",)):
        if path == ("segue",):
            continue
        parts += [f"## {' '.join(path)}", "", inspect.cleandoc(command.help or ""), "", "```", _usage(path, command), "```", ""]
        parts += _parameters(command)
    return _joined(parts)


def _commands(command: Any, path: tuple[str, ...]) -> Iterable[tuple[tuple[str, ...], Any]]:
    yield path, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from _commands(inner, (*path, name))


def _usage(path: Sequence[str], command: Any) -> str:
    arguments = [_metavar(p) if p.required else f"[{_metavar(p)}]" for p in command.params if p.param_type_name == "argument"]
    inner = ["[" + "|".join(command.commands) + "]"] if hasattr(command, "commands") else []
    return " ".join([*path, *arguments, "[OPTIONS]", *inner])


def _metavar(parameter: Any) -> str:
    return str(parameter.metavar or parameter.name.upper())


def _parameters(command: Any) -> list[str]:
    rows = []
    for p in command.params:
        if p.param_type_name == "argument":
            rows.append((f"`{_metavar(p)}`", _escape(p.help or ""), "required" if p.required else ""))
        elif not getattr(p, "hidden", False):
            flags = ", ".join(f"`{o}`" for o in (*p.opts, *p.secondary_opts))
            value = "" if p.is_flag else f" {_escape(_option_value(p))}"
            default = "" if p.default in (None, False, ()) else f"`{getattr(p.default, 'value', p.default)}`"
            rows.append((flags + value, _escape(p.help or ""), default))
    return [*_table(("option", "about", "default"), rows), ""] if rows else []


def _option_value(parameter: Any) -> str:
    if isinstance(parameter.default, enum.Enum):
        return "|".join(str(choice.value) for choice in type(parameter.default))
    return str(parameter.metavar or parameter.name.rstrip("_").upper())


def schema_page() -> str:
    """`docs/schema.json`: the JSON Schema of presets, as `segue schema` prints it."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


PAGES: Mapping[str, Callable[[], str]] = {
    "stages.md": stages_page,
    "presets.md": presets_page,
    "cli.md": cli_page,
    "schema.json": schema_page,
}


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
    return lines + [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows]


def _escape(text: str) -> str:
    return " ".join(text.split()).replace("<", "&lt;")


def _joined(parts: Iterable[str]) -> str:
    return "\n".join(parts).rstrip("\n") + "\n"


def outdated(folder: Path = FOLDER) -> list[str]:
    """Names of the pages in `folder` that are missing or differ from what the code says now."""
    return [n for n, make in PAGES.items() if not (folder / n).is_file() or (folder / n).read_text(encoding="utf-8") != make()]


def write(folder: Path = FOLDER) -> list[Path]:
    """Write every page; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, make in PAGES.items():
        (folder / name).write_text(make(), encoding="utf-8")
    return [folder / name for name in PAGES]


def main() -> int:
    """Write, or with ``--check`` compare."""
    parser = argparse.ArgumentParser(prog="python -m segue.cli.docs", description="Write the generated pages of docs/.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 when a page is not up to date")
    if not parser.parse_args().check:
        for path in write():
            print(path)
        return 0
    stale = outdated()
    for name in stale:
        print(f"docs/{name} is not up to date: run python -m segue.cli.docs", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())

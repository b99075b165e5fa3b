"""`segue`: the command group. Commands live in modules of their own and import the library when they run."""

from __future__ import annotations

import contextlib
import sys
from typing import Annotated

import typer

from .. import __version__
from . import cache, corpus, coverage, export, models, night, pairs, presets, repair, report, run, runs, score, stages
from .frame import Boundary, calm_libraries

app = typer.Typer(
    name="segue",
    cls=Boundary,
    help="Staged audio generation: a preset becomes scored takes.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"segue {__version__}")
        raise typer.Exit


@app.callback()
def segue(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """Staged audio generation: a preset becomes scored takes.

    Exit codes: 0 done, 1 the run failed or was stopped, 2 the request was wrong.
    """
    calm_libraries()


app.command("run")(run.run)
app.command("rerun")(run.rerun)
app.command("presets")(presets.presets)
app.command("show")(presets.show)
app.command("validate")(presets.validate)
app.command("schema")(presets.schema)
app.command("stages")(stages.stages)
app.add_typer(models.app, name="models")
app.command("score")(score.score)
app.command("repair")(repair.repair)
app.command("report")(report.report)
app.add_typer(runs.app, name="runs")
app.add_typer(cache.app, name="cache")
app.add_typer(corpus.app, name="corpus")
app.add_typer(night.app, name="night")
app.command("pairs")(pairs.pairs)
app.command("coverage")(coverage.coverage)
app.command("export")(export.export)


def main() -> None:
    """The console script. A name that can't be printed on this terminal is replaced, not an error."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, OSError):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    app(prog_name="segue")


if __name__ == "__main__":
    main()

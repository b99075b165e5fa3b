"""`segue corpus`: composed and rendered clips with stems, captions and facts, as files."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import track

from ..pipeline.errors import Problem, RequestError
from . import output
from .frame import quiet_stdout
from .options import Json

app = typer.Typer(help="Composed music with known stems, tempo, key and captions.", no_args_is_help=True)


@app.callback()
def corpus() -> None:
    """Composed music with known stems, tempo, key and captions."""


@app.command()
def make(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to write to; made when missing.")],
    clips: Annotated[int, typer.Option("--clips", min=1, help="How many clips.")] = 16,
    first_seed: Annotated[int, typer.Option("--first-seed", min=0, help="Clip k is composed from this seed plus k.")] = 0,
    duration_s: Annotated[float, typer.Option("--duration", min=0.5, max=600, help="Seconds a clip.")] = 8.0,
    rate_hz: Annotated[int, typer.Option("--rate", min=8000, max=96_000, help="Samples a second.")] = 24_000,
    renderer: Annotated[
        str, typer.Option("--renderer", help="synth: built in; fluidsynth: a General-MIDI sound font, where installed.")
    ] = "synth",
    stems: Annotated[bool, typer.Option("--stems/--no-stems", help="Also write each track on its own.")] = True,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Processes that render.")] = 1,
    as_json: Json = False,
) -> None:
    """Compose and render clips as FLAC, with what is known of each in clips.jsonl. The same seed gives the same clip."""
    if folder.exists() and not folder.is_dir():
        raise RequestError(Problem(f"{folder} is a file", "name a folder", key="DIR"))
    with quiet_stdout():
        from ..training.corpus import RENDERERS, make_corpus

        if renderer not in RENDERERS:
            raise RequestError(Problem(f"there is no renderer '{renderer}'", f"write one of {', '.join(RENDERERS)}",
                                       key="--renderer"))  # fmt: skip
        began, console = time.monotonic(), output.stderr()
        made = make_corpus(folder, clips, first_seed=first_seed, duration_s=duration_s, rate_hz=rate_hz, stems=stems,
                           renderer=renderer, workers=workers)  # fmt: skip
        count = sum(1 for _ in track(made, "clips", clips, console=console, transient=True, disable=not console.is_terminal))
    seconds = time.monotonic() - began
    if as_json:
        facts = str(folder / "clips.jsonl")
        output.emit_json({"folder": str(folder), "clips": count, "seconds": round(seconds, 3), "facts": facts})
        return
    output.say(f"{count} clips in {seconds:.1f} s: {folder / 'clips.jsonl'}")

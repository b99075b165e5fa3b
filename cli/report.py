"""`segue report`: a run as one page to look at and listen to."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..pipeline.errors import Problem, RequestError
from . import output
from .frame import quiet_stdout
from .options import Json


def report(
    run: Annotated[str, typer.Argument(metavar="RUN", help="The run's id, or the beginning of it; or its folder.")],
    html: Annotated[bool, typer.Option("--html", help="Write one self-contained HTML page.")] = False,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="The page; report.html in the run's folder when left out.")
    ] = None,
    link_audio: Annotated[
        bool, typer.Option("--link-audio", help="Link to the run's own sound files instead of putting sounds into the page.")
    ] = False,
    lossless: Annotated[bool, typer.Option("--lossless", help="Sounds as FLAC, 16 bit, instead of Ogg Vorbis.")] = False,
    takes: Annotated[int, typer.Option(min=1, max=1000, help="How many takes get a player, the best first.")] = 24,
    as_json: Json = False,
) -> None:
    """Write a run as one HTML page: graph, takes with players and spectrograms, metrics side by side, defects, pairs, preset.

    The page needs no network and nothing beside it (with --link-audio: the run's sound files).
    """
    if not html:
        fix = f"add --html; `segue runs show {run}` prints a run on the terminal"
        raise RequestError(Problem("a report is written as a page, and --html is not given", fix))
    if link_audio and lossless:
        fix = "leave one out: linked sounds are the run's own files"
        raise RequestError(Problem("--link-audio and --lossless are both given", fix))
    if out is not None and out.is_dir():
        raise RequestError(Problem(f"--out {out} is a folder", f"name a file, e.g. --out {out / 'report.html'}"))
    with quiet_stdout():
        from ..pipeline.atomic import write_atomic
        from .page.facts import gather
        from .page.write import write_page

        facts = gather(run)
        if out is None:
            has_folder = facts.folder is not None and facts.folder.is_dir()
            out = facts.folder / "report.html" if facts.folder and has_folder else Path(f"report-{facts.id}.html")
        form = "link" if link_audio else "flac" if lossless else "ogg"
        page = write_page(facts, form=form, folder=out.parent, most=takes)  # type: ignore[arg-type]
        data = page.html.encode("utf-8", errors="backslashreplace")
        write_atomic(out, data, f"the page {out}")
    for warning in page.warnings:
        output.warn(warning)
    if as_json:
        output.emit_json({
            "run_id": facts.id, "file": str(out), "bytes": len(data), "takes": page.takes, "players": page.players,
            "sounds": list(page.formats), "sound_bytes": page.embedded_bytes, "pairs": len(facts.pairs),
            "warnings": list(page.warnings),
        })  # fmt: skip
        return
    held = f"sounds as {', '.join(page.formats)}, {output.size(page.embedded_bytes)}"
    sounds = "sounds linked" if link_audio else held if page.players else "no sound file"
    output.say(f"run {facts.id}: {page.takes} takes, {page.players} with players, {len(facts.pairs)} pairs; {sounds}")
    output.say(f"{out} ({output.size(len(data))})")

"""`segue export`: the pairs of a night as a dataset."""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import output
from .frame import quiet_stdout
from .options import Json

if TYPE_CHECKING:
    from ..dataset.export import Exported


class Format(StrEnum):
    PARQUET = "parquet"
    WEBDATASET = "webdataset"
    JSONL = "jsonl"


class Dedup(StrEnum):
    NEAR = "near"
    EXACT = "exact"
    NONE = "none"


def export(
    nights: Annotated[list[Path], typer.Argument(metavar="OUT...", help="Folders of nights; several become one dataset.")],
    to: Annotated[Path, typer.Option("--to", metavar="DIR", help="Folder of the dataset; replaced only by a complete one.")],
    format: Annotated[Format, typer.Option(help="How pairs are written.")] = Format.PARQUET,
    splits: Annotated[str, typer.Option(help="Shares of the splits; a prompt is in one.")] = "train=0.9,test=0.1",
    since: Annotated[
        str | None,
        typer.Option(metavar="VERSION|TIME", help="Only takes of this version (a fingerprint's beginning) or later."),
    ] = None,
    license: Annotated[str | None, typer.Option(metavar="ID", help="Licence for the card, e.g. cc-by-4.0.")] = None,
    dedup: Annotated[Dedup, typer.Option(help="near: by samples and by ear; exact: by samples.")] = Dedup.NEAR,
    shard_mb: Annotated[float, typer.Option(min=0.001, max=100_000, help="Size of a shard, in megabytes.")] = 500.0,
    device: Annotated[str | None, typer.Option(help="Where missing audio is decoded; left out: as the night did.")] = None,
    as_json: Json = False,
) -> None:
    """Write the pairs of a night as a dataset that others open: parquet, WebDataset shards, or JSON lines and FLAC.

    The folder gets the data in splits, a card (README.md) and segue_export.json, which names every file with its hash. Takes
    whose audio the night did not keep are decoded again from their latents. The same night gives the same bytes.
    --since with a time (2026-11-28, 2026-11-28T22:00) keeps the nights begun then or later; with a fingerprint, what was
    recorded from the first take of that version on, without older versions of the same variant.
    """
    with quiet_stdout():
        from ..dataset.export import ExportOptions
        from ..dataset.export import export as carry_out

        options = ExportOptions(
            format=format.value, splits=splits, since=since, license=license, dedup=dedup.value,
            shard_bytes=max(1, int(shard_mb * 1e6)), device=device,
        )  # fmt: skip
        made = carry_out(nights, to, options, progress=_progress())
    for note in made.notes:
        output.warn(note)
    if as_json:
        output.emit_json(made.facts())
    else:
        _print(made)


def _progress() -> Callable[[str, int, int], None] | None:
    """A line on a terminal's stderr that says how far it is; nothing elsewhere."""
    console = output.stderr()
    if not console.is_terminal:
        return None
    last = [0.0]

    def tell(what: str, done: int, count: int) -> None:
        now = time.monotonic()
        if now - last[0] > 0.2 or done == count:
            last[0] = now
            console.print(f"\r{what}: {done} of {count} ", end="\n" if done == count else "")

    return tell


def _print(made: Exported) -> None:
    rows = [(name, s["pairs"], s["files"], output.size(s["bytes"])) for name, s in made.splits.items()]
    output.stdout().print(output.table(("split", "pairs", "files", "size"), rows, right=("pairs", "files", "size")))
    told = [f"{count} left out ({reason})" for reason, count in made.dropped.items()]
    if made.before_since:
        told.append(f"{made.before_since} made before --since")
    if decoded := sum(made.decoded.values()):
        told.append(f"{decoded} takes decoded again from their latents")
    output.say(f"{made.pairs} pairs, dataset version {made.dataset_version}" + "".join(f"; {text}" for text in told))
    if made.format == "parquet":
        output.say(f"read it with: datasets.load_dataset({str(made.to)!r})")
    else:
        output.say(f"{made.to / 'README.md'} says how it is read")

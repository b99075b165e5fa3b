"""`segue cache`: what the store holds, whether it is whole, and making room in it."""

from __future__ import annotations

import datetime
import re
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..pipeline.errors import Problem, RequestError
from . import output
from .frame import quiet_stdout
from .options import Json, alone

if TYPE_CHECKING:
    from ..pipeline.records import Pin
    from ..pipeline.store import Store

app = typer.Typer(help="The store of finished takes: list, verify, make room.", invoke_without_command=True)

_SIZE = re.compile(r"^(\d+(?:\.\d+)?)\s*([kMGT]?)B?$")
_POWER = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


@app.callback()
def cache(ctx: typer.Context, as_json: Json = False) -> None:
    """The store of finished takes: list, verify, make room."""
    if alone(ctx, as_json):
        list_(as_json=as_json)


@app.command("list")
def list_(as_json: Json = False) -> None:
    """List the entries, the most recently used first."""
    with quiet_stdout():
        from ..pipeline.store import Store

        store = Store(on_warning=output.warn)
        entries = store.list()
    total = sum(e.bytes for e in entries)
    if as_json:
        output.emit_json({"folder": str(store.root), "bytes": total, "entries": [asdict(e) for e in entries]})
        return
    now = time.time()
    rows = [
        (e.key[:12], output.size(e.bytes), ", ".join(e.views) or None, f"{output.seconds(now - e.used)} ago")
        for e in entries
    ]
    output.stdout().print(output.table(("key", "size", "views", "used"), rows, right=("size",)))
    output.say(f"{len(entries)} entries, {output.size(total)} in {store.root}")


@app.command()
def verify(as_json: Json = False) -> None:
    """Read every entry and prove it whole. Damaged ones are moved aside and named: exit code 1."""
    with quiet_stdout():
        from ..pipeline.store import Store

        store = Store(on_warning=lambda text: None)  # every damaged entry is named below
        report = store.verify(mend=True)
    if as_json:
        output.emit_json(
            {
                "folder": str(store.root),
                "whole": report.whole,
                "entries": report.entries,
                "bytes": report.bytes,
                "damaged": [asdict(d) for d in report.damaged],
                "leftovers": [str(p) for p in report.leftovers],
            }
        )
    else:
        for damage in report.damaged:
            output.error(
                f"{damage.key[:12]}: {damage.reason}; moved to {store.root / 'quarantine'}, "
                "will be made again when needed"
            )
        leftovers = (
            f"; {len(report.leftovers)} files of writers that died (segue cache gc removes them)"
            if report.leftovers
            else ""
        )
        output.say(f"{report.entries} entries whole, {output.size(report.bytes)} in {store.root}{leftovers}")
    if not report.whole:
        raise typer.Exit(1)


@app.command()
def gc(
    max_size: Annotated[
        str | None,
        typer.Option(metavar="SIZE", help="Remove the longest unused entries until the rest fits, e.g. 5GB."),
    ] = None,
    older_than: Annotated[
        float | None, typer.Option(metavar="DAYS", min=0, help="Remove entries unused for so many days.")
    ] = None,
    failed: Annotated[
        float | None,
        typer.Option(
            metavar="DAYS", min=0, help="Runs that failed or were stopped so many days ago no longer keep their takes."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Make room: what dead writers left, and what the options name. Runs not yet done keep their takes; gc says which."""
    limit = None if max_size is None else parse_size(max_size)
    if failed is not None and max_size is None and older_than is None:
        raise RequestError(
            Problem(
                "--failed says which runs no longer keep their takes, and nothing says what is to go",
                f"write --older-than or --max-size beside it, e.g. --older-than {failed:g}",
                key="--failed",
            )
        )
    with quiet_stdout():
        from ..pipeline.catalog import Catalog
        from ..pipeline.store import Store

        store = Store(on_warning=output.warn)
        with Catalog() as catalog:
            pins = [pin for pin in catalog.pins() if failed is None or not _given_up(pin, failed)]
        age = None if older_than is None else older_than * 86_400
        keep = frozenset().union(*(pin.keys for pin in pins))
        report = store.gc(max_bytes=limit, older_than_s=age, keep=keep)
        kept = _kept(pins, store)
    if as_json:
        output.emit_json({"folder": str(store.root), **asdict(report), "kept": kept})
        return
    output.say(
        f"removed {len(report.removed)} entries, freed {output.size(report.freed_bytes)}; "
        f"{report.entries} entries, {output.size(report.bytes)} are left in {store.root}"
    )
    for run in kept:
        held = f"{run['entries']} {'entry' if run['entries'] == 1 else 'entries'}, {output.size(run['bytes'])}"
        ways = f"; go on with it: segue runs resume {run['id']}; let it go: segue runs forget {run['id']}"
        output.say(
            f"run {run['id']} ({run['status']}, {run['created']}) keeps {held}{ways if run['status'] != 'running' else ''}"
        )


def _given_up(pin: Pin, days: float) -> bool:
    """Whether a run ended so many days ago without being done."""
    ended = pin.run.ended
    if ended is None:
        return False
    return (datetime.datetime.now(datetime.UTC) - datetime.datetime.fromisoformat(ended)).total_seconds() >= days * 86_400


def _kept(pins: list[Pin], store: Store) -> list[dict[str, Any]]:
    """What each run not yet done keeps in the store, as far as it is there."""
    sizes = {entry.key: entry.bytes for entry in store.list()} if pins else {}
    found = []
    for pin in pins:
        there = pin.keys & sizes.keys()
        status = "interrupted" if pin.run.interrupted else pin.run.status
        facts = {"id": pin.run.id, "preset": pin.run.preset, "status": status, "created": pin.run.created}
        found.append({**facts, "entries": len(there), "bytes": sum(sizes[key] for key in there)})
    return [run for run in found if run["entries"]]


def parse_size(text: str) -> int:
    """Bytes from ``500MB``, ``5 GB``, ``1.5T`` or a plain number; powers of 1000. Raises RequestError."""
    match = _SIZE.match(text.strip())
    if match is None:
        raise RequestError(
            Problem(
                f"'{text}' is no size", "write a number with kB, MB, GB or TB, e.g. 5GB", key="--max-size"
            )
        )
    return int(float(match[1]) * _POWER[match[2]])

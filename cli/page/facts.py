"""What a run's page is about, gathered from the catalog, or from the run's folder alone where the catalog doesn't know it.

Reads and changes nothing. Knows no HTML.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ...pipeline.catalog import Catalog
from ...pipeline.errors import Problem, RequestError
from ...pipeline.home import exists, expanded
from ...pipeline.records import TakeRecord
from ...scoring.pair_schema import Pair
from ...scoring.report import QualityReport


@dataclass(frozen=True)
class TakeFacts:
    """One take. `audio` is its file, where it has one; it may be gone."""

    id: str
    stage: str
    index: int
    seed: int
    key: str
    duration_s: float
    prompt: Mapping[str, Any]
    report: QualityReport | None
    audio: Path | None


@dataclass(frozen=True)
class RunFacts:
    """A run, its stages (plain data as in ``segue runs show --json``), takes and pairs; `notes` say what could not be had."""

    id: str
    preset: str
    yaml: str
    status: str
    seed: int
    created: str
    message: str
    training: str | None
    settings: Mapping[str, Any]
    base: Path | None
    folder: Path | None
    stages: tuple[Mapping[str, Any], ...]
    takes: tuple[TakeFacts, ...]
    pairs: tuple[Pair, ...]
    notes: tuple[str, ...] = field(default=())


def gather(run: str) -> RunFacts:
    """The run of that id (or the beginning of it), or the one whose folder it is. Raises RequestError when it is neither."""
    folder = expanded(run)
    if exists(folder) and folder.is_dir():
        return _of_folder(folder)
    if exists(folder):
        raise RequestError(Problem(f"'{run}' is a file", "give a run's id (`segue runs` lists them) or its folder"))
    with Catalog() as catalog:
        return _of_catalog(catalog, run, None)


def _of_folder(folder: Path) -> RunFacts:
    document = _document(folder)
    with Catalog() as catalog:
        try:
            known = catalog.run(document["run_id"]).id == document["run_id"]
        except RequestError:
            known = False  # another machine's run, or one that was forgotten
        if known:
            return _of_catalog(catalog, document["run_id"], folder)
    takes = tuple(_written_take(t, folder) for t in document["takes"])
    text = folder / "preset.yaml"
    pairs, notes = _pairs(folder, {t.id for t in takes}, by_key=False)
    told = "the catalog doesn't know this run: only what its folder holds is shown, the takes of its outputs"
    return RunFacts(
        id=document["run_id"], preset=document["preset"], yaml=text.read_text(encoding="utf-8") if text.is_file() else "",
        status="done", seed=document["seed"], created="", message="", training=document.get("model_training"), settings={},
        base=None, folder=folder, stages=tuple(document["stages"]), takes=takes, pairs=pairs, notes=(told, *notes),
    )  # fmt: skip


def _document(folder: Path) -> dict[str, Any]:
    path = folder / "run.json"
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        missing = {"run_id", "preset", "seed", "stages", "takes"} - set(document)
    except FileNotFoundError:
        fix = "give the folder that `segue run --out` wrote, or the run's id (`segue runs` lists them)"
        raise RequestError(Problem(f"the folder {folder} holds no run.json, so it is no finished run's", fix)) from None
    except (OSError, ValueError, TypeError) as error:
        raise RequestError(Problem(f"{path} can't be read: {error}", "give the run's id (`segue runs` lists them)")) from None
    if missing:
        fix = "give the run's id (`segue runs` lists them)"
        raise RequestError(Problem(f"{path} is no run's document: it has no {', '.join(sorted(missing))}", fix))
    return document


def _written_take(take: Mapping[str, Any], folder: Path) -> TakeFacts:
    """A take as run.json has it; its file is looked for in the folder, which may have been moved."""
    audio = Path(take["audio"]) if take["audio"] else None
    if audio is not None and not audio.is_file() and (folder / "audio" / audio.name).is_file():
        audio = folder / "audio" / audio.name
    report = QualityReport.model_validate(take["report"]) if take["report"] else None
    index = int(take["id"].rpartition("/")[2])
    return TakeFacts(take["id"], take["stage"], index, take["seed"], "", take["duration_s"], take["prompt"], report, audio)


def _of_catalog(catalog: Catalog, run_id: str, folder: Path | None) -> RunFacts:
    run = catalog.run(run_id)
    written = run.options.get("out")
    folder = folder or (Path(written) if written else None)
    takes = tuple(_take(t, folder) for t in catalog.takes(run.id))
    stages = tuple(dict(vars(s)) for s in catalog.stages(run.id))
    pairs, notes = _pairs(folder, {t.key for t in takes}, by_key=True) if folder else ((), ())
    reports = [t.report.model_training for t in takes if t.report]
    base = run.options.get("base")
    return RunFacts(
        id=run.id, preset=run.preset, yaml=run.yaml, status="interrupted" if run.interrupted else run.status, seed=run.seed,
        created=run.created, message=run.message, training=next((t for t in reports if t), None),
        settings={**vars(run.numerics), "tile_frames": run.options.get("options", {}).get("tile_frames")},
        base=Path(base) if base else None, folder=folder, stages=stages, takes=takes, pairs=pairs, notes=notes,
    )  # fmt: skip


def _take(take: TakeRecord, folder: Path | None) -> TakeFacts:
    audio = Path(take.audio) if take.audio else None
    if audio is not None and folder is not None and not audio.is_file() and (folder / "audio" / audio.name).is_file():
        audio = folder / "audio" / audio.name
    report = QualityReport.model_validate(take.report) if take.report else None
    return TakeFacts(take.id, take.stage, take.index, take.seed, take.key, take.duration_s, take.prompt, report, audio)


def _pairs(folder: Path, known: set[str], *, by_key: bool) -> tuple[tuple[Pair, ...], tuple[str, ...]]:
    """The pairs of the folder's log whose both sides are takes of this run (a folder may hold several runs' pairs)."""
    path = folder / "pairs.jsonl"
    found, damaged = [], 0
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return (), ()
    except (OSError, UnicodeDecodeError) as error:
        return (), (f"{path} can't be read ({error}): its pairs are not shown",)
    for line in lines:
        try:
            pair = Pair.from_json(line)
        except ValidationError:
            damaged += 1
            continue
        sides = [s.provenance for s in (pair.chosen, pair.rejected)]
        if not by_key or all(s is not None and s.key in known for s in sides):
            found.append(pair)
    notes = (f"{damaged} lines of {path} are no pairs and are not shown",) if damaged else ()
    return tuple(found), notes

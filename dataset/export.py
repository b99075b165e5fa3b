"""From nights to a dataset that others open: pairs with their sounds, in splits, deduplicated, with a card.

The same record gives the same bytes: no clock, no host, the order of the record. Memory holds a short row a pair, a vector a
sound and the row group being written. Knows no command line.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..pipeline.audio_file import read_audio
from ..pipeline.errors import Problem, RequestError, RunError
from ..pipeline.keys import digest
from ..scoring.samples import Array
from .card import Card
from .dedup import Deduplicated, Mode, sound_vector, without_near, without_same
from .export_folder import ExportFolder, check_place, replacing
from .export_jsonl import JsonLinesWriter
from .export_parquet import ParquetWriter
from .export_records import record_of
from .export_source import NightRecord, Row, Sound
from .export_webdataset import WebDatasetWriter
from .redecode import SoundFiles
from .splits import DEFAULT, parse_splits, split_of
from .tallies import NightTally, PairTally
from .versions import Versions, made_by, parse_since

Format = Literal["parquet", "webdataset", "jsonl"]
WRITERS: dict[str, type[ParquetWriter] | type[WebDatasetWriter] | type[JsonLinesWriter]] = {
    "parquet": ParquetWriter, "webdataset": WebDatasetWriter, "jsonl": JsonLinesWriter,
}  # fmt: skip
SHARD_BYTES = 500_000_000
SCRATCH = ".decoded"
_LICENCE = re.compile(r"[a-z0-9][a-z0-9.+-]{0,63}")
Progress = Callable[[str, int, int], None]
"""``progress(what, done, all)``, called for each piece of work."""


@dataclass(frozen=True)
class ExportOptions:
    """What an export is asked for. `splits` are shares by name, in order; `since` a fingerprint's beginning or a time;
    `dedup` how far duplicates are looked for; `device` decodes missing audio elsewhere than the night did."""

    format: Format = "parquet"
    splits: str = DEFAULT
    since: str | None = None
    license: str | None = None
    dedup: Mode = "near"
    shard_bytes: int = SHARD_BYTES
    device: str | None = None


@dataclass(frozen=True)
class Exported:
    """What an export holds. `splits` are pairs, files and bytes by name; `dropped` pairs by reason; `decoded` takes made again
    from their latents (``alike``: the very samples that were scored; ``rounded``: others)."""

    to: Path
    format: str
    dataset_version: str
    pairs: int
    splits: dict[str, dict[str, int]]
    dropped: dict[str, int]
    before_since: int
    decoded: dict[str, int]
    versions: dict[str, int]
    notes: tuple[str, ...]

    def facts(self) -> dict[str, Any]:
        """The same as plain data."""
        return {**vars(self), "to": str(self.to), "notes": list(self.notes)}


def export(
    nights: Sequence[Path], to: Path, options: ExportOptions | None = None, *, progress: Progress | None = None
) -> Exported:
    """Write the pairs of `nights` as a dataset into the folder `to`.

    `to` appears when it is complete; an earlier export of these nights is replaced then. Raises RequestError (every problem of
    the request; nothing was written) and RunError (a damaged record, sounds that are gone, a disk that is full or read-only).
    """
    asked, tell = options or ExportOptions(), progress or (lambda what, done, count: None)
    shares, licence = _checked(nights, to, asked)
    with ExitStack() as stack:
        records = _records(nights, stack)
        check_place(to, {record.identity for record in records})
        tallies, pairs, versions = [], PairTally(), Versions()
        for record in records:
            tallies.append(_tally(record, pairs, versions))
            tell("reading", record.number + 1, len(records))
        since = parse_since(asked.since, versions)
        everything = [row for record in records for row in record.rows()]
        rows = [row for row in everything if since.keeps(row, records[row.night])]
        if not rows:
            raise RequestError(_nothing(records, everything, asked))
        with replacing(to, (record.identity for record in records)) as folder:
            files = stack.enter_context(SoundFiles(records, folder.path / SCRATCH, asked.device))
            files.must_exist(_sounds(rows))
            left = _deduplicated(rows, asked.dedup, files, tell)
            kept = [rows[i] for i in left.kept]
            work = _Work(records, files, asked, shares, tell)
            _check_room(to, kept, files)
            splits = work.write(folder, kept, pairs)
            shutil.rmtree(folder.path / SCRATCH, ignore_errors=True)
            sides = made_by(sound for row in kept for sound in row.sounds)
            dropped = {reason: count for reason, count in left.counts().items() if count}
            version = digest({"rows": [[row.id, *(s.pcm_sha256 for s in row.sounds)] for row in kept], "shares": shares})[:12]
            card = Card(
                format=asked.format, license=licence, nights=tallies, pairs=pairs, splits=splits, shares=shares, dropped=dropped,
                patterns={name: WRITERS[asked.format].pattern.format(split=name) for name in splits}, dedup=asked.dedup,
                since=since.text, since_dropped=len(everything) - len(rows), dataset_version=version, rate_hz=work.rate_hz,
                versions=[(v, sides.get(v.id, 0)) for v in sorted(versions.found.values(), key=lambda v: v.first)],
            )  # fmt: skip
            folder.write("README.md", card.text().encode("utf-8"))
            folder.manifest(_manifest(records, card, sides))
        notes = (*(note for record in records for note in record.notes), *files.notes, *_remarks(files, splits, shares, left))
        return Exported(
            to, asked.format, version, len(kept), splits, dropped, card.since_dropped, dict(sorted(files.decoded.items())),
            sides, notes,
        )  # fmt: skip


class _Work:
    """Writing the rows, split after split."""

    def __init__(
        self, records: Sequence[NightRecord], files: SoundFiles, asked: ExportOptions, shares: Mapping[str, float], tell: Progress
    ) -> None:
        self._records, self._files, self._asked, self._shares, self._tell = records, files, asked, shares, tell
        self.rate_hz: int | None = None

    def write(self, folder: ExportFolder, rows: Sequence[Row], tally: PairTally) -> dict[str, dict[str, int]]:
        """Every row, counted in `tally`; gives the splits. A split without pairs gets no file."""
        splits = {}
        parts = {name: [row for row in rows if split_of(row.prompt, self._shares) == name] for name in self._shares}
        self._files.expect(_sounds(rows))
        rates = {sound.rate_hz for sound in _sounds(rows)}
        self.rate_hz = rates.pop() if len(rates) == 1 else None
        done = 0
        for name, part in parts.items():
            if not part:
                continue
            kind = WRITERS[self._asked.format]
            with kind(folder, name, shard_bytes=self._asked.shard_bytes, rate_hz=self.rate_hz) as writer:
                for row in part:
                    record = record_of(row, self._records[row.night], self._files)
                    writer.add(record)
                    tally.add(record.pair, row.prompt)
                    for sound in row.sounds:
                        self._files.done(sound)
                    done += 1
                    self._tell("writing", done, len(rows))
                places = writer.finish()
            splits[name] = {"pairs": len(part), "files": len(places), "bytes": sum(folder.files[p]["bytes"] for p in places)}
        return splits


def _checked(nights: Sequence[Path], to: Path, asked: ExportOptions) -> tuple[dict[str, float], str]:
    problems: list[Problem] = []
    shares: dict[str, float] = {}
    try:
        shares = parse_splits(asked.splits)
    except RequestError as error:
        problems += error.problems
    licence = (asked.license or "unknown").strip().lower()
    if not _LICENCE.fullmatch(licence):
        problems.append(Problem(f"--license {asked.license!r} names no licence", "an identifier: cc-by-4.0, apache-2.0, other …"))
    if asked.shard_bytes < 1:
        problems.append(Problem(f"shards of {asked.shard_bytes} bytes hold nothing", "at least 1; 500000000 is usual"))
    if not nights:
        problems.append(Problem("no night was named", "name the folder that segue night wrote to"))
    real = [Path(os.path.realpath(night)) for night in nights]
    place = Path(os.path.realpath(to))
    if len(set(real)) < len(real):
        problems.append(Problem("a night is named twice", "name each once"))
    if any(night == place or night.is_relative_to(place) for night in real):
        problems.append(Problem(f"--to {to} holds the night itself, which would be replaced", "name another folder", key="to"))
    if problems:
        raise RequestError(problems)
    return shares, licence


def _records(nights: Sequence[Path], stack: ExitStack) -> list[NightRecord]:
    """The nights' records, oldest first. Two copies of one night are refused."""
    found, problems = [], []
    for folder in nights:
        try:
            found.append(stack.enter_context(NightRecord(folder)))
        except RequestError as error:
            problems += error.problems
    names: dict[str, Path] = {}
    for record in found:
        if names.setdefault(record.identity, record.folder) != record.folder:
            problems.append(Problem(f"{record.folder} and {names[record.identity]} are copies of one night", "name one of them"))
    if problems:
        raise RequestError(problems)
    found.sort(key=lambda record: (record.began, record.identity))
    for number, record in enumerate(found):
        record.number = number
    return found


def _tally(record: NightRecord, pairs: PairTally, versions: Versions) -> NightTally:
    tally = NightTally(
        record.name, record.created, record.seed, about=record.about, numerics=record.account().get("numerics") or {},
    )  # fmt: skip
    for number, group in record.groups():
        tally.add(group)
        pairs.auditor.group(group)
        versions.add(record.number, number, group)
    return tally


def _nothing(records: Sequence[NightRecord], everything: Sequence[Row], asked: ExportOptions) -> Problem:
    where = ", ".join(str(record.folder) for record in records)
    if everything:
        cause = f"none of the {len(everything)} pairs of {where} is left by --since {asked.since}"
        return Problem(cause, "name an earlier version or time", key="since")
    return Problem(f"there are no pairs in {where}", f"derive some, with a smaller margin: segue pairs {records[0].folder}")


def _sounds(rows: Sequence[Row]) -> list[Sound]:
    return [sound for row in rows for sound in row.sounds]


def _each(rows: Sequence[Row]) -> Iterator[Sound]:
    """Every sound once, in order."""
    yield from {sound.pcm_sha256: sound for sound in reversed(_sounds(rows))}.values()


def _deduplicated(rows: Sequence[Row], mode: Mode, files: SoundFiles, tell: Progress) -> Deduplicated:
    if mode == "none":
        return Deduplicated(tuple(range(len(rows))), {})
    exact = without_same(rows)
    if mode == "exact" or not exact.kept:
        return exact
    sounds = list(_each([rows[i] for i in exact.kept]))
    vectors: dict[str, Array] = {}
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as workers:
        for start in range(0, len(sounds), 64):
            part = sounds[start : start + 64]
            paths = [files.flac(sound) for sound in part]  # one after another: this may decode
            vectors |= zip((s.pcm_sha256 for s in part), workers.map(_vector, paths), strict=True)
            tell("comparing", start + len(part), len(sounds))
    return without_near(rows, exact, vectors)


def _vector(path: Path) -> Array:
    audio = read_audio(path)
    return sound_vector(audio.samples.numpy(), audio.rate_hz)


def _check_room(to: Path, rows: Sequence[Row], files: SoundFiles) -> None:
    """Raise RunError when the disk has less room than the sounds need."""
    parent = next(p for p in Path(os.path.realpath(to)).parents if p.is_dir())
    need, free = sum(files.bytes_of(sound) for sound in _sounds(rows)), shutil.disk_usage(parent).free
    if need > free:
        raise RunError(
            f"the export needs about {need / 1e9:.1f} GB and {parent} has {free / 1e9:.1f} GB free: free some space, or write "
            "--to another disk. Nothing was written"
        )


def _manifest(records: Sequence[NightRecord], card: Card, sides: Mapping[str, int]) -> dict[str, Any]:
    return {
        "dataset_version": card.dataset_version, "format": card.format, "license": card.license,
        "nights": [{"identity": r.identity, "name": r.name, "created": r.created, "seed": r.seed} for r in records],
        "since": card.since or None, "dedup": card.dedup, "dropped": dict(card.dropped), "shares": dict(card.shares),
        "splits": {name: dict(split) for name, split in card.splits.items()},
        "versions": [
            {"version": v.id, "model": v.model_id, "variant": v.variant, "takes": v.takes, "mean_score": v.mean,
             "sides": sides.get(v.id, 0)}
            for v, _ in card.versions
        ],
    }  # fmt: skip


def _remarks(
    files: SoundFiles, splits: Mapping[str, Any], shares: Mapping[str, float], left: Deduplicated
) -> Iterator[str]:
    for name in shares:
        if name not in splits:
            yield f"no prompt fell into the split {name} (share {shares[name]:g}); it has no file"
    if files.decoded["rounded"]:
        yield (
            f"{files.decoded['rounded']} takes decoded again are not sample for sample what was scored: another processor, "
            "device, thread count or library version decoded them"
        )
    opposed = left.counts()["opposed"]
    if opposed:
        yield f"{opposed} pairs said the opposite of another one about the same two sounds; a human judgement won, else the first"

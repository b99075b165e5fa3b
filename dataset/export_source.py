"""A night's record as an export reads it: every pair with the two takes it names, in the order of the record.

The record is read as it was when the export began, so that a night may go on meanwhile. In memory are one group and a short
row a pair. Knows no format and no model.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

import yaml
from pydantic import ValidationError

from ..pipeline.errors import Problem, RequestError, RunError
from ..pipeline.keys import digest
from ..scoring.groups import Generation, Group, GroupEntry
from ..scoring.pair_schema import Chosen, Pair, Provenance, Rejected
from .folder import NightFolder


@dataclass(frozen=True, slots=True)
class Sound:
    """One side of a pair: what it sounds like (`pcm_sha256`, over the decoded samples), where it lies, what made it.

    `audio` and `latent` are relative to the night's folder. `version` is the fingerprint of the weights, with that of the
    adapters behind a '+' where there are any; empty when no model made it.
    """

    night: int
    take: str
    pcm_sha256: str
    audio: str | None
    latent: str | None
    duration_s: float
    rate_hz: int | None
    variant: str
    version: str


@dataclass(frozen=True, slots=True)
class Row:
    """One pair, short: where its line and its group's stand (bytes), which group of the night that is, and its two sounds.
    `prompt` is a digest of the prompt's facts."""

    night: int
    line_at: int
    group_at: int
    group_number: int
    id: str
    strategy: str
    prompt: str
    chosen: Sound
    rejected: Sound

    @property
    def sounds(self) -> tuple[Sound, Sound]:
        return self.chosen, self.rejected


def version_of(made: Generation | Provenance) -> str:
    """The weights that made a take: fingerprint, and ``+`` fingerprint of the adapters where there are any."""
    return (made.model_revision or "") + (f"+{made.adapters_sha256}" if made.adapters_sha256 else "")


def sound_of(night: int, side: Chosen | Rejected, facts: Provenance) -> Sound:
    """One side of a pair."""
    return Sound(
        night=night, take=facts.take, pcm_sha256=facts.pcm_sha256, audio=side.audio_path or None, latent=facts.latent_path,
        duration_s=facts.duration_s or 0.0, rate_hz=facts.rate_hz, variant=side.generation_params.model or "",
        version=version_of(facts),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a group's line begins, which group it is, a digest of its prompt, and marks of its takes."""

    at: int
    number: int
    prompt: str
    takes: frozenset[int]


@dataclass
class NightRecord:
    """The record of the night in `folder`, the `number`-th of an export. Use as a context manager.

    `groups` is read first, whole; then `rows`; then any pair of a row. Raises RequestError where there is no night or no
    pair, RunError for a line that is none and for a pair whose group is gone.
    """

    folder: Path
    number: int = 0
    name: str = field(init=False)
    seed: int | None = field(init=False)
    created: str = field(init=False)
    about: str = field(init=False)
    identity: str = field(init=False)

    def __post_init__(self) -> None:
        self.files = NightFolder(self.folder)
        plan = _plan(self.files)
        self.name, self.seed = str(plan.get("name") or self.folder.name), plan.get("seed")
        created = plan.get("created") or ""
        self.created = created.isoformat() if isinstance(created, datetime) else str(created)
        self.about = str(plan.get("about") or "")
        self.identity = digest({"night": plan_text(self.files)})[:16]
        self._at: dict[str, list[_Place]] = {}
        self._groups, self._pairs = _opened(self.files.groups, self.folder), _opened(self.files.pairs, self.folder)
        self._group_end, self._pair_end = self.files.groups.stat().st_size, self.files.pairs.stat().st_size
        self.notes: list[str] = []
        self._group_at = lru_cache(maxsize=2)(self._read_group)

    @property
    def began(self) -> datetime:
        """When the plan was begun; the beginning of time where it doesn't say."""
        return moment(self.created) or datetime.min.replace(tzinfo=UTC)

    def account(self) -> dict[str, Any]:
        """The night's own account; empty where there is none yet."""
        try:
            found = json.loads(self.files.account.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def groups(self) -> Iterator[tuple[int, Group]]:
        """Every group with its number, as recorded. A last line that is still being written is left out, and noted."""
        for number, (at, line) in enumerate(_lines(self._groups, self._group_end)):
            if not line.endswith(b"\n"):
                self.notes.append(f"{self.files.groups}: the last line is not whole and was left out")
                return
            group = self._parsed(line, number + 1)
            takes = frozenset(hash((e.take, e.pcm_sha256)) for e in group.entries)
            self._at.setdefault(group.id, []).append(_Place(at, number, digest(group.prompt), takes))
            yield number, group

    def rows(self) -> Iterator[Row]:
        """Every pair, in the order of the record. `groups` must have been read."""
        for number, (at, line) in enumerate(_lines(self._pairs, self._pair_end), start=1):
            try:
                pair = Pair.from_json(line)
            except ValidationError as error:
                raise RunError(
                    f"{self.files.pairs}, line {number}: this is no pair ({error.errors(include_url=False)[0]['msg']}). Derive "
                    f"them anew: segue pairs {self.folder}"
                ) from error
            place, chosen, rejected = self._place(pair), pair.chosen.provenance, pair.rejected.provenance
            if place is None or chosen is None or rejected is None:
                raise RunError(
                    f"{self.files.pairs}, line {number}: its takes are in no group of {self.files.groups.name}. Derive the pairs "
                    f"anew: segue pairs {self.folder}"
                )
            yield Row(
                self.number, at, place.at, place.number, pair.id, pair.strategy, place.prompt,
                sound_of(self.number, pair.chosen, chosen), sound_of(self.number, pair.rejected, rejected),
            )  # fmt: skip

    def pair(self, row: Row) -> tuple[Pair, Group, GroupEntry, GroupEntry]:
        """A row's pair, its group, and the entries of chosen and rejected."""
        self._pairs.seek(row.line_at)
        pair, group = Pair.from_json(self._pairs.readline()), self._group_at(row.group_at)
        chosen, rejected = _entry(group, pair.chosen), _entry(group, pair.rejected)
        assert chosen is not None and rejected is not None
        return pair, group, chosen, rejected

    def close(self) -> None:
        self._groups.close()
        self._pairs.close()

    def __enter__(self) -> NightRecord:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _place(self, pair: Pair) -> _Place | None:
        """The newest group of the pair's id that holds both its takes: judging anew writes a group once more."""
        facts = [side.provenance for side in (pair.chosen, pair.rejected)]
        marks = {hash((f.take, f.pcm_sha256)) for f in facts if f is not None}
        return next((place for place in reversed(self._at.get(pair.group, [])) if marks <= place.takes), None)

    def _read_group(self, at: int) -> Group:
        self._groups.seek(at)
        return Group.from_json(self._groups.readline())

    def _parsed(self, line: bytes, number: int) -> Group:
        try:
            return Group.from_json(line)
        except ValidationError as error:
            raise RunError(
                f"{self.files.groups}, line {number}: this is no group ({error.errors(include_url=False)[0]['msg']}). The record "
                "is append-only; take the line out, or the part of it that somebody changed."
            ) from error


def moment(text: str) -> datetime | None:
    """An ISO 8601 time, in UTC where it names no zone; None for a text that is none."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def plan_text(files: NightFolder) -> str:
    """The plan as the night wrote it. Raises RequestError where there is none."""
    try:
        return files.plan.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(Problem(
            f"{files.root} holds no night: its plan.yaml can't be read ({getattr(error, 'strerror', None) or error})",
            "name the folder that segue night wrote to (its --out)",
        )) from error  # fmt: skip


def _plan(files: NightFolder) -> dict[str, Any]:
    try:
        found = yaml.safe_load(plan_text(files))
    except yaml.YAMLError as error:
        raise RequestError(Problem(f"{files.plan} is no YAML ({error})", "restore it as the night wrote it")) from error
    return found if isinstance(found, dict) else {}


def _opened(path: Path, folder: Path) -> IO[bytes]:
    try:
        return path.open("rb")
    except FileNotFoundError as error:
        missing, fix = "groups", f"let the night go on: segue night {folder}/plan.yaml --out {folder}"
        if path.name == "pairs.jsonl":
            missing, fix = "pairs", f"derive them: segue pairs {folder}"
        raise RequestError(Problem(f"{folder} holds no {missing} yet ({path.name} is not there)", fix)) from error
    except OSError as error:
        raise RunError(f"{path} can't be read: {error.strerror or error}") from error


def _lines(file: IO[bytes], end: int) -> Iterator[tuple[int, bytes]]:
    """Lines that begin before `end`, with the byte each begins at. Others may move the file's position meanwhile."""
    at = 0
    while at < end:
        file.seek(at)
        line = file.readline()
        yield at, line
        at += len(line)


def _entry(group: Group, side: Chosen | Rejected) -> GroupEntry | None:
    facts = side.provenance
    if facts is None:
        return None
    return next((e for e in group.entries if e.take == facts.take and e.pcm_sha256 == facts.pcm_sha256), None)

"""Versions of a dataset: which weights made its takes, since when, how they were judged; and what `--since` keeps.

A version is the fingerprint of a model's weights (with that of its adapters). Nights stand in the order their plans were
begun, groups in that of the record; a version is as old as the first group it appears in. Knows no file.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from ..pipeline.errors import Problem, RequestError
from ..scoring.groups import Group
from .export_source import NightRecord, Row, Sound, moment, version_of

_TIME = re.compile(r"\d{4}-\d\d?(-|$)")
Place = tuple[int, int]  # number of the night, number of the group in it


@dataclass
class Version:
    """What one version made: `first` is where it first appears, `scored` how many takes have a mark, `total` their sum."""

    id: str
    model_id: str
    variant: str
    first: Place
    takes: int = 0
    scored: int = 0
    total: float = 0.0

    @property
    def mean(self) -> float | None:
        """Mean mark of its takes, 0–10."""
        return self.total / self.scored if self.scored else None


@dataclass
class Versions:
    """Every version of some nights, oldest first. Takes that no model made belong to none."""

    found: dict[str, Version] = field(default_factory=dict)

    def add(self, night: int, number: int, group: Group) -> None:
        """Count the takes of a group. Groups come in order."""
        for entry in group.entries:
            name = version_of(entry.generation)
            if not name:
                continue
            made = entry.generation
            version = self.found.setdefault(name, Version(name, made.model_id or "", made.model or "", (night, number)))
            version.takes += 1
            if entry.comparable and entry.overall is not None:
                version.scored += 1
                version.total += entry.overall

    def named(self, text: str) -> Version:
        """The version whose fingerprint (or its adapters') begins with `text`; of one model's with several adapters the oldest.
        Raises RequestError with the versions there are."""
        near = [v for v in self.found.values() if text and (v.id.startswith(text) or v.id.partition("+")[2].startswith(text))]
        known = "; ".join(f"{v.id[:12]} ({v.variant or v.model_id}, {v.takes} takes)" for v in self.found.values()) or "none"
        if not near:
            raise RequestError(Problem(
                f"--since {text}: no take was made by a version of that fingerprint; there are {known}",
                "write the beginning of one of them, or a time as 2026-11-28 or 2026-11-28T22:00", key="since",
            ))  # fmt: skip
        if len({v.id.partition("+")[0] for v in near}) > 1:
            raise RequestError(Problem(f"--since {text} fits several versions: {known}", "write more of it", key="since"))
        return min(near, key=lambda v: v.first)


@dataclass(frozen=True)
class Since:
    """What is exported: pairs of groups recorded at `place` or later, both of whose takes are of no `superseded` version, from
    nights whose plan was begun at `time` or later."""

    text: str = ""
    place: Place = (0, 0)
    superseded: frozenset[str] = frozenset()
    time: datetime | None = None

    def keeps(self, row: Row, night: NightRecord) -> bool:
        """Whether the pair is exported."""
        if self.time is not None:
            return night.began >= self.time
        return (row.night, row.group_number) >= self.place and not any(s.version in self.superseded for s in row.sounds)


def parse_since(text: str | None, versions: Versions) -> Since:
    """What ``--since`` asks for.

    A time (ISO 8601, UTC where it names no zone) keeps the nights begun then or later: every take of a night carries its plan's
    time. A fingerprint, or its beginning, keeps what was recorded from the first group on in which that version appears, without
    takes of older versions of the same variant. Raises RequestError for a text that is neither.
    """
    if text is None:
        return Since()
    if _TIME.match(text.strip()):
        time = moment(text.strip())
        if time is None:
            raise RequestError(Problem(f"--since {text} is no time", "write it as 2026-11-28 or 2026-11-28T22:00", key="since"))
        return Since(text, time=time)
    version = versions.named(text.strip().lower())
    older = (v.id for v in versions.found.values() if v.first < version.first and v.variant == version.variant)
    return Since(text, place=version.first, superseded=frozenset(older))


def made_by(sounds: Iterable[Sound]) -> dict[str, int]:
    """How many of the sounds each version made; takes of no model are left out."""
    counted: dict[str, int] = {}
    for sound in sounds:
        if sound.version:
            counted[sound.version] = counted.get(sound.version, 0) + 1
    return counted

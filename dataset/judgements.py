"""Human judgements as JSON lines: comparisons still open go out blind, judgements come in checked.

A judgement is one line ``{"group": …, "chosen": …, "rejected": …, "labeller": …, "tie": false, "note": ""}``; takes are named by
take id or by the SHA-256 of their samples. An open comparison is one line ``{"group", "prompt", "first", "second"}``, both
sides with take id, SHA-256 and audio path (relative to the night's folder); which is first is drawn from a hash of the two
sounds, and neither scores nor strategy are told. Knows no strategy and no plan.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ..pipeline.atomic import write_text
from ..pipeline.errors import Problem, RequestError, RunError, did_you_mean
from ..scoring.groups import GroupFacts
from ..scoring.pair_schema import Chosen, Pair, Rejected
from ..scoring.pair_strategy import Judgement


@dataclass(frozen=True)
class Imported:
    """What an import did: judgements kept now in all, and of the file's lines how many were new or replaced another word of
    the same labeller; the rest were known already."""

    total: int
    new: int
    replaced: int


def read_judgements(path: Path) -> list[Judgement]:
    """The judgements in a file of JSON lines, in order; empty lines are passed over.

    Raises `RequestError` with every line that is none, and `RunError` where the file can't be read.
    """
    found, problems = _read(path)
    if problems:
        raise RequestError(problems)
    return [judgement for _, judgement in found]


def import_judgements(given: Path, kept: Path, groups: Iterable[GroupFacts]) -> Imported:
    """Check every line of `given` against `groups` and merge it into `kept`, which is replaced whole.

    A labeller's later word on two takes replaces the earlier one, at its place. Raises `RequestError` with every line that is
    no judgement, or names an unknown group or take, or one take twice, all of them at once; `kept` is as it was then.
    """
    lines, problems = _read(given)
    before, damaged = _read(kept) if kept.exists() else ([], [])
    named = {j.group for _, j in (*lines, *before)}
    takes: dict[str, dict[str, str]] = {}
    ids: list[str] = []  # of all groups, for a message's advice only
    for group in groups:
        ids.append(group.id)
        if group.id in named:
            takes.setdefault(group.id, {}).update(_names(group))
    problems += [p for number, j in lines for p in _wrong(j, takes, ids, str(given), number)]
    if problems or damaged:
        raise RequestError([*damaged, *sorted(problems, key=lambda p: p.line or 0)])
    words = {_mark(j, takes): j for _, j in before}
    new = replaced = 0
    for _, judgement in lines:
        mark = _mark(judgement, takes)
        new += mark not in words
        replaced += mark in words and words[mark] != judgement
        words[mark] = judgement
    text = "".join(j.model_dump_json() + "\n" for j in words.values())
    write_text(kept, text, "the judgements")
    return Imported(len(words), new, replaced)


def rename_groups(kept: Path, names: Mapping[str, str]) -> None:
    """Let judgements follow groups that have other ids now (`names`, old to new); doing it again changes nothing. Nothing is
    done where there is no file."""
    if kept.exists():
        words = [j.model_copy(update={"group": names.get(j.group, j.group)}) for j in read_judgements(kept)]
        write_text(kept, "".join(j.model_dump_json() + "\n" for j in words), "the judgements")


def open_comparisons(
    pairs: Iterable[Pair], judgements: Sequence[Judgement] = (), labeller: str | None = None
) -> Iterator[dict[str, Any]]:
    """The comparisons of `pairs` that nobody has judged yet (`labeller`: that this one has not), each two sounds once, blind.

    `prompt` is the pair's: caption, lyrics, metadata. `audio_path` is null where no audio was kept.
    """
    said: dict[str, set[str]] = {}
    for j in judgements:
        if labeller is None or j.labeller == labeller:
            for one, other in ((j.chosen, j.rejected), (j.rejected, j.chosen)):
                said.setdefault(f"{j.group}\0{one}", set()).add(other)
    shown: set[tuple[str, frozenset[str]]] = set()
    for pair in pairs:
        sides = [_side(pair.chosen), _side(pair.rejected)]
        mark = (pair.group, frozenset(side["pcm_sha256"] for side in sides))
        if mark in shown or _judged(pair.group, sides, said):
            continue
        shown.add(mark)
        first, second = _blind(sides)
        yield {"group": pair.group, "prompt": pair.prompt.model_dump(mode="json"), "first": first, "second": second}


def export_comparisons(path: Path, comparisons: Iterable[dict[str, Any]]) -> int:
    """Write open comparisons as JSON lines (UTF-8); gives their number. Raises `RunError` when the disk refuses."""
    lines = [json.dumps(one, ensure_ascii=False) + "\n" for one in comparisons]
    write_text(path, "".join(lines), "the open comparisons")
    return len(lines)


# -- inside --------------------------------------------------------------------------------------------------------------


def _read(path: Path) -> tuple[list[tuple[int, Judgement]], list[Problem]]:
    """The judgements of a file with the numbers of their lines, and what is wrong with its other lines."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise RunError(f"{path} can't be read: {error.strerror or error}") from error
    found: list[tuple[int, Judgement]] = []
    problems: list[Problem] = []
    for number, line in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            found.append((number, Judgement.model_validate_json(line)))
        except ValidationError as error:
            problems += [_problem(e, str(path), number) for e in error.errors(include_url=False)]
    return found, problems


def _problem(error: Any, file: str, line: int) -> Problem:
    key = ".".join(map(str, error["loc"])) or None
    if error["type"] == "missing":
        return Problem(f"the judgement does not say '{key}'", 'a line needs "group", "chosen", "rejected" and "labeller"',
                       key=key, file=file, line=line)  # fmt: skip
    if error["type"] == "extra_forbidden":
        advice = did_you_mean(str(key), Judgement.model_fields)
        return Problem(f"there is no such key.{advice}", f"a judgement has {', '.join(Judgement.model_fields)}",
                       key=key, file=file, line=line)  # fmt: skip
    fix = 'write one JSON object a line: {"group": "…", "chosen": "…", "rejected": "…", "labeller": "…"}'
    return Problem(f"this is no judgement: {error['msg']}", fix, key=key, file=file, line=line)


def _names(group: GroupFacts) -> dict[str, str]:
    """Take ids and hashes -> the hash."""
    return {name: e.pcm_sha256 for e in group.entries for name in (e.pcm_sha256, e.take)}


def _wrong(j: Judgement, takes: dict[str, dict[str, str]], ids: Sequence[str], file: str, line: int) -> Iterator[Problem]:
    known = takes.get(j.group)
    if known is None:
        near = did_you_mean(j.group, ids) if len(ids) <= 10_000 else ""
        yield Problem(f"there is no group '{j.group}' in the record.{near}", "write the group as --export-judgements gave it",
                      key="group", file=file, line=line)  # fmt: skip
        return
    for key, name in (("chosen", j.chosen), ("rejected", j.rejected)):
        if name not in known:
            yield Problem(f"group '{j.group}' has no take '{name}'.{did_you_mean(name, known)}",
                          "write a take id or pcm_sha256 of that group", key=key, file=file, line=line)  # fmt: skip
    if j.chosen in known and known[j.chosen] == known.get(j.rejected):
        yield Problem(f"chosen and rejected are the same sound ('{j.chosen}', '{j.rejected}')", "name two takes that differ",
                      key="rejected", file=file, line=line)  # fmt: skip


def _mark(j: Judgement, takes: dict[str, dict[str, str]]) -> tuple[str, str, frozenset[str]]:
    """Who said it of which two sounds; names that the record does not know any more stand for themselves."""
    known = takes.get(j.group, {})
    return j.labeller, j.group, frozenset(known.get(name, name) for name in (j.chosen, j.rejected))


def _side(side: Chosen | Rejected) -> dict[str, Any]:
    facts = side.provenance
    names = {"take": facts.take, "pcm_sha256": facts.pcm_sha256} if facts else {"take": "", "pcm_sha256": ""}
    return {**names, "audio_path": side.audio_path or None}


def _judged(group: str, sides: Sequence[dict[str, Any]], said: dict[str, set[str]]) -> bool:
    first, second = ((side["take"], side["pcm_sha256"]) for side in sides)
    return any(said.get(f"{group}\0{name}", set()).intersection(second) for name in first)


def _blind(sides: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Both sides in an order that tells nothing: by the lowest bit of a hash over the two sounds."""
    ordered = sorted(sides, key=lambda side: str(side["pcm_sha256"]))
    name = "\0".join(side["pcm_sha256"] for side in ordered)
    return ordered[::-1] if hashlib.sha256(name.encode()).digest()[0] & 1 else ordered

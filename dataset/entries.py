"""Scored takes of one prompt to groups: which belong together, which came out of which, which a gate refuses.

A job gives `JobResult`, plain data that the catalog keeps until all jobs of its prompt are there; `groups_of_block` then makes
the groups. Knows no file and no queue.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict

from ..pipeline.keys import digest
from ..pipeline.scored_groups import entry_of
from ..pipeline.take import Take
from ..scoring.preferences import Group, GroupEntry


class Scored(BaseModel):
    """One scored take of a job: its entry, and what it may be compared with (`chance`)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    chance: str
    prompt: dict[str, Any]
    inputs: dict[str, str]
    entry: GroupEntry


class JobResult(BaseModel):
    """What a job made: scored takes in order, and the keys of its takes in the working store."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    scored: tuple[Scored, ...]
    keys: tuple[str, ...]


def take_name(job: int, take: Take) -> str:
    """A take's name in the whole night, ``000012/judged/3``."""
    return f"{job:06d}/{take.stage}/{take.index}"


def scored_takes(
    job: int, made: Mapping[str, Sequence[Take]], scoring: Mapping[str, Mapping[str, Any]], inputs: Mapping[str, str],
    varied: Mapping[str, str], extra: Mapping[str, Any],
) -> list[tuple[Take, Scored]]:
    """Every scored take of a job, in the order of its stages, once a sound and judgement.

    `scoring` are the key facts of the scoring stages by name, `inputs` the keys of the job's inputs, `varied` what tells its
    settings from those of the prompt's other jobs, `extra` what else is on record of every take. Takes may be compared when
    they share conditioning, prompt and the way they were scored, whichever stage, preset or setting they came from. A take that
    passed a stage by unchanged is the take it was and stands there once.
    """
    found: list[tuple[Take, Scored]] = []
    seen: set[tuple[str, str]] = set()
    for stage, facts in scoring.items():
        for take in made[stage]:
            chance = chance_of(take.group, take.prompt.facts(), facts, _made(take))
            entry = in_one_order(entry_of(take, None, None))
            if (chance, entry.pcm_sha256) in seen:
                continue
            seen.add((chance, entry.pcm_sha256))
            made_by = entry.generation.model_copy(update={
                "varied": dict(sorted(varied.items())), "extra": {**entry.generation.extra, **extra},
            })  # fmt: skip
            named = entry.model_copy(update={
                "take": take_name(job, take), "generation": made_by, "parent": _parent(job, take, chance, found),
            })  # fmt: skip
            scored = Scored(chance=chance, prompt=take.prompt.facts(), entry=named,
                            inputs={"conditioning": take.group, **inputs})  # fmt: skip
            found.append((take, scored))
    return found


def chance_of(
    conditioning: str, prompt: Mapping[str, Any], scored: Mapping[str, Any], made: Sequence[Mapping[str, Any]]
) -> str:
    """Names the takes that may be compared: those that share conditioning, prompt and the way they were scored. A stem that was
    extracted is compared with extracts of the same track alone, never with a whole."""
    facts: dict[str, Any] = {"conditioning": conditioning, "prompt": dict(prompt), "scored": dict(scored)}
    if made and made[-1]["type"] == "extract":
        facts["stem"] = made[-1].get("instruction")
    return digest(facts)[:16]


def in_one_order(entry: GroupEntry) -> GroupEntry:
    """The entry with the keys of its mappings sorted: fresh and read back from the store they come in different orders."""
    return GroupEntry.model_validate_json(json.dumps(json.loads(entry.model_dump_json()), sort_keys=True))


def _parent(job: int, take: Take, chance: str, earlier: Iterable[tuple[Take, Scored]]) -> str | None:
    """The nearest scored take of the same chance that this one was made from."""
    steps = _made(take)
    best: tuple[int, str] | None = None
    for other, scored in earlier:
        before = _made(other)
        longer = len(before) < len(steps) and steps[: len(before)] == before
        if scored.chance == chance and longer and (best is None or len(before) > best[0]):
            best = (len(before), take_name(job, other))
    return best[1] if best else None


def _made(take: Take) -> list[Mapping[str, Any]]:
    return steps_made(take.plain_lineage())


def steps_made(lineage: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The steps of a lineage that changed the sound."""
    return [step for step in lineage if not (step.get("passed_by") or step["type"] in ("score", "select"))]


def groups_of_block(results: Iterable[JobResult], *, strata: Mapping[str, str], night: str) -> list[Group]:
    """The groups of one prompt, in the order their first take was made. `night` names the night in the record."""
    members: dict[str, list[Scored]] = {}
    for result in results:
        for scored in result.scored:
            members.setdefault(scored.chance, []).append(scored)
    groups = []
    for chance, together in members.items():
        first = together[0]
        scorer = first.entry.report.scorer if first.entry.report else ""
        groups.append(Group(
            id=chance, stage=first.entry.take.split("/")[1], prompt=first.prompt, inputs=first.inputs, labeller=scorer,
            run=night, strata=dict(strata), entries=tuple(s.entry for s in together),
        ))  # fmt: skip
    return groups

"""Scored takes to groups: who is compared with whom, and what is on record of how each was made.

Knows no stage type and no file; the preference rules are in `scoring.preferences`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..scoring.preferences import Generation, Group, GroupEntry
from .audio_file import samples_sha256
from .keys import digest
from .take import Take

SILENT = 1e-4  # a take whose every sample stays below this (−80 dBFS) is silent: logged, never paired


def groups_of(
    stage: str, takes: Sequence[Take], *, facts: Mapping[str, Any], audio_paths: Mapping[tuple[str, int], Path], run_id: str,
    folder: Path | None,
) -> list[Group]:
    """The groups among the takes of one scoring stage (`facts` are its key facts): same conditioning, same prompt.

    `audio_paths` are the files written of them; paths in the record are relative to `folder`, so that it can be moved.
    Takes that passed a stage by were not made under the same chance and stand in groups of their own.
    """
    found: dict[str, list[Take]] = {}
    for take in takes:
        passed = [step["stage"] for step in take.lineage if step.get("passed_by")]
        chance = {"group": take.group, "prompt": take.prompt.facts(), "stage": stage, "facts": dict(facts), "passed": passed}
        name = digest(chance)
        found.setdefault(name[:16], []).append(take)
    groups = []
    for name, members in found.items():
        first = members[0]
        entries = tuple(entry_of(t, audio_paths.get((t.stage, t.index)), folder) for t in members)
        groups.append(Group(
            id=name, stage=stage, prompt=first.prompt.facts(), inputs={"conditioning": first.group},
            labeller=first.report.scorer if first.report else "", run=run_id, entries=entries,
        ))
    return groups


def entry_of(take: Take, path: Path | None, folder: Path | None) -> GroupEntry:
    """A scored take as it stands in a group; `path` is its sound file, on record relative to `folder`."""
    audio, report = take.audio, take.report
    loudness = report.metrics.get("integrated_lufs") if report else None
    finite = bool(audio.samples.isfinite().all())
    shown = None
    if path is not None:
        shown = str(path.relative_to(folder)) if folder is not None and path.is_relative_to(folder) else str(path)
    return GroupEntry(
        take=take.id, index=take.index, key=take.key, seed=take.seed, overall=report.overall if report else None, report=report,
        duration_s=take.duration_s, rate_hz=audio.rate_hz, generation=generation_of(take), audio_path=shown,
        pcm_sha256=samples_sha256(audio), loudness_lufs=loudness.value if loudness else None, finite=finite,
        silent=not finite or float(audio.samples.abs().max()) < SILENT,
    )


def generation_of(take: Take) -> Generation:
    """How the take was made: the last denoising stage's settings, with the whole lineage beside them."""
    last: Mapping[str, Any] = next((s for s in reversed(take.lineage) if s.get("timesteps")), {})
    revision, _, adapters = str(last.get("weights", "")).partition("+")
    return Generation(
        model=last.get("variant"), steps=last.get("steps"), seed=take.seed, shift=last.get("shift"), model_id=last.get("model"),
        model_revision=revision or None, adapters_sha256=digest(adapters) if adapters else None, sampler=last.get("solver"),
        schedule=last.get("schedule"), guidance=last.get("guidance"), extra={"lineage": take.plain_lineage()},
    )

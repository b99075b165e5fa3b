"""From source takes to jobs: which take of which source, which prompt, which seed, which key, and who passes by.

A job's index follows from its source take's own index and the fan-out alone, so a take never depends on its neighbours.
Knows no stage type, runs nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .context import Job, Numerics, main_of
from .errors import Problem, RunError
from .expression import Expression, ExpressionError
from .keys import digest, take_key, take_seed
from .spec import Prompt, Stage
from .take import Take


@dataclass(frozen=True, eq=False)
class Passing:
    """A source take for which the stage's `when` is false: it goes on unchanged."""

    index: int
    take: Take


def plan_jobs(
    name: str,
    stage: Stage,
    sources: Mapping[str, Sequence[Take]],
    *,
    fan_out: int,
    prompt: Prompt,
    run_seed: int,
    numerics: Numerics,
    fingerprint: str,
    when: Expression | None,
) -> list[Job | Passing]:
    """The stage's work, in output order. `sources` are the upstream takes by reference key; `fingerprint` covers weights and
    adapters ('' where the stage uses none). Raises `RunError` when the lists can't be aligned."""
    planned: list[Job | Passing] = []
    kind = numerics.portable()
    for index, aligned in _align(name, sources):
        main = main_of(aligned)
        if when is not None and main is not None and not holds(when, name, main):
            planned.append(Passing(index * fan_out, main))
            continue
        base = main.prompt if main is not None else prompt
        for k in range(fan_out):
            own = index * fan_out + k
            seed = take_seed(stage.seed, run_seed, name, own)
            full = stage.prompt.over(base)
            key = take_key(
                stage=stage.key_facts(), prompt=stage.prompt_facts(full), seed=seed if stage.draws else None,
                inputs={k: t.key for k, t in aligned.items()}, fingerprint=fingerprint, numerics=kind,
            )
            planned.append(Job(own, seed, full, aligned, key))
    return planned


def _align(name: str, sources: Mapping[str, Sequence[Take]]) -> list[tuple[int, dict[str, Take]]]:
    """Source takes side by side with the index they give: lists of one are broadcast, the others must be of one length.

    Lists of the same indices go together by index (one may come best first out of a select stage), others by place. The
    index is the main source take's own, so that what was chosen upstream keeps its number (and its seed)."""
    if not sources:
        return [(0, {})]
    lengths = {key: len(takes) for key, takes in sources.items()}
    longest = max(lengths.values())
    if 0 in lengths.values() or any(n not in (1, longest) for n in lengths.values()):
        cause = f"sources give unequal numbers of takes: {lengths}"
        raise RunError(str(Problem(cause, "let each give one take or equally many", name)))
    rows = []
    sources = _by_index(sources)
    for i in range(longest):
        aligned = {key: takes[0] if len(takes) == 1 else takes[i] for key, takes in sources.items()}
        main = main_of(aligned)
        many = main if main is not None and lengths.get("source", lengths.get("sources[0]", 1)) > 1 else None
        if many is None:
            many = next((takes[i] for takes in sources.values() if len(takes) > 1), main)
        rows.append((many.index if many is not None else i, aligned))
    return rows


def _by_index(sources: Mapping[str, Sequence[Take]]) -> Mapping[str, Sequence[Take]]:
    """The lists, those with the first long one's indices brought into its order."""
    first = next((takes for takes in sources.values() if len(takes) > 1), ())
    order = [take.index for take in first]
    ordered: dict[str, Sequence[Take]] = {}
    for key, takes in sources.items():
        named = {take.index: take for take in takes}
        same = len(takes) > 1 and len(takes) == len(order) and named.keys() == set(order)
        ordered[key] = [named[i] for i in order] if same else takes
    return ordered


def holds(when: Expression, name: str, take: Take) -> bool:
    """Whether `when` of stage `name` is true for a take. Raises `RunError` that names the stage when it can't be said."""

    def lookup(root: str, field: str) -> Any:
        if root == "prompt":
            if field not in Prompt.model_fields:
                raise KeyError(f"no prompt field '{field}'")
            return getattr(take.prompt, field)
        if root not in take.reports:
            raise KeyError(f"take {take.id} carries no report of stage '{root}'")
        return take.reports[root].field(field)

    try:
        return when.evaluate(lookup)
    except ExpressionError as error:
        raise RunError(str(Problem(f"take {take.id}: {error.cause}", error.fix, name, "when"))) from error


def group_of(stage: Stage, job: Job, diffused: bool) -> str:
    """The group a job's take belongs to: set where takes first fan out, by what conditioned them, and kept from then on
    (`diffused`: an earlier stage has set it)."""
    main = job.main
    if main is not None and (diffused or not stage.diffuses):
        return main.group
    conditioning = {key: take.key for key, take in job.sources.items()}
    return digest({"conditioning": conditioning, "prompt": job.prompt.facts()})

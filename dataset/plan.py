"""A plan: prompts × runs, how pairs are to be derived, and when it is enough. Read from YAML, checked, written again.

What a run's preset makes of it is `jobs`' matter; this module opens no preset and no prompt file.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, PrivateAttr, ValidationError, field_validator

from ..pipeline.errors import Problem, RequestError, did_you_mean
from ..pipeline.home import exists, expanded
from ..pipeline.places import COMMAND_LINE, nearest_line
from ..pipeline.spec import SEED_MAX, Name, Seed, Spec
from ..pipeline.yaml_text import plain_yaml
from ..presets.overrides import apply_overrides
from ..presets.shipped import FOLDER as PRESETS
from ..presets.spec_problems import spec_problems
from ..presets.yaml_reader import MAX_BYTES, read_file, read_yaml
from ..scoring.pair_strategy import PairStrategy, Quota
from .gates import Gates
from .prompt_sources import Prompts

NIGHTS = PRESETS / "nights"
"""Where the shipped plans lie."""


class PlannedRun(Spec):
    """A preset with its settings; with `vary`, one variation of it for each combination of the values."""

    preset: str = Field(min_length=1, max_length=4000, description="name of a shipped preset, or a file relative to the plan")
    takes: int | None = Field(None, ge=1, le=10_000, description="takes a job; left out: the preset's own")
    set: dict[str, Any] = Field(default_factory=dict, description="settings by dotted path, e.g. {draft.steps: 8}")
    vary: dict[str, tuple[Any, ...]] = Field(
        default_factory=dict, description="lists of settings by dotted path, e.g. {draft.steps: [8, 16]}"
    )
    inputs: dict[Name, str] = Field(default_factory=dict, description="input files by name, relative to the plan")

    @field_validator("vary")
    @classmethod
    def _lists(cls, value: dict[str, tuple[Any, ...]]) -> dict[str, tuple[Any, ...]]:
        for path, values in value.items():
            if len(values) < 1:
                raise ValueError(f"vary {path} has no values; leave it out, or write some")
            if len({repr(v) for v in values}) < len(values):
                raise ValueError(f"vary {path} names a value twice; write each once")
        return value


class Budget(Spec):
    """When it is enough: the night ends at whichever is reached first. Left out, there is no such bound."""

    hours: float | None = Field(None, gt=0, description="hours of work")
    pairs: int | None = Field(None, gt=0, description="pairs derived")
    takes: int | None = Field(None, gt=0, description="takes scored")
    disk_gb: float | None = Field(None, gt=0, description="gigabytes (10^9 bytes) the folder may fill")


class Plan(Spec):
    """One night's plan; see docs/nights.md. `seed` and `created` are filled in by `begun`."""

    name: str = Field("night", min_length=1, max_length=120)
    about: str = Field("", max_length=4000)
    seed: Seed | None = Field(None, description="left out: drawn once, and recorded")
    created: str | None = Field(None, max_length=40, description="when the plan was begun (ISO 8601); filled in")
    model: str | None = Field(None, min_length=1, max_length=400, description="replaces the presets' own model")
    prompts: Prompts
    runs: tuple[PlannedRun, ...] = Field(min_length=1, max_length=1000)
    strategies: tuple[PairStrategy, ...] = Field((PairStrategy(),), min_length=1, max_length=100)
    budget: Budget = Field(default_factory=Budget)
    gates: Gates = Field(default_factory=Gates)
    quotas: Quota | None = Field(None, description="pairs at most of each stratum, e.g. {by: [genre], pairs: 100}")
    audio: Literal["all", "paired", "none"] = Field("all", description="which takes are kept as FLAC (latents always are)")
    window: int = Field(32, ge=1, le=100_000, description="jobs among which those of one variant are done together")
    attempts: int = Field(3, ge=1, le=100, description="tries before a job is set aside")

    _base: Path | None = PrivateAttr(None)  # folder that relative paths start from
    _file: str | None = PrivateAttr(None)
    _lines: dict[tuple[str, ...], int] = PrivateAttr(default_factory=dict)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Plan) and self.model_dump() == other.model_dump()

    def __hash__(self) -> int:
        return hash(self.model_dump_json())

    @field_validator("strategies", mode="before")
    @classmethod
    def _several(cls, value: Any) -> Any:
        if isinstance(value, Mapping):
            raise ValueError("strategies is a list; write '- ' before the first key")
        return value

    def path(self, text: str) -> Path:
        """A path of this plan as a real one: relative paths start at the plan's folder."""
        p = expanded(text)
        return p if p.is_absolute() else (self._base or Path.cwd()) / p

    def placed(self, base: Path | None, file: str | None, lines: Mapping[tuple[str, ...], int]) -> Self:
        """Remember where this plan was read (folder, file name, YAML lines); returns self."""
        self._base, self._file, self._lines = base, file, dict(lines)
        return self

    def problem(self, cause: str, fix: str = "", *path: str | int) -> Problem:
        """A problem at a YAML path of this plan, e.g. ``("runs", 0, "set")``, with its file and line."""
        parts = tuple(str(part) for part in path)
        line = nearest_line(self._lines, parts)
        key = ".".join(parts) or None
        if line == COMMAND_LINE:
            return Problem(cause, fix, key=key, file="--set")
        return Problem(cause, fix, key=key, file=self._file, line=line)

    def begun(self, created: str, seed: int | None = None) -> Plan:
        """The plan as it is carried out and kept: `created` noted (where the plan has none), a seed drawn where it has none
        and none is given, and every path absolute, so that it means the same in another folder. Raises RequestError when its
        text would be too large to be read again."""
        runs = tuple(
            run.model_copy(update={
                "preset": self.preset_name(run.preset),
                "inputs": {name: str(self.path(file).absolute()) for name, file in run.inputs.items()},
            })
            for run in self.runs
        )  # fmt: skip
        chosen = self.seed if seed is None else seed
        made = self.model_copy(update={
            "seed": secrets.randbelow(SEED_MAX) if chosen is None else chosen, "created": self.created or created, "runs": runs,
            "prompts": self._absolute_prompts(), "model": self.model_name(),
        }).placed(self._base, self._file, self._lines)
        if made.prompts.list is not None and (size := len(made.to_yaml().encode("utf-8"))) > MAX_BYTES:
            raise RequestError(self.problem(*_too_large(size), "prompts"))
        return made

    def preset_name(self, preset: str) -> str:
        """What the presets' loader takes: a shipped preset's name as it stands, else an absolute path."""
        return preset if is_shipped(preset, PRESETS) else str(self.path(preset).absolute())

    def model_name(self) -> str | None:
        """The model as the presets' loader takes it: a folder as an absolute path, a name as it stands."""
        if self.model is None:
            return None
        folder = self.path(self.model)
        return str(folder.absolute()) if exists(folder) else self.model

    def _absolute_prompts(self) -> Prompts:
        p = self.prompts
        changes: dict[str, Any] = {}
        if p.file is not None:
            changes["file"] = str(self.path(p.file).absolute())
        if p.grid is not None and p.grid.beyond is not None:
            changes["grid"] = p.grid.model_copy(update={"beyond": str(self.path(p.grid.beyond).absolute())})
        if p.captions is not None:
            captioner = p.captions.captioner
            if captioner is not None and exists(self.path(captioner)):
                captioner = str(self.path(captioner).absolute())
            folder = str(self.path(p.captions.folder).absolute())
            changes["captions"] = p.captions.model_copy(update={"folder": folder, "captioner": captioner})
        return p.model_copy(update=changes)

    def to_yaml(self) -> str:
        """This plan as text: defaults left out; `load_plan` gives an equal plan back."""
        data = self.model_dump(mode="json", exclude_defaults=True)
        return plain_yaml({key: data[key] for key in type(self).model_fields if key in data})


def load_plan(plan: str | Path, overrides: Mapping[str, str] | None = None) -> Plan:
    """The plan in a file, a shipped plan by its name, or YAML text (anything with a line break). `overrides` are dotted paths
    and values as text (``{"budget.hours": "8"}``). Raises RequestError with every problem of the text, each with file, line
    and key; prompt file and presets are not looked at yet (`jobs.Jobs.check`)."""
    text, path = _found(plan)
    file = str(path) if path is not None else None
    document, problems = apply_overrides(read_yaml(text, file), overrides or {}, {}, Plan)
    data = document.data
    if not isinstance(data, dict):
        what = "is empty" if data is None else "is no mapping of keys"
        fix = "write keys such as prompts: and runs: at the left margin"
        raise RequestError([*problems, Problem(f"the plan {what}", fix, file=file)])
    if path is not None and "name" not in data:
        data = {"name": path.stem[:120], **data}
    made = None
    try:
        made = Plan.model_validate(data)
    except ValidationError as error:
        for p in spec_problems(error, Plan, data, document.lines):
            problems.append(Problem(p.cause, p.fix, key=p.key, file="--set") if p.line == COMMAND_LINE else p.at(file=file))
    if made is None or problems:
        raise RequestError(sorted(dict.fromkeys(problems), key=lambda p: p.line or 0))
    return made.placed(path.parent.absolute() if path is not None else None, file, document.lines)


def _too_large(size: int) -> tuple[str, str]:
    cause = f"the plan is {size / 1e6:.2f} MB large, at most {MAX_BYTES / 1e6:g} MB is read"
    return cause, "put the prompts into a file of their own: prompts: {file: prompts.jsonl}"


def _found(plan: str | Path) -> tuple[str, Path | None]:
    if isinstance(plan, str) and "\n" in plan:
        return plan, None
    if isinstance(plan, str) and is_shipped(plan, NIGHTS):
        path = NIGHTS / f"{plan}.yaml"
        return read_file(path, "plan"), path
    path = expanded(plan)
    if isinstance(plan, str) and len(path.parts) == 1 and not path.suffix and not exists(path):
        names = sorted(p.stem for p in NIGHTS.glob("*.yaml"))
        cause = f"there is no plan and no file '{plan}'.{did_you_mean(plan, names)}"
        raise RequestError(Problem(cause, f"name a .yaml file, or a shipped plan: {', '.join(names)}"))
    with contextlib.suppress(OSError, ValueError):  # read_file says what is wrong with the path
        if path.is_file() and path.stat().st_size > MAX_BYTES:
            raise RequestError(Problem(*_too_large(path.stat().st_size), file=str(path)))
    return read_file(path, "plan"), path


def is_shipped(name: str, folder: Path) -> bool:
    """Whether a preset (or plan) of that name comes with Segue, in `folder`."""
    return name in {path.stem for path in folder.glob("*.yaml")}


APART = frozenset({"created", "budget", "name", "about"})
"""Keys in which a plan may differ and be the same: a budget only says when to stop, a name nothing."""


def differences(kept: Plan, given: Plan) -> list[str]:
    """In what `given` is another plan than `kept` (which was `begun`), a line for each key: what is kept, and what is given. A
    seed that `given` leaves out is no difference, nor are the keys in `APART`."""
    now = given.begun(kept.created or "", seed=kept.seed if given.seed is None else None)
    told, apart = [], set(APART)
    sources = [next(name for name in Prompts.model_fields if getattr(plan.prompts, name) is not None) for plan in (kept, now)]
    if sources[0] != sources[1]:
        told.append(f"prompts: kept those of a {sources[0]}, given those of a {sources[1]}")
        apart.add("prompts")
    before, after = (_flat(plan.model_dump(mode="json", exclude=apart), ()) for plan in (kept, now))
    for path in dict.fromkeys((*before, *after)):
        if before.get(path) != after.get(path):
            told.append(f"{'.'.join(path)}: kept {_shown(before.get(path))}, given {_shown(after.get(path))}")
    return told


def _flat(data: Any, path: tuple[str, ...]) -> dict[tuple[str, ...], Any]:
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else None
    if items is None:
        return {} if data is None or data == "" else {path: data}
    found: dict[tuple[str, ...], Any] = {}
    for key, value in items:
        found |= _flat(value, (*path, str(key)))
    return found


def _shown(value: Any) -> str:
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"

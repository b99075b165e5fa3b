"""What a preset may say: frozen pydantic models, unknown keys refused, one to one with the YAML.

`Preset` is a whole one; `Stage` is what every stage type extends; `DiffusionStage` adds what any denoising stage may set.
This module knows no concrete stage type (it is handed instances), no weights and no files beyond their names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field, PrivateAttr, SerializeAsAny, field_validator, model_validator

from .diffusion.schedules import turbo_shift
from .errors import Problem
from .home import expanded
from .prompt import NAME_PATTERN, SEED_MAX, Name, Prompt, Seconds, Seed, Spec, Unit

if TYPE_CHECKING:  # annotations only: checking a preset must not cost the import of torch
    from .context import Context, Job, Result
    from .models.base import VariantInfo
    from .scope import Scope
    from .take import Take

__all__ = [
    "NAME_PATTERN", "SEED_MAX", "Adapter", "DiffusionStage", "Guidance", "Name", "Preset", "Prompt", "Seconds", "Seed", "Spec",
    "Stage", "Unit",
]  # fmt: skip


class Guidance(Spec):
    """How conditional and unconditional predictions are combined, and over which t."""

    kind: Literal["none", "cfg", "apg", "adg", "multi"] | None = None
    scale: float | None = Field(None, ge=0, le=30, description="guidance scale; 1 is no guidance")
    interval: tuple[Unit, Unit] = Field((0.0, 1.0), description="guidance is applied where low <= t <= high")
    acoustic_scale: float = Field(1.4, ge=0, le=30, description="kind 'multi': scale of what is shown (a source, its codes)")
    text_scale: float = Field(1.2, ge=0, le=30, description="kind 'multi': scale of the text")

    @field_validator("interval")
    @classmethod
    def _ordered(cls, value: tuple[float, float]) -> tuple[float, float]:
        if value[0] > value[1]:
            raise ValueError(f"interval {list(value)} runs backwards; write [low, high] with low <= high")
        return value


class Adapter(Spec):
    """A LoRA laid over the transformer for one stage."""

    path: str = Field(min_length=1, description="folder or .safetensors file of the LoRA, relative to the preset")
    scale: float = Field(1.0, ge=-4, le=4)


class Stage(Spec):
    """A node of the graph. Subclasses live in `stages/`; each fixes `type` and gives `run` (or `choose`).

    Class facts the executor and the graph read instead of knowing types:
    `version` (raise it when the same spec gives other bytes), `diffuses` (takes fan out here), `draws` (its
    bytes depend on the take's seed), `chooses` (acts on the
    whole list of takes through `choose`), `scores` (its takes carry a report), `needs_report`, `keeps_report`
    (False where the audio changes), `writes_files` (runs again even when its result is known), `task` (what the variant
    must be able to do), `reads_prompt` (prompt fields that decide its bytes), `finishes` (keys whose source may be a step
    checkpoint, because the stage goes on from its noise).
    """

    version: ClassVar[int] = 1
    diffuses: ClassVar[bool] = False
    draws: ClassVar[bool] = False
    chooses: ClassVar[bool] = False
    scores: ClassVar[bool] = False
    needs_report: ClassVar[bool] = False
    keeps_report: ClassVar[bool] = False
    writes_files: ClassVar[bool] = False
    task: ClassVar[str | None] = None
    reads_prompt: ClassVar[frozenset[str]] = frozenset(Prompt.model_fields)
    finishes: ClassVar[frozenset[str]] = frozenset()

    type: str
    about: str = Field("", max_length=2000, description="a note for readers; no effect")
    when: str | None = Field(
        None, max_length=1000, description="only takes for which this holds are worked on; others pass by unchanged"
    )
    seed: Seed | None = Field(None, description="take 0's seed as it stands; left out, seeds derive from the run's seed")
    takes: int | None = Field(None, ge=1, le=10_000, description="takes made per input take")
    prompt: Prompt = Field(default_factory=Prompt, description="prompt fields that differ here")

    def references(self) -> dict[str, str]:
        """Names of the inputs or stages this one reads, by the key that names them (e.g. ``{"source": "clip"}``)."""
        found: dict[str, str] = {}
        one, many = getattr(self, "source", None), getattr(self, "sources", None)
        if isinstance(one, str):
            found["source"] = one
        if many:
            found.update({f"sources[{i}]": name for i, name in enumerate(many)})
        return found

    def expected_duration_s(self, scope: Scope) -> float | None:
        """Length of this stage's takes in seconds as far as it is known before a run (None: not known). By default the
        main source's (the longest of `sources`), and `prompt.duration_s` for a stage without one."""
        main = [name for key, name in self.references().items() if key == "source" or key.startswith("sources")]
        if not main:
            return scope.prompt.duration_s
        lengths = [scope.duration_s(name) for name in main]
        return None if None in lengths else max(length for length in lengths if length is not None)

    def report_fields(self) -> frozenset[str] | None:
        """For stages with `scores`: the fields their reports will have, when that is known beforehand (None: not)."""
        return None

    def check(self, scope: Scope) -> Iterator[Problem]:
        """Problems that show before any weight is loaded. `scope` tells what is known about the sources."""
        return iter(())

    def key_facts(self) -> dict[str, Any]:
        """What of this spec decides the bytes it gives: everything but names, notes, seed and fan-out."""
        left_out = {"about", "when", "seed", "takes", "prompt", *(key.split("[")[0] for key in self.references())}
        facts = self.model_dump(mode="json", exclude=left_out)
        return {"version": self.version, **facts}

    def prompt_facts(self, prompt: Prompt) -> dict[str, Any]:
        """What of its take's full prompt decides the bytes this stage gives. The take's prompt itself is never kept with a
        result: it is the present source's, with what the stage overrides or fills in."""
        return {field: value for field, value in prompt.facts().items() if field in self.reads_prompt}

    def unfinished(self) -> str | None:
        """The key by which this stage is told to stop half-way, so that its takes are step checkpoints, still noise in part;
        None where they are finished sounds."""
        return None

    def weight_paths(self) -> tuple[str, ...]:
        """Files or folders of weights this spec names, whose content therefore belongs to the key (those of a
        `DiffusionStage` do anyway). A name that is no local path counts as it stands in `key_facts`."""
        return ()

    def run(self, jobs: Sequence[Job], ctx: Context) -> list[Result]:
        """One result per job, in order. Pure: the same jobs give the same results, whatever their company."""
        raise TypeError(f"stage type '{self.type}' has neither run nor choose")

    def choose(self, takes: Sequence[Take], ctx: Context) -> list[Take]:
        """For stages with `chooses`: the takes that go on, unchanged."""
        raise TypeError(f"stage type '{self.type}' does not choose")


class DiffusionStage(Stage):
    """A stage that denoises. Fields left out take the variant's own default (see `segue models`)."""

    diffuses: ClassVar[bool] = True
    draws: ClassVar[bool] = True
    reads_prompt: ClassVar[frozenset[str]] = frozenset(Prompt.model_fields) - {"duration_s"}  # as long as the source

    variant: str | None = Field(None, max_length=64, description="weights of the family: base, sft, turbo …")
    steps: int | None = Field(None, ge=1, le=1000, description="denoising steps of the full schedule")
    shift: float | None = Field(None, gt=0, le=20, description="time shift of the schedule, t = s·u/(1+(s−1)·u)")
    schedule: Literal["linear", "turbo", "continuous", "karras", "custom"] | None = None
    timesteps: tuple[Unit, ...] | None = Field(None, description="explicit falling timesteps in (0, 1]; schedule: custom")
    solver: Literal["euler", "heun", "sde", "dpmpp"] | None = None
    t_start_policy: Literal["truncate", "respace", "snap"] | None = Field(
        None, description="how a partial schedule begins: truncate, respace or snap"
    )
    guidance: Guidance = Field(default_factory=Guidance)
    adapters: tuple[Adapter, ...] = ()
    instruction: str | None = Field(None, max_length=2000, description="replaces the task's own instruction text")
    trace: bool = Field(False, description="record t, segment, forwards, seconds and norm of every step in the lineage")

    @field_validator("timesteps")
    @classmethod
    def _falling(cls, value: tuple[float, ...] | None) -> tuple[float, ...] | None:
        if value is None:
            return None
        if not value or any(a <= b for a, b in pairwise(value)) or value[-1] <= 0:
            raise ValueError(f"timesteps must fall strictly and stay above 0, got {list(value)}; the end point 0 is implied")
        return value

    @model_validator(mode="after")
    def _timesteps_are_custom(self) -> Self:
        if self.timesteps is not None and self.schedule not in (None, "custom"):
            raise ValueError(f"timesteps given together with schedule '{self.schedule}'; write schedule: custom or leave it out")
        if self.schedule == "custom" and self.timesteps is None:
            raise ValueError("schedule: custom needs timesteps, e.g. timesteps: [1.0, 0.7, 0.4, 0.1]")
        if self.timesteps is not None and self.steps is not None and self.steps != len(self.timesteps):
            raise ValueError(f"steps {self.steps} given together with {len(self.timesteps)} timesteps; leave steps out")
        return self

    def resolved(self, info: VariantInfo) -> Self:
        """The same stage with every default of the variant filled in (variant, steps, shift, schedule, solver, guidance), and
        the shift as the schedule will take it (turbo's tables know three)."""
        d = info.defaults
        schedule = "custom" if self.timesteps is not None else (self.schedule or d.schedule)
        shift = self.shift if self.shift is not None else d.shift
        kind = self.guidance.kind or (d.guidance_kind if self.guidance.scale != 1.0 else "none")
        scale = self.guidance.scale if self.guidance.scale is not None else d.guidance_scale
        return self.model_copy(
            update={
                "variant": info.variant,
                "steps": len(self.timesteps) if self.timesteps is not None else (self.steps or d.steps),
                "shift": turbo_shift(shift) if schedule == "turbo" else shift,
                "schedule": schedule,
                "solver": self.solver or d.solver,
                "t_start_policy": self.t_start_policy or d.t_start_policy,
                "guidance": self.guidance.model_copy(update={"kind": kind, "scale": scale}),
            }
        )


class Preset(Spec):
    """What a preset says: a declared graph of stages. `Pipeline` is the same with what can be done with it.

    `inputs` map names to audio files, relative to the preset's folder (to the working folder when made in Python).
    `outputs` name the stages whose takes are written to the run's folder; left out, every stage nothing else reads.
    """

    name: str = Field("pipeline", min_length=1, max_length=120)
    about: str = Field("", max_length=4000)
    model: str = Field("segue-mini", min_length=1, max_length=400, description="model name, local folder or hub id")
    prompt: Prompt = Field(default_factory=Prompt)
    takes: int = Field(1, ge=1, le=10_000)
    seed: Seed | None = Field(None, description="left out: drawn once, and recorded")
    inputs: dict[Name, str] = Field(default_factory=dict)
    stages: dict[Name, SerializeAsAny[Stage]] = Field(min_length=1, max_length=500)
    outputs: tuple[Name, ...] = ()

    _base: Path | None = PrivateAttr(None)  # folder that relative paths start from
    _lines: dict[tuple[str, ...], int] = PrivateAttr(default_factory=dict)  # YAML path -> line, for messages
    _file: str | None = PrivateAttr(None)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Preset) and self.model_dump() == other.model_dump()

    def __hash__(self) -> int:
        return hash(self.model_dump_json())

    @field_validator("stages", mode="before")
    @classmethod
    def _instances(cls, value: Any) -> Any:
        if isinstance(value, Mapping):
            for name, stage in value.items():
                if not isinstance(stage, Stage):
                    raise ValueError(
                        f"stage '{name}' is a {type(stage).__name__}; give a stage object such as Generate(...), "
                        "or load text with segue.load"
                    )
        return value

    def path(self, text: str) -> Path:
        """A path of this preset as a real one: relative paths start at the preset's folder."""
        p = expanded(text)
        return p if p.is_absolute() else (self._base or Path.cwd()) / p

    def placed(self, base: Path | None = None, file: str | None = None, lines: dict[tuple[str, ...], int] | None = None) -> Self:
        """Remember where this preset came from (folder, file name, YAML lines); returns self."""
        self._base, self._file, self._lines = base, file, lines or {}
        return self

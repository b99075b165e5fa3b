"""The jobs of a plan, by number and made when asked for: which prompt, which variation of which run, which seed, how many takes.

A block is one prompt with all its jobs, run after run, variation after variation; block b of M jobs is numbers b·M … b·M+M−1.
All jobs of a block have one seed, so that settings are compared at equal noise. Knows no queue and no file but that in which
prompts are kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ..pipeline.errors import Problem, RequestError
from ..pipeline.keys import derive_seed
from ..pipeline.pipeline import Pipeline
from ..pipeline.prompt import Prompt
from .plan import Plan
from .plan_checks import strategy_problems
from .prompts import prompt_table
from .strata import strata_of
from .variations import base_pipeline, placed, variations


@dataclass(frozen=True)
class PlannedJob:
    """One job: a prompt through one variation of a run. `takes` is how many its first diffusing stage makes."""

    number: int
    block: int
    prompt: Prompt
    strata: dict[str, str]
    run: int
    variation: dict[str, str]
    takes: int
    seed: int
    origin: str = field(default="", compare=False)

    @property
    def varied(self) -> dict[str, str]:
        """What tells its takes' settings from those of the block's other jobs, for `Generation.varied`: its run, and the settings
        that the run varies."""
        return {"run": str(self.run), **self.variation}


class Jobs:
    """The jobs of `plan`, which must have its seed (`Plan.begun`). Where the file `kept` is there, the prompts are those in it,
    and else they are resolved now (sounds described, a grid drawn); `keep` writes them to it. Presets are loaded once for
    each variation, when first needed.

    Raises RequestError with every problem of the prompts or of what varies, and where kept prompts are not this plan's.
    """

    def __init__(self, plan: Plan, kept: Path | None = None) -> None:
        if plan.seed is None:
            raise ValueError("the plan has no seed yet; call Plan.begun first")
        self.plan, self._seed = plan, plan.seed
        self.variations = variations(plan)
        self.prompts = prompt_table(plan, kept)
        self._bases: dict[int, Pipeline] = {}
        self._kinds = _kinds([variation.run for variation in self.variations])

    def keep(self, kept: Path) -> None:
        """Write the prompts to the file `kept`, unless they are there already, so that a resume finds these and resolves none
        again. Its folder must exist. Raises RunError when the disk refuses."""
        if not kept.exists():
            self.prompts.keep(kept)

    def __len__(self) -> int:
        return len(self.prompts) * len(self.variations)

    def __getitem__(self, number: int) -> PlannedJob:
        block, variation = self._place(number)
        tagged = self.prompts[block]
        chosen = self.variations[variation]
        return PlannedJob(
            number=number, block=block, prompt=tagged.plain(), strata=strata_of(tagged), run=chosen.run,
            variation=dict(chosen.settings), takes=self.base(variation).takes, seed=self.seed(block), origin=tagged.origin,
        )  # fmt: skip

    def __iter__(self) -> Iterator[PlannedJob]:
        return (self[number] for number in range(len(self)))

    @property
    def blocks(self) -> int:
        """How many prompts there are."""
        return len(self.prompts)

    def block(self, block: int) -> range:
        """The numbers of a prompt's jobs."""
        if not 0 <= block < self.blocks:
            raise IndexError(f"there is no block {block}; there are {self.blocks}")
        each = len(self.variations)
        return range(block * each, (block + 1) * each)

    def block_of(self, number: int) -> int:
        """The prompt of a job."""
        return self._place(number)[0]

    def kind(self, number: int) -> str:
        """What a job has in common with those of other prompts: its run, and which variation of it (``"0"``, ``"1.2"``)."""
        return self._kinds[self._place(number)[1]]

    def first_of_kinds(self) -> dict[str, int]:
        """The first job of each kind."""
        return {kind: number for number, kind in enumerate(self._kinds)}

    def strata(self, block: int) -> dict[str, str]:
        """The strata of a prompt."""
        return strata_of(self.prompts[block])

    def seed(self, block: int) -> int:
        """The seed of every job of a block, in [0, 2**63): `keys.derive_seed` of (the plan's seed, "block", block)."""
        return derive_seed(self._seed, "block", block)

    def base(self, variation: int) -> Pipeline:
        """The preset of a variation (by its place in `variations`), with its settings, before prompt and seed are laid in."""
        if variation not in self._bases:
            self._bases[variation] = base_pipeline(self.plan, self.variations[variation])
        return self._bases[variation]

    def pipeline(self, number: int) -> Pipeline:
        """What a job carries out: the preset with the job's prompt laid over its own, its seed and its takes."""
        block, variation = self._place(number)
        return self._laid_in(variation, block)

    def _laid_in(self, variation: int, block: int) -> Pipeline:
        base = self.base(variation)
        prompt = self.prompts[block].plain().over(base.prompt)
        made = base.model_copy(update={"prompt": prompt, "seed": self.seed(block)})
        return made.placed(base._base, base._file, base._lines)

    def _place(self, number: int) -> tuple[int, int]:
        if not 0 <= number < len(self):
            raise IndexError(f"there is no job {number}; there are {len(self)}")
        return divmod(number, len(self.variations))

    def check(self, *, offline: bool = False) -> None:
        """Look at every variation with the first prompt, as `pipeline.prepare` does, and at what strategies and quotas ask of
        them. Raises one RequestError with every problem, each at its place in plan or preset. Loads no weight."""
        from ..pipeline.prepare import prepare

        problems: list[Problem] = []
        graphs = []
        for place, variation in enumerate(self.variations):
            try:
                graphs.append((variation, prepare(self._laid_in(place, 0), offline=offline).graph))
            except RequestError as error:
                problems += [placed(self.plan, variation, problem) for problem in error.problems]
        problems += strategy_problems(self.plan, graphs, self.strata(0), whole=not problems)
        if problems:
            raise RequestError(sorted(dict.fromkeys(problems), key=lambda p: (p.file or "", p.line or 0)))

    def models(self) -> tuple[tuple[str, Path | None], ...]:
        """The models the jobs use, each once: name, and the folder a relative one starts from."""
        bases = [self.base(place) for place in range(len(self.variations))]
        return tuple(dict.fromkeys((base.model, base._base) for base in bases if any(s.diffuses for s in base.stages.values())))


def _kinds(runs: list[int]) -> list[str]:
    return [str(run) if runs.count(run) == 1 else f"{run}.{place - runs.index(run)}" for place, run in enumerate(runs)]

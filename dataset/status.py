"""Where a night stands: jobs, takes, pairs, how long it will still take, what went wrong. Quick at any size.

Knows no stage; the expected seconds of jobs that none like them has been done of yet come from the catalog of timings.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..pipeline.catalog import Catalog
from ..pipeline.context import Numerics
from ..pipeline.errors import RequestError
from ..pipeline.home import segue_home
from ..pipeline.prepare import prepare
from ..pipeline.timings import expected_seconds
from .account import in_force
from .catalog import Failure, NightCatalog
from .folder import NightFolder
from .jobs import Jobs
from .plan import Plan, load_plan


@dataclass(frozen=True)
class Status:
    """Where a night stands. `eta_s`: seconds of work still to do for the processes that are at it (None: nothing is known);
    by budget where one will end it sooner. `model_busy`: share of the running processes' time that the model was at work."""

    name: str
    prompts: int
    prompts_settled: int
    jobs: dict[str, int]
    groups: int
    takes: int
    pairs: int
    budget: dict[str, float]
    running: int
    model_busy: float | None
    model_swaps: int
    eta_s: float | None
    failures: tuple[Failure, ...]
    stop_asked: bool

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def night_status(out: str | Path, *, home: str | Path | None = None) -> Status:
    """Where the night in `out` stands. Raises `RequestError` where there is none."""
    folder = NightFolder(Path(out).absolute())
    folder.must_exist()
    with NightCatalog(folder.database) as catalog:
        plan = in_force(load_plan(folder.plan), catalog)
        states, settled = catalog.counts(), catalog.settled()
        runners = catalog.runners()
        alive = [r for r in runners if r["alive"]]
        wall = sum(r["wall_s"] for r in (alive or runners))
        return Status(
            name=plan.name, prompts=catalog.fact("prompts"), prompts_settled=settled.blocks, jobs=states, groups=settled.groups,
            takes=settled.takes, pairs=settled.pairs, budget=plan.budget.model_dump(exclude_none=True), running=len(alive),
            model_busy=sum(r["busy_s"] for r in (alive or runners)) / wall if wall else None,
            model_swaps=sum(r["swaps"] for r in runners), eta_s=seconds_left(folder, plan, catalog, max(1, len(alive)), home),
            failures=catalog.failures(), stop_asked=catalog.stop_asked(),
        )  # fmt: skip


def seconds_left(
    folder: NightFolder, plan: Plan, catalog: NightCatalog, processes: int = 1, home: str | Path | None = None
) -> float | None:
    """Seconds until the queue is empty, or until a budget of pairs or takes will be used up at the rate so far; by what jobs
    of each kind took in this night, and where none was done yet by past timings of their stages. None: nothing is known."""
    still = catalog.open_by_kind()
    if not still:
        return 0.0
    known = catalog.seconds_by_kind()
    unknown = [kind for kind in still if kind not in known]
    if unknown:
        known |= _expected(folder, plan, catalog, unknown, home)
    if any(kind not in known for kind in still):
        return None
    seconds = sum(n * known[kind] for kind, n in still.items())
    settled, done = catalog.settled(), catalog.counts()["done"]
    for wanted, have in ((plan.budget.pairs, settled.pairs), (plan.budget.takes, settled.takes)):
        if wanted is not None and have and done:
            left = max(0, wanted - have) / have * done  # jobs, at the rate so far
            seconds = min(seconds, seconds * left / sum(still.values()))
    return seconds / processes


def _expected(
    folder: NightFolder, plan: Plan, catalog: NightCatalog, kinds: list[str], home: str | Path | None
) -> dict[str, float]:
    """Seconds of jobs of these kinds by past timings of their stages, of whatever run; kinds of which nothing is known are
    left out."""
    found = {}
    jobs = Jobs(plan, folder.prompts)
    firsts = jobs.first_of_kinds()
    numerics = Numerics(**catalog.fact("numerics"))
    with Catalog(segue_home(home) / "catalog.sqlite3") as timings:
        for kind in kinds:
            try:
                graph = prepare(jobs.pipeline(firsts[kind]), offline=True).graph
            except RequestError:  # a model or an input is not there right now: nothing is known
                continue
            seconds = expected_seconds(timings, graph, numerics)
            if seconds is not None:
                found[kind] = seconds
    return found

"""A night from plan to pairs: begin it or go on with it, let a runner work, write the account. What `segue night` calls.

Knows how the parts fit, and nothing of what is inside them.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..pipeline.atomic import locked, process_mark, write_text
from ..pipeline.catalog import Catalog
from ..pipeline.context import Numerics
from ..pipeline.errors import Problem, RequestError
from ..pipeline.events import CancelToken, Listener
from ..pipeline.executor import weights_of
from ..pipeline.home import segue_home
from ..pipeline.keys import digest, numerics_facts
from ..pipeline.options import RunOptions, decide, numerics_of
from ..pipeline.prepare import prepare
from ..pipeline.session import threads
from ..pipeline.yaml_text import to_yaml
from .account import write_account
from .catalog import NightCatalog
from .environment import Limits
from .folder import NightFolder
from .jobs import Jobs
from .ledger import Ledger
from .local import LocalEngine
from .pairing import write_pairs
from .plan import Plan, differences, load_plan
from .ray_cluster import import_ray
from .runner import Progress, Runner
from .status import seconds_left
from .work import Worker

EngineName = Literal["local", "ray"]


@dataclass(frozen=True)
class Ended:
    """How a night's process ended: why, whether nothing is left to do, and the account as plain data."""

    reason: str
    complete: bool
    account: Mapping[str, Any]


def run_night(
    plan: Plan | str | Path, out: str | Path, *, engine: EngineName = "local", hours: float | None = None,
    patience_s: float = 600.0, options: RunOptions | None = None, on_progress: Callable[[Progress], None] | None = None,
    on_event: Listener | None = None, cancel: CancelToken | None = None, home: str | Path | None = None,
    created: str | None = None, workers: int = 2,
) -> Ended:  # fmt: skip
    """Carry out a plan into `out`, or go on with it where it is begun already; returns when nothing is left, a budget is used
    up, or it was told to stop.

    `hours` wins over the plan's. `created` is the plan's timestamp (now, when left out), the only time in the record.
    `workers` are Ray's processes. Several processes may work on one night. Raises `RequestError` for a plan that can't be
    carried out, a folder of another plan, other weights or library versions than it was begun with; `RunError` when the disk
    or a model was gone for longer than `patience_s`. What was finished is kept in every case.
    """
    if engine == "ray":
        import_ray()  # before anything is begun
    folder = NightFolder(Path(out).absolute())
    given = plan if isinstance(plan, Plan) else load_plan(plan)
    owner = process_mark(os.getpid())
    jobs, options, numerics = _begin(folder, given, options or RunOptions(), created, owner)
    own = jobs.plan
    with NightCatalog(folder.database) as catalog, Catalog(segue_home(home) / "catalog.sqlite3") as timings:
        cancel = cancel or CancelToken()
        catalog.note("budget", own.budget.model_dump(exclude_none=True))
        assert own.created is not None
        worker = Worker(folder, jobs, options, numerics, policy=own.audio, created=own.created, timings=timings,
                        on_event=on_event, cancel=cancel)  # fmt: skip
        ledger = Ledger(folder, catalog, own, jobs, worker.store, catalog.fact("night"))
        made = _engine(engine, worker, jobs, workers, timings=timings, on_event=on_event, cancel=cancel)
        limits = Limits(hours if hours is not None else own.budget.hours, own.budget.disk_gb, patience_s)
        runner = Runner(owner, folder.root, catalog, ledger, made, own.window, own.attempts, limits, cancel, on_progress,
                        lambda: seconds_left(folder, own, catalog, home=home))  # fmt: skip
        try:
            with threads(numerics.threads):
                reason = runner.run()
        finally:
            made.close()
            ledger.close()
        write_pairs(folder, own.strategies, own.quotas)
        if catalog.settled().blocks == jobs.blocks:
            worker.store.discard(worker.store.keys())  # encoded sources, takes of jobs that were set aside
        return Ended(reason, ledger.complete(), write_account(folder, own, catalog))


def _engine(name: EngineName, worker: Worker, jobs: Jobs, workers: int, **heard: Any) -> Any:
    if name == "local":
        return LocalEngine(worker, jobs.models())
    from .ray_engine import RayEngine

    return RayEngine(worker, jobs, workers, **heard)


def _begin(
    folder: NightFolder, given: Plan, options: RunOptions, created: str | None, owner: str
) -> tuple[Jobs, RunOptions, Numerics]:
    """The night's jobs, options and numerics, as they were fixed when it was begun (now, where it was not). `owner` is a runner
    of it from as early on as the night can be stopped."""
    if not folder.exists():
        decided, numerics = decide(options)
        jobs = Jobs(given.begun(created or _now()))
        jobs.check(offline=decided.offline)  # before anything is written
        folder.prepare()
        with locked(folder.lock):
            if not folder.exists():
                _first(folder, jobs, decided, numerics, owner)
                return jobs, decided, numerics
    return _go_on(folder, given, options, created, owner)


def _first(folder: NightFolder, jobs: Jobs, options: RunOptions, numerics: Numerics, owner: str) -> None:
    """Keep the prompts, fill the queue; the plan itself is written last: with it the night is begun."""
    folder.clear_unbegun()
    plan = jobs.plan
    try:
        jobs.keep(folder.prompts)
        with NightCatalog(folder.database) as catalog:
            catalog.note("night", digest({"plan": plan.to_yaml()})[:16])
            catalog.note("options", options.model_dump())
            catalog.note("numerics", numerics_facts(numerics))
            catalog.note("weights", _weights(jobs, options.offline))
            catalog.note("presets", _presets(jobs))
            catalog.note("prompts", jobs.blocks)
            catalog.fill((number, jobs.block_of(number), jobs.kind(number)) for number in range(len(jobs)))
            catalog.begin_runner(owner, _now())
        write_text(folder.groups, "", "the night's record")
        write_text(folder.plan, plan.to_yaml(), "the night's plan")
    except BaseException:
        folder.clear_unbegun()
        raise


def _go_on(
    folder: NightFolder, given: Plan, options: RunOptions, created: str | None, owner: str
) -> tuple[Jobs, RunOptions, Numerics]:
    """The night as it was begun; raises `RequestError` where `given` is another plan, or options, weights or libraries are
    others."""
    folder.prepare()
    kept = load_plan(folder.plan)
    other = differences(kept, given) + _other_options(folder, kept, options, created)
    if other:
        shown = "; ".join(other[:12]) + (f"; and {len(other) - 12} more" if len(other) > 12 else "")
        raise RequestError(Problem(
            f"{folder.root} is the folder of another plan ({shown})", "give another --out, or go on with the plan that is "
            f"there: segue night {folder.plan} --out {folder.root}", key="out",
        ))  # fmt: skip
    plan = kept.model_copy(update={"budget": given.budget}).placed(kept._base, kept._file, kept._lines)
    with NightCatalog(folder.database) as catalog:
        catalog.begin_runner(owner, _now())
        try:
            jobs = Jobs(plan, folder.prompts)
            return (jobs, *_unchanged(folder, jobs, catalog))
        except BaseException:
            catalog.withdraw_runner(owner)
            raise


def _other_options(folder: NightFolder, kept: Plan, options: RunOptions, created: str | None) -> list[str]:
    """Options that are given and that the night was not begun with, a line each. (Whether the hub may be asked is none.)"""
    with NightCatalog(folder.database) as catalog:
        then = catalog.fact("options")
    asked = options.model_dump(exclude_defaults=True, exclude={"offline"})
    told = [f"{name}: kept {then[name]!r}, given {value!r}" for name, value in asked.items() if value != then[name]]
    return told + ([f"created: kept {kept.created!r}, given {created!r}"] if created not in (None, kept.created) else [])


def _unchanged(folder: NightFolder, jobs: Jobs, catalog: NightCatalog) -> tuple[RunOptions, Numerics]:
    """The options and numerics of the night; raises `RequestError` where what it was begun with is not there any more."""
    options = RunOptions(**catalog.fact("options"))
    numerics, then = numerics_of(options), Numerics(**catalog.fact("numerics"))
    changed = {k: v for k, v in then.versions.items() if numerics.versions.get(k) != v}
    if changed:
        told = ", ".join(f"{k}: then {v}, now {numerics.versions.get(k)}" for k, v in changed.items())
        raise RequestError(Problem(
            f"the night in {folder.root} was begun with other library versions or processor ({told}), so its takes can't be "
            "made with the same bytes", "restore those versions, or begin a new night in another folder",
        ))
    for what, now in (("presets", _presets(jobs)), ("weights", _weights(jobs, options.offline))):
        before = catalog.fact(what)
        others = sorted(key for key in {*before, *now} if before.get(key) != now.get(key))
        if others:
            raise RequestError(Problem(
                f"the {what} of {', '.join(others)} are not those the night in {folder.root} was begun with",
                "put back what was there then, or begin a new night in another folder",
            ))
    return options, numerics


def _weights(jobs: Jobs, offline: bool) -> dict[str, str]:
    """Fingerprints of the weights that the stages of every kind of job use."""
    found: dict[str, str] = {}
    for kind, number in jobs.first_of_kinds().items():
        prepared = prepare(jobs.pipeline(number), offline=offline)
        found |= {f"run {kind}, stage {stage}": mark for stage, mark in weights_of(prepared).items()}
    return found


def _presets(jobs: Jobs) -> dict[str, str]:
    """A digest of the preset of every kind of job, settings laid in."""
    return {f"run {kind}": digest({"preset": to_yaml(jobs.base(place))}) for place, kind in enumerate(jobs.first_of_kinds())}


def stop_night(out: str | Path) -> int:
    """Ask every process that works on the night to end; gives how many there are. Raises `RequestError` where there is no
    night."""
    folder = NightFolder(Path(out).absolute())
    folder.must_exist()
    with NightCatalog(folder.database) as catalog:
        return catalog.ask_to_stop()


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds").replace("+00:00", "Z")

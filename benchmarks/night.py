"""What a night costs beside the takes themselves: its queue and record at size, its throughput, its changes of weights.

    python benchmarks/night.py [--only queue record swaps throughput] [--jobs 1000 10000 100000] [--prompts 10000] [--takes 10]
                               [--night 12] [--rounds 3] [--threads 1] [--out FILE]

`queue`: milliseconds of process time of what a runner does between takes, on simulated nights of that many jobs, half of them
done. `record`: the same of reading a record of prompts x takes (10,000 x 10 by default: half a gigabyte on disk, removed
again), each in a process of its own with its largest resident set, and of making the index of pairs, which a night makes as it
settles its prompts; aims: status, pairs, coverage and the next job in less than a few hundred milliseconds, opening in less
than 5 s. `swaps`: changes of weights over jobs of two variants in windows of several sizes, beside the 2 * ceil(jobs / window)
they may be. `throughput`: a small night on the embedded model beside the very same
takes made by the bare stages in the same process, nothing kept and nothing scored; aim: the model at work 95 % of the time.
Process time does not depend on who else uses the machine; the wall clock does, so that only its ratios are worth reading.
"""

from __future__ import annotations

import math
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from night_kills import build_two_variants
from night_size import CREATED, Simulated, fill_record, measured, open_night, settle_blank, write_plan
from peer import arguments, report
from segue.dataset.catalog import NightCatalog
from segue.dataset.coverage import coverage
from segue.dataset.folder import NightFolder
from segue.dataset.jobs import Jobs
from segue.dataset.ledger import Ledger
from segue.dataset.night import run_night
from segue.dataset.pair_index import PairIndex
from segue.dataset.pairing import collector_at_rest, write_pairs
from segue.dataset.plan import load_plan
from segue.dataset.status import night_status
from segue.pipeline.models.pool import Pool
from segue.pipeline.options import RunOptions, decide
from segue.pipeline.prepare import prepare
from segue.pipeline.session import Counts, Session, threads
from segue.pipeline.spec import DiffusionStage
from segue.pipeline.store import Entry, Store
from segue.pipeline.take import Take
from segue.pipeline.walk import StageRunner
from segue.scoring.pair_audit import Auditor
from segue.scoring.preferences import PairStrategy

PARTS = ("queue", "record", "swaps", "throughput")
WINDOW = 32
SWAPS = """
model: {model}
stages:
  drafts: {{type: generate, variant: base, steps: 1}}
  polished: {{type: refine, source: drafts, variant: turbo, denoise: 0.5, steps: 1}}
  scored: {{type: score, source: polished}}
"""
TWO = """
stages:
  drafts: {type: generate, variant: base, steps: 8}
  polished: {type: refine, source: drafts, variant: turbo, denoise: 0.5}
  scored: {type: score, source: polished}
"""
PLAN = """
name: bench
seed: 3
prompts:
  grid:
    caption: "{{genre}} tune {{number}}"
    genre: [jazz, funk]
    number: {numbers}
    duration_s: {seconds}
    instrumental: true
runs:
  - {{preset: {preset}, takes: {takes}}}
window: {window}
audio: all
"""


def queue(jobs: int) -> dict[str, Any]:
    """Milliseconds of what a runner does between takes: each in the middle of a night of that many jobs."""
    with tempfile.TemporaryDirectory() as place:
        base = Path(place)
        plan = write_plan(base, jobs, 4)
        costs: dict[str, Any] = {"begin": measured(lambda: open_night(plan, base / "night"))}
        folder = NightFolder(base / "night")
        settle_blank(folder, jobs // 2, 4)
        costs |= measured(lambda: _between_takes(folder, jobs))
        costs["status"] = measured(lambda: night_status(folder.root, home=base / "home"), 3)
        costs["go on"] = measured(lambda: open_night(plan, folder.root))
    return costs


def _between_takes(folder: NightFolder, jobs: int) -> dict[str, Any]:
    loaded = load_plan(folder.plan)
    simulated, found = Simulated(4), dict[str, float]()

    def timed(name: str, work: Any, of: int = 1) -> Any:
        begun = time.process_time()
        made = work()
        found[name] = round(1000 * (time.process_time() - begun) / of, 3)
        return made

    with NightCatalog(folder.database) as catalog:
        ledger = Ledger(folder, catalog, loaded, Jobs(loaded, folder.prompts), Store(folder.store), "night")
        numbers = timed(f"claim of {WINDOW} jobs", lambda: catalog.claim("host:1:1", WINDOW))
        results = {n: simulated.result(n).model_dump_json() for n in numbers}

        def finish() -> None:
            for number, result in results.items():
                catalog.finish(number, takes=4, seconds=3.0, result=result)

        timed("finish, a job", finish, WINDOW)
        settled = timed("settle, a prompt", ledger.settle, WINDOW)
        assert settled == WINDOW, settled
        timed("counts of jobs", catalog.counts)
        timed("budget and stop, a turn", lambda: (ledger.spent(), catalog.stop_asked()))
        timed("settle, nothing to do", ledger.settle)
    return found


def record(prompts: int, takes: int) -> dict[str, Any]:
    """What reading a whole record costs: pairs, audit, coverage, status, going on, ending (pairs and account)."""
    with tempfile.TemporaryDirectory() as place:
        base = Path(place)
        plan = write_plan(base, prompts, takes)
        measured(lambda: open_night(plan, base / "night"))  # in its own process, so that going on is cold
        folder = NightFolder(base / "night")
        size = fill_record(folder, Simulated(takes), prompts)
        best, top = PairStrategy(), PairStrategy(rule="topk", k=2, margin=0.8, margin_unit="sd")
        return {
            "prompts": prompts, "takes": prompts * takes, "bytes": size, "nothing": measured(lambda: None),
            "index from nothing": measured(lambda: _indexed(folder)),
            "pairs, best against worst": measured(lambda: write_pairs(folder, [best])),
            "pairs, two best against two worst, audit": measured(lambda: write_pairs(folder, [top], auditor=Auditor())),
            "coverage": measured(lambda: _total(coverage(folder.root))),
            "status": measured(lambda: night_status(folder.root, home=base / "home"), 3),
            "go on and end": measured(lambda: open_night(plan, folder.root)),
        }


def _indexed(folder: NightFolder) -> dict[str, Any]:
    """Make the index of pairs that a night makes as it settles its prompts."""
    with collector_at_rest(), PairIndex(folder.index, folder.groups) as index:
        index.catch_up()
    return {"bytes": folder.index.stat().st_size}


def _total(found: Any) -> dict[str, Any]:
    return dict(found.total.document())


def swaps(jobs: int = 48, windows: tuple[int, ...] = (8, 16, 48)) -> dict[str, Any]:
    """Changes of weights of nights on a tiny random model, base then turbo in every job."""
    found: dict[str, Any] = {"jobs": jobs}
    with tempfile.TemporaryDirectory() as place:
        base = Path(place)
        (base / "preset.yaml").write_text(SWAPS.format(model=build_two_variants(base / "model")))
        for window in windows:
            account = _night(base, f"w{window}", jobs=jobs, seconds=1, takes=2, window=window, threads_=1)
            found[f"window {window}"] = {"swaps": account["runners"][0]["model_swaps"], "at_most": 2 * math.ceil(jobs / window)}
    return found


def _night(base: Path, out: str, *, jobs: int, seconds: int, takes: int, window: int, threads_: int) -> dict[str, Any]:
    plan = base / f"{out}.yaml"
    plan.write_text(PLAN.format(numbers=list(range(jobs // 2)), seconds=seconds, preset=base / "preset.yaml", takes=takes,
                                window=window))  # fmt: skip
    options = RunOptions(threads=threads_, offline=True)
    return dict(run_night(plan, base / out, options=options, created=CREATED, home=base / "home").account)


class Nowhere(Store):
    """A store that keeps nothing."""

    def get(self, key: str) -> Entry | None:
        return None

    def put(self, key: str, entry: Entry) -> None:
        pass

    def put_view(self, key: str, view: Any) -> bool:
        return False


def bare(night: NightFolder, threads_: int, nowhere: Store) -> list[Take]:
    """The takes of a night's jobs by their diffusing stages alone: every stage over all jobs, so that each variant is loaded
    once; the last stage's takes decoded."""
    jobs = Jobs(load_plan(night.plan), night.prompts)
    options, numerics = decide(RunOptions(threads=threads_, offline=True))
    pool, walks = None, []
    for number in range(len(jobs)):
        pipeline = jobs.pipeline(number)
        prepared = prepare(pipeline, offline=True)
        assert prepared.model is not None
        pool = pool or Pool(prepared.model, numerics, Counts(), options=options)
        session = Session(pipeline, prepared.model, pool, nowhere, numerics, Counts(), out=None, created="", on_event=None,
                          cancel=None, preset="")  # fmt: skip
        walks.append((session, prepared.graph, dict[str, tuple[Take, ...]]()))
    assert pool is not None
    with pool, threads(numerics.threads):
        diffusing = [name for name in walks[0][1].order if isinstance(walks[0][1].stage(name), DiffusionStage)]
        for name in diffusing:
            for session, graph, made in walks:
                made[name], _ = StageRunner(session, graph, name, session.run_seed, lambda *_: None).run(made)
                for take in made[name] if name == diffusing[-1] else ():
                    take.signal.audio()
    return [take for _, _, made in walks for take in made[diffusing[-1]]]


def throughput(jobs: int, threads_: int, rounds: int, seconds: int = 4, takes: int = 2) -> dict[str, Any]:
    """Nights of `jobs` prompts beside their bare takes, in turn, both loading their weights themselves; medians of the rounds."""
    rows: list[tuple[float, float, float, float]] = []
    with tempfile.TemporaryDirectory() as place:
        base = Path(place)
        (base / "preset.yaml").write_text(TWO)
        _night(base, "warm", jobs=2, seconds=1, takes=2, window=2, threads_=threads_)
        runners = []
        for number in range(rounds):
            out, made = f"night{number}", list[Take]()

            def night(out: str = out) -> None:
                account = _night(base, out, jobs=jobs, seconds=seconds, takes=takes, window=jobs, threads_=threads_)
                runners.append(account["runners"][0])

            def plain(out: str = out, made: list[Take] = made) -> None:
                made += bare(NightFolder(base / out), threads_, Nowhere(base / "nowhere"))

            rows.append((*_both(night), *_both(plain)))
            kept = len(list((base / out / "audio").rglob("*.flac")))
            assert len(made) == kept == jobs * takes, (len(made), kept)
    night_s, night_cpu, bare_s, bare_cpu = (statistics.median(column) for column in zip(*rows, strict=True))
    hour = 3600 * jobs * takes
    return {
        "jobs": jobs, "takes": jobs * takes, "seconds_a_take": seconds, "threads": threads_, "rounds": rounds,
        "night": {"wall_s": round(night_s, 2), "cpu_s": round(night_cpu, 2), "takes_an_hour": round(hour / night_s)},
        "bare": {"wall_s": round(bare_s, 2), "cpu_s": round(bare_cpu, 2), "takes_an_hour": round(hour / bare_s)},
        "night_over_bare_wall": round(statistics.median(r[0] / r[2] for r in rows), 3),
        "night_over_bare_cpu": round(statistics.median(r[1] / r[3] for r in rows), 3),
        "model_busy": statistics.median(runner["model_busy"] for runner in runners),
        "swaps": max(runner["model_swaps"] for runner in runners), "swaps_at_most": 2,
    }


def _both(work: Callable[[], None]) -> tuple[float, float]:
    """Seconds by the wall clock and of process time."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--jobs", nargs="+", type=int, default=[1_000, 10_000, 100_000])
    parser.add_argument("--prompts", type=int, default=10_000)
    parser.add_argument("--takes", type=int, default=10)
    parser.add_argument("--night", type=int, default=12, help="jobs of the throughput night")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    found: dict[str, Any] = {}
    if "queue" in args.only:
        found["queue_ms"] = {str(jobs): queue(jobs) for jobs in args.jobs}
    if "record" in args.only:
        found["record"] = record(args.prompts, args.takes)
    if "swaps" in args.only:
        found["swaps"] = swaps()
    if "throughput" in args.only:
        found["throughput"] = throughput(args.night, args.threads, args.rounds)
    report(found, args.out)


if __name__ == "__main__":
    main()

"""What the executor costs: a cached re-run, a changed last stage, and the overhead a stage and take.

    python benchmarks/executor.py [--out FILE]

Four stages on segue-mini in one process. `overhead` is a chain of stages that do nothing to a take, without fsync.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal
from unittest import mock

from peer import arguments, report, timed
from segue import Pipeline, Prompt
from segue.pipeline.context import Context, Job, Result
from segue.pipeline.events import RunDone, StageStarted
from segue.pipeline.spec import Name, Stage
from segue.pipeline.store import Store
from segue.stages import Generate, Refine, Score


class Nothing(Stage):
    """Gives its source's takes back."""

    type: Literal["nothing"] = "nothing"
    source: Name

    def run(self, jobs: Sequence[Job], ctx: Context) -> list[Result]:
        return [Result(same_signal=True) for _ in jobs]


def four_stages(last_denoise: float) -> Pipeline:
    return Pipeline(
        prompt=Prompt(caption="slow piano", instrumental=True, duration_s=8), seed=3, takes=2,
        stages={
            "draft": Generate(variant="base", steps=12),
            "better": Refine(source="draft", variant="turbo", denoise=0.6),
            "scored": Score(source="better"),
            "polish": Refine(source="scored", variant="base", steps=32, denoise=last_denoise),
        },
        outputs=("polish",),
    )


def reruns(rounds: int) -> dict[str, Any]:
    """Seconds of the first run, of the same again, and of one whose last stage changed; the last stage alone for scale."""
    rows = []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as home:
            first = timed(lambda h=home: four_stages(0.6).run(home=h))
            again = timed(lambda h=home: four_stages(0.6).run(home=h))
            begun = time.perf_counter()
            run = four_stages(0.5).run(home=home)
            changed = time.perf_counter() - begun
            alone = next(s.seconds for s in run.stages if s.name == "polish")
            rows.append((first, again, changed, alone))
    first, again, changed, alone = (statistics.median(r[i] for r in rows) for i in range(4))
    return {
        "first_s": round(first, 3), "again_s": round(again, 3), "again_over_first": round(again / first, 4),
        "changed_last_s": round(changed, 3), "last_stage_alone_s": round(alone, 3),
        "changed_over_last_alone": round(statistics.median(r[2] / r[3] for r in rows), 3),
    }


def overhead(stages: int = 20, takes: int = 20) -> dict[str, Any]:
    """Milliseconds a stage and take of a chain that does nothing, apart from fsync (the store's `durable` is off)."""
    chain: dict[str, Stage] = {"draft": Generate(variant="turbo", steps=1)}
    last = "draft"
    for i in range(stages):
        chain[f"n{i}"] = Nothing(source=last)
        last = f"n{i}"
    pipeline = Pipeline(prompt=Prompt(caption="x", duration_s=1), seed=1, takes=takes, stages=chain)
    plain = Store.__init__

    def without_fsync(self: Store, root: Path | str | None = None, **rest: Any) -> None:
        plain(self, root, **{**rest, "durable": False})

    with tempfile.TemporaryDirectory() as home, mock.patch.object(Store, "__init__", without_fsync):
        seen: list[tuple[float, object]] = []
        pipeline.run(home=home, on_event=lambda event: seen.append((time.perf_counter(), event)))
    begun = next(t for t, e in seen if isinstance(e, StageStarted) and e.stage == "n0")
    seconds = next(t for t, e in seen if isinstance(e, RunDone)) - begun
    return {"stages": stages, "takes": takes, "ms_per_stage_and_take": round(1000 * seconds / (stages * takes), 3)}


def main() -> None:
    args = arguments(__doc__ or "").parse_args()
    report({"reruns": reruns(args.rounds), "overhead": overhead()}, args.out)


if __name__ == "__main__":
    main()

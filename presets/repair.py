"""Carry out repair plans: each is a preset fragment, all run as one pipeline, every result is scored beside the input.

Nothing is overwritten, and a repair is kept only where it scores better and what it was for became less
(`scoring.repairs.better`). Knows the loader, so that a plan's fragment is judged as any preset is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ..pipeline.errors import Problem, RequestError
from ..pipeline.events import CancelToken, Listener
from ..pipeline.options import RunOptions
from ..pipeline.pipeline import Pipeline
from ..pipeline.run import Run
from ..scoring.profiles import Profile
from ..scoring.repairs import CLIP, RepairPlan, better
from ..scoring.report import QualityReport
from .loader import all_types, load
from .overrides import apply_overrides
from .yaml_reader import Document

HEARD, BEFORE = "heard", "before"
# Stage types that every variant serves; extract, lego and complete want base, mix has no model.
SERVED_BY_ALL = ("refine", "repaint", "cover", "super_resolve")


@dataclass(frozen=True)
class Attempt:
    """A plan that was run: the report and the file of its result, and whether it may be kept."""

    plan: RepairPlan
    report: QualityReport
    file: Path | None
    better: bool


@dataclass(frozen=True)
class Repair:
    """All attempts in the plans' order; `kept` is the best of those that are better than the input, None where none is."""

    before: QualityReport
    attempts: tuple[Attempt, ...]
    run: Run

    @property
    def kept(self) -> Attempt | None:
        good = [a for a in self.attempts if a.better]
        return max(good, key=lambda a: a.report.overall) if good else None

    def document(self) -> dict[str, Any]:
        """Plain data for ``segue repair --json``."""
        return {
            "run_id": self.run.id,
            "before": self.before.model_dump(mode="json"),
            "kept": self.kept.plan.name if self.kept else None,
            "file": str(self.kept.file) if self.kept and self.kept.file else None,
            "attempts": [
                {"plan": a.plan.model_dump(mode="json"), "report": a.report.model_dump(mode="json"),
                 "file": str(a.file) if a.file else None, "better": a.better}
                for a in self.attempts
            ],
        }  # fmt: skip


def repair_preset(
    file: str | Path,
    plans: Sequence[RepairPlan],
    *,
    model: str | None = None,
    profile: Profile = "music",
    variant: str | None = None,
    seed: int = 0,
    overrides: Mapping[str, str] | None = None,
) -> str:
    """The preset, as YAML, that tries every plan on `file`, the input `clip`: what the signal tells of the prompt is filled in,
    the clip is scored, then each plan's stages and the score of its result; `overrides` as `load` takes them. Raises
    RequestError for no plans and for overrides of what isn't there."""
    if not plans:
        raise RequestError(Problem("there is no plan to carry out", "give a report with defects that a stage can mend"))
    stages: dict[str, dict[str, Any]] = {
        HEARD: {"type": "caption", "source": CLIP},
        BEFORE: {"type": "score", "source": HEARD, "profile": profile},
    }
    for number, plan in enumerate(plans):
        for name, fields in plan.stages.items():
            own = {**fields, **({"variant": variant} if variant and fields.get("type") in SERVED_BY_ALL else {})}
            own |= {key: _named(number, plan, own[key]) for key in ("source", "keep") if isinstance(own.get(key), str)}
            own |= {key: [_named(number, plan, name) for name in own[key]] for key in ("sources", "estimates") if key in own}
            stages[_stage_name(number, name)] = own
        stages[_scored(number)] = {"type": "score", "source": _stage_name(number, plan.result), "profile": profile}
    document: dict[str, Any] = {
        "name": "repair", "prompt": {"instrumental": True}, "seed": seed, "takes": 1,
        "inputs": {CLIP: str(Path(file).absolute())}, "stages": stages,
        "outputs": [_scored(number) for number in range(len(plans))],
    }  # fmt: skip
    document = ({"model": model} if model else {}) | document
    changed, problems = apply_overrides(Document(document), overrides or {}, all_types())
    if problems:
        raise RequestError(problems)
    return yaml.safe_dump(changed.data, sort_keys=False, allow_unicode=True)


def repair(
    file: str | Path,
    plans: Sequence[RepairPlan],
    *,
    model: str | None = None,
    profile: Profile = "music",
    variant: str | None = None,
    seed: int = 0,
    overrides: Mapping[str, str] | None = None,
    out: str | Path | None = None,
    home: str | Path | None = None,
    options: RunOptions | None = None,
    on_event: Listener | None = None,
    cancel: CancelToken | None = None,
) -> Repair:
    """Try `plans` on an audio file and judge each result against the file.

    `overrides` change fields of the preset, as `load` takes them (``{"prompt.caption": "slow blues"}``). Every result is
    written to the run's folder; the file itself stays as it is. Raises `RequestError` for what a preset is refused for (a
    file that can't be read, a window outside the clip, a model without the variant …), `RunError` and `Cancelled` as
    `Pipeline.run` does.
    """
    text = repair_preset(file, plans, model=model, profile=profile, variant=variant, seed=seed)
    pipeline: Pipeline = load(text, overrides=overrides)
    run = pipeline.run(out=out, home=home, options=options, on_event=on_event, cancel=cancel)
    before = _report(run, BEFORE)
    attempts = []
    for number, plan in enumerate(plans):
        report = _report(run, _scored(number))
        (take,) = run[_scored(number)]
        attempts.append(Attempt(plan, report, run.audio_paths.get((take.stage, take.index)), better(before, report, plan)))
    return Repair(before, tuple(attempts), run)


def _named(number: int, plan: RepairPlan, source: str) -> str:
    """What a plan's stage reads, by its name in the whole preset."""
    if source == CLIP:
        return HEARD
    return _stage_name(number, source) if source in plan.stages else source


def _stage_name(number: int, name: str) -> str:
    return f"p{number + 1}_{name}"


def _scored(number: int) -> str:
    return f"p{number + 1}_scored"


def _report(run: Run, stage: str) -> QualityReport:
    (take,) = run[stage]
    assert take.report is not None
    return take.report

"""From a report to repair plans: what could be done about its defects, best promise first.

A plan is a fragment of a preset: stages by name, the first of which reads `clip`, the last of which gives the result. It is
data; `presets.repair` carries it out. Which remedy is tried for which defect, in the order of gentleness:

* what has a place and is short (gap, click, burst): repaint the spans;
* what lies over the signal (clipping, noise, …): partial denoising, first little, then more;
* a defect that one stem carries: leave that stem out and have it played anew (lego);
* a missing upper band: super-resolution from the edge that was found;
* what colours everything: a cover at strength 0.95, which plays the same music anew.

What a plan promises is what its defects cost in the overall score (`scorer.deductions`); whether it keeps the promise is
only known after it was run and scored. Knows no stage class, no model and no file.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from .profiles import Profile
from .report import Defect, QualityReport
from .scorer import deductions

CLIP = "clip"
PAD_S, NEAR_S, SHORTEST_S = 0.15, 0.5, 0.5
LONGEST_SHARE = 0.4  # repainting more than that is another piece of music

PLACED = ("gap", "click", "noise_burst", "silence")
OVERLAID = ("clipping", "saturation", "noise", "hum", "pre_echo", "noise_burst", "click", "dc_offset")
COLOURING = (
    "muddy", "harsh", "decoder_comb", "aliasing", "phase_cancellation", "false_stereo", "over_compression", "clipping",
    "saturation", "mistuned",
)  # fmt: skip
DENOISE = (0.2, 0.35)
COVER_STRENGTH = 0.95


class RepairPlan(BaseModel):
    """One thing to try. `stages` is a preset's mapping of stages; `promises` are points of the overall score's ten."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    defects: tuple[str, ...] = Field(min_length=1)
    why: str
    promises: float = Field(ge=0, le=10)
    stages: dict[str, dict[str, Any]] = Field(min_length=1)

    @property
    def result(self) -> str:
        """Name of the stage that gives the repaired take."""
        return list(self.stages)[-1]


def repair_plans(
    report: QualityReport, *, profile: Profile = "music", tracks: Collection[str] | None = None
) -> tuple[RepairPlan, ...]:
    """Plans for the defects of `report`, ranked: most points first, the gentler first among equals; empty when there is
    nothing that a stage could mend (no defects, or only such as a wrong tempo, which asks for a new take). `tracks` are the
    stems that a model can extract and play; with a stem of another name, none is played anew.

    >>> gap = Defect(type="gap", severity=0.8, start_s=1.0, end_s=1.1)
    >>> report = QualityReport(overall=7, defects=(gap,), scorer="2", duration_s=8, rate_hz=48_000)
    >>> [(plan.name, plan.promises, plan.stages["repainted"]["windows"]) for plan in repair_plans(report)]
    [('repaint-spans', 1.605, [[0.8, 1.3]])]
    """
    costs = deductions({}, report.defects, report.duration_s, profile)
    found = [
        *_repaint(report, costs),
        *_relego(report, costs, tracks),
        *_partial_denoising(report, costs),
        *_super_resolution(report, costs),
        *_cover(report, costs),
    ]
    return tuple(sorted(found, key=lambda plan: -plan.promises))


def windows(defects: Iterable[Defect], duration_s: float) -> list[tuple[float, float]]:
    """Spans to repaint, in seconds: padded by 0.15 s, at least 0.5 s long, those nearer than 0.5 s joined, inside the clip.

    >>> windows([Defect(type="gap", severity=1, start_s=1.0, end_s=1.1)], 8.0)
    [(0.8, 1.3)]
    """
    wide = []
    for d in sorted(defects, key=lambda d: d.start_s):
        middle, half = (d.start_s + d.end_s) / 2, max((d.end_s - d.start_s) / 2 + PAD_S, SHORTEST_S / 2)
        wide.append((max(0.0, middle - half), min(duration_s, middle + half)))
    joined: list[tuple[float, float]] = []
    for start, end in wide:
        if joined and start - joined[-1][1] < NEAR_S:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return [(round(start, 3), round(end, 3)) for start, end in joined]


def _of(report: QualityReport, kinds: Iterable[str], costs: Mapping[str, float]) -> tuple[list[str], float]:
    """Those of `kinds` that the report has, costliest first, and what they cost together."""
    there = {d.type for d in report.defects}
    names = sorted((k for k in kinds if k in there), key=lambda k: (-costs.get(k, 0.0), k))
    return names, min(10.0, sum(costs.get(k, 0.0) for k in names))


def _repaint(report: QualityReport, costs: Mapping[str, float]) -> list[RepairPlan]:
    placed = [d for d in report.defects if d.type in PLACED and d.evidence.get("place") not in ("all", "start", "end")]
    spans = windows(placed, report.duration_s)
    if not spans or sum(b - a for a, b in spans) > LONGEST_SHARE * report.duration_s:
        return []
    names, cost = _of(report, {d.type for d in placed}, costs)
    times = ", ".join(f"{a:.2f}–{b:.2f} s" for a, b in spans[:4]) + (" …" if len(spans) > 4 else "")
    stage = {"type": "repaint", "source": CLIP, "windows": [list(span) for span in spans]}
    return [RepairPlan(name="repaint-spans", defects=tuple(names), promises=cost, stages={"repainted": stage},
                       why=f"{_listed(names)} at {times}: play these spans anew, keep the rest")]  # fmt: skip


def _relego(report: QualityReport, costs: Mapping[str, float], tracks: Collection[str] | None) -> list[RepairPlan]:
    """A plan for each stem that carries defects: the other stems are cut out of the clip, by extracts of all, and laid together;
    the stem is made anew."""
    found = []
    for track in report.stems:
        carried = {d.type for d in report.defects if d.evidence.get("stem") == track}
        names, cost = _of(report, carried, costs)
        others = [other for other in report.stems if other != track]
        if not names or not others or (tracks is not None and not set(report.stems) <= set(tracks)):
            continue
        extracts = {f"{one}_extract": {"type": "extract", "source": CLIP, "track": one} for one in report.stems}
        cut = {"type": "wiener", "source": CLIP, "estimates": list(extracts), "exhaustive": True}
        stages: dict[str, dict[str, Any]] = {**extracts, **{o: {**cut, "keep": f"{o}_extract"} for o in others}}
        source = others[0]
        if len(others) > 1:
            source = "rest"
            stages[source] = {"type": "mix", "sources": others}
        stages["anew"] = {"type": "lego", "source": source, "track": track, "keep_source": True}
        found.append(RepairPlan(name=f"lego-{track}", defects=tuple(names), promises=cost, stages=stages,
                                why=f"{_listed(names)} in the {track}: play that track anew to the others"))  # fmt: skip
    return found


def _partial_denoising(report: QualityReport, costs: Mapping[str, float]) -> list[RepairPlan]:
    names, cost = _of(report, OVERLAID, costs)
    if not names:
        return []
    return [
        RepairPlan(name=f"refine-{denoise:g}", defects=tuple(names), promises=cost,
                   stages={"refined": {"type": "refine", "source": CLIP, "denoise": denoise}},
                   why=f"{_listed(names)} over the sound: denoise it from t = {denoise:g}, which keeps the music")
        for denoise in DENOISE
    ]  # fmt: skip


def _super_resolution(report: QualityReport, costs: Mapping[str, float]) -> list[RepairPlan]:
    cut = next((d for d in report.defects if d.type == "bandwidth_cut"), None)
    if cut is None:
        return []
    stage: dict[str, Any] = {"type": "super_resolve", "source": CLIP, "denoise": 0.5}
    edge = cut.evidence.get("edge_hz")
    if isinstance(edge, (int, float)) and edge > 0:
        stage["cutoff_hz"] = edge
    where = f" above {edge:.0f} Hz" if "cutoff_hz" in stage else ""
    return [RepairPlan(name="super-resolve", defects=("bandwidth_cut",), promises=min(10.0, costs.get("bandwidth_cut", 0.0)),
                       stages={"restored": stage}, why=f"nothing{where}: fill in the upper band, keep the lower")]  # fmt: skip


def _cover(report: QualityReport, costs: Mapping[str, float]) -> list[RepairPlan]:
    names, cost = _of(report, COLOURING, costs)
    if not names:
        return []
    stage = {"type": "cover", "source": CLIP, "strength": COVER_STRENGTH}
    why = f"{_listed(names)} colour everything: play the same music anew at strength {COVER_STRENGTH:g}"
    return [RepairPlan(name=f"cover-{COVER_STRENGTH:g}", defects=tuple(names), promises=cost, stages={"covered": stage}, why=why)]


def _listed(names: list[str]) -> str:
    words = [name.replace("_", " ") for name in names]
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1]


def better(before: QualityReport, after: QualityReport, plan: RepairPlan, *, margin: float = 0.05) -> bool:
    """Whether a repair is kept: the overall score rose by `margin` or more, and the worst severity among the defects it was
    for fell. A repair that raises the score by something else than what it was for is not one.

    >>> gap = Defect(type="gap", severity=0.8, start_s=1.0, end_s=1.1)
    >>> before = QualityReport(overall=7, defects=(gap,), scorer="2", duration_s=8, rate_hz=48_000)
    >>> after = before.model_copy(update={"overall": 8.0, "defects": ()})
    >>> plan = repair_plans(before)[0]
    >>> better(before, after, plan), better(before, after.model_copy(update={"defects": (gap,)}), plan)
    (True, False)
    """
    def worst(report: QualityReport) -> float:
        return max((d.severity for d in report.defects if d.type in plan.defects), default=0.0)

    return after.overall >= before.overall + margin and worst(after) < worst(before)

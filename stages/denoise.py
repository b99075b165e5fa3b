"""The one way from conditions to a clean latent, shared by every denoising stage.

A stage says what it wants as `Plan`s (one a job); this module resolves the schedule, draws the take's own noise, builds
the timeline and runs the core. It knows no concrete stage type.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from ..pipeline.context import Context, Job, Result
from ..pipeline.diffusion.guidance import make_guidance
from ..pipeline.diffusion.loop import Trajectory, renoise, sample
from ..pipeline.diffusion.schedules import start_at, timesteps
from ..pipeline.diffusion.timeline import Segment, Timeline
from ..pipeline.models.base import ConditionRequest, Model, VariantInfo
from ..pipeline.spec import DiffusionStage
from ..pipeline.take import Latent

ProjectionMaker = Callable[[Sequence[int]], tuple[Any, ...]]
"""Given the positions (in the list of jobs) that run together, the projections for that batch."""


@dataclass(frozen=True, eq=False)
class Plan:
    """What one job asks of the core.

    `segments` are (what the decoder sees, fraction of the executed steps at which it ends). `start` `[T, D]` is the clean
    latent that is re-noised to `t_start` (None: pure noise). `checkpoint` is a step checkpoint instead, gone on from as it
    is. `samples` is the audio length the result stands for.
    """

    segments: tuple[tuple[ConditionRequest, float], ...]
    samples: int
    start: torch.Tensor | None = None
    t_start: float = 1.0
    checkpoint: Latent | None = None
    stop_at: int | None = None
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def frames(self) -> int:
        return self.segments[0][0].frames


def schedule_of(stage: DiffusionStage, t_start: float = 1.0) -> tuple[float, ...]:
    """The timesteps a resolved stage will evaluate when it starts at `t_start` (falling, without the final 0)."""
    assert stage.schedule and stage.steps and stage.shift is not None and stage.t_start_policy
    full = timesteps(stage.schedule, stage.steps, stage.shift, stage.timesteps)
    if t_start >= 1.0:
        return full
    return start_at(full, t_start, stage.t_start_policy, steps=stage.steps, shift=stage.shift)


def denoise(
    stage: DiffusionStage,
    jobs: Sequence[Job],
    ctx: Context,
    plans: Sequence[Plan],
    projections: ProjectionMaker | None = None,
) -> list[Result]:
    """Run the core for every plan; plans of equal shape share a forward. Results carry latents and the facts of the run.

    A partial denoising from t = 0 is no plan: it is `untouched`.
    """
    results: dict[int, Result] = {}
    groups: dict[tuple[Any, ...], list[int]] = {}
    for i, plan in enumerate(plans):
        resumed = plan.checkpoint
        mark = None if resumed is None else (resumed.t, int(resumed.state.get("step", torch.tensor(-1))))
        shape = (plan.frames, plan.t_start, mark, plan.stop_at, tuple(until for _, until in plan.segments))
        groups.setdefault(shape, []).append(i)
    for positions in groups.values():
        ts, first = _timesteps(stage, plans[positions[0]])
        made = _run_group(stage, [jobs[i] for i in positions], ctx, [plans[i] for i in positions], ts, first,
                          projections(positions) if projections else ())
        results.update(dict(zip(positions, made, strict=True)))
    return [results[i] for i in range(len(plans))]


def untouched() -> Result:
    """The result of a partial denoising from t = 0: the source itself. Nothing is encoded, decoded or loaded for it, and no model
    stands behind the sound."""
    return Result(same_signal=True, facts={"t_start": 0.0, "timesteps": []})


def _timesteps(stage: DiffusionStage, plan: Plan) -> tuple[tuple[float, ...], int]:
    """The schedule and the step to begin with. A checkpoint of this very schedule goes on in it, with its memory; one of
    another schedule goes on with this one's points below its level."""
    if plan.checkpoint is None:
        return schedule_of(stage, plan.t_start), 0
    full, t = schedule_of(stage), plan.checkpoint.t
    step = int(plan.checkpoint.state.get("step", torch.tensor(-1)))
    if 0 <= step < len(full) and full[step] == t:
        return full, step
    return (t, *(point for point in full if point < t - 1e-6)), 0


def _initial(plans: Sequence[Plan], jobs: Sequence[Job], ctx: Context, dim: int, t: float) -> torch.Tensor:
    rows = []
    for plan, job in zip(plans, jobs, strict=True):
        if plan.checkpoint is not None:
            rows.append(plan.checkpoint.frames)
            continue
        noise = ctx.noise(job.seed, "initial", 0, (plan.frames, dim))
        # A schedule that begins below 1 (Karras, custom) begins at its own level, here with silence's mean for data.
        clean = torch.zeros_like(noise) if plan.start is None else plan.start
        rows.append(renoise(clean, noise, t))
    return torch.stack(rows)


def _states(plans: Sequence[Plan]) -> dict[str, torch.Tensor] | None:
    """The memory of a batch of checkpoints: rows joined; None where they carry none."""
    kept = [plan.checkpoint.state for plan in plans if plan.checkpoint is not None]
    if not kept or not kept[0]:
        return None
    return {k: torch.cat([state[k] for state in kept]) if v.ndim else v for k, v in kept[0].items()}


def _run_group(
    stage: DiffusionStage,
    jobs: Sequence[Job],
    ctx: Context,
    plans: Sequence[Plan],
    ts: tuple[float, ...],
    first: int,
    projections: tuple[Any, ...],
) -> list[Result]:
    info = ctx.info(stage.variant)
    model = ctx.model(stage)
    _warn_of_cut_text(ctx, info, model, plans)
    segments = []
    for s, (_, until) in enumerate(plans[0].segments):
        segments.append(Segment(model.conditions([plan.segments[s][0] for plan in plans]), until))
    timeline = Timeline(tuple(segments))
    for text in timeline.warnings(len(ts)):
        ctx.warn(text)
    g = stage.guidance
    guidance = make_guidance(
        g.kind or "none", scale=g.scale if g.scale is not None else 1.0, interval=g.interval,
        acoustic_scale=g.acoustic_scale, text_scale=g.text_scale,
    )
    device = ctx.numerics.device
    x = _initial(plans, jobs, ctx, info.latent_dim, ts[first]).to(device)

    def noise(purpose: str, step: int, shape: Sequence[int]) -> torch.Tensor:
        return torch.stack([ctx.noise(job.seed, purpose, step, tuple(shape)[1:]) for job in jobs]).to(device)

    trajectory = sample(
        model.denoiser(), timeline, ts, x, solver=stage.solver or "euler", guidance=guidance, projections=projections,
        noise=noise, on_step=lambda step, steps: ctx.step(jobs, step, steps), trace=stage.trace, stop_at=plans[0].stop_at,
        first_step=first, state=_states(plans) if first else None,
    )
    return [_result(stage, info, plan, trajectory, row, ts[first:]) for row, plan in enumerate(plans)]


def _warn_of_cut_text(ctx: Context, info: VariantInfo, model: Model, plans: Sequence[Plan]) -> None:
    """Text beyond the model's limits is cut off; the user is told, once for each text."""
    for request in (request for plan in plans for request, _ in plan.segments):
        text, lyrics = model.token_counts(request.prompt, request.instruction)
        for what, have, limit in (("prompt is", text, info.max_text_tokens), ("lyrics are", lyrics, info.max_lyric_tokens)):
            if have > limit > 0:
                ctx.warn(f"stage '{ctx.stage}': the {what} {have} tokens long; {info.model} reads {limit}, the rest is cut off")


def _result(
    stage: DiffusionStage, info: VariantInfo, plan: Plan, trajectory: Trajectory, row: int, ts: tuple[float, ...]
) -> Result:
    facts: dict[str, Any] = {
        **plan.facts,
        "model": info.model,
        "variant": info.variant,
        "codec": info.codec,
        "training": info.training,
        "t_start": ts[0],
        "timesteps": list(ts),
        "steps": stage.steps,
        "shift": stage.shift,
        "schedule": stage.schedule,
        "solver": stage.solver,
        "guidance": stage.guidance.model_dump(mode="json"),
        "instruction": plan.segments[0][0].instruction,
    }
    if stage.trace:
        facts["trace"] = [{**vars(step), "norm": step.norm[row]} for step in trajectory.trace]
    latent = Latent(
        trajectory.x[row].float().cpu().contiguous(), info.frame_rate_hz, info.codec, t=trajectory.t, samples=plan.samples,
        state={k: v[row : row + 1] if v.ndim else v for k, v in trajectory.state.items()},
    )
    return Result(latent=latent, facts=facts, steps_run=trajectory.steps_run, forwards=trajectory.forwards)

"""The denoising loop: down a schedule under a timeline of conditions, with guidance, projections, a solver.

`sample` is the only entrance. It runs in inference mode, draws no noise of its own (a `NoiseSource` gives
it, by purpose and step) and touches no global state. This module knows neither models nor takes: a network
is a `Denoiser`, a condition is opaque.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..errors import Problem, RequestError
from .denoiser import Denoiser
from .flow import Prediction, State, renoise, x0_from
from .guidance import Guidance
from .projections import Projection
from .schedules import check_falling
from .solvers import REMEMBER, solver_named
from .timeline import Span, Timeline

__all__ = ["NoiseSource", "TraceStep", "Trajectory", "renoise", "sample", "x0_from"]

NoiseSource = Callable[[str, int, Sequence[int]], Tensor]
"""``noise(purpose, step, shape)`` -> standard normal `[B, T, D]`, the same for the same arguments."""


@dataclass(frozen=True)
class TraceStep:
    """What one step did.

    `t` of its first evaluation, the segment's name (or its number), network rows per take, wall seconds,
    root mean square of each take's state after it (1 for unit noise), and whether the step began a segment,
    which drops every cached key and value."""

    t: float
    segment: str
    forwards: int
    seconds: float
    norm: tuple[float, ...]
    cache_reset: bool


@dataclass(frozen=True, eq=False)
class Trajectory:
    """Where a call of `sample` came to: state `x` `[B, T, D]` at level `t` (0 when it ran to the end).

    `steps_run` and `forwards` (network rows per take) count this call alone. `state` is what a resumed call
    needs besides `x` to go on exactly: named tensors, safe to write to a file. `warnings` are sentences for
    the user.
    """

    x: Tensor
    t: float
    steps_run: int
    forwards: int
    trace: tuple[TraceStep, ...] = ()
    state: Mapping[str, Tensor] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def sample(
    denoiser: Denoiser,
    timeline: Timeline,
    ts: Sequence[float],
    x: Tensor,
    *,
    guidance: Guidance,
    noise: NoiseSource,
    solver: str = "euler",
    projections: Sequence[Projection] = (),
    on_step: Callable[[int, int], None] | None = None,
    trace: bool = False,
    first_step: int = 0,
    stop_at: int | None = None,
    state: Mapping[str, Tensor] | None = None,
) -> Trajectory:
    """Denoise `x` `[B, T, D]`, at noise level `ts[first_step]`, down the falling timesteps `ts` to 0.

    An empty `ts` is the identity. `on_step(step, steps)` is called after each step, `step` counting from 1
    over the whole of `ts`; what it raises ends the run. Segments switch at steps counted over the whole of
    `ts`; at each the denoiser's `switch` is called once and guidance and solver begin afresh.

    `stop_at=k` gives back the noisy state before step k; `sample(..., x=stopped.x, first_step=k,
    state=stopped.state)` goes on from it, without re-noising, to the same bits an uninterrupted run gives.

    Raises `RequestError` when `ts` does not fall inside (0, 1], `first_step`/`stop_at` lie outside it, the
    solver is unknown, or a resume lacks the `state` it needs.
    """
    check_falling(ts)
    end = len(ts) if stop_at is None else stop_at
    if not 0 <= first_step <= end <= len(ts):
        raise RequestError(
            Problem(
                f"steps {first_step} to {end} lie outside a schedule of {len(ts)}.",
                fix="0 <= first_step <= stop_at <= steps.",
            )
        )
    walk = _Walk(denoiser, ts, solver, guidance, tuple(projections), noise)
    spans = timeline.spans(len(ts))
    with torch.inference_mode():
        at = x
        for span in spans:
            if span.stop <= first_step or span.start >= end:
                continue
            start = max(span.start, first_step)
            walk.enter(span, start, state, x)
            for step in range(start, min(span.stop, end)):
                at = walk.step(at, step, trace)
                if on_step is not None:
                    on_step(step + 1, len(ts))
    return Trajectory(
        x=at.clone(),  # outside inference mode, so that callers hold an ordinary tensor
        t=ts[end] if end < len(ts) else 0.0,
        steps_run=end - first_step,
        forwards=walk.forwards,
        trace=tuple(walk.trace),
        state=walk.leave(end, spans) if first_step < end else dict(state or {}),
        warnings=tuple(timeline.warnings(len(ts))),
    )


class _Walk:
    """The moving parts of one call: the segment in force, what is remembered, and the counts."""

    def __init__(
        self,
        denoiser: Denoiser,
        ts: Sequence[float],
        solver: str,
        guidance: Guidance,
        projections: tuple[Projection, ...],
        noise: NoiseSource,
    ) -> None:
        self.denoiser, self.ts, self.noise = denoiser, ts, noise
        self.guidance, self.projections = guidance, projections
        self.advance = solver_named(solver)
        self.remembers = guidance.remembers or solver in REMEMBER
        self.segment, self.began = "", False
        self.guided: State = {}
        self.solved: State = {}
        self.forwards = 0
        self.trace: list[TraceStep] = []

    def enter(self, span: Span, start: int, state: Mapping[str, Tensor] | None, x: Tensor) -> None:
        """Begin a segment (or go on in the middle of one with the `state` a stopped call gave back)."""
        self.denoiser.switch(span.segment.condition)
        self.segment, self.began = span.name, True
        self.guided, self.solved = {}, {}
        if start > span.start and self.remembers:
            self.guided, self.solved = _unpacked(state or {}, start, x)

    def leave(self, end: int, spans: Sequence[Span]) -> State:
        """What the next call needs to go on at step `end`; nothing is carried over a switch or the end."""
        if end == len(self.ts):
            return {}
        packed = {"step": torch.tensor(end, dtype=torch.int64)}
        if self.remembers and end not in {span.start for span in spans}:
            packed |= {f"guidance.{k}": v.clone() for k, v in self.guided.items()}
            packed |= {f"solver.{k}": v.clone() for k, v in self.solved.items()}
        return packed

    def step(self, x: Tensor, step: int, trace: bool) -> Tensor:
        """One solver step from `ts[step]` to the next level."""
        begun, rows = time.perf_counter(), self.forwards
        t = self.ts[step]
        t_next = self.ts[step + 1] if step + 1 < len(self.ts) else 0.0
        before, after = self.guided, dict[str, State]()

        def denoise(at: Tensor, level: float) -> Prediction:
            # A corrector sees the memory its step began with; the step's first evaluation is remembered.
            memory = dict(before)
            prediction = self._predict(at, level, step, memory)
            after.setdefault("guidance", memory)
            return prediction

        def draw() -> Tensor:
            return self.noise("sde", step, tuple(x.shape)).to(x)

        x, self.solved = self.advance(denoise, x, t, t_next, self.solved, draw)
        self.guided = after.get("guidance", before)
        if trace:
            rms = x.float().pow(2).mean(dim=tuple(range(1, x.ndim))).sqrt()
            norm = tuple(rms.tolist())  # waits for the device, so that the seconds are real
            seconds = time.perf_counter() - begun
            self.trace.append(TraceStep(t, self.segment, self.forwards - rows, seconds, norm, self.began))
        self.began = False
        return x

    def _predict(self, x: Tensor, t: float, step: int, memory: State) -> Prediction:
        branches = self.guidance.branches(t)
        outputs = self.denoiser.velocity(x, t, branches)
        self.forwards += len(branches)
        preds = {name: v.to(x.dtype) for name, v in zip(branches, outputs, strict=True)}
        prediction = Prediction.of_velocity(x, self.guidance.combine(x, t, preds, memory), t)
        if not self.projections:
            return prediction
        clean = prediction.x0
        for projection in self.projections:
            clean = projection(clean, t, step, len(self.ts))
        return Prediction.of_clean(x, clean, t)


def _unpacked(state: Mapping[str, Tensor], step: int, x: Tensor) -> tuple[State, State]:
    """Guidance's and solver's memory out of a packed state, on the device of `x`."""
    if "step" not in state or int(state["step"]) != step:
        given = f"that of step {int(state['step'])}" if "step" in state else "none"
        raise RequestError(
            Problem(
                f"resuming at step {step} in the middle of a segment needs the state of that step, but got "
                f"{given}; this guidance or solver remembers earlier steps.",
                fix="pass state=trajectory.state of the call that stopped there.",
            )
        )
    parts: dict[str, State] = {"guidance": {}, "solver": {}}
    for key, value in state.items():
        owner, _, name = key.partition(".")
        if name:
            parts[owner][name] = value.to(x.device) if value.ndim else value.cpu()
    return parts["guidance"], parts["solver"]

"""The loop stopped and taken up again: the same to the bit, or refused."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load, save
from segue.pipeline.diffusion.denoiser import COND, NULL
from segue.pipeline.diffusion.guidance import make_guidance
from segue.pipeline.diffusion.loop import sample
from segue.pipeline.diffusion.schedules import timesteps
from segue.pipeline.diffusion.timeline import Timeline
from segue.pipeline.errors import RequestError

SOLVERS = ("euler", "heun", "sde", "dpmpp")
KINDS = ("none", "cfg", "apg", "adg")
X = torch.randn(2, 12, 4, generator=torch.Generator().manual_seed(3))
PLAIN = make_guidance("none", scale=1.0)


def guided(fields, mean: float) -> dict:
    """A condition whose branches are exact fields of different targets."""
    return {COND: fields.gaussian(mean, 0.5), NULL: fields.gaussian(0.0, 1.0)}


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(SOLVERS), st.sampled_from(KINDS), st.integers(0, 9), st.sampled_from([0.0, 0.4, 1.0]))
def test_a_resumed_run_is_the_uninterrupted_one_to_the_bit(fields, recorder, noise, solver, kind, k, strength) -> None:
    ts = timesteps("linear", 9, 2.0)
    timeline = Timeline.cover(guided(fields, 1.0), guided(fields, -1.0), strength)
    options = {"solver": solver, "guidance": make_guidance(kind, scale=5.0), "noise": noise}
    whole = sample(recorder(), timeline, ts, X, **options)
    stopped = sample(recorder(), timeline, ts, X, stop_at=k, **options)
    assert stopped.t == (*ts, 0.0)[k]
    kept = load(save({"x": stopped.x, **stopped.state}))  # through a file's bytes and back
    x = kept.pop("x")
    rest = sample(recorder(), timeline, ts, x, first_step=k, state=kept, **options)
    assert torch.equal(rest.x, whole.x)
    assert stopped.steps_run + rest.steps_run == 9
    assert stopped.forwards + rest.forwards == whole.forwards
    assert rest.t == 0.0 and rest.state == {}


def test_stopping_twice_carries_the_memory_through(fields, recorder, noise) -> None:
    ts, timeline = timesteps("linear", 9, 2.0), Timeline.single(guided(fields, 1.0))
    options = {"solver": "dpmpp", "guidance": make_guidance("apg", scale=5.0), "noise": noise}
    whole = sample(recorder(), timeline, ts, X, **options)
    at = sample(recorder(), timeline, ts, X, stop_at=3, **options)
    at = sample(recorder(), timeline, ts, at.x, first_step=3, stop_at=3, state=at.state, **options)
    at = sample(recorder(), timeline, ts, at.x, first_step=3, stop_at=6, state=at.state, **options)
    at = sample(recorder(), timeline, ts, at.x, first_step=6, state=at.state, **options)
    assert torch.equal(at.x, whole.x)


@pytest.mark.parametrize(("solver", "kind"), [("dpmpp", "none"), ("euler", "apg")])
def test_a_resume_without_the_memory_it_needs_is_refused(fields, recorder, noise, solver: str, kind: str) -> None:
    ts, timeline = timesteps("linear", 8, 1.0), Timeline.cover(guided(fields, 1.0), guided(fields, 0.0), 0.5)
    options = {"solver": solver, "guidance": make_guidance(kind, scale=5.0), "noise": noise}
    other = sample(recorder(), timeline, ts, X, stop_at=2, **options)
    for state in (None, {}, other.state):
        with pytest.raises(RequestError, match="step 3"):
            sample(recorder(), timeline, ts, X, first_step=3, state=state, **options)
    sample(recorder(), timeline, ts, X, first_step=4, **options)  # a segment's own start needs none


@pytest.mark.parametrize(("first", "stop"), [(-1, None), (5, 4), (0, 9), (9, None)])
def test_steps_outside_the_schedule_are_refused(fields, recorder, noise, first: int, stop: int | None) -> None:
    with pytest.raises(RequestError, match="schedule of 8"):
        sample(
            recorder(), Timeline.single(fields.point(0.0)), timesteps("linear", 8, 1.0), X,
            guidance=PLAIN, noise=noise, first_step=first, stop_at=stop,
        )  # fmt: skip

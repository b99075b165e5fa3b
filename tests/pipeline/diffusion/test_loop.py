"""The loop: segments, rows, resume to the bit, cancel, purity."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from segue.pipeline.diffusion.denoiser import COND, NULL
from segue.pipeline.diffusion.guidance import make_guidance
from segue.pipeline.diffusion.loop import Trajectory, renoise, sample, x0_from
from segue.pipeline.diffusion.projections import EnvelopeProjection, RepaintProjection
from segue.pipeline.diffusion.schedules import timesteps
from segue.pipeline.diffusion.timeline import Segment, Timeline
from segue.pipeline.errors import Cancelled, RequestError

SOLVERS = ("euler", "heun", "sde", "dpmpp")
KINDS = ("none", "cfg", "apg", "adg")
X = torch.randn(2, 12, 4, generator=torch.Generator().manual_seed(3))
PLAIN = make_guidance("none", scale=1.0)


def guided(fields, mean: float) -> dict:
    """A condition whose branches are exact fields of different targets."""
    return {COND: fields.gaussian(mean, 0.5), NULL: fields.gaussian(0.0, 1.0)}


# --- the timeline -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", SOLVERS)
def test_each_segment_switches_once_and_reaches_exactly_its_steps(fields, recorder, noise, solver: str) -> None:
    a, b, c = fields.point(1.0), fields.point(2.0), fields.point(3.0)
    net = recorder()
    timeline = Timeline([Segment(a, 0.3, "a"), Segment(b, 0.75, "b"), Segment(c, 1.0, "c")])
    ts = timesteps("linear", 10, 1.0)
    out = sample(net, timeline, ts, X, solver=solver, guidance=PLAIN, noise=noise, trace=True)
    assert net.switches == [a, b, c]
    assert [s.segment for s in out.trace] == ["a"] * 3 + ["b"] * 4 + ["c"] * 3
    assert [i for i, s in enumerate(out.trace) if s.cache_reset] == [0, 3, 7]
    assert [s.t for s in out.trace] == list(ts)
    torch.testing.assert_close(out.x, torch.full_like(X, 3.0), rtol=0, atol=1e-5)


def test_a_condition_dependent_field_shows_the_step_at_which_it_changed(fields, recorder, noise) -> None:
    """Toward a before the switch, toward b after it: the state at every step is known in closed form."""
    a, b, steps, strength = -1.0, 2.0, 20, 0.35
    net = recorder()
    ts = timesteps("linear", steps, 3.0)
    timeline = Timeline.cover(fields.point(a), fields.point(b), strength)
    sample(net, timeline, ts, X, guidance=PLAIN, noise=noise)
    switch = int(steps * strength)
    at_switch = a + (X - a) * ts[switch]
    for step, (t, state) in enumerate(zip(ts, net.states, strict=True)):
        expected = a + (X - a) * t if step <= switch else b + (at_switch - b) * (t / ts[switch])
        torch.testing.assert_close(state, expected, rtol=1e-5, atol=1e-5)


def test_a_heun_corrector_stays_in_its_steps_segment(fields, recorder, noise) -> None:
    a, b = fields.point(1.0), fields.point(2.0)
    net = recorder()
    ts = (1.0, 0.75, 0.5, 0.25)
    sample(net, Timeline.cover(a, b, 0.5), ts, X, solver="heun", guidance=PLAIN, noise=noise)
    assert [(t, c) for t, _, c in net.calls] == [
        (1.0, a), (0.75, a), (0.75, a), (0.5, a), (0.5, b), (0.25, b), (0.25, b),
    ]  # fmt: skip


class Counting:
    """A guidance that counts its evaluations in its memory."""

    remembers = True

    def __init__(self) -> None:
        self.found: list[int] = []

    def branches(self, t: float) -> tuple[str, ...]:
        return (COND,)

    def combine(self, x: torch.Tensor, t: float, preds: dict, state: dict) -> torch.Tensor:
        count = state.get("count", torch.tensor(0))
        self.found.append(int(count))
        state["count"] = count + 1
        return preds[COND]


def test_a_heun_corrector_sees_the_memory_its_step_began_with(fields, recorder, noise) -> None:
    """So that both ends of a step follow one rule, and guidance's momentum moves once a step, as under Euler."""
    counting, ts = Counting(), timesteps("linear", 6, 1.0)
    timeline = Timeline.cover(fields.point(1.0), fields.point(2.0), 0.5)
    sample(recorder(), timeline, ts, X, solver="heun", guidance=counting, noise=noise)
    assert counting.found == [0, 0, 1, 1, 2, 2, 0, 0, 1, 1, 2]


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_switch_starts_guidance_and_solver_afresh(fields, recorder, noise, solver: str, kind: str) -> None:
    """From the switch on, the run is the one that begins there with an empty memory."""
    ts = timesteps("turbo", 8, 3.0)
    first, second = guided(fields, 1.0), guided(fields, -1.0)
    options = {"solver": solver, "guidance": make_guidance(kind, scale=5.0), "noise": noise}
    whole = sample(recorder(), Timeline.cover(first, second, 0.5), ts, X, **options)
    middle = sample(recorder(), Timeline.cover(first, second, 0.5), ts, X, stop_at=4, **options)
    rest = sample(
        recorder(), Timeline.single(second), ts[4:], middle.x, **(options | {"noise": lambda p, s, shape: noise(p, s + 4, shape)})
    )
    assert torch.equal(whole.x, rest.x)


def test_a_segment_without_steps_is_warned_about_and_never_switched_to(fields, recorder, noise) -> None:
    net = recorder()
    later = fields.point(1.0)
    out = sample(net, Timeline.cover(fields.point(0.0), later, 0.1), timesteps("turbo", 8, 3.0), X, guidance=PLAIN, noise=noise)
    assert net.switches == [later]
    assert len(out.warnings) == 1 and "cover" in out.warnings[0]


# --- rows -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("solver", "evaluations"), [("euler", 20), ("sde", 20), ("dpmpp", 20), ("heun", 39)])
@pytest.mark.parametrize(("kind", "rows"), [("none", 1), ("apg", 2)])
@pytest.mark.parametrize("strength", [0.0, 0.4, 1.0])
def test_forwards_are_rows_per_take_whatever_the_strength(
    fields, recorder, noise, solver: str, evaluations: int, kind: str, rows: int, strength: float
) -> None:
    net = recorder()
    timeline = Timeline.cover(guided(fields, 1.0), guided(fields, 0.0), strength)
    out = sample(
        net,
        timeline,
        timesteps("linear", 20, 1.0),
        X,
        solver=solver,
        guidance=make_guidance(kind, scale=7.0),
        noise=noise,
        trace=True,
    )
    assert out.steps_run == 20
    assert out.forwards == net.rows == evaluations * rows == sum(s.forwards for s in out.trace)


@pytest.mark.parametrize("kind", ["cfg", "apg", "adg", "multi"])
def test_no_second_branch_outside_the_interval(fields, recorder, noise, kind: str) -> None:
    condition = guided(fields, 1.0) | {"empty": fields.gaussian(0.5, 0.5)}
    net = recorder()
    guidance = make_guidance(kind, scale=4.0, interval=(0.3, 0.7))
    ts = timesteps("linear", 10, 1.0)
    out = sample(net, Timeline.single(condition), ts, X, guidance=guidance, noise=noise)
    more = 3 if kind == "multi" else 2
    assert [len(branches) for _, branches, _ in net.calls] == [more if 0.3 <= t <= 0.7 else 1 for t in ts]
    assert out.forwards == 10 + 5 * (more - 1)


# --- the rest ---------------------------------------------------------------------------------------------------------


def test_an_empty_schedule_is_the_identity(fields, recorder, noise) -> None:
    net = recorder()
    out = sample(net, Timeline.single(fields.point(0.0)), (), X, guidance=PLAIN, noise=noise)
    assert torch.equal(out.x, X) and out.x is not X
    assert (out.t, out.steps_run, out.forwards, net.switches, net.calls) == (0.0, 0, 0, [], [])


def test_a_schedule_that_rises_is_refused(fields, recorder, noise) -> None:
    with pytest.raises(RequestError, match="fall"):
        sample(recorder(), Timeline.single(fields.point(0.0)), (0.5, 0.6), X, guidance=PLAIN, noise=noise)


def test_progress_and_cancel(fields, recorder, noise) -> None:
    told: list[tuple[int, int]] = []

    def on_step(step: int, steps: int) -> None:
        told.append((step, steps))
        if step == 3:
            raise Cancelled("enough")

    net = recorder()
    with pytest.raises(Cancelled):
        sample(
            net, Timeline.single(fields.point(0.0)), timesteps("linear", 8, 1.0), X, guidance=PLAIN, noise=noise, on_step=on_step
        )
    assert told == [(1, 8), (2, 8), (3, 8)] and len(net.calls) == 3


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_is_its_takes(fields, recorder, noise, solver: str, kind: str) -> None:
    def run(x: torch.Tensor, rows: slice) -> Trajectory:
        return sample(
            recorder(), Timeline.cover(guided(fields, 1.0), guided(fields, -1.0), 0.5), timesteps("linear", 6, 2.0), x,
            solver=solver, guidance=make_guidance(kind, scale=5.0), noise=lambda p, s, shape: noise(p, s, X.shape)[rows],
        )  # fmt: skip

    together = run(X, slice(None)).x
    for i in range(len(X)):
        torch.testing.assert_close(run(X[i : i + 1], slice(i, i + 1)).x, together[i : i + 1], rtol=1e-5, atol=1e-5)


def test_noise_is_asked_for_by_purpose_and_step(fields, recorder, noise) -> None:
    asked: list[tuple] = []

    def source(purpose: str, step: int, shape: tuple[int, ...]) -> torch.Tensor:
        asked.append((purpose, step, tuple(shape)))
        return noise(purpose, step, shape)

    sample(
        recorder(),
        Timeline.single(fields.gaussian(0.0, 1.0)),
        timesteps("turbo", 4, 3.0),
        X,
        solver="sde",
        guidance=PLAIN,
        noise=source,
    )
    assert asked == [("sde", step, tuple(X.shape)) for step in range(3)]


def test_no_autograd_no_global_state_and_the_input_stays(fields, recorder, noise) -> None:
    before, x, seen = torch.random.get_rng_state(), X.clone().requires_grad_(), []

    def field(at: torch.Tensor, t: float) -> torch.Tensor:
        seen.append(torch.is_inference_mode_enabled())
        return at

    out = sample(recorder(), Timeline.single(field), timesteps("linear", 3, 1.0), x, solver="heun", guidance=PLAIN, noise=noise)
    assert all(seen) and not out.x.requires_grad and not out.x.is_inference()
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(x.detach(), X)


def test_a_half_precision_network_leaves_the_state_in_float32(fields, recorder, noise) -> None:
    out = sample(
        recorder(), Timeline.single(lambda x, t: fields.gaussian(0.3, 0.5)(x, t).bfloat16()), timesteps("linear", 8, 1.0), X,
        guidance=PLAIN, noise=noise,
    )  # fmt: skip
    exact = sample(
        recorder(), Timeline.single(fields.gaussian(0.3, 0.5)), timesteps("linear", 8, 1.0), X, guidance=PLAIN, noise=noise
    )
    assert out.x.dtype == torch.float32
    torch.testing.assert_close(out.x, exact.x, rtol=0, atol=0.03)


def test_the_traces_norm_is_each_takes_rms(fields, recorder, noise) -> None:
    out = sample(
        recorder(), Timeline.single(fields.point(2.0)), timesteps("linear", 4, 1.0), X, guidance=PLAIN, noise=noise, trace=True
    )
    assert out.trace[-1].norm == pytest.approx((2.0, 2.0), rel=1e-5)
    half = 2.0 + (X - 2.0) * 0.5
    assert out.trace[1].norm == pytest.approx(half.pow(2).mean((1, 2)).sqrt().tolist(), rel=1e-5)
    assert all(s.seconds >= 0 for s in out.trace)


@given(st.floats(0.0, 1.0))
def test_renoise_and_x0_from_are_inverse(t: float) -> None:
    x0, fresh = X.double(), torch.randn(X.shape, generator=torch.Generator().manual_seed(9)).double()
    x = renoise(x0, fresh, t)
    torch.testing.assert_close(x0_from(x, fresh - x0, t), x0)
    assert torch.equal(renoise(x0, fresh, 0.0), x0) and torch.equal(renoise(x0, fresh, 1.0), fresh)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_left_on_the_cpu(fields, recorder, noise, solver: str, kind: str) -> None:
    """On another device (PyTorch's own `meta`, which computes shapes only) no tensor of the CPU gets into the sum."""
    x, mask = X.to("meta"), torch.ones(12)
    condition = {COND: fields.gaussian(1.0, 0.5), NULL: fields.gaussian(0.0, 1.0)}
    options = {
        "solver": solver,
        "guidance": make_guidance(kind, scale=5.0),
        "noise": noise,
        "projections": [RepaintProjection(X, mask), EnvelopeProjection(lambda x0: x0, X)],
    }
    ts, timeline = timesteps("turbo", 6, 3.0), Timeline.single(condition)
    stopped = sample(recorder(), timeline, ts, x, stop_at=3, **options)
    rest = sample(recorder(), timeline, ts, stopped.x, first_step=3, state=stopped.state, **options)
    assert rest.x.device.type == "meta" and rest.x.shape == X.shape

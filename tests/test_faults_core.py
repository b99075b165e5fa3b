"""Faults seen in existing executors, by their number in docs/faults.md: the ones a diffusion core can have."""

from __future__ import annotations

import pytest
import torch
from diffusers import AceStepPipeline
from segue.pipeline.diffusion.denoiser import COND, EMPTY, NULL
from segue.pipeline.diffusion.guidance import make_guidance
from segue.pipeline.diffusion.loop import Trajectory, renoise, sample
from segue.pipeline.diffusion.schedules import POLICIES, start_at, timesteps
from segue.pipeline.diffusion.timeline import Segment, Timeline
from segue.pipeline.errors import Cancelled, RequestError
from torch import Tensor

PLAIN = make_guidance("none", scale=1.0)
TURBO = timesteps("turbo", 8, 3.0)


def randn(seed: int) -> Tensor:
    return torch.randn(2, 16, 4, generator=torch.Generator().manual_seed(seed))


SOURCE, FRESH = randn(1), randn(2)


def noise(purpose: str, step: int, shape: tuple[int, ...]) -> Tensor:
    return torch.randn(tuple(shape), generator=torch.Generator().manual_seed(100 + step))


class CachingNetwork:
    """Leads to the condition's target; like a transformer with a key/value cache, it computes the cache when it has none."""

    def __init__(self) -> None:
        self.cache: Tensor | None = None
        self.fills = self.rows = 0
        self.seen: list[tuple[float, Tensor]] = []

    def switch(self, condition: Tensor) -> None:
        self.cache, self.condition = None, condition

    def velocity(self, x: Tensor, t: float, branches: tuple[str, ...]) -> tuple[Tensor, ...]:
        if self.cache is None:
            self.cache = self.condition.clone()
            self.fills += 1
        self.rows += len(branches)
        self.seen.append((t, x.clone()))
        shares = {COND: 1.0, NULL: 0.8, EMPTY: 0.3}
        return tuple((x - shares[b] * self.cache) / t for b in branches)


def run(x: Tensor, ts: tuple[float, ...], **options: object) -> tuple[CachingNetwork, Trajectory]:
    net = CachingNetwork()
    timeline = options.pop("timeline", None) or Timeline.single(SOURCE)
    settings = {"guidance": PLAIN, "noise": noise} | options
    return net, sample(net, timeline, ts, x, **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("policy", sorted(POLICIES))
@pytest.mark.parametrize("denoise", [0.6, 0.25, 0.05, 0.97])
def test_fault_01_a_partial_schedule_begins_at_the_latents_own_noise_level(policy: str, denoise: float) -> None:
    """Elsewhere: turbo, shift 3, denoise 0.6 runs from t = 0.5 on a latent noised to 0.6; 0.25 runs all 8 steps from 1."""
    faulty = [t for t in TURBO if t <= denoise] or list(TURBO)
    if denoise == 0.6:
        assert faulty == pytest.approx([0.5, 0.3])
    if denoise == 0.25:
        assert len(faulty) == 8 and faulty[0] == 1.0
    ts = start_at(TURBO, denoise, policy, steps=8, shift=3.0)
    net, out = run(renoise(SOURCE, FRESH, ts[0]), ts)
    for t, state in net.seen:  # on the straight way to the source the state's level can be read off
        torch.testing.assert_close(state, (1 - t) * SOURCE + t * FRESH, rtol=1e-4, atol=1e-5)
    assert [t for t, _ in net.seen] == list(ts)
    assert policy == "snap" or (ts[0] == denoise and list(ts) != faulty)
    assert out.steps_run == len(ts) and ts[0] < 1.0
    torch.testing.assert_close(out.x, SOURCE, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shift", [1.0, 3.0])
@pytest.mark.parametrize("denoise", [1.0, 0.6])
def test_fault_02_sde_renoises_to_the_schedules_own_next_level(shift: float, denoise: float) -> None:
    """Elsewhere: to a level of the unshifted, untruncated ramp, which the next step does not expect."""
    ts = start_at(timesteps("linear", 8, shift), denoise, "truncate", steps=8, shift=shift)
    net, out = run(renoise(SOURCE, FRESH, ts[0]), ts, solver="sde")
    for step, (t, state) in enumerate(net.seen[1:]):
        torch.testing.assert_close(state, (1 - t) * SOURCE + t * noise("sde", step, SOURCE.shape), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(out.x, SOURCE)


def test_fault_03_no_noise_comes_from_the_global_generator() -> None:
    ends = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        before = torch.random.get_rng_state()
        ends.append(run(renoise(SOURCE, FRESH, 0.6), (0.6, 0.5, 0.3), solver="sde")[1].x)
        assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(*ends)


@pytest.mark.parametrize("solver", ["euler", "heun", "sde", "dpmpp"])
def test_fault_05_a_checkpoint_is_resumed_as_it_is(solver: str) -> None:
    options = {"solver": solver, "guidance": make_guidance("apg", scale=4.0)}
    _, whole = run(FRESH, TURBO, **options)
    _, stopped = run(FRESH, TURBO, stop_at=5, **options)
    asked: list[tuple[str, int]] = []

    def listening(purpose: str, step: int, shape: tuple[int, ...]) -> Tensor:
        asked.append((purpose, step))
        return noise(purpose, step, shape)

    net, rest = run(stopped.x, TURBO, first_step=5, state=stopped.state, **options | {"noise": listening})
    t, state = net.seen[0]
    assert t == stopped.t == TURBO[5]
    assert torch.equal(state, stopped.x)  # what the network sees first is the checkpoint, nothing added
    assert asked == ([("sde", 5), ("sde", 6)] if solver == "sde" else [])
    assert torch.equal(rest.x, whole.x)


@pytest.mark.parametrize("guidance", ["none", "apg"])
def test_fault_10_the_cache_is_filled_once_a_segment(guidance: str) -> None:
    """Elsewhere: rebuilt at every step after the switch."""
    timeline = Timeline([Segment(SOURCE, 0.3), Segment(FRESH, 0.6), Segment(-SOURCE, 1.0)])
    net, out = run(
        FRESH, timesteps("linear", 20, 1.0), timeline=timeline, guidance=make_guidance(guidance, scale=5.0), trace=True
    )
    assert net.fills == 3
    assert [i for i, step in enumerate(out.trace) if step.cache_reset] == [0, 6, 12]


@pytest.mark.parametrize(("kind", "inside"), [("cfg", 2), ("apg", 2), ("adg", 2), ("multi", 3)])
def test_fault_11_no_second_branch_outside_the_interval(kind: str, inside: int) -> None:
    ts = timesteps("linear", 10, 1.0)
    net, out = run(FRESH, ts, guidance=make_guidance(kind, scale=5.0, interval=(0.45, 0.75)), trace=True)
    expected = [inside if 0.45 <= t <= 0.75 else 1 for t in ts]
    assert [step.forwards for step in out.trace] == expected
    assert net.rows == out.forwards == sum(expected) == 10 + 3 * (inside - 1)


def test_fault_16_every_step_is_told_and_can_be_the_last() -> None:
    told: list[tuple[int, int]] = []
    run(FRESH, TURBO, on_step=lambda step, steps: told.append((step, steps)))
    assert told == [(step, 8) for step in range(1, 9)]

    net = CachingNetwork()

    def stop(step: int, steps: int) -> None:
        if step == 2:
            raise Cancelled("stopped on request")

    with pytest.raises(Cancelled):
        sample(net, Timeline.single(SOURCE), TURBO, FRESH, guidance=PLAIN, noise=noise, on_step=stop)
    assert net.rows == 2


@pytest.mark.parametrize("solver", ["euler", "heun", "sde", "dpmpp"])
def test_fault_17_custom_timesteps_are_the_ones_that_run(solver: str) -> None:
    custom = (0.97, 0.61, 0.33, 0.08)
    ts = timesteps("custom", 8, 3.0, custom)
    net, out = run(renoise(SOURCE, FRESH, ts[0]), ts, solver=solver, trace=True)
    assert tuple(step.t for step in out.trace) == custom
    assert {t for t, _ in net.seen} == set(custom)
    peer = AceStepPipeline._get_timestep_schedule(None, 8, 3.0, device="cpu", dtype=torch.float64, timesteps=list(custom))
    assert tuple(peer.tolist()) == custom


def test_fault_17_timesteps_beside_a_table_are_refused_not_ignored() -> None:
    with pytest.raises(RequestError, match="timesteps"):
        timesteps("turbo", 8, 3.0, (0.9, 0.5))
    peer = AceStepPipeline._get_timestep_schedule(None, 8, 3.0, device="cpu", dtype=torch.float64)
    assert pytest.approx(peer.tolist()) == TURBO  # without custom ones, the table is the peer's

"""Schedules and t_start policies against their closed forms and against diffusers'."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from diffusers import AceStepPipeline, EDMEulerScheduler
from hypothesis import given
from hypothesis import strategies as st
from segue.pipeline.diffusion.schedules import POLICIES, shifted, start_at, timesteps, unshifted
from segue.pipeline.errors import RequestError

shifts = st.floats(0.1, 20.0)
KINDS = ("linear", "turbo", "continuous", "karras")


@given(st.floats(1e-6, 1.0), shifts)
def test_unshifted_undoes_shifted(u: float, shift: float) -> None:
    assert unshifted(shifted(u, shift), shift) == pytest.approx(u, rel=1e-9)


@given(st.sampled_from(KINDS), st.integers(1, 20), shifts)
def test_every_schedule_falls_inside_0_1_and_has_its_steps(kind: str, steps: int, shift: float) -> None:
    ts = timesteps(kind, steps, shift)
    assert len(ts) == steps
    assert all(a > b for a, b in pairwise(ts)) and ts[-1] > 0 and ts[0] <= 1
    if kind != "karras":
        assert ts[0] == 1.0


@pytest.mark.parametrize("shift", [1.0, 2.0, 3.0])
@pytest.mark.parametrize("steps", [1, 8, 20, 50])
def test_linear_equals_the_peers_schedule(steps: int, shift: float) -> None:
    peer = AceStepPipeline._get_timestep_schedule(None, steps, shift, device="cpu", dtype=torch.float32)
    assert timesteps("linear", steps, shift) == pytest.approx(peer.tolist(), rel=1e-6)


def test_turbo_is_the_published_table() -> None:
    published = (1.0, 21 / 22, 0.9, 5 / 6, 0.75, 9 / 14, 0.5, 0.3)
    assert timesteps("turbo", 8, 3.0) == pytest.approx(published, rel=1e-12)
    assert timesteps("turbo", 8, 1.0) == pytest.approx([i / 8 for i in range(8, 0, -1)])


@pytest.mark.parametrize(("asked", "used"), [(0.2, 1.0), (1.5, 1.0), (1.6, 2.0), (2.5, 2.0), (2.51, 3.0), (9.0, 3.0)])
def test_turbo_snaps_its_shift(asked: float, used: float) -> None:
    assert timesteps("turbo", 8, asked) == timesteps("linear", 8, used)


def test_continuous_takes_any_shift() -> None:
    shift, steps = 2.37, 7
    expected = [shift * u / (1 + (shift - 1) * u) for u in (1 - i / steps for i in range(steps))]
    assert timesteps("continuous", steps, shift) == pytest.approx(expected)


def test_karras_equals_the_peers_sigmas() -> None:
    peer = EDMEulerScheduler(sigma_min=0.01, sigma_max=50.0, sigma_schedule="karras")
    peer.set_timesteps(12)
    sigmas = [t / (1 - t) for t in timesteps("karras", 12, 3.0, sigma_min=0.01, sigma_max=50.0)]
    assert sigmas == pytest.approx(peer.sigmas[:-1].tolist(), rel=1e-4)


def test_custom_is_taken_as_it_stands() -> None:
    assert timesteps("custom", 99, 7.0, [0.9, 0.5, 0.1]) == (0.9, 0.5, 0.1)


@pytest.mark.parametrize("ts", [[0.5, 0.5], [0.4, 0.6], [1.2, 0.5], [0.5, 0.0], [float("nan")], []])
def test_custom_that_does_not_fall_is_refused(ts: list[float]) -> None:
    with pytest.raises(RequestError, match="timesteps"):
        timesteps("custom", 8, 1.0, ts)


@pytest.mark.parametrize(
    ("kind", "steps", "shift", "says"),
    [
        ("linaer", 8, 1.0, "Did you mean 'linear'"),
        ("linear", 0, 1.0, "0 steps"),
        ("linear", 8, 0.0, "shift 0.0"),
        ("linear", 8, float("nan"), "shift nan"),
        ("turbo", 21, 3.0, "1 to 20 steps"),
    ],
)
def test_wrong_requests_are_told(kind: str, steps: int, shift: float, says: str) -> None:
    with pytest.raises(RequestError, match=says) as caught:
        timesteps(kind, steps, shift)
    assert caught.value.problems[0].fix


def test_timesteps_beside_another_kind_are_not_dropped_silently() -> None:
    with pytest.raises(RequestError, match="custom"):
        timesteps("turbo", 8, 3.0, [0.9, 0.5])


# --- where a partial denoising begins ---------------------------------------------------------------------------------


@given(
    st.sampled_from(KINDS), st.integers(1, 20), shifts, st.floats(1e-5, 1.0, exclude_max=True), st.sampled_from(sorted(POLICIES))
)
def test_a_partial_schedule_falls_and_is_never_empty(kind: str, steps: int, shift: float, t_start: float, policy: str) -> None:
    ts = timesteps(kind, steps, shift)
    part = start_at(ts, t_start, policy, steps=steps, shift=shift)
    assert part and part[-1] > 0
    assert all(a > b for a, b in pairwise(part))
    if policy == "snap":
        assert part == ts[ts.index(part[0]) :]
        assert abs(part[0] - t_start) == min(abs(t - t_start) for t in ts)
    else:
        assert part[0] == t_start
    if policy == "truncate":
        assert set(part[1:]) == {t for t in ts if t_start - t >= 1e-3}
    if policy == "respace":
        assert len(part) == steps
        u = [unshifted(t, shift) for t in (*part, 0.0)]
        gaps = [a - b for a, b in pairwise(u)]
        assert gaps == pytest.approx([gaps[0]] * len(gaps), rel=1e-6)


@pytest.mark.parametrize("policy", sorted(POLICIES))
@pytest.mark.parametrize("kind", KINDS)
def test_the_ends_of_t_start(kind: str, policy: str) -> None:
    ts = timesteps(kind, 8, 3.0)
    assert start_at(ts, 1.0, policy, steps=8, shift=3.0) == ts
    assert start_at(ts, 0.0, policy, steps=8, shift=3.0) == ()


def test_policies_on_the_turbo_table() -> None:
    ts = timesteps("turbo", 8, 3.0)
    assert start_at(ts, 0.6, "truncate", steps=8, shift=3.0) == (0.6, 0.5, ts[-1])
    assert start_at(ts, 0.25, "truncate", steps=8, shift=3.0) == (0.25,)
    assert start_at(ts, 0.6, "snap", steps=8, shift=3.0) == ts[5:]
    assert start_at(ts, 0.25, "snap", steps=8, shift=3.0) == ts[7:]
    # 0.6 is u = 1/3 under shift 3; eight even steps of u are 1/24 each
    expected = [shifted((8 - i) / 24, 3.0) for i in range(8)]
    assert start_at(ts, 0.6, "respace", steps=8, shift=3.0) == pytest.approx(expected)


def test_truncate_leaves_out_a_point_that_is_almost_there() -> None:
    ts = (1.0, 0.5, 0.25)
    assert start_at(ts, 0.5005, "truncate", steps=3, shift=1.0) == (0.5005, 0.25)
    assert start_at(ts, 0.502, "truncate", steps=3, shift=1.0) == (0.502, 0.5, 0.25)
    assert start_at(ts, 0.5, "truncate", steps=3, shift=1.0) == (0.5, 0.25)


def test_snap_takes_the_noisier_point_at_a_tie() -> None:
    assert start_at((1.0, 0.75, 0.25), 0.5, "snap", steps=3, shift=1.0) == (0.75, 0.25)


def test_wrong_partial_requests_are_told() -> None:
    with pytest.raises(RequestError, match="outside"):
        start_at((1.0,), 1.2, "truncate", steps=1, shift=1.0)
    with pytest.raises(RequestError, match="Did you mean 'respace'"):
        start_at((1.0,), 0.5, "respaced", steps=1, shift=1.0)

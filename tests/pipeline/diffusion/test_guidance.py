"""Guidance against closed forms, an independent NumPy reading of each formula, and diffusers' own APG."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from diffusers.guiders.adaptive_projected_guidance import MomentumBuffer, normalized_guidance
from segue.pipeline.diffusion.denoiser import COND, EMPTY, NULL
from segue.pipeline.diffusion.guidance import KINDS, make_guidance
from segue.pipeline.errors import RequestError


def tensors(seed: int, count: int, shape: tuple[int, ...] = (2, 20, 6)) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator) for _ in range(count)]


@pytest.mark.parametrize("kind", ["cfg", "apg", "adg", "multi"])
def test_a_second_branch_only_inside_the_interval_both_ends_included(kind: str) -> None:
    guidance = make_guidance(kind, scale=4.0, interval=(0.25, 0.75))
    for t in (0.25, 0.5, 0.75):
        assert len(guidance.branches(t)) > 1
    for t in (1.0, 0.7500001, 0.2499999, 0.01):
        assert guidance.branches(t) == (COND,)
        (cond,) = tensors(1, 1)
        assert torch.equal(guidance.combine(cond, t, {COND: cond}, {}), cond)


@pytest.mark.parametrize("kind", ["none", "cfg", "apg", "adg"])
def test_scale_one_needs_no_second_branch(kind: str) -> None:
    assert make_guidance(kind, scale=1.0).branches(0.5) == (COND,)


def test_cfg_is_its_formula() -> None:
    x, cond, null = tensors(2, 3)
    v = make_guidance("cfg", scale=3.5).combine(x, 0.5, {COND: cond, NULL: null}, {})
    torch.testing.assert_close(v, null + 3.5 * (cond - null))


def apg_by_hand(cond: np.ndarray, null: np.ndarray, average: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Sadat et al. 2024, alg. 1: momentum −0.75, norm over time (axis 0) at most 2.5, parallel part dropped."""
    average = (cond - null) - 0.75 * average
    norm = np.sqrt((average**2).sum(0, keepdims=True))
    update = average * np.minimum(1.0, 2.5 / norm)
    unit = cond / np.sqrt((cond**2).sum(0, keepdims=True))
    update = update - (update * unit).sum(0, keepdims=True) * unit
    return cond + (scale - 1) * update, average


def test_apg_over_several_steps_is_the_paper_and_the_peer() -> None:
    guidance, state = make_guidance("apg", scale=7.0), {}
    peer_buffer = MomentumBuffer(-0.75)
    averages = [np.zeros((20, 6)), np.zeros((20, 6))]
    for step in range(4):
        x, cond, null = tensors(10 + step, 3)
        v = guidance.combine(x, 0.9 - 0.1 * step, {COND: cond, NULL: null}, state)
        peer = normalized_guidance(
            cond, null, 6.0, peer_buffer, eta=0.0, norm_threshold=2.5, use_original_formulation=True, norm_dim=(1,)
        )
        assert torch.equal(v, peer)
        for i in range(2):
            expected, averages[i] = apg_by_hand(cond[i].double().numpy(), null[i].double().numpy(), averages[i], 7.0)
            np.testing.assert_allclose(v[i].numpy(), expected, rtol=2e-4, atol=2e-4)


def adg_by_hand(x: np.ndarray, t: float, cond: np.ndarray, null: np.ndarray, scale: float, norm: bool, clip: bool) -> np.ndarray:
    """The formula of the angle-based guidance, frame by frame in plain loops."""
    clean_c, clean_u = x - t * cond, x - t * null
    out = np.empty_like(clean_c)
    w = max(scale - 1, 0) + 1e-3
    for f in range(len(x)):
        c, u = clean_c[f], clean_u[f]
        theta = math.acos(np.clip(c @ u / (np.linalg.norm(c) * np.linalg.norm(u)), -1, 1))
        turned = w * theta
        if clip:
            turned = min(max(turned, -math.pi / 6), math.pi / 6)
        perp = (c - u) - ((c - u) @ u) / (u @ u) * u
        gain = w if math.sin(theta) <= 1e-3 else math.sin(turned) / math.sin(theta)
        out[f] = math.cos(turned) * c + gain * perp
    if norm:
        out = out * np.linalg.norm(clean_c, axis=0) / np.linalg.norm(out, axis=0)
    return (x - out) / t


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("scale", [1.2, 3.0, 12.0])
def test_adg_is_its_formula(scale: float, clip: bool, norm: bool) -> None:
    x, cond, null = tensors(3, 3)
    null = cond + 0.3 * (null - cond)  # angles small enough that clipping matters for some frames only
    guidance = make_guidance("adg", scale=scale, norm=norm, clip=clip)
    v = guidance.combine(x, 0.6, {COND: cond, NULL: null}, {})
    for i in range(len(x)):
        given = (a[i].double().numpy() for a in (cond, null))
        expected = adg_by_hand(x[i].double().numpy(), 0.6, *given, scale, norm, clip)
        np.testing.assert_allclose(v[i].numpy(), expected, rtol=1e-3, atol=1e-3)


def test_adg_turns_no_further_than_thirty_degrees() -> None:
    u, c = torch.tensor([[[1.0, 0.0]]]), torch.tensor([[[0.0, 1.0]]])  # a right angle, perp = c
    x, t = torch.zeros(1, 1, 2), 0.5
    v = make_guidance("adg", scale=9.0).combine(x, t, {COND: -c / t, NULL: -u / t}, {})
    clean = x - t * v
    expected = (math.cos(math.pi / 6) + math.sin(math.pi / 6)) * c
    torch.testing.assert_close(clean, expected)


@pytest.mark.parametrize("zero", ["cond", "null", "both"])
def test_adg_stays_finite_where_a_prediction_vanishes(zero: str) -> None:
    x, cond, null = tensors(4, 3)
    t = 0.5
    cond, null = (x / t if zero in (name, "both") else v for name, v in (("cond", cond), ("null", null)))
    v = make_guidance("adg", scale=5.0, norm=True).combine(x, t, {COND: cond, NULL: null}, {})
    assert torch.isfinite(v).all()


def test_multi_is_its_formula() -> None:
    x, cond, shown, empty = tensors(5, 4)
    guidance = make_guidance("multi", scale=1.0, acoustic_scale=1.4, text_scale=1.2)
    assert set(guidance.branches(0.5)) == {COND, NULL, EMPTY}
    v = guidance.combine(x, 0.5, {COND: cond, NULL: shown, EMPTY: empty}, {})
    torch.testing.assert_close(v, empty + 1.4 * (shown - empty) + 1.2 * (cond - shown))


@pytest.mark.parametrize(
    ("a", "b", "branches"),
    [(1.0, 1.0, {COND}), (1.3, 1.3, {COND, EMPTY}), (1.0, 1.5, {COND, NULL}), (1.0, 0.0, {NULL}), (0.0, 0.0, {EMPTY})],
)
def test_multi_asks_for_no_branch_of_no_weight(a: float, b: float, branches: set[str]) -> None:
    guidance = make_guidance("multi", scale=1.0, acoustic_scale=a, text_scale=b)
    assert set(guidance.branches(0.5)) == branches
    x, cond, shown, empty = tensors(6, 4)
    preds = {COND: cond, NULL: shown, EMPTY: empty}
    v = guidance.combine(x, 0.5, {k: preds[k] for k in guidance.branches(0.5)}, {})
    torch.testing.assert_close(v, empty + a * (shown - empty) + b * (cond - shown), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_branches_that_agree_leave_the_prediction_as_it_is(kind: str) -> None:
    guidance = make_guidance(kind, scale=6.0)
    x, cond = tensors(7, 2)
    v = guidance.combine(x, 0.5, dict.fromkeys(guidance.branches(0.5), cond), {})
    torch.testing.assert_close(v, cond, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_is_its_items(kind: str) -> None:
    guidance = make_guidance(kind, scale=6.0, norm=True)
    together, alone = {}, [{}, {}, {}]
    for step in range(3):
        x, *preds = tensors(20 + step, 4, (3, 20, 6))
        named = dict(zip((COND, NULL, EMPTY), preds, strict=True))
        needed = {k: named[k] for k in guidance.branches(0.5)}
        v = guidance.combine(x, 0.5, needed, together)
        for i in range(3):
            part = {k: pred[i : i + 1] for k, pred in needed.items()}
            single = guidance.combine(x[i : i + 1], 0.5, part, alone[i])
            # trigonometry in vector lanes may round otherwise than in a tail; all else is bit for bit
            torch.testing.assert_close(v[i : i + 1], single, rtol=1e-5 if kind == "adg" else 0, atol=1e-5 if kind == "adg" else 0)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"kind": "agp"}, "Did you mean 'apg'"),
        ({"scale": -1.0}, "guidance scale"),
        ({"scale": float("nan")}, "guidance scale"),
        ({"interval": (0.8, 0.2)}, "backwards"),
    ],
)
def test_wrong_requests_are_told(change: dict, says: str) -> None:
    with pytest.raises(RequestError, match=says):
        make_guidance(**{"kind": "apg", "scale": 7.0} | change)

"""Projections: what they leave alone stays exact, what they change follows their formula."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from segue.pipeline.diffusion.guidance import make_guidance
from segue.pipeline.diffusion.loop import renoise, sample
from segue.pipeline.diffusion.projections import (
    EnvelopeProjection,
    LowBandProjection,
    RepaintProjection,
    window_weights,
)
from segue.pipeline.diffusion.schedules import start_at, timesteps
from segue.pipeline.diffusion.timeline import Timeline
from segue.pipeline.errors import RequestError

PLAIN = make_guidance("none", scale=1.0)


def randn(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def low_pass(x: torch.Tensor, bins: int = 3, dim: int = -1) -> torch.Tensor:
    """Zero-phase, linear, idempotent: keep the first Fourier bins."""
    spectrum = torch.fft.rfft(x, dim=dim)
    keep = torch.zeros(spectrum.shape[dim], dtype=x.dtype)
    keep[:bins] = 1
    shape = [1] * x.ndim
    shape[dim] = -1
    return torch.fft.irfft(spectrum * keep.reshape(shape), n=x.shape[dim], dim=dim)


# --- windows ----------------------------------------------------------------------------------------------------------


def test_the_fade_lies_inside_the_window() -> None:
    mask = torch.zeros(20)
    mask[5:15] = 1
    weights = window_weights(mask, 3)
    assert weights[:5].eq(0).all() and weights[15:].eq(0).all()
    assert weights[5:8].tolist() == pytest.approx([0.25, 0.5, 0.75])
    assert weights[8:12].eq(1).all()
    assert weights[12:15].tolist() == pytest.approx([0.75, 0.5, 0.25])


def test_no_fade_where_the_clip_ends() -> None:
    assert window_weights(torch.tensor([1.0, 1, 1, 1, 0, 0]), 2).tolist() == pytest.approx([1, 1, 2 / 3, 1 / 3, 0, 0])
    assert window_weights(torch.ones(4), 10).eq(1).all()


def test_a_short_window_fades_over_half_of_itself_at_most() -> None:
    assert window_weights(torch.tensor([0.0, 1, 1, 1, 1, 0]), 10).tolist() == pytest.approx([0, 1 / 3, 2 / 3, 2 / 3, 1 / 3, 0])
    assert window_weights(torch.tensor([0.0, 1, 0]), 10).tolist() == [0, 1, 0]


@given(st.lists(st.booleans(), min_size=1, max_size=60), st.integers(0, 15))
def test_weights_are_zero_exactly_outside(inside: list[bool], fade: int) -> None:
    mask = torch.tensor(inside, dtype=torch.float32)
    weights = window_weights(mask, fade)
    assert torch.equal(weights > 0, mask > 0) and weights.max() <= 1
    assert torch.equal(window_weights(torch.stack([mask, 1 - mask]), fade)[0], weights)
    assert torch.equal(window_weights(mask.flip(0), fade), weights.flip(0))
    if fade == 0:
        assert torch.equal(weights, mask)


# --- repaint ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", ["euler", "heun", "sde", "dpmpp"])
@pytest.mark.parametrize("denoise", [1.0, 0.6])
def test_repaint_leaves_the_outside_exact_and_fills_the_inside(fields, recorder, noise, solver: str, denoise: float) -> None:
    source, fresh = randn(1, 1, 30, 4), randn(2, 1, 30, 4)
    mask = torch.zeros(30)
    mask[8:14] = mask[20:26] = 1
    ts = start_at(timesteps("turbo", 8, 3.0), denoise, "truncate", steps=8, shift=3.0)
    out = sample(
        recorder(), Timeline.single(fields.point(5.0)), ts, renoise(source, fresh, ts[0]), solver=solver,
        guidance=PLAIN, noise=noise, projections=[RepaintProjection(source, mask, fade_frames=2)],
    )  # fmt: skip
    outside = mask == 0
    assert torch.equal(out.x[:, outside], source[:, outside])
    torch.testing.assert_close(out.x[:, 10:12], torch.full((1, 2, 4), 5.0))
    torch.testing.assert_close(out.x[:, 8], (2 * source[:, 8] + 5.0) / 3)  # a third in, of a fade of two


def test_outside_the_state_is_the_source_at_the_steps_own_level(fields, recorder, noise) -> None:
    source, fresh = randn(1, 2, 30, 4), randn(2, 2, 30, 4)
    mask = torch.zeros(2, 30)
    mask[0, 8:14] = 1
    mask[1, 3:9] = 1
    net, ts = recorder(), timesteps("linear", 8, 2.0)
    repaint = RepaintProjection(source, mask)
    sample(net, Timeline.single(fields.point(5.0)), ts, fresh, guidance=PLAIN, noise=noise, projections=[repaint])
    for t, state in zip(ts, net.states, strict=True):
        expected = renoise(source, fresh, t)
        torch.testing.assert_close(state[mask == 0], expected[mask == 0], rtol=1e-5, atol=1e-5)


def test_until_counts_steps() -> None:
    x0, source = randn(1, 1, 10, 2), randn(2, 1, 10, 2)
    repaint = RepaintProjection(source, torch.zeros(10), until=0.5)
    acts = [not torch.equal(repaint(x0, 0.5, step, 8), x0) for step in range(8)]
    assert acts == [True] * 4 + [False] * 4


def test_a_prediction_that_is_not_finite_stays_inside_the_window() -> None:
    source, mask = randn(2, 1, 10, 2), torch.zeros(10)
    mask[4:6] = 1
    out = RepaintProjection(source, mask)(torch.full_like(source, float("nan")), 0.5, 0, 8)
    assert torch.equal(out[:, mask == 0], source[:, mask == 0]) and out[:, 4:6].isnan().all()


def test_repaint_of_unequal_lengths_is_refused() -> None:
    with pytest.raises(RequestError, match="9 frames, the source 10"):
        RepaintProjection(randn(1, 1, 10, 2), torch.zeros(9))
    with pytest.raises(RequestError, match="until"):
        RepaintProjection(randn(1, 1, 10, 2), torch.zeros(10), until=2.0)


# --- low band ---------------------------------------------------------------------------------------------------------

HOP = 8


def encode(audio: torch.Tensor) -> torch.Tensor:
    """A linear codec that is not its decoder's inverse: six of a frame's eight coefficients, a tenth too weak."""
    return 0.9 * audio.unflatten(-1, (-1, HOP)).squeeze(1) @ BASIS[:, :6]


def decode(latent: torch.Tensor) -> torch.Tensor:
    return (latent @ BASIS[:, :6].T).flatten(-2).unsqueeze(1)


BASIS = torch.linalg.qr(randn(77, HOP, HOP))[0]


def test_low_band_is_its_formula() -> None:
    x0, reference = randn(1, 2, 16, 6), randn(2, 2, 1, 128)
    out = LowBandProjection(decode, encode, low_pass, reference)(x0, 0.3, 7, 8)
    audio = decode(x0)
    expected = x0 + encode(audio + 0.7 * low_pass(reference - audio)) - encode(audio)
    torch.testing.assert_close(out, expected)


def test_low_band_reaches_the_reference_where_the_codec_can() -> None:
    """At t → 0 the output's low band is the reference's, for a reference inside the codec's range; the rest stays."""

    def full(latent: torch.Tensor) -> torch.Tensor:
        return latent.flatten(-2).unsqueeze(1)

    def back(audio: torch.Tensor) -> torch.Tensor:
        return audio.squeeze(1).unflatten(-1, (-1, HOP))

    x0, reference = randn(1, 1, 16, HOP), randn(2, 1, 1, 128)
    out = full(LowBandProjection(full, back, low_pass, reference)(x0, 1e-7, 7, 8))
    torch.testing.assert_close(low_pass(out), low_pass(reference), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(out - low_pass(out), full(x0) - low_pass(full(x0)), rtol=1e-4, atol=1e-5)


def test_low_band_with_a_reference_already_met_changes_nothing() -> None:
    x0 = randn(1, 1, 16, 6)
    out = LowBandProjection(decode, encode, low_pass, decode(x0))(x0, 0.2, 7, 8)
    torch.testing.assert_close(out, x0)


def test_low_band_acts_every_k_steps_and_always_in_the_last() -> None:
    x0, reference, steps = randn(1, 1, 16, 6), randn(2, 1, 1, 128), 8
    band = LowBandProjection(decode, encode, low_pass, reference, every=3)
    acts = [not torch.equal(band(x0, 0.5, step, steps), x0) for step in range(steps)]
    assert acts == [False, True, False, False, True, False, False, True]
    assert torch.equal(band(x0, 1.0, 7, steps), x0)  # w = 0: no codec pass for nothing


def test_low_band_pads_a_reference_that_ends_inside_a_frame_and_refuses_a_shorter_one() -> None:
    x0, reference = randn(1, 1, 16, 6), randn(2, 1, 125)
    padded = torch.nn.functional.pad(reference, (0, 3))
    out, same = (LowBandProjection(decode, encode, low_pass, r)(x0, 0.5, 7, 8) for r in (reference, padded))
    assert torch.equal(out, same)
    for samples in (120, 129):
        with pytest.raises(RequestError, match=f"{samples} samples"):
            LowBandProjection(decode, encode, low_pass, randn(2, 1, samples))(x0, 0.5, 7, 8)
    with pytest.raises(RequestError, match="every"):
        LowBandProjection(decode, encode, low_pass, reference, every=0)


# --- envelope ---------------------------------------------------------------------------------------------------------


def along_time(x: torch.Tensor) -> torch.Tensor:
    return low_pass(x, dim=1)


def test_envelope_is_its_formula() -> None:
    x0, envelope = randn(1, 2, 32, 1), along_time(randn(2, 2, 32, 1))
    out = EnvelopeProjection(along_time, envelope)(x0, 0.4, 0, 8)
    torch.testing.assert_close(out, x0 + 0.6 * (envelope - along_time(x0)))


def test_envelope_guidance_gives_the_wanted_envelope_and_keeps_the_detail(fields, recorder, noise) -> None:
    x, envelope = randn(3, 1, 64, 1), along_time(randn(4, 1, 64, 1))
    ts = timesteps("karras", 40, 1.0)
    free, held = (
        sample(recorder(), Timeline.single(fields.gaussian(0.0, 0.5)), ts, x, guidance=PLAIN, noise=noise, projections=p).x
        for p in ([], [EnvelopeProjection(along_time, envelope)])
    )
    torch.testing.assert_close(along_time(held), envelope, rtol=0, atol=0.01)
    torch.testing.assert_close(held - along_time(held), free - along_time(free), rtol=0, atol=1e-4)
    assert (along_time(free) - envelope).abs().max() > 0.1

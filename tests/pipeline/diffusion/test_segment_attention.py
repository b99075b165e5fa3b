"""The cache changes nothing but the time: equal to the plain forward, and gone when it should be."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from diffusers import AceStepTransformer1DModel
from hypothesis import given, settings
from hypothesis import strategies as st
from segue.pipeline.diffusion.attention import SegmentAttention, local_attention

D, E, FRAMES = 8, 24, 61


@pytest.fixture(scope="module")
def transformer():
    torch.manual_seed(0)
    net = AceStepTransformer1DModel(
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        in_channels=3 * D,
        audio_acoustic_hidden_dim=D,
        encoder_hidden_size=E,
        sliding_window=4,
    )
    return net.eval().requires_grad_(False)


def plain(net, x, t, states, context):
    at = torch.full((x.shape[0],), t)
    return net(x, at, at, states, context, return_dict=False)[0]


def cached(net, attention, x, t, context, rows, null_only=False):
    at = torch.full((1,), t)
    with torch.inference_mode(), attention.installed(null_only=null_only):
        return net(
            x.repeat(rows, 1, 1), at, at, attention.states_placeholder(x), context.repeat(rows, 1, 1), return_dict=False
        )[0]


def data(batch=2, length=7):
    g = torch.Generator().manual_seed(1)
    x, states = torch.randn(batch, FRAMES, D, generator=g), torch.randn(batch, length, E, generator=g)
    return x, states, torch.randn(batch, FRAMES, 2 * D, generator=g), torch.randn(1, 1, E, generator=g)


def assert_close(a, b, tolerance=2e-6):
    assert (a - b).abs().max() <= tolerance * b.abs().max()


def test_equals_the_plain_forward_with_both_branches(transformer):
    x, states, context, null = data()
    attention = SegmentAttention(transformer)
    attention.fill(states, torch.ones(states.shape[:2], dtype=torch.bool), null)
    both = cached(transformer, attention, x, 0.7, context, rows=2)
    assert_close(both[:2], plain(transformer, x, 0.7, states, context))
    assert_close(both[2:], plain(transformer, x, 0.7, null.expand_as(states), context))
    assert_close(cached(transformer, attention, x, 0.7, context, rows=1), both[:2])
    assert_close(cached(transformer, attention, x, 0.7, context, rows=1, null_only=True), both[2:])


def test_padding_is_not_attended_to(transformer):
    x, states, context, null = data()
    mask = torch.ones(states.shape[:2], dtype=torch.bool)
    mask[1, 3:] = False
    attention = SegmentAttention(transformer)
    attention.fill(states, mask, null)
    both = cached(transformer, attention, x, 0.4, context, rows=2)
    assert_close(both[:1], plain(transformer, x[:1], 0.4, states[:1], context[:1]))
    assert_close(both[1:2], plain(transformer, x[1:], 0.4, states[1:, :3], context[1:]))
    assert (both[1:2] - plain(transformer, x[1:], 0.4, states[1:], context[1:])).abs().max() > 1e-3  # it would matter


def test_keys_and_values_are_computed_once_a_segment(transformer):
    x, states, context, null = data()
    calls = []
    hooks = [layer.cross_attn.to_k.register_forward_hook(lambda *a: calls.append(1)) for layer in transformer.layers]
    try:
        attention = SegmentAttention(transformer)
        for _ in range(2):
            attention.fill(states, None, null)
            for t in (0.9, 0.5, 0.1):
                cached(transformer, attention, x, t, context, rows=2)
    finally:
        for hook in hooks:
            hook.remove()
    assert len(calls) == 2 * len(transformer.layers)  # once a segment and layer, however many steps


def test_a_switch_replaces_everything(transformer):
    x, states, context, null = data()
    used, fresh = SegmentAttention(transformer), SegmentAttention(transformer)
    used.fill(torch.randn_like(states), None, null)
    cached(transformer, used, x, 0.5, context, rows=2)
    for attention in (used, fresh):
        attention.fill(states[:, :4], None, null)
    assert torch.equal(cached(transformer, used, x, 0.5, context, 2), cached(transformer, fresh, x, 0.5, context, 2))


def test_two_over_one_transformer_do_not_meet(transformer):
    x, states, context, null = data()
    one, two = SegmentAttention(transformer), SegmentAttention(transformer)
    one.fill(states, None, null)
    alone = cached(transformer, one, x, 0.5, context, 2)
    two.fill(torch.randn_like(states), None, null)
    cached(transformer, two, x, 0.5, context, 2)
    assert torch.equal(cached(transformer, one, x, 0.5, context, 2), alone)


def test_the_original_processors_come_back_even_after_an_error(transformer):
    before = dict(transformer.attn_processors)
    attention = SegmentAttention(transformer)
    with pytest.raises(RuntimeError, match="before the segment"):
        cached(transformer, attention, *data()[:1], 0.5, data()[2], rows=1)
    assert {k: id(v) for k, v in transformer.attn_processors.items()} == {k: id(v) for k, v in before.items()}
    with pytest.raises(KeyError), attention.installed():
        raise KeyError
    assert transformer.attn_processors.keys() == before.keys()
    assert all(transformer.attn_processors[k] is v for k, v in before.items())


def test_rows_that_do_not_fit_are_refused(transformer):
    x, states, context, _ = data()
    attention = SegmentAttention(transformer)
    attention.fill(states, None, None)
    with pytest.raises(ValueError, match="do not fit"):
        cached(transformer, attention, x, 0.5, context, rows=2)
    with pytest.raises(RuntimeError, match="no null embedding"):
        cached(transformer, attention, x, 0.5, context, rows=1, null_only=True)


@settings(max_examples=30, deadline=None)
@given(length=st.integers(1, 50), window=st.integers(1, 12), groups=st.sampled_from([1, 2]))
def test_local_attention_equals_a_dense_band(length, window, groups):
    g = torch.Generator().manual_seed(length * 100 + window)
    q = torch.randn(2, 4, length, 6, generator=g)
    k, v = (torch.randn(2, 4 // groups, length, 6, generator=g) for _ in range(2))
    at = torch.arange(length)
    band = (at[:, None] - at[None, :]).abs() <= window
    dense = F.scaled_dot_product_attention(q, k, v, attn_mask=band, scale=0.4, enable_gqa=True)
    torch.testing.assert_close(local_attention(q, k, v, window, 0.4), dense, rtol=1e-5, atol=1e-5)

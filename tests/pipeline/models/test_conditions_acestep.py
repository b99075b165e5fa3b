"""Conditions: packing as the peer's encoder does it, a take in company is the take alone, text and timbre encoded once."""

from __future__ import annotations

import pytest
import torch
from segue.pipeline.conditioning import format_lyrics, format_text, instruction_for
from segue.pipeline.diffusion.denoiser import COND, EMPTY, NULL
from segue.pipeline.errors import RequestError
from segue.pipeline.models.acestep import reference_frames
from segue.pipeline.models.base import ConditionRequest
from segue.pipeline.spec import Prompt

FRAMES, DIM = 40, 8
SHORT = Prompt(caption="jazz")
LONG = Prompt(caption="a very long caption about brushed drums and a walking bass", lyrics="[verse]\nla la la", bpm=96)


def request(prompt=SHORT, **changes):
    return ConditionRequest(**({"prompt": prompt, "instruction": instruction_for("generate"), "frames": FRAMES} | changes))


def test_packing_equals_the_condition_encoders_own_forward(pool):
    model = pool.model("base")
    p = model.parts
    got = model.conditions([request(LONG)])
    text = format_text(LONG, instruction_for("generate"), FRAMES / 25)
    ids = [p.tokenizer(t, return_tensors="pt").input_ids for t in (text, format_lyrics(LONG))]
    ones = [torch.ones(i.shape, dtype=torch.bool) for i in ids]
    silence = p.condition_encoder.silence_latent[:, :750]
    wanted, mask = p.condition_encoder(
        p.text_encoder(input_ids=ids[0]).last_hidden_state,
        ones[0],
        p.text_encoder.get_input_embeddings()(ids[1]),
        ones[1],
        silence,
        torch.zeros(1, dtype=torch.long),
    )
    torch.testing.assert_close(got.encoder_states, wanted)
    assert torch.equal(got.encoder_mask, mask.bool())


def test_a_take_in_company_is_the_take_alone(pool):
    model = pool.model("base")
    noise = torch.randn(3, FRAMES, DIM)
    requests = [request(SHORT), request(LONG), request(Prompt(caption="rock", instrumental=True))]
    together = model.denoiser()
    together.switch(model.conditions(requests))
    company = together.velocity(noise, 0.6, (COND, NULL))
    for row, wanted in enumerate(requests):
        alone = model.denoiser()
        alone.switch(model.conditions([wanted]))
        for branch, v in zip(company, alone.velocity(noise[row : row + 1], 0.6, (COND, NULL)), strict=True):
            assert (branch[row] - v[0]).abs().max() <= 1e-5 * v.abs().max()


def test_branches_come_in_the_order_asked_for(pool):
    model = pool.model("base")
    denoiser = model.denoiser()
    denoiser.switch(model.conditions([request()]))
    x = torch.randn(1, FRAMES, DIM)
    cond, null = denoiser.velocity(x, 0.5, (COND, NULL))
    assert torch.equal(torch.stack(denoiser.velocity(x, 0.5, (NULL, COND))), torch.stack((null, cond)))
    torch.testing.assert_close(denoiser.velocity(x, 0.5, (NULL,))[0], null, rtol=1e-5, atol=1e-6)
    assert not cond.is_inference() and (cond - null).abs().max() > 1e-4
    with pytest.raises(ValueError, match="each once"):
        denoiser.velocity(x, 0.5, (COND, "acoustic"))
    with pytest.raises(ValueError, match="40 frames"):
        denoiser.velocity(x[:, :-1], 0.5, (COND,))


def test_the_empty_branch_is_a_generation_without_text(pool):
    """What a guidance of two scales pulls away from: the null branch of the same takes with nothing shown."""
    model, x = pool.model("base"), torch.randn(2, FRAMES, DIM)
    shown = [request(context="source", source=torch.randn(FRAMES, DIM), instruction=instruction_for("extract", track="drums"))
             for _ in range(2)]  # fmt: skip
    denoiser, generation = model.denoiser(), model.denoiser()
    denoiser.switch(model.conditions(shown))
    generation.switch(model.conditions([request(), request()]))
    cond, null, empty = denoiser.velocity(x, 0.5, (COND, NULL, EMPTY))
    torch.testing.assert_close(empty, generation.velocity(x, 0.5, (NULL,))[0], rtol=1e-5, atol=1e-6)
    for alone, row in ((COND, cond), (NULL, null), (EMPTY, empty)):
        torch.testing.assert_close(denoiser.velocity(x, 0.5, (alone,))[0], row, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(denoiser.velocity(x, 0.5, (EMPTY, COND))[0], empty, rtol=1e-5, atol=1e-6)
    assert (null - empty).abs().max() > 1e-4


def test_velocity_before_a_segment_says_so(pool):
    with pytest.raises(RuntimeError, match="switch"):
        pool.model("base").denoiser().velocity(torch.zeros(1, FRAMES, DIM), 0.5, (COND,))


def test_text_is_encoded_once_for_each_distinct_text(pool, counts):
    model = pool.model("base")
    for _ in range(2):
        model.conditions([request(), request(), request(LONG), request()])
    assert counts["text_encodes"] == 2
    model.conditions([request(instruction=instruction_for("cover"))])
    assert counts["text_encodes"] == 3


def test_timbre_is_encoded_once_for_each_reference(pool):
    model, calls = pool.model("base"), []
    hook = model.parts.condition_encoder.timbre_encoder.register_forward_hook(lambda *a: calls.append(1))
    reference = torch.randn(100, DIM)
    for prompt in (SHORT, LONG):
        model.conditions([request(prompt), request(prompt, timbre=reference), request(prompt, timbre=reference.clone())])
    hook.remove()
    assert len(calls) == 2  # silence, and the one reference


def test_context_is_source_beside_mask(pool):
    model = pool.model("base")
    silence = model.parts.condition_encoder.silence_latent[0, :FRAMES]
    source, mask = torch.randn(FRAMES, DIM), torch.zeros(FRAMES)
    mask[10:20] = 1
    plain = model.conditions([request()]).context[0]
    assert torch.equal(plain, torch.cat([silence, torch.ones(FRAMES, DIM)], dim=1))
    full = model.conditions([request(context="source", source=source)]).context[0]
    assert torch.equal(full, torch.cat([source, torch.ones(FRAMES, DIM)], dim=1))
    hole = model.conditions([request(context="source", source=source, mask=mask, silence_in_mask=True)]).context[0]
    assert torch.equal(hole[:10, :DIM], source[:10]) and torch.equal(hole[20:, :DIM], source[20:])
    assert torch.equal(hole[10:20, :DIM], silence[10:20])
    assert torch.equal(hole[:, DIM:], mask[:, None].expand(-1, DIM))


def test_silence_is_repeated_where_it_is_too_short(pool):
    model = pool.model("base")
    held = model.parts.condition_encoder.silence_latent.shape[1]
    assert torch.equal(model.silence(held + 3)[held:], model.silence(3))


def test_what_can_not_be_is_refused(pool):
    model = pool.model("base")
    with pytest.raises(ValueError, match="one length"):
        model.conditions([request(), request(frames=41)])
    with pytest.raises(ValueError, match="wants a source latent"):
        model.conditions([request(context="source", source=torch.zeros(39, DIM))])
    with pytest.raises(ValueError, match="mask has shape"):
        model.conditions([request(mask=torch.ones(39))])
    with pytest.raises(RequestError, match="codebook of 200 codes"):
        model.conditions([request(context="codes", codes="<|audio_code_200|>" * 8)])
    with pytest.raises(RequestError, match=r"set duration_s to 0\.4"):
        model.conditions([request(context="codes", codes="<|audio_code_1|>" * 2)])


def test_token_counts_are_those_before_cutting(pool):
    model = pool.model("base")
    text, lyrics = model.token_counts(Prompt(caption="la " * 3000, lyrics="x" * 9000), instruction_for("generate"))
    assert text > model.info.max_text_tokens and lyrics > model.info.max_lyric_tokens
    states = model.conditions([request(Prompt(caption="la " * 3000, lyrics="x" * 9000))]).encoder_states
    assert states.shape[1] == 256 + 2048 + 1


@pytest.mark.parametrize("length", [1, 250, 749, 750, 751, 2000])
def test_reference_is_three_thirds(length):
    latent = torch.arange(length, dtype=torch.float32)[:, None]
    got = reference_frames(latent, 750)[:, 0]
    long = latent.repeat(-(-750 // length), 1)[:, 0] if length < 750 else latent[:, 0]
    third = len(long) // 3
    assert torch.equal(got, torch.cat([long[:250], long[third : third + 250], long[-250:]]))
    if length == 750:
        assert torch.equal(got, latent[:, 0])

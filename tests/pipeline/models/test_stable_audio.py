"""Stable Audio: conditions as `StableAudioPipeline` makes them, and its network behind the flow-matching convention."""

from __future__ import annotations

import math

import pytest
import torch
from diffusers import EDMDPMSolverMultistepScheduler, StableAudioPipeline
from diffusers.models.embeddings import get_1d_rotary_pos_embed
from segue.pipeline.context import Numerics
from segue.pipeline.diffusion.denoiser import COND, NULL
from segue.pipeline.diffusion.guidance import make_guidance
from segue.pipeline.diffusion.loop import sample
from segue.pipeline.diffusion.schedules import timesteps
from segue.pipeline.diffusion.timeline import Timeline
from segue.pipeline.errors import RequestError
from segue.pipeline.models.base import ConditionRequest
from segue.pipeline.models.pool import Pool
from segue.pipeline.models.resolve import describe_model
from segue.pipeline.models.stable_audio import describe_prompt
from segue.pipeline.spec import Prompt

FRAMES = 50


@pytest.fixture
def model(tiny_stable_audio, counts):
    with Pool(describe_model(str(tiny_stable_audio)), Numerics(), counts) as pool:
        yield pool.model("base")


def request(text="warm jazz", **changes):
    return ConditionRequest(Prompt(caption=text), "", FRAMES, **changes)


@pytest.fixture
def pipe(model):
    p = model.parts
    scheduler = EDMDPMSolverMultistepScheduler(**{"sigma_min": 0.3, "sigma_max": 500, "sigma_data": 1.0})
    return StableAudioPipeline(p.vae, p.text_encoder, p.projection_model, p.tokenizer, p.transformer, scheduler)


def test_facts(model, tiny_stable_audio):
    info = model.info
    assert info.family == "stable_audio" and info.tasks == {"generate", "refine", "super_resolve"}
    assert info.max_text_tokens == 24 and info.max_duration_s == 64 / 25
    assert info.defaults.schedule == "karras" and info.defaults.solver == "dpmpp"


def test_conditions_equal_the_peers(model, pipe):
    with torch.no_grad():
        text = pipe.encode_prompt("warm jazz", "cpu", False)
        start, end = pipe.encode_duration(0.0, FRAMES / 25, "cpu", False, 1)
    got = model.conditions([request()])
    torch.testing.assert_close(got.encoder_states, torch.cat([text, start, end], dim=1))
    torch.testing.assert_close(got.extra["global_states"], torch.cat([start, end], dim=2))


@pytest.mark.parametrize("sigma", [0.3, 1.0, 7.0, 400.0])
def test_the_clean_prediction_equals_the_schedulers_preconditioning(model, pipe, sigma):
    """D(x; sigma) as CosineDPMSolverMultistepScheduler preconditions it: c_in, atan(sigma)·2/π, c_skip, c_out."""
    x_edm = sigma * torch.randn(1, FRAMES, 8, generator=torch.Generator().manual_seed(1))
    condition = model.conditions([request()])
    rotary = get_1d_rotary_pos_embed(8, FRAMES + 1, use_real=True, repeat_interleave_real=False)

    def denoised(states):
        with torch.no_grad():
            out = model.parts.transformer(
                x_edm.transpose(1, 2) / math.sqrt(sigma**2 + 1),
                torch.tensor([math.atan(sigma) / math.pi * 2]),
                encoder_hidden_states=states,
                global_hidden_states=condition.extra["global_states"],
                rotary_embedding=rotary,
                return_dict=False,
            )[0].transpose(1, 2)
        return x_edm / (sigma**2 + 1) - sigma / math.sqrt(sigma**2 + 1) * out

    t = sigma / (1 + sigma)
    denoiser = model.denoiser()
    denoiser.switch(condition)
    x = x_edm / (1 + sigma)
    velocities = denoiser.velocity(x, t, (COND, NULL))
    for v, states in zip(velocities, (condition.encoder_states, torch.zeros_like(condition.encoder_states)), strict=True):
        torch.testing.assert_close(x - t * v, denoised(states), rtol=1e-4, atol=1e-4)
    assert (velocities[0] - velocities[1]).abs().max() > 1e-5


def test_levels_beyond_the_training_are_refused(model):
    denoiser = model.denoiser()
    denoiser.switch(model.conditions([request()]))
    with pytest.raises(RequestError, match="sigma 500"):
        denoiser.velocity(torch.zeros(1, FRAMES, 8), 1.0, (COND,))


def test_samples_and_decodes(model, counts):
    noise = torch.randn(2, FRAMES, 8, generator=torch.Generator().manual_seed(2))
    condition = model.conditions([request(), request("drums")])
    made = sample(
        model.denoiser(),
        Timeline.single(condition),
        timesteps("karras", 6, 1.0),
        noise,
        solver="dpmpp",
        guidance=make_guidance("cfg", scale=7.0),
        noise=lambda *a: None,
    )
    assert torch.isfinite(made.x).all() and made.forwards == 12 and counts["text_encodes"] == 2
    assert model.decode(made.x).shape == (2, 2, FRAMES * 48)


def test_what_it_has_no_channel_for_is_refused(model):
    for changes in ({"context": "source", "source": torch.zeros(FRAMES, 8)}, {"mask": torch.ones(FRAMES)}):
        with pytest.raises(RequestError, match="no context channel"):
            model.conditions([request(**changes)])


def test_tempo_and_key_go_into_the_text(model):
    assert describe_prompt(Prompt(caption="warm jazz", bpm=96, keyscale="C major")) == "warm jazz, 96 BPM, C major"
    assert describe_prompt(Prompt(keyscale="")) == ""
    assert model.token_counts(Prompt(caption="jazz"), "")[1] == 0

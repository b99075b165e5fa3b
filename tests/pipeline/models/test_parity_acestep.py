"""Equal to `AceStepPipeline(output_type="latent")` where it is right: one prompt, same noise and source, 1e-4 · max|x|.

diffusers samples the source's latent from the global generator; here the peer is handed the mean that ours encoded (once
a model: test_autoencoder_tiles shows that it is the peer's own mean).
"""

from __future__ import annotations

import pytest
import torch
from diffusers import AceStepPipeline
from segue.pipeline.conditioning import instruction_for
from segue.pipeline.context import Numerics
from segue.pipeline.diffusion.guidance import make_guidance
from segue.pipeline.diffusion.loop import sample
from segue.pipeline.diffusion.schedules import timesteps
from segue.pipeline.diffusion.timeline import Timeline
from segue.pipeline.models.base import ConditionRequest
from segue.pipeline.models.pool import Pool
from segue.pipeline.models.resolve import describe_model
from segue.pipeline.spec import Prompt

TOLERANCE = 1e-4
FRAMES = 45  # odd: the transformer pads to its patch of two
PROMPT = Prompt(caption="warm jazz trio, brushed drums", lyrics="[verse]\nla la", bpm=96, keyscale="C major")


@pytest.fixture(scope="module", params=["tiny", "segue-mini"])
def peers(request, tiny):
    """Our model and the peer over the very same loaded weights."""

    class Silent:
        def add(self, name, n=1):
            pass

    name = str(tiny) if request.param == "tiny" else "segue-mini"
    with Pool(describe_model(name), Numerics(), Silent()) as pool:
        model = pool.model("base")
        if request.param == "tiny":
            pipe = AceStepPipeline.from_pretrained(name)
        else:
            p = model.parts
            from diffusers import FlowMatchEulerDiscreteScheduler

            pipe = AceStepPipeline(
                vae=p.vae,
                text_encoder=p.text_encoder,
                tokenizer=p.tokenizer,
                transformer=p.transformer,
                condition_encoder=p.condition_encoder,
                scheduler=FlowMatchEulerDiscreteScheduler(num_train_timesteps=1, shift=1.0),
                audio_tokenizer=p.audio_tokenizer,
                audio_token_detokenizer=p.audio_token_detokenizer,
            )
        pipe.set_progress_bar_config(disable=True)
        yield model, pipe


class Encoded:
    """What the peer's autoencoder gives back: a distribution that is one latent `[1, D, T]`."""

    def __init__(self, latent):
        self.latent_dist = self
        self.sample = lambda: latent


@pytest.fixture(scope="module")
def source(peers):
    """Source audio `[C, T]` and the latent `[frames, D]` both sides use."""
    model, pipe = peers
    samples = FRAMES * model.info.hop_length
    audio = 0.2 * torch.randn(model.info.channels, samples, generator=torch.Generator().manual_seed(5))
    latent = model.encode(audio[None])[0]
    encode, pipe.vae.encode = pipe.vae.encode, lambda given: Encoded(latent.T[None])
    yield audio, latent
    pipe.vae.encode = encode


def noise_like(model, seed=3):
    return torch.randn(1, FRAMES, model.info.latent_dim, generator=torch.Generator().manual_seed(seed))


def ours(model, request, noise, steps, scale, shift=1.0):
    ts = timesteps("linear", steps, shift)
    guidance = make_guidance("apg" if scale > 1 else "none", scale=scale)
    timeline = Timeline.single(model.conditions([request]))
    return sample(model.denoiser(), timeline, ts, noise, guidance=guidance, noise=lambda *a: None).x


def theirs(pipe, model, noise, steps, scale, shift=1.0, **task):
    return pipe(
        PROMPT.caption,
        lyrics=PROMPT.lyrics,
        bpm=PROMPT.bpm,
        keyscale=PROMPT.keyscale,
        audio_duration=FRAMES / model.info.frame_rate_hz,
        num_inference_steps=steps,
        guidance_scale=scale,
        shift=shift,
        latents=noise.clone(),
        output_type="latent",
        **task,
    ).audios


def assert_equal(got, wanted):
    assert got.shape == wanted.shape
    assert torch.isfinite(wanted).all() and wanted.std() > 0
    assert (got - wanted).abs().max() <= TOLERANCE * wanted.abs().max()


cases = pytest.mark.parametrize(("steps", "scale"), [(8, 1.0), (8, 7.0), (50, 1.0), (50, 7.0)])


@cases
def test_text2music(peers, steps, scale):
    model, pipe = peers
    noise = noise_like(model)
    request = ConditionRequest(PROMPT, instruction_for("generate"), FRAMES)
    assert_equal(ours(model, request, noise, steps, scale), theirs(pipe, model, noise, steps, scale))


@cases
def test_extract(peers, source, steps, scale):
    model, pipe = peers
    noise, (audio, latent) = noise_like(model), source
    request = ConditionRequest(
        PROMPT, instruction_for("extract", "drums"), FRAMES, context="source", source=latent
    )
    wanted = theirs(pipe, model, noise, steps, scale, task_type="extract", track_name="drums", src_audio=audio)
    assert_equal(ours(model, request, noise, steps, scale), wanted)


@cases
def test_repaint_context(peers, source, steps, scale):
    model, pipe = peers
    noise, (audio, latent) = noise_like(model), source
    mask = torch.zeros(FRAMES)
    mask[12:30] = 1
    request = ConditionRequest(
        PROMPT,
        instruction_for("repaint"),
        FRAMES,
        context="source",
        source=latent,
        mask=mask,
        silence_in_mask=True,
    )
    rate = model.info.frame_rate_hz
    wanted = theirs(
        pipe,
        model,
        noise,
        steps,
        scale,
        task_type="repaint",
        src_audio=audio,
        repainting_start=12.2 / rate,
        repainting_end=30.2 / rate,
    )
    assert_equal(ours(model, request, noise, steps, scale), wanted)


@cases
def test_cover_at_full_strength(peers, source, steps, scale):
    model, pipe = peers
    noise, (audio, latent) = noise_like(model), source
    request = ConditionRequest(
        PROMPT, instruction_for("cover"), FRAMES, context="quantized", source=latent
    )
    wanted = theirs(pipe, model, noise, steps, scale, task_type="cover", src_audio=audio, audio_cover_strength=1.0)
    assert_equal(ours(model, request, noise, steps, scale), wanted)


def test_audio_codes(peers):
    model, pipe = peers
    codes = "".join(f"<|audio_code_{n}|>" for n in (3, 17, 0, 199, 42, 5, 6, 7, 8))  # 9 codes of 5 frames
    noise = noise_like(model)
    request = ConditionRequest(PROMPT, instruction_for("cover"), FRAMES, context="codes", codes=codes)
    assert_equal(ours(model, request, noise, 8, 1.0), theirs(pipe, model, noise, 8, 1.0, audio_codes=codes))


def test_timbre_reference(peers):
    model, pipe = peers
    rate, hop = model.info.rate_hz, model.info.hop_length
    reference = 0.2 * torch.randn(model.info.channels, 30 * rate, generator=torch.Generator().manual_seed(8))
    latent = 0.5 * torch.randn(30 * rate // hop, model.info.latent_dim, generator=torch.Generator().manual_seed(9))
    noise = noise_like(model)

    request = ConditionRequest(PROMPT, instruction_for("generate"), FRAMES, timbre=latent)
    mine = ours(model, request, noise, 8, 1.0)
    encode, pipe.vae.encode = pipe.vae.encode, lambda given: Encoded(latent.T[None])
    try:
        wanted = theirs(pipe, model, noise, 8, 1.0, reference_audio=reference)
    finally:
        pipe.vae.encode = encode
    assert_equal(mine, wanted)
    assert (mine - ours(model, ConditionRequest(PROMPT, instruction_for("generate"), FRAMES), noise, 8, 1.0)).abs().max() > 1e-3


def test_turbo_on_its_own_table(tiny_turbo):
    pipe = AceStepPipeline.from_pretrained(tiny_turbo)
    pipe.set_progress_bar_config(disable=True)

    class Silent:
        def add(self, name, n=1):
            pass

    with Pool(describe_model(str(tiny_turbo)), Numerics(), Silent()) as pool:
        model = pool.model("turbo")
        noise = noise_like(model)
        request = ConditionRequest(PROMPT, instruction_for("generate"), FRAMES)
        timeline = Timeline.single(model.conditions([request]))
        got = sample(
            model.denoiser(),
            timeline,
            timesteps("turbo", 8, 3.0),
            noise,
            guidance=make_guidance("none", scale=1.0),
            noise=lambda *a: None,
        ).x
        assert_equal(got, theirs(pipe, model, noise, 8, 1.0, shift=3.0))

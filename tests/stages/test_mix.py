"""Mix: sums with gains, in samples and in latents."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from segue.pipeline.audio_file import resample
from segue.pipeline.context import Job, Result
from segue.pipeline.errors import RunError
from segue.pipeline.spec import Prompt
from segue.pipeline.take import Audio, Latent, Signal, Take
from segue.stages.mix import Mix


class Surroundings:
    stage = "mixed"

    def audio(self, take: Take, rate_hz: int | None = None, channels: int | None = None) -> Audio:
        return take.signal.audio()


class Encoder:
    """Encodes by folding samples into frames: a linear map that tests can undo."""

    def encode(self, audio: Audio, codec: str) -> Latent:
        return Latent(audio.samples[0].reshape(-1, 4), audio.rate_hz / 4, codec, samples=audio.samples.shape[1])

    def decode(self, latent: Latent) -> Audio:
        raise AssertionError("a latent mix decodes nothing")


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def take(audio: Audio | None = None, latent: Latent | None = None, caption: str | None = None) -> Take:
    return Take("x", 0, 0, Prompt(caption=caption), "k", Signal(audio, latent, Encoder()))


def latent(frames: torch.Tensor, samples: int | None = None, codec: str = "c", t: float = 0.0) -> Latent:
    return Latent(frames, 25.0, codec, t, samples)


def mixed(*takes: Take, **spec: Any) -> Result:
    stage = Mix(sources=tuple(f"s{i}" for i in range(len(takes))), **spec)
    job = Job(0, 0, takes[0].prompt, {f"sources[{i}]": t for i, t in enumerate(takes)}, "k")
    (result,) = stage.run([job], Surroundings())  # type: ignore[arg-type]
    return result


@given(gains=st.lists(st.floats(-60, 20), min_size=2, max_size=5), seed=st.integers(0, 100))
@settings(max_examples=30, deadline=None)
def test_samples_add_with_their_gains(gains: list[float], seed: int) -> None:
    parts = [noise(2, 200, seed=seed + i) for i in range(len(gains))]
    result = mixed(*(take(Audio(p, 48_000)) for p in parts), gains_db=tuple(gains))
    ideal = sum(p.double() * 10 ** (g / 20) for p, g in zip(parts, gains, strict=True))
    assert result.audio is not None and torch.allclose(result.audio.samples.double(), ideal, rtol=1e-5, atol=1e-5)  # type: ignore[arg-type]
    assert result.facts["gains_db"] == gains


def test_left_out_gains_are_zero_and_a_sound_less_itself_is_silence() -> None:
    x = noise(2, 500)
    result = mixed(take(Audio(x, 48_000)), take(Audio(-x, 48_000)))
    assert result.audio is not None and not result.audio.samples.any()


@pytest.mark.parametrize(("align", "length"), [("pad", 900), ("trim", 400)])
def test_unequal_lengths_start_together(align: str, length: int) -> None:
    short, long = noise(1, 400), noise(1, 900, seed=1)
    out = mixed(take(Audio(short, 8000)), take(Audio(long, 8000)), align=align).audio
    assert out is not None and out.samples.shape == (1, length)
    assert torch.allclose(out.samples[:, :400], short + long[:, :400])
    assert torch.equal(out.samples[:, 400:], long[:, 400:length])


def test_rates_and_channels_rise_to_the_highest() -> None:
    mono, stereo = Audio(noise(1, 4000) * 0.1, 8000), Audio(noise(2, 24_000, seed=1), 48_000)
    result = mixed(take(mono), take(stereo))
    assert result.audio is not None and result.audio.rate_hz == 48_000 and result.audio.samples.shape == (2, 24_000)
    assert torch.allclose(result.audio.samples, stereo.samples + resample(mono, 48_000).samples, atol=1e-6)
    assert (result.facts["rate_hz"], result.facts["channels"]) == (48_000, 2)


def test_normalised_waveforms_are_a_weighted_mean() -> None:
    a, b = noise(1, 100), noise(1, 100, seed=1)
    out = mixed(take(Audio(a, 8000)), take(Audio(b, 8000)), gains_db=(0.0, 20.0), normalize="sum").audio
    assert out is not None and torch.allclose(out.samples, (a + 10 * b) / 11, atol=1e-5)


def test_nothing_is_clipped() -> None:
    loud = Audio(torch.ones(1, 100), 8000)
    out = mixed(take(loud), take(loud)).audio
    assert out is not None and torch.equal(out.samples, torch.full((1, 100), 2.0))


def test_latents_blend_and_the_result_is_a_latent() -> None:
    a, b = noise(10, 4), noise(10, 4, seed=1)
    result = mixed(take(latent=latent(a)), take(latent=latent(b)), domain="latent", normalize="sum", gains_db=(0.0, -6.0))
    w = 10 ** (-6 / 20)
    assert result.audio is None and result.latent is not None
    assert torch.allclose(result.latent.frames, (a + w * b) / (1 + w), atol=1e-6)
    plain = mixed(take(latent=latent(a)), take(latent=latent(b)), domain="latent").latent
    assert plain is not None and torch.allclose(plain.frames, a + b)


def test_equal_latents_blend_to_themselves_whatever_their_ends() -> None:
    z = noise(12, 4)
    short = latent(z[:7], samples=7 * 100)
    result = mixed(take(latent=latent(z, samples=1150)), take(latent=short), domain="latent", normalize="sum").latent
    assert result is not None and torch.allclose(result.frames, z, atol=1e-6) and result.samples == 1150
    cut = mixed(take(latent=latent(z, samples=1150)), take(latent=short), domain="latent", normalize="sum", align="trim").latent
    assert cut is not None and torch.allclose(cut.frames, z[:7], atol=1e-6) and cut.samples == 700


def test_a_source_without_a_latent_is_encoded_by_the_other_s_autoencoder() -> None:
    x = noise(1, 40)
    result = mixed(take(Audio(x, 100)), take(latent=latent(noise(10, 4, seed=1), codec="other")), domain="latent").latent
    assert result is not None and result.codec == "other"
    assert torch.allclose(result.frames, x[0].reshape(-1, 4) + noise(10, 4, seed=1))


def test_latents_that_do_not_go_together_are_refused() -> None:
    noisy, clean = take(latent=latent(noise(5, 4), t=0.5)), take(latent=latent(noise(5, 4)))
    with pytest.raises(RunError, match="unequal noise levels"):
        mixed(noisy, clean, domain="latent")
    sounds = take(Audio(noise(1, 40), 100))
    with pytest.raises(RunError, match="domain: waveform"):
        mixed(sounds, sounds, domain="latent")


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"sources": ("a",)}, "at least 2"),
        ({"sources": ("a", "b"), "gains_db": (0.0,)}, "1 gains_db for 2 sources"),
        ({"sources": ("a", "b"), "gains_db": (0.0, 99.0)}, "99 dB is outside"),
        ({"sources": ("a", "B")}, "is no name"),
        ({"sources": ("a", "b"), "domain": "spectral"}, "waveform"),
    ],
)
def test_wrong_requests_are_refused(spec: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Mix(**spec)


def test_sources_are_named_by_place() -> None:
    assert Mix(sources=("a", "b", "a")).references() == {"sources[0]": "a", "sources[1]": "b", "sources[2]": "a"}

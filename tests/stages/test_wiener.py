"""Wiener: stems cut out of a mix by estimates, against closed forms, librosa's soft mask and what must always hold."""

from __future__ import annotations

import librosa
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from segue.pipeline.audio_file import remix, resample
from segue.pipeline.context import Job
from segue.pipeline.errors import RequestError
from segue.pipeline.graph_checks import build_graph
from segue.pipeline.pipeline import Pipeline
from segue.pipeline.spec import Prompt
from segue.pipeline.take import Audio, Signal, Take
from segue.scoring.reference import si_sdr
from segue.stages import Degrade, Wiener
from segue.stages.wiener import wiener_stems
from segue.training.corpus import make_clip

RATE_HZ = 24_000


class Surroundings:
    stage = "cut"

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn(self, message: str) -> None:
        self.warnings.append(message)

    def audio(self, take: Take, rate_hz: int | None = None, channels: int | None = None) -> Audio:
        audio = take.signal.audio()
        return audio if rate_hz is None or channels is None else remix(resample(audio, rate_hz), channels)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def take(samples: torch.Tensor, rate_hz: int = RATE_HZ) -> Take:
    return Take("x", 0, 0, Prompt(), "k", Signal(Audio(samples, rate_hz), None, None))  # type: ignore[arg-type]


def cut(mix: Take, *estimates: Take, around: Surroundings | None = None, **spec: object) -> Audio:
    names = tuple(f"e{i}" for i in range(len(estimates)))
    stage = Wiener(source="mix", estimates=names, **spec)  # type: ignore[arg-type]
    sources = {"source": mix, **{f"estimates[{i}]": e for i, e in enumerate(estimates)}}
    (result,) = stage.run([Job(0, 0, Prompt(), sources, "k")], around or Surroundings())  # type: ignore[arg-type]
    assert result.audio is not None
    return result.audio


@given(samples=st.integers(1, 9_000), stems=st.integers(1, 4), seed=st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_stems_never_hold_more_than_the_mix(samples: int, stems: int, seed: int) -> None:
    mix, estimates = noise(2, samples, seed=seed), noise(stems, 2, samples, seed=seed + 1)
    made = wiener_stems(mix, estimates, RATE_HZ)
    assert made.shape == estimates.shape and bool(torch.isfinite(made).all())
    assert float(made.sum(0).square().sum()) <= 1.05 * float(mix.square().sum())


def test_estimates_that_claim_all_of_it_give_stems_that_add_up_to_the_mix() -> None:
    mix, estimates = noise(2, RATE_HZ), 3 * noise(3, 2, RATE_HZ, seed=1)
    claimed = torch.cat([estimates, 50 * noise(1, 2, RATE_HZ, seed=2)])  # the last claims what is left, everywhere
    assert torch.allclose(wiener_stems(mix, claimed, RATE_HZ).sum(0), mix, atol=0.02)
    assert torch.equal(wiener_stems(mix, claimed, RATE_HZ, wanted=[2])[0], wiener_stems(mix, claimed, RATE_HZ)[2])
    one = torch.stack([mix, torch.zeros_like(mix)])
    stems = wiener_stems(mix, one, RATE_HZ)
    assert torch.allclose(stems[0], mix, atol=1e-5) and float(stems[1].abs().max()) == 0.0


def test_masks_are_librosas_where_two_claim_everything() -> None:
    """`librosa.util.softmask` with power 1 on magnitudes: the same share, where together they claim as much as there is."""
    mix, a, b = noise(1, RATE_HZ), 4 * noise(1, RATE_HZ, seed=1), 4 * noise(1, RATE_HZ, seed=2)
    n_fft = 2048
    spectra = [librosa.stft(x[0].numpy(), n_fft=n_fft, hop_length=n_fft // 4, pad_mode="reflect") for x in (mix, a, b)]
    mask = librosa.util.softmask(np.abs(spectra[1]), np.abs(spectra[2]), power=1)
    theirs = librosa.istft(spectra[0] * mask, hop_length=n_fft // 4, n_fft=n_fft, length=RATE_HZ)
    ours = wiener_stems(mix, torch.stack([a, b]), RATE_HZ)[0, 0].numpy()
    inner = slice(n_fft, RATE_HZ - n_fft)
    assert si_sdr(torch.from_numpy(theirs[None, inner]), torch.from_numpy(ours[None, inner]), RATE_HZ) > 30  # type: ignore[operator]


def test_wrong_phases_and_levels_of_estimates_are_mended() -> None:
    """Estimates with the stems' magnitudes and none of their phases: 8 dB and more nearer to the stems than the mix is."""
    clip = make_clip(3, 4.0)
    stems = torch.from_numpy(np.stack(list(clip.stems.values())))
    mix = stems.sum(0)
    spectrum = torch.fft.rfft(stems)
    quarter_turn = torch.polar(torch.ones(()), torch.tensor(1.6))
    late = torch.fft.irfft(spectrum * quarter_turn, n=stems.shape[-1])
    made = wiener_stems(mix, late, RATE_HZ)
    gains = []
    for stem, lateness, cut_out in zip(stems, late, made, strict=True):
        before = si_sdr(stem, mix, RATE_HZ) or 0.0
        assert (si_sdr(stem, lateness, RATE_HZ) or -60.0) < 0.0
        gains.append((si_sdr(stem, cut_out, RATE_HZ) or -60.0) - before)
    assert min(gains) > 3.0 and float(np.mean(gains)) > 8.0


def test_the_stage_takes_estimates_of_other_rates_channels_and_lengths() -> None:
    t = torch.arange(2 * RATE_HZ) / RATE_HZ
    low, high = (0.2 * torch.sin(2 * torch.pi * f * t) for f in (300.0, 4_000.0))
    mix = take(torch.stack([low + high, low]))
    mono_48k = take(torch.sin(2 * torch.pi * 300.0 * torch.arange(4 * RATE_HZ - 800) / 48_000)[None], 48_000)
    stereo = take(torch.stack([high, high])[:, :-300])
    lows = cut(mix, mono_48k, stereo)
    assert lows.samples.shape == (2, 2 * RATE_HZ) and lows.rate_hz == RATE_HZ
    inner = slice(3_000, -3_000)
    assert torch.allclose(lows.samples[:, inner], low[inner].expand(2, -1), atol=0.01)
    highs = cut(mix, mono_48k, stereo, keep="e1")
    assert torch.allclose(highs.samples[0, inner], high[inner], atol=0.01)
    assert float(highs.samples[1, inner].abs().max()) < 0.01  # claimed on both sides, but it only plays on the left


def test_a_mix_that_reaches_higher_than_all_estimates_is_told() -> None:
    around = Surroundings()
    cut(take(noise(2, 48_000), 48_000), take(noise(2, 24_000)), around=around)
    assert around.warnings == ["stage 'cut': the estimates end at 12 kHz and the mix at 24 kHz; what lies above is in no stem"]
    quiet = Surroundings()
    cut(take(noise(2, 24_000)), take(noise(2, 24_000)), take(noise(1, 48_000), 48_000), around=quiet)
    assert not quiet.warnings


def test_exhaustive_estimates_share_all_of_the_mix() -> None:
    """However quiet they are, together they get everything; otherwise what they leave stays out."""
    mix, estimates = noise(2, RATE_HZ), 1e-3 * noise(3, 2, RATE_HZ, seed=1)
    assert torch.allclose(wiener_stems(mix, estimates, RATE_HZ, exhaustive=True).sum(0), mix, atol=1e-4)
    assert float(wiener_stems(mix, estimates, RATE_HZ).sum(0).abs().max()) < 0.05
    a, b = take(estimates[0]), take(estimates[1])
    loud, quiet = cut(take(mix), a, b, exhaustive=True).samples, cut(take(mix), a, b).samples
    assert float(loud.square().sum()) > 100 * float(quiet.square().sum())


def test_what_can_not_be_is_told() -> None:
    with pytest.raises(ValidationError, match="keep: drums is none of the estimates bass"):
        Wiener(source="mix", estimates=("bass",), keep="drums")
    with pytest.raises(ValidationError, match="must all differ"):
        Wiener(source="mix", estimates=("bass", "bass"))
    with pytest.raises(ValidationError, match="must all differ"):
        Wiener(source="mix", estimates=("mix",))
    stages = {"worse": Degrade(source="mix", clip_db=3.0), "stem": Wiener(source="mix", estimates=("worse", "nobody"))}
    with pytest.raises(RequestError, match="nobody"):
        build_graph(Pipeline(inputs={"mix": "mix.wav"}, stages=stages), model=None)  # type: ignore[arg-type]

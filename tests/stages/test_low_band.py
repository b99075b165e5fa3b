"""Refine with `low_band`: what comes back has the other take's low band, and a sound of another length is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from segue import Pipeline, Prompt
from segue.pipeline.audio_file import write_audio
from segue.pipeline.errors import RequestError
from segue.pipeline.take import Audio
from segue.scoring.reference import si_sdr
from segue.stages import Refine
from segue.stages.bands import low_pass
from segue.stages.low_band import band_edge_hz

PROMPT = Prompt(caption="slow piano", instrumental=True)
QUICK: dict[str, Any] = {"steps": 3, "guidance": {"kind": "none"}, "denoise": 0.7}
RATE = 1_200  # of the tiny model
SECONDS = 6


@pytest.fixture
def sounds(tmp_path: Path) -> dict[str, str]:
    """Noise, all frequencies alike, and other noise that ends at 240 Hz."""
    made = {}
    for name, seed in (("clip", 1), ("dull", 2)):
        samples = 0.1 * torch.randn(2, SECONDS * RATE, generator=torch.Generator().manual_seed(seed))
        write_audio(tmp_path / f"{name}.wav", Audio(samples if name == "clip" else low_pass(samples, 240, RATE), RATE))
        made[name] = str(tmp_path / f"{name}.wav")
    return made


def run(home: Path, model: str, sounds: dict[str, str], **refine: Any) -> Any:
    stages = {"better": Refine(source="clip", **QUICK, **refine)}
    return Pipeline(model=model, prompt=PROMPT, seed=3, inputs=sounds, stages=stages).run(home=home)


def test_below_the_edge_it_is_the_others_sound_and_above_the_models(
    tmp_path: Path, sounds: dict[str, str], tiny_model: str
) -> None:
    free, bound = (run(tmp_path / "home", tiny_model, sounds, **more) for more in ({}, {"low_band": "dull"}))
    dull, made, took = bound.inputs["dull"].audio, free["better"][0].audio.samples, bound["better"][0].audio
    assert took.rate_hz == RATE and took.samples.shape == dull.samples.shape
    edge = band_edge_hz(dull.samples, RATE)

    def alike(a: torch.Tensor, b: torch.Tensor) -> float:
        value = si_sdr(low_pass(a, 0.8 * edge, RATE), low_pass(b, 0.8 * edge, RATE), RATE)
        assert value is not None
        return value

    assert alike(dull.samples, took.samples) > 30 > alike(dull.samples, made)
    high, other = (x - low_pass(x, 1.2 * edge, RATE) for x in (took.samples, made))
    assert float(np.corrcoef(high.flatten(), other.flatten())[0, 1]) > 0.98  # the same but for a gain
    assert "level_match_db" in bound["better"][0].lineage[-1]


def test_a_sound_of_another_length_is_refused_before_anything_runs(
    tmp_path: Path, sounds: dict[str, str], tiny_model: str
) -> None:
    write_audio(tmp_path / "long.wav", Audio(torch.zeros(2, 7 * RATE), RATE))
    with pytest.raises(RequestError, match=r"'long' lasts 7\.000 s and 'clip' 6\.000 s"):
        run(tmp_path / "home", tiny_model, {**sounds, "long": str(tmp_path / "long.wav")}, low_band="long")


def test_the_edge_is_given_or_measured_and_never_above_half_of_the_rate() -> None:
    rate = 48_000
    samples = low_pass(torch.randn(1, rate, generator=torch.Generator().manual_seed(2)), 6_000, rate)
    assert band_edge_hz(samples, rate) == pytest.approx(6_000, rel=0.06)
    assert band_edge_hz(samples, rate, 2_500) == 2_500 and band_edge_hz(samples, rate, 1e6) == rate / 2
    assert band_edge_hz(torch.zeros(1, rate), rate) == rate / 2

"""Generate and refine, and partial denoising that has nothing to do: denoise 0 of refine and super_resolve."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from segue import Pipeline, Prompt
from segue.pipeline.models.pool import Pool
from segue.pipeline.spec import Stage
from segue.stages import Generate, Refine, Score, SuperResolve

SECOND = Prompt(caption="slow piano", instrumental=True, duration_s=1)
QUICK: dict[str, Any] = {"steps": 3, "guidance": {"kind": "none"}}


@pytest.fixture
def no_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever loads a model, encodes or decodes fails the test."""

    def refuse(*args: object, **rest: object) -> None:
        raise AssertionError("a weight was asked for")

    for name in ("model", "encode", "decode"):
        monkeypatch.setattr(Pool, name, refuse)


@pytest.mark.parametrize("stage", [Refine(source="clip", denoise=0), SuperResolve(source="clip", denoise=0)])
def test_denoise_0_gives_an_inputs_very_samples_back_without_a_model(
    tmp_path: Path, clip: Path, tiny_model: str, no_weights: None, stage: Stage
) -> None:
    """No way through the autoencoder, which would change the sound, and no report is lost with it."""
    stages = {"same": stage, "scored": Score(source="same")}
    pipeline = Pipeline(model=tiny_model, prompt=SECOND, seed=3, inputs={"clip": str(clip)}, stages=stages)
    for cached in (0, 1):
        run = pipeline.run(tmp_path / f"out{cached}", home=tmp_path / "home")
        (take,), given = run["same"], run.inputs["clip"]
        assert torch.equal(take.audio.samples, given.audio.samples) and take.audio.rate_hz == given.audio.rate_hz
        assert run.counts == dict.fromkeys(run.counts, 0)
        assert (run.stages[0].steps_run, run.stages[0].forwards, run.stages[0].cached) == (0, 0, cached)
        assert take.lineage[-1]["t_start"] == 0.0 and run["scored"][0].report is not None


def test_a_step_checkpoint_goes_on_also_with_denoise_0(tmp_path: Path, tiny_model: str) -> None:
    """A checkpoint is not a finished sound that could be given back; and what was written in vain is said."""

    def run(**stages: Stage) -> Any:
        return Pipeline(model=tiny_model, prompt=SECOND, seed=3, stages=stages).run(home=tmp_path)

    whole = run(draft=Generate(seed=5, **QUICK))
    parts = run(half=Generate(seed=5, stop_at=1, **QUICK), rest=Refine(source="half", seed=5, denoise=0, **QUICK))
    assert torch.equal(whole["draft"][0].signal.latent().frames, parts["rest"][0].signal.latent().frames)
    assert parts.stages[1].steps_run == 2
    assert any("denoise 0 has no effect" in told for told in parts.warnings)
    silent = run(half=Generate(seed=5, stop_at=1, **QUICK), rest=Refine(source="half", seed=5, **QUICK))
    assert not any("denoise" in told for told in silent.warnings)

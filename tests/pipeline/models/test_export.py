"""Exported folders open in diffusers and in Segue, with the same weights."""

from __future__ import annotations

import pytest
import torch
from diffusers import AceStepPipeline
from segue.pipeline.errors import RequestError
from segue.pipeline.models.export import export_model
from segue.pipeline.models.resolve import describe_model


def test_the_shipped_model_opens_in_diffusers(tmp_path):
    (folder,) = export_model("segue-mini", tmp_path / "out", variant="turbo")
    pipe = AceStepPipeline.from_pretrained(folder, torch_dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    assert pipe.is_turbo and pipe.sample_rate == describe_model("segue-mini").variants["turbo"].rate_hz
    latent = pipe("jazz", audio_duration=1.0, num_inference_steps=2, guidance_scale=1.0, output_type="latent").audios
    assert latent.shape == (1, 25, 64) and torch.isfinite(latent).all()
    exported, shipped = describe_model(str(folder)).variant(None), describe_model("segue-mini").variants["turbo"]
    assert exported.tasks == shipped.tasks and exported.codec == shipped.codec


def test_all_variants_make_a_model_folder(tiny, tmp_path):
    export_model(str(tiny), tmp_path / "all")
    again = describe_model(str(tmp_path / "all"))
    assert again.variants["base"].fingerprint == describe_model(str(tiny)).variants["base"].fingerprint
    assert not list((tmp_path / "all").glob(".*"))


def test_nothing_is_overwritten(tiny, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("keep")
    with pytest.raises(RequestError, match="not empty"):
        export_model(str(tiny), tmp_path / "full", variant="base")
    with pytest.raises(RequestError, match="no variant 'sft'"):
        export_model(str(tiny), tmp_path / "new", variant="sft")
    assert [p.name for p in (tmp_path / "full").iterdir()] == ["mine.txt"] and not (tmp_path / "new").exists()

"""A model folder with something wrong in it: one clear error, before anything is loaded."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from segue.pipeline.errors import RequestError, RunError
from segue.pipeline.models.files import read_header, weight_files
from segue.pipeline.models.loading import load_component, verify_weights
from segue.pipeline.models.resolve import describe_model

WEIGHTS = "diffusion_pytorch_model.safetensors"


@pytest.fixture
def folder(tiny, tmp_path):
    return shutil.copytree(tiny, tmp_path / "model")


@pytest.mark.parametrize("part", ["transformer", "vae", "condition_encoder", "audio_tokenizer"])
def test_missing_weights_are_named(folder, part):
    (folder / part / WEIGHTS).unlink()
    with pytest.raises(RequestError, match=f"{part}/{WEIGHTS}"):
        describe_model(str(folder))


@pytest.mark.parametrize("file", ["vae/config.json", "transformer/config.json", "tokenizer/tokenizer.json"])
def test_missing_configuration_is_named(folder, file):
    (folder / file).unlink()
    with pytest.raises(RequestError, match=file):
        describe_model(str(folder))


def test_a_missing_part_is_named(folder):
    shutil.rmtree(folder / "text_encoder")
    with pytest.raises(RequestError, match="text_encoder"):
        describe_model(str(folder))


@pytest.mark.parametrize("name", ["diffusion_pytorch_model.bin", "model.pt", "model.ckpt", "model.pkl"])
def test_pickled_weights_are_refused(folder, name):
    (folder / "transformer" / WEIGHTS).unlink()
    (folder / "transformer" / name).write_bytes(b"\x80\x04K\x01.")
    with pytest.raises(RequestError, match="pickled files can run code") as error:
        describe_model(str(folder))
    assert name in str(error.value)


@pytest.mark.parametrize("keep", [0, 7, 100, -1])
def test_truncated_weights_are_found(folder, keep):
    path = folder / "transformer" / WEIGHTS
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(RequestError, match="damaged"):
        describe_model(str(folder))


def test_a_configuration_that_is_no_json(folder):
    (folder / "vae" / "config.json").write_text("{")
    with pytest.raises(RequestError, match="can't be read as JSON"):
        describe_model(str(folder))


def test_shards_are_read_by_their_index(folder):
    part = folder / "transformer"
    index = {"weight_map": {"a": "one-00001-of-00002.safetensors", "b": "two-00002-of-00002.safetensors"}}
    (part / f"{WEIGHTS}.index.json").write_text(json.dumps(index))
    (part / WEIGHTS).rename(part / "one-00001-of-00002.safetensors")
    with pytest.raises(RequestError, match="two-00002"):
        weight_files(part)
    shutil.copy(part / "one-00001-of-00002.safetensors", part / "two-00002-of-00002.safetensors")
    assert [p.name for p in weight_files(part)] == sorted(set(index["weight_map"].values()))
    index["weight_map"]["b"] = "../vae/diffusion_pytorch_model.safetensors"
    (part / f"{WEIGHTS}.index.json").write_text(json.dumps(index))
    with pytest.raises(RequestError, match="lacks"):
        weight_files(part)


def test_header_is_what_safetensors_reads(tiny):
    from safetensors import safe_open

    path = tiny / "vae" / WEIGHTS
    with safe_open(path, "pt") as file:
        wanted = {k: tuple(file.get_slice(k).get_shape()) for k in file.keys()}  # noqa: SIM118
    assert {k: shape for k, (_, shape) in read_header(path).items()} == wanted


def test_weights_that_do_not_fit_their_configuration(folder):
    verify_weights("acestep", "transformer", folder / "transformer")
    config = folder / "transformer" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"intermediate_size": 100}))
    with pytest.raises(RunError, match=r"wanted \(100, 64\)"):
        verify_weights("acestep", "transformer", folder / "transformer")
    with pytest.raises(RunError, match="can't be loaded as AceStepTransformer1DModel"):
        load_component("acestep", "transformer", folder / "transformer", None)


@pytest.mark.parametrize(
    ("part", "file"),
    [("transformer", WEIGHTS), ("vae", WEIGHTS), ("condition_encoder", WEIGHTS), ("text_encoder", "model.safetensors")],
)
def test_weights_that_lack_a_tensor_are_refused_not_made_up(folder, part, file):
    weights = load_file(folder / part / file)
    lost = max(weights, key=lambda name: weights[name].numel())
    save_file({k: v for k, v in weights.items() if k != lost}, folder / part / file, metadata={"format": "pt"})
    with pytest.raises(RunError, match="lack") as error:
        load_component("acestep", part, folder / part, None)
    assert lost in str(error.value) or lost.rsplit(".", 1)[0] in str(error.value)


def test_loading_leaves_the_global_generator_alone(tiny):
    before = torch.get_rng_state()
    for part in ("transformer", "vae", "condition_encoder", "text_encoder", "audio_tokenizer"):
        load_component("acestep", part, tiny / part, None)
    assert torch.equal(torch.get_rng_state(), before)

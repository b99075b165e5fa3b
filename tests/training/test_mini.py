"""The folder: diffusers and transformers open every part, fp16, small enough, deterministic."""

from __future__ import annotations

import json

import pytest
import torch
from diffusers import AceStepTransformer1DModel, AutoencoderOobleck
from safetensors.torch import load_file
from segue.training import unpack
from segue.training.build_mini import main
from segue.training.mini import VARIANTS, make_mini
from transformers import AutoTokenizer, Qwen3Model


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("weights") / "segue-mini"
    assert main(["--out", str(out)]) == 0
    return out


def test_manifest_names_what_exists(folder):
    manifest = json.loads((folder / "segue.json").read_text())
    assert manifest["training"] == "untrained" and manifest["family"] == "acestep"
    assert set(manifest["variants"]) == set(VARIANTS)
    for parts in manifest["variants"].values():
        assert all((folder / path).is_dir() for path in parts.values())


def test_parts_open_with_their_own_classes(folder):
    turbo = AceStepTransformer1DModel.from_pretrained(folder / "turbo" / "transformer", torch_dtype=torch.float16)
    assert turbo.config.is_turbo
    stored = load_file(folder / "turbo" / "transformer" / "diffusion_pytorch_model.safetensors")
    assert {tensor.dtype for tensor in stored.values()} == {torch.float16}
    vae = AutoencoderOobleck.from_pretrained(folder / "shared" / "vae")
    assert vae.hop_length == 960 and vae.config.sampling_rate == 24_000
    tokenizer = AutoTokenizer.from_pretrained(folder / "shared" / "tokenizer")
    encoder = Qwen3Model.from_pretrained(folder / "shared" / "text_encoder")
    assert encoder.config.vocab_size == len(tokenizer)


def test_size_and_permissions(folder):
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 64e6
    assert all(path.stat().st_mode & 0o444 == 0o444 for path in files)


def test_a_folder_unpacked_builds_the_same_folder(folder, tmp_path, capsys):
    run, again = tmp_path / "run", tmp_path / "again"
    assert unpack.main(["--folder", str(folder), "--out", str(run)]) == 0
    assert main(["--checkpoint", str(run), "--out", str(again), "--seed", "1"]) == 0
    files = sorted(path.relative_to(folder) for path in folder.rglob("*.safetensors"))
    assert len(files) == 8
    for path in files:
        before, after = load_file(folder / path), load_file(again / path)
        silence = {"silence_latent"} & before.keys()  # encoded anew, by the autoencoder in fp16
        assert before.keys() == after.keys()
        assert all(torch.equal(before[name], after[name]) for name in before.keys() - silence)
        assert all(torch.allclose(before[name], after[name], atol=0.02) for name in silence)
    capsys.readouterr()
    assert unpack.main(["--folder", str(folder), "--out", str(run)]) == 2
    assert "base" in (told := capsys.readouterr().err) and "another --out" in told
    assert unpack.main(["--folder", str(run), "--out", str(tmp_path / "other")]) == 2
    assert "segue.json" in capsys.readouterr().err


def test_random_weights_follow_the_seed():
    first, second, third = make_mini(1), make_mini(1), make_mini(2)
    key = "proj_in_conv.weight"
    a, b, c = (mini.transformer["base"].state_dict()[key] for mini in (first, second, third))
    assert torch.equal(a, b) and not torch.equal(a, c)

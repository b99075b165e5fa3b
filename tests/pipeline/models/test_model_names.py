"""From a name to facts: the shipped model, folders, short names, clear errors. No network, no weights loaded."""

from __future__ import annotations

import shutil
import sys

import pytest
from segue.pipeline.errors import RequestError
from segue.pipeline.models import resolve
from segue.pipeline.models.resolve import describe_model, official_repository


def test_the_shipped_model():
    info = describe_model("segue-mini")
    assert set(info.variants) == {"base", "sft", "turbo"}
    assert info.default_variants == {"": "turbo", "extract": "base", "lego": "base", "complete": "base"}
    base, sft, turbo = (info.variants[name] for name in ("base", "sft", "turbo"))
    assert {"extract", "lego", "complete"} < base.tasks
    assert base.tasks - sft.tasks == {"extract", "lego", "complete"} and turbo.tasks == sft.tasks
    for guided in (base, sft):
        d = guided.defaults
        assert (d.steps, d.guidance_kind, d.guidance_scale, d.shift, d.schedule) == (50, "apg", 7.0, 1.0, "linear")
    d = turbo.defaults
    assert (d.steps, d.guidance_kind, d.shift, d.schedule, turbo.max_steps) == (8, "none", 3.0, "turbo", 20)
    assert base.codec == sft.codec == turbo.codec
    assert len({v.fingerprint for v in info.variants.values()}) == 3
    assert base.frame_rate_hz == 25.0 and base.max_duration_s == 600.0
    assert (base.max_text_tokens, base.max_lyric_tokens) == (256, 2048)
    assert info.variant(None, "extract").variant == "base" and info.variant(None, "cover").variant == "turbo"


def test_an_official_folder_is_one_variant(tiny, tiny_turbo):
    info = describe_model(str(tiny))
    assert list(info.variants) == ["base"] and info.variant(None).rate_hz == 1200
    turbo = describe_model(str(tiny_turbo))
    assert list(turbo.variants) == ["turbo"] and turbo.default_variants == {"": "turbo"}


def test_a_folder_of_folders_has_them_as_variants(tiny, tiny_turbo, tmp_path):
    shutil.copytree(tiny, tmp_path / "m" / "some-base")
    shutil.copytree(tiny_turbo, tmp_path / "m" / "some-turbo")
    info = describe_model("m", base=tmp_path)
    assert set(info.variants) == {"base", "turbo"} and info.default_variants[""] == "turbo"
    shutil.copytree(tiny, tmp_path / "m" / "other-base")
    assert set(describe_model("m", base=tmp_path).variants) == {"some-base", "some-turbo", "other-base"}


def test_the_fingerprint_is_of_content_not_of_place(tiny, tmp_path):
    first = describe_model(str(tiny)).variant(None)
    copy = shutil.copytree(tiny, tmp_path / "copy")
    assert describe_model(str(copy)).variant(None).fingerprint == first.fingerprint
    weights = copy / "transformer" / "diffusion_pytorch_model.safetensors"
    blob = bytearray(weights.read_bytes())
    blob[-1] ^= 1
    weights.write_bytes(blob)
    changed = describe_model(str(copy)).variant(None)
    assert changed.fingerprint != first.fingerprint and changed.codec == first.codec
    weights = copy / "vae" / "diffusion_pytorch_model.safetensors"
    blob = bytearray(weights.read_bytes())
    blob[-1] ^= 1
    weights.write_bytes(blob)
    assert describe_model(str(copy)).variant(None).codec != first.codec


def test_a_torn_hash_memory_costs_time_only(tiny, _own_home):
    first = describe_model(str(tiny)).variant(None).fingerprint
    memory = _own_home / "weight-hashes.json"
    assert memory.is_file()
    memory.write_text('{"half')
    assert describe_model(str(tiny)).variant(None).fingerprint == first


def test_short_names_are_the_official_repositories(tiny_turbo, tmp_path, monkeypatch):
    assert official_repository("acestep-v15-xl-turbo") == "ACE-Step/acestep-v15-xl-turbo-diffusers"
    shutil.copytree(tiny_turbo, tmp_path / "acestep-v15-turbo-diffusers")
    monkeypatch.setenv("SEGUE_MODELS", str(tmp_path))
    assert list(describe_model("acestep-v15-turbo", offline=True).variants) == ["turbo"]
    family = describe_model("acestep-v15", offline=True)
    assert list(family.variants) == ["turbo"] and family.variants["turbo"].model == "acestep-v15"


def test_every_place_that_was_looked_at_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("SEGUE_MODELS", str(tmp_path))
    with pytest.raises(RequestError) as error:
        describe_model("acestep-v15-base", offline=True)
    text = str(error.value)
    assert str(tmp_path / "acestep-v15-base") in text
    assert "Hugging Face cache (ACE-Step/acestep-v15-base-diffusers)" in text and "runs offline" in text
    with pytest.raises(RequestError, match="Did you mean 'segue-mini'"):
        describe_model("segue-mimi")
    with pytest.raises(RequestError, match=r"no model '/nowhere/at/all'"):
        describe_model("/nowhere/at/all")


def test_a_folder_that_is_no_model_says_so(tmp_path):
    with pytest.raises(RequestError, match=r"neither segue\.json nor model_index\.json"):
        describe_model(str(tmp_path))
    (tmp_path / "model_index.json").write_text('{"_class_name": "FluxPipeline"}')
    with pytest.raises(RequestError, match="is for FluxPipeline"):
        describe_model(str(tmp_path))


def test_a_manifest_can_not_point_outside(tmp_path):
    shutil.copytree(resolve._EMBEDDED_FOLDER, tmp_path / "m")
    path = tmp_path / "m" / "segue.json"
    path.write_text(path.read_text().replace('"shared/vae"', '"../elsewhere/vae"'))
    with pytest.raises(RequestError, match="outside its folder"):
        describe_model(str(tmp_path / "m"))


def test_describing_imports_no_model_library():
    import subprocess

    code = (
        "import sys; from segue.pipeline.models.resolve import describe_model; describe_model('segue-mini').variant(None);"
        "print(sorted(m for m in ('diffusers', 'transformers', 'peft') if m in sys.modules))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"

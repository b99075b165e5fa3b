"""The pool: shares, swaps and counts, survives a broken variant, keeps to its budget, lays LoRAs on and takes them off."""

from __future__ import annotations

import json
import shutil
from types import SimpleNamespace

import pytest
import torch
from diffusers import AceStepTransformer1DModel
from peft import LoraConfig
from segue.pipeline.context import Numerics
from segue.pipeline.diffusion.denoiser import COND
from segue.pipeline.errors import RequestError, RunError
from segue.pipeline.models.adapters import adapter_fingerprint
from segue.pipeline.models.base import ConditionRequest
from segue.pipeline.models.pool import Pool
from segue.pipeline.models.resolve import describe_model
from segue.pipeline.spec import Prompt


@pytest.fixture(scope="module")
def family(tiny, tiny_turbo, tmp_path_factory):
    """Two variants that share everything but the transformer."""
    folder = tmp_path_factory.mktemp("family")
    for variant, transformer in (("base", tiny), ("turbo", tiny_turbo)):
        shutil.copytree(tiny, folder / variant)
        shutil.rmtree(folder / variant / "transformer")
        shutil.copytree(transformer / "transformer", folder / variant / "transformer")
    return folder


def velocity(model):
    denoiser = model.denoiser()
    denoiser.switch(model.conditions([ConditionRequest(Prompt(caption="jazz"), "do:", 20)]))
    return denoiser.velocity(torch.ones(1, 20, 8), 0.5, (COND,))[0]


def options(gigabytes=None, offload=False):
    return SimpleNamespace(cpu_offload=offload, device_budget_gb=gigabytes)


def test_swaps_are_counted_and_parts_are_shared(family, counts):
    with Pool(describe_model(str(family)), Numerics(), counts) as pool:
        base = pool.model("base")
        assert pool.model("base") is base and counts["model_swaps"] == 0
        vae, first = base.parts.vae, velocity(base)
        turbo = pool.model("turbo")
        assert counts["model_swaps"] == 1 and turbo.parts.vae is vae and turbo.info.variant == "turbo"
        assert (velocity(turbo) - first).abs().max() > 1e-4
        assert counts["text_encodes"] == 1  # one text encoder, one text
        assert torch.equal(velocity(pool.model("base")), first) and counts["model_swaps"] == 2
        with pytest.raises(RuntimeError, match="let go for another one"):
            turbo.parts  # noqa: B018


def test_the_budget_bounds_what_is_held(family, counts):
    with Pool(describe_model(str(family)), Numerics(), counts, options=options(gigabytes=1e-6)) as pool:
        first = velocity(pool.model("base"))
        pool.model("turbo")
        assert len(pool._transformers) == 1
        assert torch.equal(velocity(pool.model("base")), first) and counts["model_swaps"] == 2
    with Pool(describe_model(str(family)), Numerics(), counts, options=options(gigabytes=1.0)) as pool:
        pool.model("base"), pool.model("turbo")
        assert len(pool._transformers) == 2


@pytest.mark.parametrize("gigabytes", [1e-6, 1.0])
def test_a_broken_variant_leaves_the_working_one(family, counts, tmp_path, gigabytes):
    folder = shutil.copytree(family, tmp_path / "family")
    config = folder / "turbo" / "transformer" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"intermediate_size": 100}))
    with Pool(describe_model(str(folder)), Numerics(), counts, options=options(gigabytes)) as pool:
        base = pool.model("base")
        first = velocity(base)
        with pytest.raises(RunError, match="turbo"):
            pool.model("turbo")
        assert torch.equal(velocity(base), first) and pool.model("base") is base and counts["model_swaps"] == 0


def test_an_unknown_variant_says_what_there_is(pool):
    with pytest.raises(RequestError, match=r"no variant 'bass'\. Did you mean 'base'"):
        pool.model("bass")


def test_encode_and_decode_need_no_transformer(pool, counts):
    audio = torch.randn(1, pool.channels, 100)
    latent = pool.encode(audio)
    assert latent.shape == (1, 3, 8) and pool.decode(latent).shape == (1, 2, 144) and not pool._transformers
    assert (pool.rate_hz, pool.frame_rate_hz) == (1200, 25.0) and not counts
    model = pool.model("base")
    assert torch.equal(model.encode(audio), latent)
    model.decode(latent)
    assert counts == {"audio_encodes": 1, "audio_decodes": 1}


def test_close_lets_go_and_asking_again_loads_again(pool):
    first = velocity(pool.model("base"))
    pool.close()
    assert not pool._shared and not pool._transformers
    assert torch.equal(velocity(pool.model("base")), first)


def test_weights_are_ordinary_tensors_even_when_asked_for_in_inference_mode(tiny, counts):
    with Pool(describe_model(str(tiny)), Numerics(), counts) as pool:
        with torch.inference_mode():
            parts = pool.model("base").parts
        assert not any(p.is_inference() for p in (*parts.transformer.parameters(), *parts.vae.parameters()))
        assert not any(p.requires_grad for p in parts.transformer.parameters())


def make_lora(tiny, folder, seed):
    """A LoRA that changes the output, written by diffusers' own saver."""
    net = AceStepTransformer1DModel.from_pretrained(tiny / "transformer")
    torch.manual_seed(seed)
    net.add_adapter(LoraConfig(r=2, lora_alpha=3, target_modules=["to_q", "to_k", "to_v"], init_lora_weights=False))
    net.save_lora_adapter(folder)
    return folder


@pytest.fixture(scope="module")
def loras(tiny, tmp_path_factory):
    root = tmp_path_factory.mktemp("loras")
    return [make_lora(tiny, root / str(n), n) for n in range(2)]


def weights(model):
    return {k: v.clone() for k, v in model.parts.transformer.state_dict().items()}


def test_a_lora_works_and_leaves_no_trace(pool, loras):
    before, plain = weights(pool.model("base")), velocity(pool.model("base"))
    one = velocity(pool.model("base", [(loras[0], 1.0)]))
    assert (one - plain).abs().max() > 1e-3
    assert torch.equal(velocity(pool.model("base", [(loras[0], 1.0)])), one)
    half = velocity(pool.model("base", [(loras[0], 0.5)]))
    two = velocity(pool.model("base", [(loras[0], 1.0), (loras[1], -0.5)]))
    assert (half - one).abs().max() > 1e-4 and (two - one).abs().max() > 1e-4
    clean = pool.model("base")
    after = weights(clean)
    assert after.keys() == before.keys() and all(torch.equal(after[k], before[k]) for k in before)
    assert torch.equal(velocity(clean), plain) and not getattr(clean.parts.transformer, "peft_config", None)


def test_a_lora_equals_its_weights_added(tiny, pool, loras):
    from safetensors.torch import load_file

    got = velocity(pool.model("base", [(loras[0], 0.7)]))
    model = pool.model("base")
    state = load_file(loras[0] / "pytorch_lora_weights.safetensors")
    added = {}
    for name in {k.split(".lora_")[0] for k in state}:
        a, b = (state[f"{name}.lora_{x}.weight"] for x in "AB")
        module = model.parts.transformer.get_submodule(name.removeprefix("transformer."))
        added[module] = module.weight.clone()
        module.weight += 0.7 * 3 / 2 * (b @ a)  # scale · alpha / rank
    merged = velocity(model)
    for module, weight in added.items():
        module.weight.copy_(weight)
    torch.testing.assert_close(got, merged, rtol=1e-4, atol=1e-5)


def test_a_peft_folder_gives_the_same(tmp_path, pool, loras):
    """peft's own layout: prefixed keys, and alpha in adapter_config.json."""
    from safetensors.torch import load_file, save_file

    state = load_file(loras[0] / "pytorch_lora_weights.safetensors")
    state = {f"base_model.model.{k.removeprefix('transformer.')}": v for k, v in state.items()}
    save_file(state, tmp_path / "adapter_model.safetensors")
    (tmp_path / "adapter_config.json").write_text(json.dumps({"lora_alpha": 3, "r": 2, "peft_type": "LORA"}))
    got = velocity(pool.model("base", [(tmp_path, 0.7)]))
    assert torch.equal(got, velocity(pool.model("base", [(loras[0], 0.7)])))


def test_a_lora_goes_with_its_variant(family, loras, counts):
    with Pool(describe_model(str(family)), Numerics(), counts) as pool:
        plain = velocity(pool.model("base"))
        pool.model("base", [(loras[0], 1.0)])
        pool.model("turbo")
        assert torch.equal(velocity(pool.model("base")), plain)


def test_loras_that_can_not_be(pool, tmp_path, loras):
    plain = velocity(pool.model("base"))
    with pytest.raises(RequestError, match="there is no LoRA"):
        pool.model("base", [(tmp_path / "none.safetensors", 1.0)])
    (tmp_path / "pickled").mkdir()
    (tmp_path / "pickled" / "adapter_model.bin").write_bytes(b"\x80\x04K\x01.")
    with pytest.raises(RequestError, match=r"only adapter_model\.bin"):
        pool.model("base", [(tmp_path / "pickled", 1.0)])
    from safetensors.torch import save_file

    strange = tmp_path / "strange.safetensors"
    save_file({f"transformer.nowhere.lora_{x}.weight": torch.ones(2, 2) for x in "AB"}, strange)
    with pytest.raises(RequestError, match="nowhere are not in the transformer"):
        pool.model("base", [(loras[0], 1.0), (strange, 1.0)])
    assert torch.equal(velocity(pool.model("base")), plain)


def test_adapter_fingerprint_is_of_content(loras, tmp_path):
    copy = shutil.copytree(loras[0], tmp_path / "copy")
    file = copy / "pytorch_lora_weights.safetensors"
    assert adapter_fingerprint(loras[0]) == adapter_fingerprint(copy) == adapter_fingerprint(file)
    assert adapter_fingerprint(loras[0]) != adapter_fingerprint(loras[1])


def test_audio_goes_through_the_autoencoder_that_was_asked_for(tiny, tiny_turbo, tmp_path, counts):
    """Variants of one folder may have autoencoders of their own; which transformer is active must not decide."""
    for folder in (tiny, tiny_turbo):
        (tmp_path / folder.name).symlink_to(folder)
    info = describe_model(str(tmp_path))
    base, turbo = info.variants["base"].codec, info.variants["turbo"].codec
    with Pool(info, Numerics(), counts) as pool:
        audio = torch.randn(1, 2, 144)
        wanted = {"base": pool.model("base").encode(audio), "turbo": pool.model("turbo").encode(audio)}
        assert base != turbo and not torch.equal(wanted["base"], wanted["turbo"])
        assert torch.equal(pool.encode(audio, base), wanted["base"]) and torch.equal(pool.encode(audio, turbo), wanted["turbo"])
        assert not torch.equal(pool.decode(wanted["base"], base), pool.decode(wanted["base"], turbo))
        assert pool.codec(base).variant == "base"
        with pytest.raises(RunError, match="no variant of model"):
            pool.codec("0" * 64)

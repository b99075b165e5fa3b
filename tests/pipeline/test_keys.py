"""Keys, digests, seeds and noise: closed forms, and what must and must not change them."""

import hashlib
import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from segue.pipeline import keys
from segue.pipeline.context import Numerics

numbers = st.floats(allow_nan=False, allow_infinity=False)
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | numbers | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


def same(a, b):
    """Equal with types and signs of zero."""
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return a == b and (not isinstance(a, float) or math.copysign(1, a) == math.copysign(1, b))


@given(plain)
def test_canonical_json_reads_back_exactly(obj):
    text = keys.canonical_json(obj)
    assert text.isascii()
    assert same(json.loads(text), obj)


@given(plain, plain)
def test_two_things_share_a_digest_only_when_equal(a, b):
    assert (keys.digest(a) == keys.digest(b)) == same(a, b)


@given(st.dictionaries(st.text(max_size=5), st.integers(), min_size=2, max_size=6))
def test_order_of_keys_does_not_matter(facts):
    assert keys.digest(dict(reversed(facts.items()))) == keys.digest(facts)


def test_any_text_has_a_digest_even_a_lone_surrogate():
    assert json.loads(keys.canonical_json("\ud800 \x00 🎷")) == "\ud800 \x00 🎷"


def test_digest_is_the_head_of_sha256_over_the_canonical_text():
    assert keys.canonical_json({"b": (1, 2.5), "a": "é"}) == '{"a":"\\u00e9","b":[1,2.5]}'
    assert keys.digest([1, 2.0]) == hashlib.sha256(b"[1,2.0]").hexdigest()[:40]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_non_finite_numbers_are_refused_with_their_place(bad):
    with pytest.raises(ValueError, match=r"\$\.guidance\[1\]"):
        keys.canonical_json({"guidance": [0.0, bad]})


@pytest.mark.parametrize("bad", [{1: 2}, {"a": {3}}, {"a": b"x"}, {"a": torch.zeros(1)}, {"a": np.float32(1)}, {"a": object()}])
def test_what_is_no_plain_data_is_refused(bad):
    with pytest.raises(TypeError, match=r"\$"):
        keys.canonical_json(bad)


def test_derived_seed_follows_its_documented_formula():
    text = b'["segue.seed.1",7,"draft",3]'
    assert keys.derive_seed(7, "draft", 3) == int.from_bytes(hashlib.sha256(text).digest()[:8], "big") // 2


@given(st.integers(0, 2**63 - 1), st.text(min_size=1, max_size=8), st.integers(0, 10_000))
def test_seeds_are_in_range_and_unlike(seed, stage, index):
    own = keys.derive_seed(seed, stage, index)
    assert 0 <= own < 2**63
    others = {keys.derive_seed(seed, stage, index + 1), keys.derive_seed(seed, stage + "x", index),
              keys.derive_seed(seed + 1, stage, index)}
    assert own not in others and len(others) == 3


def test_a_stage_seed_is_take_0_as_it_stands_and_the_others_derive_from_it():
    assert keys.take_seed(42, 7, "draft", 0) == 42
    assert keys.take_seed(42, 7, "draft", 1) == keys.derive_seed(42, "draft", 1) == keys.take_seed(42, 8, "draft", 1)
    assert keys.take_seed(None, 7, "draft", 0) == keys.derive_seed(7, "draft", 0)


def test_noise_is_the_same_again_and_another_for_every_seed_purpose_and_step():
    drawn = [
        keys.noise(seed, purpose, step, (50, 64))
        for seed in (0, 1, 2**32, 2**63 - 1) for purpose in ("initial", "sde") for step in (0, 1)
    ]
    again = keys.noise(2**32, "sde", 1, (50, 64))
    assert again.dtype == torch.float32 and again.device.type == "cpu"
    assert sum(torch.equal(again, x) for x in drawn) == 1
    flat = torch.stack([x.flatten() for x in drawn]).double()
    correlations = torch.corrcoef(flat) - torch.eye(len(drawn))
    assert correlations.abs().max() < 5 / math.sqrt(flat.shape[1])  # five standard errors


def test_noise_is_standard_normal():
    x = keys.noise(3, "initial", 0, (2000, 64)).flatten().double()
    n = x.numel()
    assert abs(x.mean()) < 4 / math.sqrt(n)
    assert abs(x.var() - 1) < 4 * math.sqrt(2 / n)
    assert abs((x**4).mean() - 3) < 4 * math.sqrt(96 / n)


def test_versions_name_the_installed_libraries():
    found = keys.versions()
    assert set(found) == {"segue", "torch", "diffusers", "transformers", "numpy", "scipy", "soxr", "soundfile", "cpu"}
    assert found["torch"] == torch.__version__ and found["numpy"] == np.__version__
    found["torch"] = "changed"
    assert keys.versions()["torch"] == torch.__version__


def test_audio_key_sees_every_bit_the_rate_and_the_shape():
    x = torch.randn(2, 300)
    key = keys.audio_key(x, 48_000)
    assert keys.audio_key(x.T.contiguous().T, 48_000) == key  # memory layout is no content
    flipped = x.clone()
    flipped[1, 7] = torch.nextafter(flipped[1, 7], torch.tensor(9.0))
    zero, minus = torch.zeros(1, 4), -torch.zeros(1, 4)
    assert len({key, keys.audio_key(flipped, 48_000), keys.audio_key(x, 44_100), keys.audio_key(x.reshape(1, 600), 48_000)}) == 4
    assert keys.audio_key(zero, 8_000) != keys.audio_key(minus, 8_000)


FACTS = {
    "stage": {"type": "refine", "version": 1, "steps": 8, "denoise": 0.5}, "prompt": {"caption": "x"}, "seed": 5,
    "inputs": {"source": "a" * 40}, "fingerprint": "f", "numerics": Numerics(versions={"torch": "2"}),
}


@pytest.mark.parametrize(("name", "value"), [
    ("stage", {"type": "refine", "version": 2, "steps": 8, "denoise": 0.5}), ("stage", {"type": "refine"}),
    ("prompt", {"caption": "y"}), ("prompt", {}), ("seed", 6),
    ("seed", None), ("inputs", {"source": "b" * 40}), ("inputs", {"timbre": "a" * 40}), ("fingerprint", "g"),
    *(("numerics", replace(FACTS["numerics"], **change)) for change in (
        {"device": "cuda"}, {"dtype": "bfloat16"}, {"threads": 2}, {"micro_batch": 4}, {"tile_frames": 256},
        {"versions": {"torch": "3"}})),
])
def test_everything_that_decides_bytes_is_part_of_a_take_key(name, value):
    assert keys.take_key(**FACTS) != keys.take_key(**{**FACTS, name: value})
    assert keys.take_key(**FACTS) == keys.take_key(**{name: FACTS[name] for name in reversed(FACTS)})


def test_numerics_facts_are_the_way_there_and_back():
    numerics = Numerics("cuda", "float16", 4, 2, 128, keys.versions())
    facts = json.loads(json.dumps(keys.numerics_facts(numerics)))
    assert Numerics(**facts) == numerics


def test_a_group_is_named_by_prompt_inputs_and_scoring_stage():
    named = {"prompt": {"caption": "x"}, "inputs": {"source": "a"}, "stage": {"name": "scored"}}
    names = {keys.group_id(**{**named, name: {"other": "y"}}) for name in named} | {keys.group_id(**named)}
    assert len(names) == 4

"""CLAP and FAD on a tiny random model in the real format: the code path is the one the released weights take."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from segue.scoring.adapters import AdapterError, frechet_audio_distance, load_adapter
from segue.scoring.adapters.clap import Clap

RATE = 48_000


def sound(seconds: float, seed: int = 0, rate: int = RATE, channels: int = 2) -> np.ndarray:
    t = np.arange(int(seconds * rate)) / rate
    rng = np.random.default_rng(seed)
    tune = sum(np.sin(2 * np.pi * f * t) for f in rng.uniform(100, 3_000, 4))
    return (0.05 * tune + 0.01 * rng.standard_normal((channels, t.size))).astype(np.float32)


@pytest.fixture(scope="module")
def clap(clap_folder: Path) -> Clap:
    return Clap(str(clap_folder))


def test_it_is_what_the_model_itself_says(clap: Clap, clap_folder: Path) -> None:
    """A sound of exactly the model's 10 s needs no cutting: transformers' own forward pass is the peer."""
    from transformers import ClapModel, ClapProcessor

    x, text = sound(10.0), "a slow waltz on the piano"
    model, processor = ClapModel.from_pretrained(clap_folder).eval(), ClapProcessor.from_pretrained(clap_folder)
    inputs = processor(text=[text], audio=x.mean(axis=0), sampling_rate=RATE, return_tensors="pt")
    with torch.no_grad():
        out = model(**inputs)
    expected = float(torch.cosine_similarity(out.audio_embeds, out.text_embeds))
    found = clap.score(x, RATE, text=text)
    assert found == {"clap_similarity": pytest.approx(expected, abs=1e-5)}
    assert -1 <= found["clap_similarity"] <= 1


def test_the_same_sound_gives_the_same_however_long(clap: Clap) -> None:
    """transformers' extractor would take a random 10 s of it."""
    x = sound(24.0)
    first, again = (clap.score(x, RATE, text="drums")["clap_similarity"] for _ in range(2))
    assert first == again
    rows = clap.embed(x, RATE)
    assert rows.shape == (3, 24)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1.0, atol=1e-5)
    np.testing.assert_allclose(rows[2], clap.embed(x[:, 14 * RATE :], RATE)[0], atol=1e-5)
    assert len(clap.embed(x, RATE, hop_s=2.0)) == 8


def test_texts_and_sounds_make_a_difference_and_rates_do_not(clap: Clap) -> None:
    x = sound(3.0)
    values = {t: clap.score(x, RATE, text=t)["clap_similarity"] for t in ("drums", "a long, sad song")}
    assert len(set(values.values())) == 2
    assert clap.score(sound(3.0, 9), RATE, text="drums")["clap_similarity"] != values["drums"]
    half = np.repeat(sound(3.0, rate=24_000, channels=1), 2, axis=0)
    assert clap.score(half, 24_000, text="drums") == clap.score(half[:1], 24_000, text="drums")
    assert clap.score(x, RATE, text="word " * 500)["clap_similarity"] is not None  # cut to what the model takes


def test_no_text_and_no_sound_have_no_figure(clap: Clap) -> None:
    assert clap.score(sound(1.0), RATE) == clap.score(sound(1.0), RATE, text="  ") == {"clap_similarity": None}
    assert clap.score(np.zeros((2, RATE)), RATE, text="drums") == {"clap_similarity": None}
    with pytest.raises(ValueError, match="NaN"):
        clap.score(np.full((1, RATE), np.nan), RATE, text="drums")


def test_a_fused_model_is_not_asked_at_random(fused_clap_folder: Path) -> None:
    fused = Clap(str(fused_clap_folder))
    x = sound(25.0)
    rows = fused.embed(x, RATE)
    assert rows.shape == (3, 24)
    for _ in range(3):
        np.testing.assert_array_equal(fused.embed(x, RATE), rows)


def test_closing_lets_go(clap_folder: Path) -> None:
    adapter = load_adapter("clap", str(clap_folder))
    adapter.close()
    with pytest.raises((AttributeError, TypeError)):
        adapter.score(sound(1.0), RATE, text="drums")


def test_a_folder_that_is_none_is_told(tmp_path: Path, clap_folder: Path) -> None:
    with pytest.raises(AdapterError, match="can't be loaded"):
        Clap(str(tmp_path))
    shutil.copytree(clap_folder, tmp_path / "pickled")
    (tmp_path / "pickled" / "model.safetensors").unlink()
    torch.save({}, tmp_path / "pickled" / "pytorch_model.bin")
    with pytest.raises(AdapterError, match=r"model\.safetensors"):  # a pickle is not opened
        Clap(str(tmp_path / "pickled"))


def test_fad_of_a_take_in_claps_embedding(clap_folder: Path) -> None:
    references = [(sound(4.0, s), RATE) for s in range(3)]
    fad = load_adapter("fad", str(clap_folder), references=references)
    noise = np.random.default_rng(0).standard_normal((1, 4 * RATE)).astype(np.float32)
    near, far = (fad.score(x, RATE)["fad_clap"] for x in (sound(4.0, 1), noise))
    assert 0 <= near < far
    assert fad.score(np.zeros((1, RATE)), RATE) == {"fad_clap": None}
    fad.close()
    with pytest.raises(ValueError, match="holds no sound"):
        load_adapter("fad", str(clap_folder), references=[(np.zeros((1, RATE)), RATE)])


def test_fad_of_sets_takes_any_embedding(clap: Clap) -> None:
    a, b = ([(sound(3.0, s), RATE) for s in seeds] for seeds in (range(4), range(4, 8)))
    assert frechet_audio_distance(a, a, clap.embed) == pytest.approx(0.0, abs=1e-9)
    assert frechet_audio_distance(a, b, clap.embed) > 1e-6

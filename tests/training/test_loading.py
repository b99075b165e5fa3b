"""Batches drawn ahead are the batches drawn on the spot; what other processes compose is what this one would have."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from segue.training.autoencoder.start import start_autoencoder
from segue.training.corpus import make_clip
from segue.training.flow import cache
from segue.training.loading import batches
from segue.training.mini import make_vae


def draw(step: int) -> dict[str, object]:
    return {"step": step, "array": np.random.default_rng(step).random(3), "tensor": torch.full((2,), float(step))}


def test_workers_draw_the_same_in_the_same_order():
    here = list(batches(draw, 3, last=9))
    ahead = list(batches(draw, 3, last=9, workers=2))
    assert [batch["step"] for batch in ahead] == [batch["step"] for batch in here] == [*range(3, 9)]
    for a, b in zip(here, ahead, strict=True):
        assert isinstance(b["array"], np.ndarray), "arrays come as they were drawn"
        np.testing.assert_array_equal(a["array"], b["array"])
        torch.testing.assert_close(a["tensor"], b["tensor"], rtol=0, atol=0)


@pytest.mark.parametrize("workers", [0, 1])
def test_without_an_end_there_is_always_another(workers):
    got = list(itertools.islice(batches(draw, 5, workers=workers), 7))
    assert [batch["step"] for batch in got] == [*range(5, 12)]


def test_fewer_than_no_workers_are_refused():
    with pytest.raises(ValueError, match="must be 0"):
        next(batches(draw, 0, workers=-1))


def test_clips_composed_elsewhere_are_encoded_alike(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "SHARD", 2)
    vae = make_vae()
    start_autoencoder(vae, torch.stack([torch.from_numpy(make_clip(seed, 4.0).samples) for seed in range(4)]))
    torch.save(vae.state_dict(), tmp_path / "vae.pt")
    options = ["--vae", str(tmp_path / "vae.pt"), "--clips", "4", "--duration", "4", "--full-share", "0.5"]
    made = []
    for name, more in (("here", []), ("elsewhere", ["--workers", "2"])):
        assert cache.main([*options, "--out", str(tmp_path / name), *more]) == 0
        made.append(cache.wait_for_shards(tmp_path / name, set(), 4))
    assert [len(item["stems"]) > 0 for item in made[0]] == [False, False, True, True]
    for a, b in zip(*made, strict=True):
        assert a["facts"] == b["facts"] and list(a["rests"]) == list(b["rests"])
        torch.testing.assert_close(a["mix"], b["mix"], rtol=0, atol=0)
        torch.testing.assert_close(a["skeleton"], b["skeleton"], rtol=0, atol=0)
        for part in ("stems", "rests"):
            for track, latents in a[part].items():
                torch.testing.assert_close(latents, b[part][track], rtol=0, atol=0)
    assert made[0][3]["rests"].keys() == made[0][3]["stems"].keys()
    assert {latents.shape for latents in made[0][3]["rests"].values()} == {(100, 64)}


def test_a_cache_of_an_earlier_version_is_told(tmp_path):
    torch.save([{"facts": {}, "mix": torch.zeros(4, 64), "stems": {}}], tmp_path / "000000000.pt")
    with pytest.raises(ValueError, match=r"000000000.pt is of an earlier version.*encode them into a new folder"):
        cache.load_shards(tmp_path, set())

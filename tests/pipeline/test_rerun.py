"""`rerun`: the same take byte for byte, under what its file says, and a clear word where that can't be."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from segue import Pipeline, Prompt, RunOptions
from segue.pipeline import options as options_module
from segue.pipeline.audio_file import read_audio, read_tags, write_audio
from segue.pipeline.catalog import Catalog
from segue.pipeline.errors import RequestError
from segue.pipeline.take import Audio
from segue.presets.again import rerun
from segue.stages import Degrade, Generate, Mix, Refine, Save

OTHER = RunOptions(threads=1, micro_batch=2, tile_frames=7)
"""None of them what this machine would choose by itself in these tests."""


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return write_audio(tmp_path / "clip.wav", Audio(0.1 * torch.sin(torch.arange(8000) / 20)[None], 8000)).path


@pytest.fixture
def worse(clip: Path, tmp_path: Path) -> Path:
    """A file that a run without a model wrote."""
    pipe = Pipeline(seed=3, inputs={"clip": str(clip)}, stages={"worse": Degrade(source="clip", clip_db=3)})
    (file,) = pipe.run(tmp_path / "a", home=tmp_path / "home-a").files[:1]
    return file


@pytest.fixture
def retagged(worse: Path) -> Callable[..., Path]:
    """The file with a tag changed (None: taken out)."""

    def change(**changes: str | None) -> Path:
        tags = {**read_tags(worse), **changes}
        return write_audio(worse.with_name("changed.flac"), read_audio(worse), tags={k: v for k, v in tags.items() if v}).path

    return change


def numerics(file: Path, **changes: Any) -> str:
    return json.dumps({**json.loads(read_tags(file)["SEGUE_NUMERICS"]), **changes})


def test_the_same_bytes_also_when_it_was_made_under_other_than_the_defaults(tiny_model: str, tmp_path: Path) -> None:
    prompt = Prompt(caption="slow piano", instrumental=True, duration_s=2)
    stages = {
        "draft": Generate(steps=3, trace=True), "polish": Refine(source="draft", steps=3),
        "kept": Save(source="polish", naming="stage_index"),
    }
    pipe = Pipeline(model=tiny_model, prompt=prompt, seed=3, takes=2, stages=stages, outputs=("polish", "kept"))
    first = pipe.run(tmp_path / "a", home=tmp_path / "home-a", options=OTHER)
    names = [f.relative_to(tmp_path / "a") for f in first.files if f.suffix == ".flac"]
    assert len(names) == 4
    for name in names[1::2]:  # take 1 of either stage, which shared its forwards
        again = rerun(tmp_path / "a" / name, out=tmp_path / "b", home=tmp_path / "home-b")
        assert (tmp_path / "b" / name).read_bytes() == (tmp_path / "a" / name).read_bytes()
        assert again.warnings == ()
        with Catalog(tmp_path / "home-b" / "catalog.sqlite3") as catalog:
            made = catalog.run(again.id).numerics
        assert (made.threads, made.micro_batch, made.tile_frames) == (1, 2, 7)
    plain = pipe.run(tmp_path / "c", home=tmp_path / "home-c")  # under the defaults the bytes are others
    assert (tmp_path / "c" / names[1]).read_bytes() != (tmp_path / "a" / names[1]).read_bytes()
    assert len(plain["kept"]) == 2


def test_an_input_that_moved_is_asked_for_and_then_gives_the_same_file(worse: Path, clip: Path, tmp_path: Path) -> None:
    moved = clip.rename(tmp_path / "moved.wav")
    with pytest.raises(RequestError, match=r"key 'inputs.clip'.*there is no .*clip\.wav.*--input clip=FILE"):
        rerun(worse, home=tmp_path / "home-b")
    again = rerun(worse, out=tmp_path / "b", inputs={"clip": moved}, home=tmp_path / "home-b")
    assert again.files[0].read_bytes() == worse.read_bytes() and again.warnings == ()


def test_another_input_is_refused_before_anything_is_made(worse: Path, clip: Path, tmp_path: Path) -> None:
    other = write_audio(tmp_path / "other.wav", Audio(torch.zeros(1, 8000), 8000)).path
    with pytest.raises(RequestError, match=r"'clip' is another sound than the one the take in .* was made from.*segue run"):
        rerun(worse, inputs={"clip": other}, home=tmp_path / "home-b")
    assert not (tmp_path / "home-b").exists()


def test_the_second_input_of_a_mix_counts_too(clip: Path, tmp_path: Path) -> None:
    other = write_audio(tmp_path / "other.wav", Audio(0.1 * torch.ones(1, 8000), 8000)).path
    inputs = {"clip": str(clip), "other": str(other)}
    mixed = Pipeline(seed=3, inputs=inputs, stages={"both": Mix(sources=("clip", "other"))})
    file = mixed.run(tmp_path / "a", home=tmp_path / "home-a").files[0]
    with pytest.raises(RequestError, match="'other' is another sound"):
        rerun(file, inputs={"other": clip}, home=tmp_path / "home-b")


def test_other_weights_are_refused(tiny_model: str, tmp_path: Path) -> None:
    pipe = Pipeline(model=tiny_model, prompt=Prompt(duration_s=1), seed=3, stages={"draft": Generate(steps=1)})
    file = pipe.run(tmp_path / "a", home=tmp_path / "home").files[0]
    lineage = json.loads(read_tags(file)["SEGUE_LINEAGE"])
    lineage[0]["weights"] = "0" * 64
    write_audio(file, read_audio(file), tags={**read_tags(file), "SEGUE_LINEAGE": json.dumps(lineage)})
    with pytest.raises(RequestError, match=r"stage 'draft': the weights or adapters are not those the take in .* was made with"):
        rerun(file, home=tmp_path / "home")


def test_a_device_that_is_not_here_is_named_with_what_another_would_mean(
    worse: Path, retagged: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    file = retagged(SEGUE_NUMERICS=numerics(worse, device="cuda", dtype="bfloat16"))
    with pytest.raises(RequestError, match=r"was made on cuda, which is not here .*--device cpu: the take then agrees to"):
        rerun(file, home=tmp_path / "home-b")
    again = rerun(file, home=tmp_path / "home-b", options=RunOptions(device="cpu", dtype="float32"))
    (told,) = again.warnings
    assert "device cpu in place of cuda, dtype float32 in place of bfloat16" in told


def test_options_given_win_and_are_told(worse: Path, tmp_path: Path) -> None:
    threads = json.loads(read_tags(worse)["SEGUE_NUMERICS"])["threads"]
    again = rerun(worse, home=tmp_path / "home-b", options=RunOptions(threads=threads + 1))
    (told,) = again.warnings
    assert f"threads {threads + 1} in place of {threads}" in told and "differ in rounding" in told


def test_other_library_versions_are_told(worse: Path, retagged: Callable[..., Path], tmp_path: Path) -> None:
    versions = {**json.loads(read_tags(worse)["SEGUE_NUMERICS"])["versions"], "torch": "1.0"}
    file = retagged(SEGUE_NUMERICS=numerics(worse, versions=versions))
    again = rerun(file, out=tmp_path / "b", home=tmp_path / "home-b")
    (told,) = again.warnings
    assert "was made with torch 1.0 (now 2" in told
    assert told in json.loads((tmp_path / "b/run.json").read_text())["warnings"]


def test_a_take_made_after_memory_ran_out_is_told(worse: Path, retagged: Callable[..., Path], tmp_path: Path) -> None:
    lineage = json.loads(read_tags(worse)["SEGUE_LINEAGE"])
    lineage[-1]["retried_micro_batch"] = 1
    (told,) = rerun(retagged(SEGUE_LINEAGE=json.dumps(lineage)), home=tmp_path / "home-b").warnings
    assert "after memory ran out" in told


def test_a_file_that_does_not_say_under_what_is_made_under_the_defaults_and_told(
    retagged: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(options_module.torch, "get_num_threads", lambda: 1)
    (told,) = rerun(retagged(SEGUE_NUMERICS=None), home=tmp_path / "home-b").warnings
    assert "does not say with which threads" in told


def test_a_take_whose_key_is_another_without_a_known_reason_is_told(retagged: Callable[..., Path], tmp_path: Path) -> None:
    (told,) = rerun(retagged(SEGUE_KEY="0" * 40), home=tmp_path / "home-b").warnings
    assert "worse/0 is not known to be the take in" in told


@pytest.mark.parametrize("spoilt", ["{", '{"device": 3}', '{"threads": "many"}', '{"speed": 9}', "[]"])
def test_a_spoilt_tag_is_a_wrong_request(retagged: Callable[..., Path], tmp_path: Path, spoilt: str) -> None:
    with pytest.raises(RequestError, match="can't be understood"):
        rerun(retagged(SEGUE_NUMERICS=spoilt), home=tmp_path / "home-b")

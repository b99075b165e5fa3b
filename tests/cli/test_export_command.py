"""`segue export`: what it prints, what it refuses, and its exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers.night_folders import NightWriter

from .conftest import Call


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory, tiny_model: str) -> Path:
    writer = NightWriter(tmp_path_factory.mktemp("nights") / "jazz", tiny_model, audio="none")
    for number in range(4):
        writer.group([3.0, 8.0], caption=f"a caption \u2028 {number}\n🎷 'x' \"y\"")
    return writer.end()


def flat(text: str) -> str:
    """The text without line breaks, which a terminal's width decides."""
    return " ".join(text.split())


def test_an_export_is_told_as_a_table_and_as_json(segue: Call, night: Path, tmp_path: Path) -> None:
    done = segue("export", night, "--to", "hub", "--splits", "train=0.5,test=0.5", "--license", "cc-by-4.0")
    assert done.code == 0, done.err
    assert "4 pairs, dataset version" in done.out and "8 takes decoded again from their latents" in done.out
    assert "datasets.load_dataset('hub')" in done.out and (tmp_path / "hub" / "README.md").is_file()
    done = segue("export", night, "--to", "hub", "--splits", "train=1", "--format", "webdataset", "--shard-mb", "0.03", "--json")
    told = json.loads(done.out)
    assert told["pairs"] == 4 and told["splits"]["train"]["files"] > 1 and told["decoded"] == {"alike": 8}
    assert len(list((tmp_path / "hub" / "data").glob("train-*.tar"))) == told["splits"]["train"]["files"]
    done = segue("export", night, "--to", "lines", "--format", "jsonl", "--splits", "train=1")
    assert "README.md says how it is read" in done.out
    assert len((tmp_path / "lines" / "data" / "train.jsonl").read_bytes().strip().split(b"\n")) == 4


def test_what_can_t_be_exported_ends_with_2_and_says_why(segue: Call, night: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a.txt").write_text("x")
    for arguments, words in (
        ((tmp_path / "nowhere", "--to", "hub"), "holds no night"),
        ((night, "--to", "mine"), "not empty and no export"),
        ((night, "--to", "hub", "--splits", "train=2"), "share of train is 2"),
        ((night, "--to", "hub", "--since", "abcd"), "no take was made by a version of that fingerprint"),
        ((night, "--to", "hub", "--since", "2027-01-01"), "none of the 4 pairs"),
        ((night, "--to", "hub", "--license", "§"), "names no licence"),
        ((night, "--to", "hub", "--format", "csv"), "csv"),
        ((night,), "--to"),
    ):
        done = segue("export", *arguments)
        assert done.code == 2 and words in flat(done.err) and not done.out, (arguments, done.err)
    assert not (tmp_path / "hub").exists()


def test_a_place_that_can_t_be_written_ends_with_1(segue: Call, night: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    done = segue("export", night, "--to", "file/hub")
    assert done.code == 1 and "could not write the export" in flat(done.err) and "Traceback" not in flat(done.err)

"""An export: what others' libraries read from it, splits, determinism, rows let go as they are written."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile as sf
import torch
import webdataset
import yaml
from helpers.night_folders import NightWriter, contents
from segue.dataset import export_parquet
from segue.dataset.export import ExportOptions, export
from segue.dataset.export_parquet import features
from segue.dataset.export_source import NightRecord
from segue.dataset.splits import parse_splits, split_of
from segue.pipeline.errors import RequestError
from segue.pipeline.keys import noise
from segue.scoring.preferences import Pair

CAPTION = 'one\ntwo "three" \'four\' 🎷 ```five``` | six \\ seven   eight'
FORMATS = ("parquet", "webdataset", "jsonl")


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory, tiny_model: str) -> Path:
    """Twelve groups of three takes."""
    writer = NightWriter(tmp_path_factory.mktemp("nights") / "jazz", tiny_model)
    for number in range(12):
        writer.group([3.0, 8.0 - number / 4, 5.0], caption=CAPTION if number == 0 else None, defects=("hum", "click"))
    return writer.end()


@pytest.fixture(scope="module")
def record(night: Path) -> dict[str, Pair]:
    with (night / "pairs.jsonl").open(encoding="utf-8") as lines:
        return {pair.id: pair for pair in map(Pair.from_json, lines)}


@pytest.fixture(autouse=True)
def _caches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`datasets` keeps its caches in the test's folder."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def lines_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for file in sorted((folder / "data").glob("*.jsonl")) for line in file.open(encoding="utf-8")]


def the_flac(night: Path, pair: Pair, side: str) -> Path:
    """The night's own file of a side."""
    return night / getattr(pair, side).audio_path


def test_datasets_opens_the_parquet_with_audio_features(night: Path, record: dict[str, Pair], tmp_path: Path) -> None:
    made = export([night], tmp_path / "hub", ExportOptions(splits="train=0.5,test=0.5", shard_bytes=60_000))
    found = datasets.load_dataset(str(tmp_path / "hub"))
    assert {name: split["pairs"] for name, split in made.splits.items()} == {name: len(part) for name, part in found.items()}
    assert sum(len(part) for part in found.values()) == len(record) == made.pairs == 12
    assert all(split["files"] > 1 for split in made.splits.values())
    for part in found.values():
        assert part.features["chosen"] == datasets.Audio(sampling_rate=1200) == part.features["rejected"]
        raw = part.cast_column("chosen", datasets.Audio(decode=False)).cast_column("rejected", datasets.Audio(decode=False))
        for row in raw:
            pair = record[row["id"]]
            assert row["prompt"] == pair.prompt.caption and row["chosen_score"] == pair.chosen.quality_score
            assert row["rejected_defects"] == list(pair.rejected.defects) and row["bpm"] == 90 and row["margin"] == pair.margin
            for side in ("chosen", "rejected"):
                samples, rate = sf.read(io.BytesIO(row[side]["bytes"]), dtype="int32")
                there, same_rate = sf.read(the_flac(night, pair, side), dtype="int32")
                assert rate == same_rate == 1200 and np.array_equal(samples, there)
    assert any(row["prompt"] == CAPTION for part in found.values() for row in part.select_columns("prompt"))


def test_the_features_in_the_schema_are_those_datasets_would_write(night: Path, tmp_path: Path) -> None:
    export([night], tmp_path / "hub")
    (file,) = (tmp_path / "hub" / "data").glob("train-*.parquet")
    told = datasets.Features.from_dict(features(1200))
    assert datasets.Features.from_arrow_schema(pq.read_schema(file)) == told
    assert told.arrow_schema.remove_metadata().equals(pq.read_schema(file).remove_metadata())


def test_latents_and_noise_are_what_the_take_came_from(night: Path, record: dict[str, Pair], tmp_path: Path) -> None:
    export([night], tmp_path / "hub", ExportOptions(splits="train=1"))
    rows = pq.read_table(tmp_path / "hub" / "data").to_pylist()
    assert len(rows) == 12
    for row in rows:
        pair = record[row["id"]]
        frames = np.array(row["chosen_latent"], dtype=np.float32)
        seed = pair.chosen.generation_params.seed
        drawn = torch.randn(frames.shape, generator=torch.Generator().manual_seed(seed))
        assert np.array_equal(frames, drawn.numpy())  # the night's latents are drawn by the take's seed
        again = torch.randn(row["chosen_noise_shape"], generator=torch.Generator().manual_seed(row["chosen_noise_seed"]))
        assert torch.equal(again, noise(seed + 1, "initial", 0, frames.shape)) and row["chosen_t_start"] == 1.0
        assert row["chosen_codec"] and row["chosen_frame_rate_hz"] == 25.0 and row["chosen_latent_samples"] == 30 * 48 - 10


def test_webdataset_shards_are_read_by_webdataset_and_by_datasets(night: Path, record: dict[str, Pair], tmp_path: Path) -> None:
    options = ExportOptions(format="webdataset", splits="train=1", shard_bytes=100_000)
    export([night], tmp_path / "hub", options)
    shards = sorted(map(str, (tmp_path / "hub" / "data").glob("*.tar")))
    assert len(shards) > 2
    seen = 0
    for sample in webdataset.WebDataset(shards, shardshuffle=False, empty_check=False).decode():
        pair = record[sample["json"]["id"]]
        assert sample["json"]["prompt"] == pair.prompt.model_dump(mode="json")
        samples, _ = sf.read(io.BytesIO(sample["rejected.flac"]), dtype="int32")
        assert np.array_equal(samples, sf.read(the_flac(night, pair, "rejected"), dtype="int32")[0])
        generator = torch.Generator().manual_seed(pair.chosen.generation_params.seed)
        drawn = torch.randn(sample["chosen.npy"].shape, generator=generator)
        assert np.array_equal(sample["chosen.npy"], drawn.numpy())
        seen += 1
    assert seen == 12
    for shard in shards:
        with tarfile.open(shard) as tar:
            assert {(i.mtime, i.uid, i.gid, i.uname, i.gname, i.mode) for i in tar} == {(0, 0, 0, "", "", 0o644)}


def test_datasets_decodes_the_sounds(night: Path, record: dict[str, Pair], tmp_path: Path) -> None:
    pytest.importorskip("torchcodec", reason="datasets decodes audio with torchcodec")
    export([night], tmp_path / "hub", ExportOptions(splits="train=1"))
    for row in datasets.load_dataset(str(tmp_path / "hub"), split="train"):
        there, rate = sf.read(the_flac(night, record[row["id"]], "chosen"), dtype="float32", always_2d=True)
        decoded = row["chosen"].get_all_samples()
        assert decoded.sample_rate == rate and np.allclose(decoded.data.numpy().T, there, atol=2**-22)


def test_datasets_opens_webdataset_shards_with_audio_features(night: Path, record: dict[str, Pair], tmp_path: Path) -> None:
    pytest.importorskip("torchcodec", reason="datasets prepares audio of tar files with torchcodec")
    export([night], tmp_path / "hub", ExportOptions(format="webdataset", splits="train=1"))
    found = datasets.load_dataset(str(tmp_path / "hub"), split="train")
    assert len(found) == 12 and isinstance(found.features["chosen.flac"], datasets.Audio)
    assert {row["id"] for row in found["json"]} == set(record)


def test_json_lines_hold_the_fixed_schema_exactly(night: Path, record: dict[str, Pair], tmp_path: Path) -> None:
    export([night], tmp_path / "hub", ExportOptions(format="jsonl"))
    rows = lines_of(tmp_path / "hub")
    assert len(rows) == 12
    for row in rows:
        pair = record[row["id"]]
        told = json.loads(pair.to_json())
        for side in ("chosen", "rejected"):
            path = tmp_path / "hub" / row[side].pop("audio_path")
            assert np.array_equal(sf.read(path, dtype="int32")[0], sf.read(the_flac(night, pair, side), dtype="int32")[0])
            assert (tmp_path / "hub" / row[side]["provenance"].pop("latent_path")).is_file()
            told[side].pop("audio_path")
            told[side]["provenance"].pop("latent_path")
        assert {key: row[key] for key in told} == told  # key for key what the night wrote
        assert list(row)[:3] == ["prompt", "chosen", "rejected"]
        assert row["strata"]["genre"] in ("jazz", "rock") and row["prompt_facts"]["bpm"] == 90
        assert row["diffusion"]["chosen"]["noise"]["purpose"] == "initial"
    assert any(row["prompt"]["caption"] == CAPTION for row in rows)


@pytest.mark.parametrize("format", FORMATS)
def test_the_same_night_gives_the_same_bytes(night: Path, tmp_path: Path, format: Any) -> None:
    for name in "ab":
        export([night], tmp_path / name, ExportOptions(format=format, shard_bytes=80_000))
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    export([night], tmp_path / "a", ExportOptions(format=format, shard_bytes=80_000))  # in the place of the first
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert sorted(p.name for p in tmp_path.iterdir() if p.name != "cache") == ["a", "b"]


def test_the_manifest_names_every_file_with_its_hash(night: Path, tmp_path: Path) -> None:
    export([night], tmp_path / "hub", ExportOptions(format="jsonl"))
    files = contents(tmp_path / "hub")
    told = json.loads(files.pop("segue_export.json"))["files"]
    assert told == {p: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()} for p, data in files.items()}


def test_the_card_s_front_matter_tells_the_hub_where_the_splits_are(night: Path, tmp_path: Path) -> None:
    export([night], tmp_path / "hub", ExportOptions(splits="train=0.5,test=0.5", license="CC-BY-4.0"))
    front = yaml.safe_load((tmp_path / "hub" / "README.md").read_text(encoding="utf-8").split("---\n")[1])
    assert front["license"] == "cc-by-4.0" and front["size_categories"] == ["n<1K"]
    assert front["configs"][0]["data_files"] == [
        {"split": "train", "path": "data/train-*.parquet"}, {"split": "test", "path": "data/test-*.parquet"},
    ]  # fmt: skip


def test_a_prompt_stays_in_its_split_when_the_dataset_grows(tmp_path: Path, tiny_model: str) -> None:
    first, second = (NightWriter(tmp_path / n, tiny_model, name=n, seed=s) for n, s in (("one", 1), ("two", 2)))
    for writer, seeds in ((first, 0), (second, 50_000)):
        for number in range(8):
            writer.group([2.0, 6.0], caption=f"prompt {number}", seeds=seeds)
    nights = [first.end(), second.end()]
    options = ExportOptions(format="jsonl", splits="train=0.6,test=0.4")
    export(nights[:1], tmp_path / "small", options)
    export(nights, tmp_path / "large", options)
    splits: dict[str, dict[str, str]] = {}
    for size in ("small", "large"):
        for file in (tmp_path / size / "data").glob("*.jsonl"):
            for line in file.open(encoding="utf-8"):
                caption = json.loads(line)["prompt"]["caption"]
                assert splits.setdefault(size, {}).setdefault(caption, file.stem) == file.stem
    assert splits["small"] == splits["large"] and len(splits["large"]) == 8
    assert set(splits["large"].values()) == {"train", "test"}
    assert len(lines_of(tmp_path / "large")) == 16
    export(nights, tmp_path / "small", options)  # the grown dataset takes the earlier one's place
    assert contents(tmp_path / "small") == contents(tmp_path / "large")
    with pytest.raises(RequestError, match="export of another night"):
        export(nights[:1], tmp_path / "large", options)


def test_splits_have_the_shares_asked_for() -> None:
    shares = parse_splits("train=0.8,valid=0.15,test=0.05")
    names = [split_of(hashlib.sha256(str(i).encode()).hexdigest(), shares) for i in range(4000)]
    for name, share in shares.items():
        assert abs(names.count(name) / 4000 - share) < 4 * np.sqrt(share * (1 - share) / 4000)


@pytest.mark.parametrize(("text", "words"), [
    ("train=0.9", "add up to 0.9"), ("train=0.9,test=0.2", "add up to 1.1"), ("train", "share of train is missing"),
    ("train=1,train=0", "share of train is 0"), ("tr/ain=1", "can't name a split"), ("all=1", "can't name"), ("", "can't name"),
    ("a=0.5,a=0.5", "names a twice"), ("a=nan", "share of a"), ("a=-1,b=2", "share of a is -1"),
])  # fmt: skip
def test_splits_that_can_t_be_are_told(text: str, words: str) -> None:
    with pytest.raises(RequestError, match=words):
        parse_splits(text)


def test_a_split_that_no_prompt_fell_into_is_told(night: Path, tmp_path: Path) -> None:
    made = export([night], tmp_path / "hub", ExportOptions(splits="train=0.9999,test=0.0001"))
    assert list(made.splits) == ["train"] and any("split test" in note for note in made.notes)
    assert list(datasets.load_dataset(str(tmp_path / "hub"))) == ["train"]


# -- the folder -----------------------------------------------------------------------------------------------


def test_only_an_earlier_export_of_the_night_is_replaced(night: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    (tmp_path / "new").mkdir()
    with pytest.raises(RequestError, match="is a file"):
        export([night], tmp_path / "file")
    with pytest.raises(RequestError, match="not empty and no export"):
        export([night], tmp_path / "mine")
    with pytest.raises(RequestError, match="holds the night itself"):
        export([night], night)
    with pytest.raises(RequestError, match="holds the night itself"):
        export([night], night.parent)
    export([night], tmp_path / "new")
    (tmp_path / "new" / "notes.md").write_text("x")
    with pytest.raises(RequestError, match=r"did not write \(notes.md\)"):
        export([night], tmp_path / "new")
    assert (tmp_path / "mine" / "thesis.txt").exists() and (tmp_path / "new" / "notes.md").exists()


def test_rows_are_let_go_as_they_are_written(
    night: Path, record: dict[str, Pair], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer holds one row group, whatever the number of rows."""
    largest = max(the_flac(night, pair, side).stat().st_size for pair in record.values() for side in ("chosen", "rejected"))
    monkeypatch.setattr(export_parquet, "ROW_GROUP_BYTES", 2 * largest)
    export([night], tmp_path / "hub", ExportOptions(splits="train=1"))
    (file,) = (tmp_path / "hub" / "data").glob("*.parquet")
    facts = pq.ParquetFile(file).metadata
    assert facts.num_rows == 12 and max(facts.row_group(i).num_rows for i in range(facts.num_row_groups)) <= 2


def test_a_take_judged_anew_is_taken_from_its_newest_group(tmp_path: Path, tiny_model: str) -> None:
    writer = NightWriter(tmp_path / "night", tiny_model)
    first = writer.group([2.0, 6.0])
    writer.add(first.model_copy(update={"strata": {"genre": "blues"}}))
    night = writer.end()
    with NightRecord(night) as record:
        assert len(list(record.groups())) == 2
        rows = list(record.rows())
        assert {record.pair(row)[1].strata["genre"] for row in rows} == {"blues"}

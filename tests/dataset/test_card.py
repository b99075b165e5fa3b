"""The card: what is in the dataset, in Markdown that no caption breaks, and nothing that would tell two equal nights apart."""

from __future__ import annotations

import json
import re
from pathlib import Path

import datasets
import pytest
import yaml
from helpers.night_folders import NightWriter
from segue.dataset.card_usage import usage
from segue.dataset.export import ExportOptions, export
from segue.dataset.export_parquet import features
from segue.dataset.tallies import MARKS, NightTally
from segue.scoring.groups import Generation, Group, GroupEntry

CAPTION = 'a\n---\n# "b" | 🎷\n````\n<b>'


@pytest.fixture(autouse=True)
def _caches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`datasets` keeps its caches in the test's folder."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tiny_model: str) -> Path:
    """An export of a night with a caption that is hard to write."""
    root = tmp_path_factory.mktemp("card")
    writer = NightWriter(root / "night", tiny_model, name='jazz "at" night: 🎷 | no. 1', created="2026-11-28T22:00:00+00:00")
    for number in range(6):
        writer.group([3.0, 6.0 + number / 2, 10.0], caption=CAPTION if number == 0 else None, defects=("hum",) * (number % 2))
    export([writer.end()], root / "hub", ExportOptions(format="jsonl", splits="train=1", license="apache-2.0"))
    return root


def parts(folder: Path) -> dict[str, str]:
    """Sections by heading."""
    text = (folder / "hub" / "README.md").read_text(encoding="utf-8")
    body = text.split("---\n", 2)[2]
    found = re.split(r"^## (.+)$", body, flags=re.M)
    return {"": found[0], **dict(zip(found[1::2], found[2::2], strict=True))}


def rows(section: str) -> list[list[str]]:
    """The cells of a section's first table, without its head."""
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines[2:]]


def test_the_front_matter_is_yaml_with_what_the_hub_wants(folder: Path) -> None:
    front = yaml.safe_load((folder / "hub" / "README.md").read_text(encoding="utf-8").split("---\n")[1])
    assert front["license"] == "apache-2.0" and front["task_categories"] == ["text-to-audio"]
    assert front["pretty_name"].startswith('jazz "at" night: 🎷')
    assert front["configs"][0]["data_files"] == [{"split": "train", "path": "data/train.jsonl"}]


def test_the_night_s_facts_are_counted(folder: Path) -> None:
    found = parts(folder)
    (night,) = rows(found["How it was made"])
    assert night[1:6] == ["2026-11-28T22:00:00+00:00", "7", "6", "18", "18"]
    assert "`segue-scorer/2`" in found["How it was made"] and "6 preference pairs" in found[""] and "18 takes" in found[""]
    assert rows(found["Splits"])[0][:2] == ["train", "6"]
    assert rows(found["Defects found"]) == [["hum", "9"]]
    (version,) = rows(found["Versions"])
    assert version[3:] == ["18", f"{(3 * 6 + 10 * 6 + sum(6 + n / 2 for n in range(6))) / 18:.2f}", "12"]
    assert {row[0]: row[3] for row in rows(found["Balance"])} == {"jazz": "3", "rock": "3"}


def test_the_histogram_holds_every_mark_once(folder: Path) -> None:
    found = rows(parts(folder)["Marks"])
    assert sum(int(row[1]) for row in found) == 18
    assert sum(int(row[2]) for row in found) == sum(int(row[3]) for row in found) == 6
    assert found[0][:4] == ["3 to 3.5", "6", "0", "6"] and found[-1][:4] == ["9.5 to 10", "6", "6", "0"]
    assert len(found[0][4]) == 24 == max(len(row[4]) for row in found)


def test_a_caption_breaks_neither_front_matter_nor_code_nor_tables(folder: Path) -> None:
    example = parts(folder)["A pair"]
    fence, text = re.search(r"^(`{4,})json\n(.*)\n\1$", example, flags=re.M | re.S).groups()  # type: ignore[union-attr]
    assert len(fence) == 5 and json.loads(text)["prompt"]["caption"] == CAPTION
    title = (folder / "hub" / "README.md").read_text(encoding="utf-8").split("---\n", 2)[2].strip().splitlines()[0]
    assert title == '# jazz "at" night: 🎷 \\| no. 1'


def test_timings_and_machines_stay_out(folder: Path, tmp_path: Path) -> None:
    """A night that was stopped and went on has other timings, and the same card."""
    night = folder / "night"
    account = json.loads((night / "night.json").read_text())
    (night / "night.json").write_text(json.dumps({**account, "hours": 8.25, "swaps": 99}))
    export([night], tmp_path / "hub", ExportOptions(format="jsonl", splits="train=1", license="apache-2.0"))
    for name in ("README.md", "segue_export.json"):
        assert (tmp_path / "hub" / name).read_bytes() == (folder / "hub" / name).read_bytes()


def test_a_licence_that_was_not_stated_is_said_to_be_unknown(folder: Path, tmp_path: Path) -> None:
    export([folder / "night"], tmp_path / "hub")
    text = (tmp_path / "hub" / "README.md").read_text(encoding="utf-8")
    assert "license: unknown\n" in text and "The licence was not stated" in text


def test_takes_that_never_pair_are_counted_apart() -> None:
    made = [(9.999, {}), (10.0, {}), (0.0, {"refused": "below 3"}), (None, {"finite": False}), (2.0, {"silent": True})]
    entries = tuple(
        GroupEntry.model_validate({
            "take": str(i), "index": i, "seed": i, "overall": mark, "duration_s": 1800, "generation": Generation(seed=i),
            "pcm_sha256": str(i), **facts,
        })
        for i, (mark, facts) in enumerate(made)
    )
    tally = NightTally("n", "", None)
    tally.add(Group(id="g", stage="s", entries=entries))
    assert (tally.takes, tally.scored, tally.refused, tally.broken, tally.silent) == (5, 4, 1, 1, 1)
    assert tally.seconds == 5 * 1800 and tally.marks == {int(10 / MARKS) - 1: 2, 0: 1, 4: 1}


@pytest.mark.parametrize("format", ("parquet", "webdataset", "jsonl"))
def test_the_code_on_the_card_runs(folder: Path, tmp_path: Path, format: str) -> None:
    """What a reader copies from the card works on the very dataset it came with."""
    export([folder / "night"], tmp_path / "hub", ExportOptions(format=format, splits="train=1"))  # type: ignore[arg-type]
    text = (tmp_path / "hub" / "README.md").read_text(encoding="utf-8")
    read, noise = re.findall(r"```python\n(.*?)\n```", text, flags=re.S)
    read = read.replace("FOLDER", str(tmp_path / "hub"))
    if format == "parquet":  # decoding wants torchcodec, which not every machine has
        read = read.replace('pairs[0]["prompt"], pairs[0]["chosen"], pairs[0]["rejected"]\n', "")
    names: dict[str, object] = {"noise_seed": 3, "noise_shape": [4, 2], "t": 0.5, "latent": 1.0}
    exec(compile(read, "card", "exec"), names)
    exec(compile(noise, "card", "exec"), names)
    assert any(name in names for name in ("pairs", "sample", "samples")) and tuple(names["x_t"].shape) == (4, 2)  # type: ignore[attr-defined]


def test_every_place_the_card_names_is_there(folder: Path, tmp_path: Path) -> None:
    for format in ("parquet", "jsonl"):
        text = "\n".join(usage(format, 1200, ["train"]))
        places = [p.strip("`") for p in re.findall(r"\| (`[^|]*`) \|", text)]
        assert len(places) == 7
        if format == "jsonl":
            line = json.loads((folder / "hub" / "data" / "train.jsonl").read_text(encoding="utf-8").splitlines()[0])
            for place in places:
                value = line
                for key in place.split("."):
                    value = value[key]
                assert value not in (None, "")
        else:
            assert set(places) <= set(features(None))

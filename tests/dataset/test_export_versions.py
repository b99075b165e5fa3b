"""Versions tied to the fingerprint of the weights, and what `--since` keeps of one night and of several."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from helpers.night_folders import NightWriter
from segue.dataset.export import ExportOptions, export
from segue.pipeline.errors import RequestError

OLD, NEW, OTHER = "a1" * 32, "b2" * 32, "b2c3" * 16


@pytest.fixture(scope="module")
def nights(tmp_path_factory: pytest.TempPathFactory, tiny_model: str) -> list[Path]:
    """Night one: base in its old version, and turbo. Night two: base in its new version, turbo as before, base as it was."""
    root = tmp_path_factory.mktemp("nights")
    first = NightWriter(root / "one", tiny_model, name="one", created="2026-11-01T22:00:00+00:00")
    second = NightWriter(root / "two", tiny_model, name="two", created="2026-11-20T22:00:00+01:00")
    first.group([1.0, 4.0], caption="base, old", revision=OLD)
    first.group([2.0, 5.0], caption="turbo", revision=OTHER, variant="turbo")
    second.group([3.0, 6.0], caption="turbo again", revision=OTHER, variant="turbo", seeds=500)
    second.group([4.0, 7.0], caption="base, new", revision=NEW, seeds=500)
    second.group([5.0, 8.0], caption="base, old again", revision=OLD, seeds=500)
    second.group([6.0, 9.0], caption="turbo once more", revision=OTHER, variant="turbo", seeds=500)
    second.group([6.5, 9.5], caption="with adapters", revision=NEW, adapters="ee" * 20, seeds=500)
    return [second.end(), first.end()]  # given in any order


def captions(nights: list[Path], to: Path, since: str | None) -> list[str]:
    export(nights, to, ExportOptions(format="jsonl", splits="train=1", since=since))
    return [json.loads(line)["prompt"]["caption"] for line in (to / "data" / "train.jsonl").open(encoding="utf-8")]


def test_nights_stand_in_the_order_they_were_begun(nights: list[Path], tmp_path: Path) -> None:
    everything = ["base, old", "turbo", "turbo again", "base, new", "base, old again", "turbo once more", "with adapters"]
    assert captions(nights, tmp_path / "hub", None) == everything
    manifest = json.loads((tmp_path / "hub" / "segue_export.json").read_text())
    assert [night["name"] for night in manifest["nights"]] == ["one", "two"]
    versions = {v["version"]: v for v in manifest["versions"]}
    assert list(versions) == [OLD, OTHER, NEW, f"{NEW}+{'ee' * 20}"]
    assert versions[OTHER]["takes"] == 6 and versions[OTHER]["sides"] == 6
    assert versions[OTHER]["mean_score"] == pytest.approx((2 + 5 + 3 + 6 + 6 + 9) / 6)


@pytest.mark.parametrize(("since", "kept"), [
    (NEW[:8] + NEW[8:16], ["base, new", "turbo once more", "with adapters"]),  # the old base is superseded, turbo is not
    (OTHER[:6], ["turbo", "turbo again", "base, new", "base, old again", "turbo once more", "with adapters"]),
    (OLD.upper(), ["base, old", "turbo", "turbo again", "base, new", "base, old again", "turbo once more", "with adapters"]),
    ("ee" * 4, ["with adapters"]),
    ("2026-11-20T20:00", ["turbo again", "base, new", "base, old again", "turbo once more", "with adapters"]),
    ("2026-11-20T21:00:00Z", ["turbo again", "base, new", "base, old again", "turbo once more", "with adapters"]),
])  # fmt: skip
def test_since_keeps_what_that_version_or_a_later_one_made(
    nights: list[Path], tmp_path: Path, since: str, kept: list[str]
) -> None:
    assert captions(nights, tmp_path / "hub", since) == kept


@pytest.mark.parametrize(("since", "words"), [
    ("b2", "fits several versions"), ("ffff", r"no take was made by a version of that fingerprint; there are a1a1.*turbo"),
    ("2026-11-20T22:00:00Z", "none of the 7 pairs .* is left"), ("2026-13-01", "is no time"), ("", "no take was made"),
    ("last week", "no take was made"),
])  # fmt: skip
def test_a_since_that_can_t_be_is_told(nights: list[Path], tmp_path: Path, since: str, words: str) -> None:
    with pytest.raises(RequestError, match=words):
        captions(nights, tmp_path / "hub", since)
    assert not (tmp_path / "hub").exists()


def test_the_version_of_the_dataset_follows_its_pairs(nights: list[Path], tmp_path: Path) -> None:
    made: dict[str, Any] = {}
    for name, given, format in (("one", nights[1:], "parquet"), ("same", nights[1:], "jsonl"), ("both", nights, "jsonl")):
        made[name] = export(given, tmp_path / name, ExportOptions(format=format)).dataset_version  # type: ignore[arg-type]
    assert made["one"] == made["same"] != made["both"]


def test_copies_of_one_night_are_refused(nights: list[Path], tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for part in nights[0].iterdir():
        (copy / part.name).symlink_to(part)
    with pytest.raises(RequestError, match="copies of one night"):
        export([nights[0], copy], tmp_path / "hub")

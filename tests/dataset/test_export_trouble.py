"""An export that can't be, or is broken off: told in words, and the folder is whole or not there."""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.night_folders import NightWriter, contents
from segue.dataset import export as module
from segue.dataset.export import ExportOptions, export
from segue.pipeline.errors import RequestError, RunError


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory, tiny_model: str) -> Path:
    """Twelve groups of two takes."""
    writer = NightWriter(tmp_path_factory.mktemp("nights") / "jazz", tiny_model)
    for _ in range(12):
        writer.group([3.0, 8.0])
    return writer.end()


def test_every_problem_of_a_request_is_told_at_once(night: Path, tmp_path: Path) -> None:
    with pytest.raises(RequestError) as told:
        export([night, night], tmp_path / "hub", ExportOptions(splits="a=2", license="no licence!", shard_bytes=0))
    assert len(told.value.problems) == 4 and not (tmp_path / "hub").exists()
    with pytest.raises(RequestError) as told:
        export([tmp_path / "nowhere", tmp_path], tmp_path / "hub")
    assert len(told.value.problems) == 2 and "holds no night" in str(told.value)


@pytest.fixture
def small_files() -> Iterator[None]:
    """No file may grow beyond 20 kB: what a full disk does, at a place that is known."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("format", ("parquet", "webdataset"))
def test_a_full_disk_leaves_the_earlier_export_as_it_was(
    night: Path, tmp_path: Path, format: Any, request: pytest.FixtureRequest
) -> None:
    export([night], tmp_path / "hub", ExportOptions(format="jsonl"))
    before = contents(tmp_path / "hub")
    request.getfixturevalue("small_files")
    with pytest.raises(RunError, match="could not write the export"):
        export([night], tmp_path / "hub", ExportOptions(format=format))
    assert contents(tmp_path / "hub") == before
    assert [p.name for p in tmp_path.iterdir() if p.name != "cache"] == ["hub"]


def test_a_place_that_can_t_be_written_is_told(night: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(RunError, match="could not write the export"):
        export([night], tmp_path / "file" / "hub")
    with pytest.raises(RunError, match="could not write the export"):
        export([night], Path("/proc/hub"))


def test_too_little_room_is_told_before_anything_is_written(
    night: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1000})())
    with pytest.raises(RunError, match="needs about"):
        export([night], tmp_path / "hub")
    assert not list(tmp_path.iterdir())


def _slow_export(night: Path, to: Path, ready: Any) -> None:
    def tell(what: str, done: int, count: int) -> None:
        if what == "writing" and done == 3:
            ready.set()
            time.sleep(60)

    export([night], to, ExportOptions(format="jsonl", dedup="none"), progress=tell)


def test_a_killed_export_leaves_no_half_dataset_and_the_next_one_succeeds(night: Path, tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    other = context.Process(target=_slow_export, args=(night, tmp_path / "hub", ready))
    other.start()
    assert ready.wait(60)
    assert not (tmp_path / "hub").exists()
    with pytest.raises(RunError, match="another export is being written"):
        export([night], tmp_path / "hub", ExportOptions(format="jsonl"))
    os.kill(other.pid or 0, signal.SIGKILL)
    other.join()
    assert not (tmp_path / "hub").exists() and (tmp_path / ".hub.exporting").is_dir()
    export([night], tmp_path / "hub", ExportOptions(format="jsonl"))
    export([night], tmp_path / "whole", ExportOptions(format="jsonl"))
    assert contents(tmp_path / "hub") == contents(tmp_path / "whole")
    assert sorted(p.name for p in tmp_path.iterdir() if p.name != "cache") == ["hub", "whole"]


def test_a_stop_between_the_two_moves_is_mended(night: Path, tmp_path: Path) -> None:
    export([night], tmp_path / "hub", ExportOptions(format="jsonl"))
    before = contents(tmp_path / "hub")
    (tmp_path / "hub").rename(tmp_path / ".hub.before")
    with pytest.raises(RequestError, match="--since"):
        export([night], tmp_path / "hub", ExportOptions(since="ffffffff"))
    export([night], tmp_path / "hub", ExportOptions(format="jsonl"))
    assert contents(tmp_path / "hub") == before and not (tmp_path / ".hub.before").exists()


# -- the record -----------------------------------------------------------------------------------------------


def _changed(night: Path, to: Path, name: str, change: Any) -> Path:
    """A copy of a night's record with one file changed; its sounds stay where they are."""
    to.mkdir()
    for part in night.iterdir():
        (to / part.name).symlink_to(part)
    (to / name).unlink()
    text = change((night / name).read_text(encoding="utf-8"))
    if text is not None:
        (to / name).write_text(text, encoding="utf-8")
    return to


def test_a_night_without_pairs_says_how_to_derive_them(night: Path, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"holds no pairs yet.*segue pairs"):
        export([_changed(night, tmp_path / "a", "pairs.jsonl", lambda _: None)], tmp_path / "hub")
    with pytest.raises(RequestError, match=r"no pairs in .*segue pairs"):
        export([_changed(night, tmp_path / "b", "pairs.jsonl", lambda _: "")], tmp_path / "hub")
    with pytest.raises(RequestError, match="holds no groups yet"):
        export([_changed(night, tmp_path / "c", "groups.jsonl", lambda _: None)], tmp_path / "hub")


def test_a_damaged_record_is_told_with_its_line(night: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"pairs\.jsonl, line 2: this is no pair"):
        export([_changed(night, tmp_path / "a", "pairs.jsonl", lambda t: t.replace("\n", "\n{}\n", 1))], tmp_path / "hub")
    with pytest.raises(RunError, match=r"groups\.jsonl, line 2: this is no group"):
        export([_changed(night, tmp_path / "b", "groups.jsonl", lambda t: t.replace("\n", "\n[]\n", 1))], tmp_path / "hub")
    with pytest.raises(RunError, match=r"line 12: its takes are in no group.*segue pairs"):
        export([_changed(night, tmp_path / "c", "groups.jsonl", lambda t: t[: t[:-1].rindex("\n") + 1])], tmp_path / "hub")


def test_a_line_that_is_still_being_written_is_left_out(night: Path, tmp_path: Path) -> None:
    going_on = _changed(night, tmp_path / "a", "groups.jsonl", lambda t: t + t[: t.index("\n") // 2])
    made = export([going_on], tmp_path / "hub")
    assert made.pairs == 12 and any("last line is not whole" in note for note in made.notes)

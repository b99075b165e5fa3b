"""What a night fills and what stands in its way, as its folder tells."""

from __future__ import annotations

import resource
import signal
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from segue.dataset.environment import Ordeal, disk_trouble, folder_bytes, is_the_devices_fault, is_the_places_fault
from segue.dataset.night import Ended
from segue.pipeline.errors import RunError


def test_a_folder_is_as_large_as_its_files_at_any_depth(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    for place, size in (("one", 10), ("a/two", 200), ("a/b/three", 3000)):
        (tmp_path / place).write_bytes(b"x" * size)
    assert folder_bytes(tmp_path) == 3210
    (tmp_path / "round").symlink_to(tmp_path, target_is_directory=True)
    assert folder_bytes(tmp_path) - 3210 < 300, "a link counts for itself"
    assert folder_bytes(tmp_path / "nowhere") == 0


def test_a_disk_with_less_than_the_reserve_is_told(tmp_path: Path) -> None:
    assert disk_trouble(tmp_path, reserve=0) is None
    assert "are kept free" in str(disk_trouble(tmp_path, reserve=2**62))
    assert "can't be reached" in str(disk_trouble(tmp_path / "nowhere"))
    assert list(tmp_path.iterdir()) == [], "what is written to see whether it can be is removed"


def test_a_disk_that_has_room_and_takes_nothing_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    assert "can't be written" in str(disk_trouble(tmp_path / "file", reserve=0))
    bound = resource.getrlimit(resource.RLIMIT_FSIZE)
    heard = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, bound[1]))  # as a quota does: room by the disk, none for this process
        told = disk_trouble(tmp_path, reserve=0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, bound)
        signal.signal(signal.SIGXFSZ, heard)
    assert "can't be written: File too large" in str(told)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_an_ordeal_ends_when_a_job_is_finished() -> None:
    ordeal = Ordeal(patience_s=0.2)
    assert [ordeal.failed(number) for number in (4, 4, 7, 9, 4, 11)] == [True, True, True, False, False, False]
    assert ordeal.charged == {4: 2, 7: 1, 9: 0, 11: 0}
    assert ordeal.left_s() == 0.2
    time.sleep(0.2)
    assert ordeal.left_s() <= 0
    assert [ordeal.pause_s() for _ in range(9)] == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
    ordeal.over()
    assert ordeal.left_s() > 0.1 and ordeal.charged == {} and ordeal.failed(9) and ordeal.pause_s() == 0.5


def test_what_kills_a_device_and_what_does_not() -> None:
    led = RunError("stage 'drafts' failed")
    led.__cause__ = RuntimeError("CUDA error: an illegal memory access was encountered")
    assert is_the_devices_fault(led) and is_the_devices_fault(torch.AcceleratorError("hip launch failure", 700))
    assert not is_the_devices_fault(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"))
    assert not is_the_devices_fault(RuntimeError("the stage broke"))


@pytest.mark.parametrize("told", ["database or disk is full", "attempt to write a readonly database", "disk I/O error"])
def test_what_sqlite_says_of_the_disk(told: str) -> None:
    led = RunError("the catalog could not be used")
    led.__cause__ = sqlite3.OperationalError(told)
    assert is_the_places_fault(led) and not is_the_places_fault(sqlite3.OperationalError("no such table: jobs"))


def test_a_night_ends_where_its_folder_is_full(plan_file: Callable[..., Path], night: Callable[..., Ended]) -> None:
    plan = plan_file("budget: {disk_gb: 0.000001}\n")
    ended = night(plan)
    assert ended.reason == "budget used up: 0.00 of 1e-06 GB" and not ended.complete and ended.account["takes"] == 0

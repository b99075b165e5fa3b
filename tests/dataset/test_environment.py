"""What a night fills and what stands in its way, as its folder tells."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from segue.dataset.environment import disk_trouble, folder_bytes
from segue.dataset.night import Ended


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


def test_a_night_ends_where_its_folder_is_full(plan_file: Callable[..., Path], night: Callable[..., Ended]) -> None:
    plan = plan_file("budget: {disk_gb: 0.000001}\n")
    ended = night(plan)
    assert ended.reason == "budget used up: 0.00 of 1e-06 GB" and not ended.complete and ended.account["takes"] == 0

"""Segue's folder is decided in one place."""

from pathlib import Path

import pytest
from segue.pipeline.home import expanded, segue_home

ROOT = Path(__file__).resolve().parents[2]


def test_the_argument_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SEGUE_HOME", "~/music")
    assert segue_home(tmp_path) == tmp_path and segue_home("~/x") == Path.home() / "x"
    assert segue_home() == Path.home() / "music"
    monkeypatch.setenv("SEGUE_HOME", "")
    assert segue_home() == Path.home() / ".cache" / "segue"
    assert not (Path.home() / "music").exists()


def test_no_other_module_reads_it_from_the_environment() -> None:
    readers = [
        path.relative_to(ROOT).as_posix()
        for room in ("pipeline", "stages", "presets", "scoring", "cli", "training")
        for path in (ROOT / room).rglob("*.py")
        if '("SEGUE_HOME"' in path.read_text(encoding="utf-8")
    ]
    assert readers == ["pipeline/home.py"]


def test_a_home_that_is_nobodys_is_a_name_like_any_other() -> None:
    assert expanded("~/x") == Path.home() / "x"
    assert expanded("~nobody-of-that-name/x") == Path("~nobody-of-that-name/x")

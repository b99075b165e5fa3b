"""A disk that refuses: full (store, or the run's folder), read-only, a file where a folder is wanted.

Each is one clear error; what was finished stays, nothing is half-written, and the same command finishes once there is room.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
from segue.cli.main import app
from segue.pipeline.audio_file import read_audio
from segue.pipeline.store import Store
from typer.testing import CliRunner

RATE_HZ = 48_000
Segue = Callable[..., Any]
Mount = Callable[..., None]


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Mount]:
    """``mount(folder, "size=1m")`` puts a small disk there (``remount=True``: changes it); skips where that is not allowed."""
    mounted: list[Path] = []

    def act(folder: Path, options: str, remount: bool = False) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        if shutil.which("mount") is None:
            pytest.skip("there is no mount command to make a small disk with")
        how = ["-o", f"remount,{options}"] if remount else ["-t", "tmpfs", "-o", options, "tmpfs"]
        done = subprocess.run(["mount", *how, str(folder)], capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"no small disk can be mounted here: {done.stderr.strip()}")
        if not remount:
            mounted.append(folder)

    yield act
    for folder in reversed(mounted):
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def segue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Segue:
    monkeypatch.chdir(tmp_path)

    def call(*args: object) -> Any:
        done = CliRunner().invoke(app, [str(a) for a in args])
        done.errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        return done

    return call


@pytest.fixture
def preset(tmp_path: Path) -> Path:
    """Six takes of a second of noise: 384 kB each in the store, about 250 kB each as FLAC. No model."""
    sf.write(tmp_path / "clip.wav", 0.1 * np.random.default_rng(0).standard_normal((RATE_HZ, 2)), RATE_HZ)
    stages = {"worse": {"type": "degrade", "source": "clip", "noise": {"snr_db": 20}, "takes": 6}}
    path = tmp_path / "p.yaml"
    path.write_text(json.dumps({"seed": 3, "inputs": {"clip": "clip.wav"}, "stages": stages}, indent=1) + "\n", encoding="utf-8")
    return path


def temps(*folders: Path) -> list[Path]:
    return [p for folder in folders for p in folder.rglob(".tmp-*")]


def test_a_full_disk_under_the_store(
    segue: Segue, preset: Path, mount: Mount, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = json.loads(segue("run", preset, "--out", "whole", "--json").stdout)
    home = tmp_path / "home"
    mount(home, "size=1800k")
    monkeypatch.setenv("SEGUE_HOME", str(home))
    done = segue("run", preset, "--out", "out", "--json")
    assert done.exit_code == 1 and done.stdout == "", done.stderr
    (error,) = done.errors
    assert "the disk is full" in error and str(home) in error and "unexpected" not in error
    assert temps(home, tmp_path / "out") == []
    report = Store(home / "store").verify()
    assert report.whole and report.leftovers == () and 0 < report.entries < 6

    mount(home, "size=40m", remount=True)
    done = segue("run", preset, "--out", "out", "--json")
    assert done.exit_code == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["stages"][0]["cached"] == report.entries, "what was finished before is still there"
    for old, new in zip(whole["takes"], document["takes"], strict=True):
        assert Path(old["audio"]).read_bytes() == Path(new["audio"]).read_bytes()
    newest, *earlier = (r["status"] for r in json.loads(segue("runs", "list", "--json").stdout))
    assert newest == "done" and "running" not in earlier


def test_a_full_disk_under_the_runs_folder(segue: Segue, preset: Path, mount: Mount, tmp_path: Path) -> None:
    out = tmp_path / "out"
    mount(out, "size=700k")
    done = segue("run", preset, "--out", out, "--json")
    assert done.exit_code == 1 and done.stdout == "", done.stderr
    (error,) = done.errors
    assert "the disk is full" in error and str(out) in error and "segue runs resume" in done.stderr
    assert temps(out) == [] and not (out / "run.json").exists()
    written = sorted((out / "audio").iterdir())
    assert 0 < len(written) < 6
    assert all(read_audio(path).duration_s == 1.0 for path in written), "what is there is whole"
    (listed,) = json.loads(segue("runs", "list", "--json").stdout)
    assert listed["status"] == "failed" and listed["resumable"] and "full" in listed["message"]

    mount(out, "size=20m", remount=True)
    done = segue("runs", "resume", listed["id"], "--json")
    assert done.exit_code == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["stages"][0]["cached"] == 6, "nothing is made twice"
    assert len(list((out / "audio").iterdir())) == 6 and (out / "run.json").is_file()


def test_a_read_only_folder(segue: Segue, preset: Path, mount: Mount, tmp_path: Path) -> None:
    mount(tmp_path / "locked", "size=1m,ro")
    done = segue("run", preset, "--out", "locked/run")
    assert done.exit_code == 2 and done.stdout == ""
    (error,) = done.errors
    assert str(tmp_path / "locked" / "run") in error and "Read-only file system" in error and "--out" in error
    assert json.loads(segue("runs", "list", "--json").stdout) == []


def test_a_read_only_home(segue: Segue, preset: Path, mount: Mount, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mount(tmp_path / "locked", "size=1m,ro")
    monkeypatch.setenv("SEGUE_HOME", str(tmp_path / "locked" / "home"))
    done = segue("run", preset, "--out", "out")
    assert done.exit_code == 1 and done.stdout == ""
    (error,) = done.errors
    assert "the catalog" in error and str(tmp_path / "locked") in error and "read-only" in error


@pytest.mark.parametrize("out", ["taken", "taken/run", "taken/a/b"])
def test_a_file_where_the_folder_should_be(segue: Segue, preset: Path, tmp_path: Path, out: str) -> None:
    (tmp_path / "taken").write_text("mine")
    done = segue("run", preset, "--out", out)
    assert done.exit_code == 2
    (error,) = done.errors
    assert str(tmp_path / out) in error and "can't be written" in error
    assert (tmp_path / "taken").read_text() == "mine"
    assert json.loads(segue("runs", "list", "--json").stdout) == []


def test_a_file_where_the_runs_go(segue: Segue, preset: Path, tmp_path: Path) -> None:
    """Without --out the folder bears the run's id, so it is made after the run is on record."""
    (tmp_path / "runs").write_text("mine")
    done = segue("run", preset)
    assert done.exit_code == 2
    (error,) = done.errors
    assert str(tmp_path / "runs") in error and "can't be written" in error
    assert "running" not in {r["status"] for r in json.loads(segue("runs", "list", "--json").stdout)}

"""A preset small enough to run in a test, and ways to call the command line: in this process, and as a real one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from segue.cli.main import app
from typer.testing import CliRunner

TINY = """
name: tiny
prompt: {caption: a plain tone, instrumental: true, duration_s: 1}
seed: 3
takes: 2
stages:
  draft: {type: generate, variant: turbo, steps: 2}
  scored: {type: score, source: draft}
  best: {type: select, source: scored, keep: 1}
"""

Call = Callable[..., "Outcome"]


class Outcome:
    """Exit code, stdout and stderr of a call."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    def __repr__(self) -> str:
        return f"exit {self.code}\n--- stdout\n{self.out}\n--- stderr\n{self.err}"


@pytest.fixture
def segue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """``segue("run", "tiny.yaml")`` in this process, in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def call(*args: object) -> Outcome:
        result = CliRunner().invoke(app, [str(a) for a in args])
        return Outcome(result.exit_code, result.stdout, result.stderr)

    return call


@pytest.fixture
def environment(_own_home: Path) -> dict[str, str]:
    """The environment of a real subprocess; its `SEGUE_HOME` is the test's own."""
    return {**os.environ, "OMP_NUM_THREADS": "1"}


@pytest.fixture
def process(tmp_path: Path, environment: dict[str, str]) -> Call:
    """``process("run", "tiny.yaml")`` as ``python -m segue`` in a process of its own."""

    def call(*args: object, **env: str) -> Outcome:
        done = subprocess.run(
            [sys.executable, "-m", "segue", *(str(a) for a in args)],
            cwd=tmp_path,
            env={**environment, **env},
            capture_output=True,
            text=True,
            timeout=600,
        )
        return Outcome(done.returncode, done.stdout, done.stderr)

    return call


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """The small preset, as a file in the test's folder."""
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY, encoding="utf-8")
    return path

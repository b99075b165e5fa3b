"""kill -9 at any moment: the store stays whole and a resumed run makes the bytes an uninterrupted one makes."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from segue.pipeline.catalog import Catalog
from segue.pipeline.executor import resume
from segue.pipeline.store import Store
from segue.presets.loader import load

PRESET = """
name: short
prompt: {caption: slow piano, instrumental: true, duration_s: 1}
takes: 3
seed: 5
stages:
  draft: {type: generate, variant: turbo, steps: 3}
  polish: {type: refine, source: draft, denoise: 0.5}
  scored: {type: score, source: polish}
"""
SCRIPT = """
import sys, torch
torch.set_num_threads(1)
from segue.presets.loader import load
print("begun", flush=True)
load(sys.argv[1]).run(sys.argv[2], home=sys.argv[3])
print("done", flush=True)
"""


def start(preset: Path, out: Path, home: Path) -> subprocess.Popen:
    command = [sys.executable, "-c", SCRIPT, str(preset), str(out), str(home)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})


@pytest.mark.slow
def test_kill_minus_9_and_resume(tmp_path):
    preset = tmp_path / "short.yaml"
    preset.write_text(PRESET)
    whole = start(preset, tmp_path / "whole", tmp_path / "home-whole")
    whole.stdout.readline()
    begun = time.monotonic()
    assert whole.wait(timeout=300) == 0
    lasts = time.monotonic() - begun
    rng, killed = random.Random(3), 0
    for i in range(3):
        out, home = tmp_path / f"out{i}", tmp_path / f"home{i}"
        process = start(preset, out, home)
        process.stdout.readline()
        time.sleep(rng.uniform(0.3, 0.95) * lasts)
        killed += process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert Store(home / "store").verify().whole
        with Catalog(home / "catalog.sqlite3") as catalog:
            runs = catalog.runs()
        if not runs:
            continue  # killed before the run was noted: there is nothing to resume
        resume(runs[0].id, load=load, home=home)
        assert Store(home / "store").verify().whole
        for path in sorted((tmp_path / "whole/audio").iterdir()):
            assert path.read_bytes() == (out / "audio" / path.name).read_bytes()
        assert (out / "pairs.jsonl").read_text().count("\n") == (tmp_path / "whole/pairs.jsonl").read_text().count("\n")
        assert not list(out.rglob(".tmp-*"))
    assert killed >= 1

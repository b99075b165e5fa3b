"""Entries of the store that tests put in, compare, and take away disks and processes from."""

import contextlib
import subprocess
from pathlib import Path

import pytest
import torch
from segue.pipeline.keys import digest
from segue.pipeline.spec import Prompt
from segue.pipeline.store import Entry
from segue.pipeline.take import Audio, Latent
from segue.scoring.report import Defect, Metric, QualityReport

KEY = digest("a key")
REPORT = QualityReport(
    overall=7.123456789012345, scorer="test 1", duration_s=0.1, rate_hz=48_000,
    metrics={"crest_db": Metric(value=0.1 + 0.2, unit="dB")},
    defects=(Defect(type="clipping", severity=0.25, start_s=0.0, end_s=0.01, evidence={"samples": 3}),),
)


def an_entry(seed=0, samples=2_000, latent=True):
    g = torch.Generator().manual_seed(seed)
    return Entry(
        audio=Audio(torch.randn(2, samples, generator=g), 48_000),
        latent=Latent(torch.randn(10, 64, generator=g), 25.0, "codec-1", t=0.1, samples=samples) if latent else None,
        prompt=Prompt(caption="ünïcode 🎷", bpm=96, duration_s=0.1), report=REPORT,
        facts={"gain_db": -1 / 3, "windows": [[0.5, 1.0]]}, steps_run=5, forwards=10,
    )


def bits(x):
    return x.contiguous().view(torch.int32)


def assert_same(a, b):
    assert (a.audio is None) == (b.audio is None) and (a.latent is None) == (b.latent is None)
    if a.audio is not None:
        assert torch.equal(bits(a.audio.samples), bits(b.audio.samples)) and a.audio.rate_hz == b.audio.rate_hz
    if a.latent is not None:
        assert torch.equal(bits(a.latent.frames), bits(b.latent.frames))
        assert [getattr(a.latent, n) for n in ("frame_rate_hz", "codec", "t", "samples")] == [
            getattr(b.latent, n) for n in ("frame_rate_hz", "codec", "t", "samples")]
    for name in ("same_signal", "prompt", "report", "steps_run", "forwards"):
        assert getattr(a, name) == getattr(b, name), name
    assert dict(a.facts) == dict(b.facts)


def files(root):
    return sorted(p for p in Path(root).rglob("*") if p.is_file() and p.name != ".lock")


@contextlib.contextmanager
def small_disk(folder, size="1m"):
    """A real file system of that size, mounted on `folder`; skips with the reason where mounting isn't permitted."""
    folder.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)], capture_output=True, text=True)
    if made.returncode:
        pytest.skip(f"no file system can be mounted here: {made.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)

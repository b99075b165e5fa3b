"""Options left open are decided from the machine as it is when the run is created, and then stay."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
import torch
from segue import Pipeline, Prompt, RunOptions
from segue.pipeline import options as options_module
from segue.pipeline.catalog import Catalog
from segue.pipeline.errors import Cancelled
from segue.pipeline.events import CancelToken, TakeDone
from segue.pipeline.models.memory import free_bytes
from segue.pipeline.options import decide, micro_batch_for, tile_for
from segue.presets.again import resume
from segue.stages import Generate, Refine

GIB = 2**30


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """The memory that is free, by device: to be set by the test."""
    sizes = {"cpu": 64 * GIB}
    monkeypatch.setattr(options_module, "free_bytes", lambda device: sizes[device])
    return sizes


def test_a_cpu_with_room_takes_what_was_measured_fastest() -> None:
    assert {tile_for("cpu", n * GIB) for n in (4, 8, 200)} == {tile_for("mps", 16 * GIB)} == {50}


@pytest.mark.parametrize("kind", ["cpu", "cuda"])
def test_less_memory_is_never_a_larger_chunk_and_small_changes_are_none(kind: str) -> None:
    chunks = [tile_for(kind, mb * 2**20) for mb in range(0, 100_000, 50)]
    assert chunks == sorted(chunks) and chunks[0] > 0
    steps = [i for i in range(1, len(chunks)) if chunks[i] != chunks[i - 1]]
    assert len(steps) <= 5  # rungs, and far apart: each at least a third above the last
    assert all(b >= a * 4 / 3 for a, b in pairwise(steps))


def test_the_chunk_fits_into_what_is_free_beside_the_weights() -> None:
    """Counted as 16 MB a frame and 18 frames of overlap at the size of the released models; 7 GB of weights on a GPU."""
    for gigabytes in (12, 16, 20, 24, 32, 40, 48, 80, 140):
        assert (tile_for("cuda", gigabytes * GIB) + 18) * 16e6 + 7e9 <= gigabytes * GIB
    for gigabytes in (1, 2, 3, 4, 6):
        assert (tile_for("cpu", gigabytes * GIB) + 18) * 16e6 <= gigabytes * GIB


def test_it_is_the_free_memory_of_the_very_device(free: dict[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    free |= {"cuda": 10 * GIB, "cuda:1": 30 * GIB}
    made = {name: decide(RunOptions(device=name))[1].tile_frames for name in ("cuda", "cuda:1", "cpu")}
    assert made == {"cuda": 128, "cuda:1": 1024, "cpu": 50}
    assert decide(RunOptions(device="cuda", tile_frames=0))[1].tile_frames == 0


def test_what_torch_keeps_on_a_gpu_unused_counts_as_free(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("mem_get_info", (5 * GIB, 24 * GIB)), ("memory_reserved", 12 * GIB), ("memory_allocated", 2 * GIB)):
        monkeypatch.setattr(torch.cuda, name, lambda device, value=value: value)
    assert free_bytes("cuda:0") == 15 * GIB


def test_the_chunk_is_the_runs_own_however_much_is_free_when_it_goes_on(
    free: dict[str, int], tiny_model: str, tmp_path: Path
) -> None:
    stages = {"draft": Generate(steps=2), "polish": Refine(source="draft", steps=2)}
    pipe = Pipeline(model=tiny_model, prompt=Prompt(caption="x", duration_s=2), seed=3, stages=stages)
    pipe.run(tmp_path / "whole", home=tmp_path / "other", options=RunOptions(tile_frames=25))
    free["cpu"] = 3 * GIB
    cancel = CancelToken()
    with pytest.raises(Cancelled):
        pipe.run(tmp_path / "cut", home=tmp_path / "home", cancel=cancel,
                 on_event=lambda event: cancel.cancel() if isinstance(event, TakeDone) else None)
    free["cpu"] = 64 * GIB
    with Catalog(tmp_path / "home/catalog.sqlite3") as catalog:
        (record,) = catalog.runs()
    assert record.numerics.tile_frames == 25
    assert resume(record.id, home=tmp_path / "home").stages[0].cached == 1
    for path in (tmp_path / "whole/audio").iterdir():
        assert path.read_bytes() == (tmp_path / "cut/audio" / path.name).read_bytes()
    assert pipe.run(home=tmp_path / "home").stages[0].cached == 0  # a new run is made under what is free now


def test_more_memory_never_means_a_smaller_batch() -> None:
    sizes = [micro_batch_for("cuda", gigabytes * GIB) for gigabytes in range(0, 100)]
    assert sizes == sorted(sizes) and sizes[0] == 1 and sizes[80] == 16
    assert {micro_batch_for("cpu", gigabytes * GIB) for gigabytes in range(0, 100)} == {1}

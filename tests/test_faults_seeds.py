"""Faults 3 and 4 of existing executors (docs/faults.md), where seeds and noise are made: what a seed decides, and for whom."""

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from segue.pipeline.catalog import Catalog
from segue.pipeline.context import Context, Job, Result
from segue.pipeline.executor import execute
from segue.pipeline.keys import noise, take_seed
from segue.pipeline.pipeline import Pipeline
from segue.pipeline.spec import SEED_MAX, Stage
from segue.pipeline.take import Audio

seeds = st.integers(0, SEED_MAX)


class Hiss(Stage):
    """Noise from the take's own seed, and nothing else: a stage that needs no model."""

    diffuses: ClassVar[bool] = True
    draws: ClassVar[bool] = True
    type: Literal["hiss"] = "hiss"

    def run(self, jobs: Sequence[Job], ctx: Context) -> list[Result]:
        return [Result(audio=Audio(0.1 * ctx.noise(job.seed, "initial", 0, (1, 800)), 8_000)) for job in jobs]


@given(seeds, st.sampled_from(["initial", "renoise", "sde"]), st.integers(0, 1000), st.integers(0, 2**31))
def test_fault_03_noise_neither_reads_nor_moves_the_global_generator(seed, purpose, step, elsewhere):
    torch.manual_seed(elsewhere)
    before = torch.get_rng_state()
    first = noise(seed, purpose, step, (3, 8))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(elsewhere + 1)
    torch.rand(7)
    np.random.seed(0)
    assert torch.equal(noise(seed, purpose, step, (3, 8)), first)


def test_fault_03_a_later_step_has_the_same_noise_whatever_was_drawn_before():
    alone = noise(5, "sde", 6, (4, 4))
    for step in range(6):
        noise(5, "sde", step, (4, 4))
    assert torch.equal(noise(5, "sde", 6, (4, 4)), alone)


@given(st.none() | seeds, seeds)
def test_fault_04_no_two_takes_share_a_seed(stage_seed, run_seed):
    drawn = [take_seed(stage_seed, run_seed, "draft", index) for index in range(64)]
    assert len(set(drawn)) == 64 and all(0 <= s <= SEED_MAX for s in drawn)
    assert drawn[0] == stage_seed or stage_seed is None
    assert [take_seed(stage_seed, run_seed, "draft", index) for index in (3, 1)] == [drawn[3], drawn[1]]  # no order matters


def sounds(run):
    return [take.audio.samples for take in run["hiss"]]


def test_fault_04_a_seed_left_out_is_drawn_once_and_recorded_as_what_it_was(tmp_path):
    pipeline = Pipeline(takes=4, stages={"hiss": Hiss()})
    run = execute(pipeline)
    assert 0 <= run.seed <= SEED_MAX and run.document()["seed"] == run.seed
    own = [take.seed for take in run["hiss"]]
    assert own == [take_seed(None, run.seed, "hiss", index) for index in range(4)]
    assert len({tuple(s.flatten().tolist()) for s in sounds(run)}) == 4
    with Catalog() as catalog:
        assert catalog.run(run.id).seed == run.seed
        assert [take.seed for take in catalog.takes(run.id)] == own
    again = execute(pipeline, seed=run.seed, home=tmp_path)  # another store: nothing is there yet
    assert all(torch.equal(a, b) for a, b in zip(sounds(run), sounds(again), strict=True))
    assert execute(pipeline).seed != run.seed


@pytest.mark.parametrize("takes", [1, 2, 5])
def test_fault_04_a_take_is_the_same_in_any_company(takes, tmp_path):
    whole = execute(Pipeline(takes=5, seed=11, stages={"hiss": Hiss(seed=3)}), home=tmp_path / "whole")
    part = execute(Pipeline(takes=takes, seed=12, stages={"hiss": Hiss(seed=3)}), home=tmp_path / "part")
    assert [t.seed for t in part["hiss"]] == [t.seed for t in whole["hiss"]][:takes] and part["hiss"][0].seed == 3
    assert all(torch.equal(a, b) for a, b in zip(sounds(part), sounds(whole), strict=False))


def test_fault_04_minus_one_is_no_seed():
    with pytest.raises(ValueError, match="greater than or equal to 0"):
        Pipeline(seed=-1, stages={"hiss": Hiss()})

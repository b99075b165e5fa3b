"""The record under quotas: what counts is what is in it, whoever settled it and whatever went wrong on the way."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from helpers.scored_takes import scored_take
from segue.dataset import ledger as ledgers
from segue.dataset.catalog import NightCatalog
from segue.dataset.entries import JobResult, Scored
from segue.dataset.folder import NightFolder
from segue.dataset.jobs import Jobs
from segue.dataset.ledger import Ledger
from segue.dataset.pairing import derived, write_pairs
from segue.dataset.plan import load_plan
from segue.dataset.record import lean_groups
from segue.pipeline.errors import RunError
from segue.pipeline.store import Store

PROMPTS = 6
PLAN = """
seed: 1
prompts: {grid: {genre: [jazz], number: [1, 2, 3, 4, 5, 6], caption: "{genre} {number}"}}
runs: [{preset: base-turbo-refine}]
quotas: {by: [genre], pairs: 16}
strategies: [{compare: any, rule: topk, k: 2}]
"""


class Night:
    """A night whose jobs are all done, and as many ledgers of it as one asks for."""

    def __init__(self, root: Path) -> None:
        self.folder, self.plan = NightFolder(root), load_plan(PLAN).begun("2026-01-01T00:00:00Z")
        self.folder.prepare()
        self.jobs = Jobs(self.plan)
        self.catalog = NightCatalog(self.folder.database)
        self.catalog.fill((n, self.jobs.block_of(n), "0") for n in range(len(self.jobs)))

    def finish(self, number: int) -> None:
        """Four takes of a job, worth four pairs of two best and two worst."""
        named = [scored_take(i, float(i), prefix=f"{number:06d}", latent_path="latents/x") for i in range(4)]
        takes = [take.model_copy(update={"take": f"{number:06d}/scored/{take.index}"}) for take in named]
        scored = tuple(Scored(chance=f"g{number}", prompt={}, inputs={}, entry=take) for take in takes)
        result = JobResult(scored=scored, keys=()).model_dump_json()
        self.catalog.finish(number, takes=4, seconds=1.0, result=result)

    def set_aside(self, number: int) -> None:
        self.catalog.fail(number, "cause", attempts=1)

    def ledger(self) -> Ledger:
        return Ledger(self.folder, self.catalog, self.plan, self.jobs, Store(self.folder.store), "night")

    def pairs(self) -> int:
        """Pairs that the finished record gives."""
        return sum(1 for _ in derived(self.folder, self.plan.strategies, self.plan.quotas))


@pytest.fixture
def night(tmp_path: Path) -> Night:
    return Night(tmp_path / "night")


def test_processes_that_settle_in_turn_count_each_other_s_pairs(night: Night) -> None:
    both = night.ledger(), night.ledger()
    for number in range(PROMPTS):
        if number == 3:
            night.set_aside(number)
        else:
            night.finish(number)
        assert both[number % 2].settle() == 1
    assert night.catalog.settled().pairs == night.pairs() == 16


def test_a_prompt_that_could_not_be_written_is_not_counted(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger, write = night.ledger(), ledgers._append
    for number in range(PROMPTS):
        night.finish(number)
        with monkeypatch.context() as full:
            full.setattr(ledgers, "_append", lambda path, data: write(path, data[:100]) or _refuse())
            with pytest.raises(RunError, match="disk is full"):
                ledger.settle()
        assert ledger.settle() == 1
    assert night.catalog.settled().pairs == night.pairs() == 16
    assert len(list(lean_groups(night.folder.groups))) == PROMPTS


def _refuse() -> None:
    raise RunError("the disk is full")


def test_a_process_reads_only_what_others_settled_since(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []

    def watched(path: Path, **rest: tuple[int, int]):  # type: ignore[no-untyped-def]
        for group in lean_groups(path, **rest):
            read.append(int(group.id.removeprefix("g")))
            yield group

    monkeypatch.setattr(ledgers, "lean_groups", watched)
    both = night.ledger(), night.ledger()
    for number in range(PROMPTS):
        night.finish(number)
        both[number % 2].settle()
    assert sorted(read) == list(range(5)), "each ledger reads the other's groups, once"


def test_a_record_changed_by_hand_between_two_prompts_is_what_pairs_come_from(night: Night) -> None:
    ledger = night.ledger()
    night.finish(0)
    ledger.settle()
    text = night.folder.groups.read_text()
    worst = text.replace('"overall":3.0,', '"overall":0.5,', 1)
    assert len(worst) == len(text) and worst != text
    night.folder.groups.write_text(worst)
    os.utime(night.folder.groups, ns=(0, night.folder.groups.stat().st_mtime_ns + 1))
    night.finish(1)
    ledger.settle()
    expected = [pair.to_json() for pair in derived(night.folder, night.plan.strategies)]
    night.folder.plan.write_text("begun")
    write_pairs(night.folder, night.plan.strategies)
    assert night.folder.pairs.read_text().splitlines() == expected

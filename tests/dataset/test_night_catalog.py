"""The queue: who claims what, what dead processes leave, failures and quarantine, what is settled."""

import os
import sqlite3

import pytest
from segue.dataset.catalog import NightCatalog
from segue.pipeline.atomic import process_mark
from segue.pipeline.errors import RunError

ME = process_mark(os.getpid())
DEAD = f"{ME.split(':')[0]}:999999999:1"


@pytest.fixture
def catalog(tmp_path):
    with NightCatalog(tmp_path / "night.sqlite3") as made:
        made.fill((number, number // 2, str(number % 2)) for number in range(6))
        yield made


def test_jobs_are_claimed_once_lowest_first(catalog):
    assert catalog.claim(ME, 4) == [0, 1, 2, 3]
    assert catalog.claim(ME, 4) == [4, 5] and catalog.claim(ME, 4) == []
    catalog.release(ME)
    assert catalog.claim(ME, 1) == [0]


def test_jobs_of_the_dead_are_free_again(catalog):
    assert catalog.claim(DEAD, 2) == [0, 1]
    assert catalog.claim(ME, 2) == [0, 1]


def test_filling_again_changes_nothing(catalog):
    catalog.claim(ME, 1)
    catalog.finish(0, takes=2, seconds=1.5, result="{}")
    catalog.fill((number, number // 2, "0") for number in range(6))
    assert catalog.counts() == {"pending": 5, "claimed": 0, "done": 1, "quarantined": 0}
    assert catalog.seconds_by_kind() == {"0": 1.5}


def test_three_failures_are_quarantine_and_the_cause_is_kept(catalog):
    for attempt in range(3):
        assert 0 in catalog.claim(ME, 1)
        assert catalog.fail(0, f"cause {attempt}", 3) == (attempt == 2)
    (failure,) = catalog.failures()
    assert (failure.job, failure.attempts, failure.state, failure.cause) == (0, 3, "quarantined", "cause 2")
    assert catalog.claim(ME, 1) == [1]


def test_jobs_that_failed_are_shunned_while_there_are_others(catalog):
    assert catalog.claim(ME, 2, shun={0, 2}) == [1, 3]
    assert catalog.claim(ME, 9, shun={0, 2}) == [4, 5]
    assert catalog.claim(ME, 9, shun={0, 2}, spare=False) == []
    assert catalog.claim(ME, 1, shun={0, 2}) == [0]


def test_attempts_are_taken_back_where_nothing_is_settled(catalog):
    for number in (0, 1, 2, 4, 4):
        catalog.fail(number, "the device", 2)
    catalog.fail(4, "its own", 9)
    catalog.fail(0, "the device", 2)
    catalog.fail(1, "the device", 2)
    catalog.settle(0, bytes=0, groups=0, takes=0, pairs=0)
    catalog.forgive({0: 2, 1: 2, 2: 1, 4: 2, 5: 0})
    assert [(f.job, f.attempts, f.state) for f in catalog.failures()] == [(0, 2, "quarantined"), (1, 2, "quarantined"),
                                                                          (4, 1, "pending")]


def test_a_block_is_settled_when_all_its_jobs_are_finished(catalog):
    catalog.claim(ME, 2)
    catalog.finish(0, takes=2, seconds=1, result="zero")
    assert catalog.results(0) is None
    for _ in range(3):
        catalog.fail(1, "broken", 3)
    assert catalog.results(0) == [(0, "zero"), (1, None)]
    catalog.settle(0, bytes=10, groups=1, takes=2, pairs=1)
    with pytest.raises(RunError, match=r"job 0 of prompt 0 is done, and what it made is not there"):  # not settled twice
        catalog.results(0)
    settled = catalog.settled()
    assert (settled.blocks, settled.bytes, settled.groups, settled.takes, settled.pairs) == (1, 10, 1, 2, 1)


def test_runners_and_the_wish_to_stop(catalog):
    catalog.begin_runner(ME, "2026-01-01T00:00:00Z")
    catalog.begin_runner(DEAD, "2026-01-01T00:00:01Z")
    catalog.report_runner(ME, wall_s=2.0, busy_s=1.9, swaps=2, jobs=3, ended=False)
    assert [(r["alive"], r["busy_s"]) for r in catalog.runners()] == [(True, 1.9), (False, 0.0)]
    catalog.report_runner(ME, wall_s=2.0, busy_s=1.9, swaps=2, jobs=3, ended=True)
    assert not any(r["alive"] for r in catalog.runners())
    assert catalog.ask_to_stop() == 0 and not catalog.stop_asked()


def test_a_wish_to_stop_is_for_those_who_work_then(catalog):
    other = process_mark(os.getppid())
    for owner in (ME, DEAD):
        catalog.begin_runner(owner, "2026-01-01T00:00:00Z")
    assert not catalog.stop_asked() and not catalog.stop_asked(ME)
    assert catalog.ask_to_stop() == 1
    catalog.begin_runner(other, "2026-01-01T00:00:01Z")  # a later start neither hears it nor takes it back
    assert catalog.stop_asked() and catalog.stop_asked(ME) and not catalog.stop_asked(other) and not catalog.stop_asked(DEAD)
    catalog.report_runner(ME, wall_s=2.0, busy_s=1.9, swaps=2, jobs=3, ended=True)
    assert not catalog.stop_asked()


def test_a_queue_made_before_runners_were_asked_one_by_one_is_opened(tmp_path):
    from segue.dataset.catalog import MIGRATIONS
    from segue.pipeline.catalog_schema import open_database

    open_database(tmp_path / "old.sqlite3", MIGRATIONS[:1]).close()
    with NightCatalog(tmp_path / "old.sqlite3") as old:
        old.begin_runner(ME, "2026-01-01T00:00:00Z")
        assert old.ask_to_stop() == 1 and old.stop_asked(ME)


def test_a_job_that_is_done_and_lost_is_told(catalog):
    catalog.claim(ME, 2)
    for number in (0, 1):
        catalog.finish(number, takes=2, seconds=1, result="made")
    sqlite3.connect(catalog.path, isolation_level=None).execute("UPDATE jobs SET result = NULL WHERE number = 1")
    with pytest.raises(RunError, match=r"job 1 of prompt 0 is done, .*Restore"):
        catalog.results(0)


def test_a_queue_that_is_filled_halfway_is_not_filled(catalog):
    def jobs():
        yield 100, 50, "0"
        raise RuntimeError("the prompts end here")

    with pytest.raises(RuntimeError, match="end here"):
        catalog.fill(jobs())
    assert sum(catalog.counts().values()) == 6


def test_a_damaged_file_is_told(tmp_path):
    (tmp_path / "night.sqlite3").write_bytes(b"no database at all" * 100)
    with pytest.raises(RunError, match="damaged"):
        NightCatalog(tmp_path / "night.sqlite3")


def test_a_hundred_thousand_jobs(tmp_path):
    with NightCatalog(tmp_path / "big.sqlite3") as big:
        big.fill((number, number, "0") for number in range(100_000))
        assert big.claim(ME, 3) == [0, 1, 2] and big.counts()["pending"] == 99_997
        plan = sqlite3.connect(big.path).execute(
            "EXPLAIN QUERY PLAN SELECT number FROM jobs WHERE state = 'pending' ORDER BY number LIMIT 3").fetchall()
    assert "USING COVERING INDEX jobs_by_state" in plan[0][3]  # the next job is found, not searched for

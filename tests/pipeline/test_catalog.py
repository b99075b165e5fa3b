"""The catalog: what it remembers, two processes at once, estimates, and one clear error for what it can't use."""

import contextlib
import os
import re
import sqlite3
import subprocess
import threading
from dataclasses import replace

import pytest
import torch
from helpers.processes import ended, fork
from segue.pipeline.catalog import Catalog
from segue.pipeline.catalog_schema import MIGRATIONS
from segue.pipeline.context import Numerics
from segue.pipeline.errors import RequestError, RunError
from segue.pipeline.keys import digest
from segue.pipeline.records import StageRecord
from segue.pipeline.spec import Prompt
from segue.pipeline.take import Audio, Signal, Take
from segue.scoring.report import QualityReport

NUMERICS = Numerics(threads=2, versions={"torch": "2.13.0"})


def begin(catalog, seed=7):
    return catalog.begin_run("demo", "name: demo\n", seed, NUMERICS, {"out": "runs/first", "inputs": {"clip": "song.wav"}})


def a_take(index=0, stage="draft", overall=None):
    report = None if overall is None else QualityReport(overall=overall, scorer="test 1", duration_s=1.0, rate_hz=8_000)
    prompt = Prompt(caption="ünïcode 🎷", bpm=96)
    return Take(stage=stage, index=index, seed=2**63 - 1 - index, key=digest([stage, index]), prompt=prompt,
                signal=Signal(audio=Audio(torch.zeros(1, 8_000), 8_000)), report=report)


@pytest.fixture
def catalog(tmp_path):
    with Catalog(tmp_path / "catalog.sqlite3") as made:
        yield made


# -- runs ---------------------------------------------------------------------------------------------------------


def test_a_run_is_remembered_as_it_was_begun(catalog):
    run = begin(catalog, seed=2**63 - 1)
    assert re.fullmatch(r"\d{8}-\d{6}-[0-9a-f]{4}", run.id)
    assert run.id[:8] == run.created[:10].replace("-", "") and re.fullmatch(r".*T.*\.\d{3}Z", run.created)
    with Catalog(catalog.path) as again:
        found = again.run(run.id)
    assert found == run and found.seed == 2**63 - 1 and found.numerics == NUMERICS
    assert found.options == {"out": "runs/first", "inputs": {"clip": "song.wav"}} and found.yaml == "name: demo\n"
    assert found.status == "running" and found.alive and not found.interrupted and not found.resumable


def test_run_ids_sort_by_time_and_do_not_collide(catalog):
    ids = [begin(catalog).id for _ in range(50)]
    assert len(set(ids)) == 50 and [i[:15] for i in ids] == sorted(i[:15] for i in ids)


def test_an_id_that_is_taken_is_drawn_again(catalog, monkeypatch):
    import segue.pipeline.catalog as module

    drawn = iter(["aaaa", "aaaa", "aaaa", "bbbb"])
    monkeypatch.setattr(module.secrets, "token_hex", lambda n: next(drawn))
    monkeypatch.setattr(module, "_now", lambda: "2026-11-20T23:15:02.000Z")
    assert [begin(catalog).id, begin(catalog).id] == ["20261120-231502-aaaa", "20261120-231502-bbbb"]


@pytest.mark.parametrize("status", ["done", "failed", "cancelled"])
def test_how_a_run_ended_is_remembered(catalog, status):
    run = begin(catalog)
    catalog.finish_run(run.id, status, "because")
    found = catalog.run(run.id)
    assert (found.status, found.message, found.resumable) == (status, "because", status != "done")
    assert found.finished >= found.created
    with pytest.raises(RequestError, match="no run"):
        catalog.finish_run("20200101-000000-0000", status)


def test_runs_come_newest_first_up_to_the_limit(catalog):
    ids = [begin(catalog).id for _ in range(5)]
    shown = [r.id for r in catalog.runs(limit=3)]
    assert len(shown) == 3 and set(shown) <= set(ids)
    created = [r.created for r in catalog.runs(limit=10)]
    assert len(created) == 5 and created == sorted(created, reverse=True)


def test_a_run_is_found_by_the_start_of_its_id_or_the_error_helps(catalog, monkeypatch):
    import segue.pipeline.catalog as module

    with pytest.raises(RequestError, match="nothing has been run yet"):
        catalog.run("2026")
    drawn = iter(["4f2a", "4f9c", "1111"])
    monkeypatch.setattr(module.secrets, "token_hex", lambda n: next(drawn))
    monkeypatch.setattr(module, "_now", lambda: "2026-11-20T23:15:02.000Z")
    first, second, _ = begin(catalog).id, begin(catalog).id, begin(catalog).id
    assert catalog.run("20261120-231502-4f2").id == first and catalog.run(second).id == second
    with pytest.raises(RequestError, match=r"stands for 2 runs: .*4f9c.*4f2a.*write more"):
        catalog.run("20261120-231502-4f")
    with pytest.raises(RequestError, match=r"no run '20261120-231502-4f2b'.*Did you mean '20261120-231502-4f2a'"):
        catalog.run("20261120-231502-4f2b")
    for odd in ("", "%", "_" * 15, "'; DROP TABLE runs; --"):
        with pytest.raises(RequestError):
            catalog.run(odd)
    assert len(catalog.runs()) == 3


def test_a_killed_process_leaves_a_run_that_can_be_gone_on_with(catalog):
    with contextlib.closing(Catalog(catalog.path)):
        child = fork(lambda: begin(Catalog(catalog.path)))
    assert ended(child) == 0
    run = catalog.runs()[0]
    assert run.status == "running" and run.interrupted and run.resumable
    mine = catalog.reopen_run(run.id)
    assert mine.alive and mine.created == run.created and mine.numerics == run.numerics
    assert catalog.reopen_run(run.id).alive  # by the same process: fine


def test_a_run_another_process_works_on_is_not_taken_over(catalog):
    ready_r, ready_w = os.pipe()
    stop_r, stop_w = os.pipe()

    def work():
        begin(Catalog(catalog.path))
        os.write(ready_w, b"x")
        os.read(stop_r, 1)

    child = fork(work)
    os.read(ready_r, 1)
    run = catalog.runs()[0]
    assert run.alive and not run.resumable
    with pytest.raises(RequestError, match=rf"being worked on right now by process {child}"):
        catalog.reopen_run(run.id)
    os.write(stop_w, b"x")
    assert ended(child) == 0
    assert catalog.reopen_run(run.id).alive


def test_a_process_that_got_a_dead_ones_number_is_not_taken_for_it(catalog):
    run = begin(catalog)
    host, pid, started = run.process.split(":")
    if not started:
        pytest.skip("this system has no /proc to tell processes apart")
    assert run.alive and not replace(run, process=f"{host}:{pid}:{int(started) - 1}").alive


# -- what a run made ----------------------------------------------------------------------------------------------


def test_takes_are_remembered_in_order_and_noted_again_when_they_change(catalog):
    run, other = begin(catalog), begin(catalog)
    takes = [a_take(2), a_take(0), a_take(0, "polish", overall=7.5)]
    for take in takes:
        catalog.record_take(run.id, take, cached=take.index == 2)
    catalog.record_take(run.id, takes[2], audio="out/polish-00.flac")
    catalog.record_take(run.id, takes[2])  # the path stays
    found = catalog.takes(run.id)
    assert [t.id for t in found] == ["draft/2", "draft/0", "polish/0"]
    assert [t.key for t in found] == [t.key for t in takes] and [t.seed for t in found] == [t.seed for t in takes]
    assert [t.cached for t in found] == [True, False, False] and [t.overall for t in found] == [None, None, 7.5]
    assert [t.audio for t in found] == [None, None, "out/polish-00.flac"]
    assert QualityReport.model_validate(found[2].report) == takes[2].report
    assert Prompt(**found[0].prompt) == takes[0].prompt and found[0].duration_s == 1.0
    assert catalog.takes(other.id) == ()


def test_a_take_of_no_run_is_refused(catalog):
    with pytest.raises(RunError, match="FOREIGN KEY"):
        catalog.record_take("20200101-000000-0000", a_take())


def test_stages_are_remembered_in_order(catalog):
    run = begin(catalog)
    rows = [StageRecord("draft", "generate", "base", 2.5, 0, 4, 30, 60), StageRecord("best", "select", None, 0.0, 1, 1, 0, 0)]
    for row in rows:
        catalog.record_stage(run.id, row)
    catalog.record_stage(run.id, replace(rows[0], seconds=0.1, cached=4))
    assert catalog.stages(run.id) == (replace(rows[0], seconds=0.1, cached=4), rows[1])


def test_unfinished_runs_keep_their_takes_alive(catalog):
    finished, stopped, running = (begin(catalog) for _ in range(3))
    for i, run in enumerate((finished, stopped, running)):
        catalog.record_take(run.id, a_take(i))
    catalog.finish_run(finished.id, "done")
    catalog.finish_run(stopped.id, "cancelled")
    assert {pin.run.id: pin.keys for pin in catalog.pins()} == {stopped.id: {a_take(1).key}, running.id: {a_take(2).key}}
    catalog.forget_run(stopped.id)
    assert [pin.keys for pin in catalog.pins()] == [{a_take(2).key}]
    assert catalog.takes(stopped.id) == () and len(catalog.runs()) == 2


# -- how long things take -----------------------------------------------------------------------------------------


def test_estimates_scale_with_steps_and_length(catalog):
    assert catalog.estimate("generate", "base", "cpu", steps=30, frames=200) is None
    for frames in (100, 200, 400):
        catalog.record_timing("generate", "base", "cpu", steps=30, frames=frames, seconds=30 * frames * 1e-4)
    estimate = catalog.estimate("generate", "base", "cpu", steps=60, frames=300)
    assert estimate == pytest.approx(60 * 300 * 1e-4)
    others = [("refine", "base", "cpu"), ("generate", "turbo", "cpu"), ("generate", "base", "cuda"), ("generate", None, "cpu")]
    for kind in others:
        assert catalog.estimate(*kind, steps=30, frames=200) is None


def test_estimates_follow_the_nearest_lengths_and_ignore_an_outlier(catalog):
    for i in range(9):
        stalled = 50 if i == 4 else 1
        catalog.record_timing("generate", "base", "cpu", steps=1, frames=100 + i, seconds=(100 + i) * 0.01 * stalled)
        catalog.record_timing("generate", "base", "cpu", steps=1, frames=1000 + i, seconds=(1000 + i) * 0.03)
    assert catalog.estimate("generate", "base", "cpu", steps=1, frames=100) == pytest.approx(1.0)
    assert catalog.estimate("generate", "base", "cpu", steps=1, frames=1000) == pytest.approx(30.0)


def test_stages_without_steps_or_frames_can_be_timed(catalog):
    catalog.record_timing("score", None, "cpu", steps=0, frames=0, seconds=0.5)
    assert catalog.estimate("score", None, "cpu", steps=0, frames=0) == pytest.approx(0.5)


# -- shared -------------------------------------------------------------------------------------------------------


def test_processes_opening_and_writing_at_once_lose_nothing(tmp_path):
    path = tmp_path / "fresh" / "catalog.sqlite3"

    def work():
        with Catalog(path) as own:
            run = begin(own)
            for i in range(40):
                own.record_take(run.id, a_take(i))
            own.finish_run(run.id, "done")

    children = [fork(work) for _ in range(4)]
    assert [ended(pid) for pid in children] == [0] * 4
    with Catalog(path) as catalog:
        runs = catalog.runs()
        assert len(runs) == 4 and all(r.status == "done" and len(catalog.takes(r.id)) == 40 for r in runs)


def test_threads_may_share_one_catalog(catalog):
    run, failed = begin(catalog), []

    def work(stage):
        try:
            for i in range(30):
                catalog.record_take(run.id, a_take(i, stage))
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(f"stage{n}",)) for n in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert failed == [] and len(catalog.takes(run.id)) == 120


def test_a_killed_writer_leaves_a_catalog_that_opens(catalog):
    def work():
        own = Catalog(catalog.path)
        run = begin(own)
        with own._writing() as db:
            db.execute("INSERT INTO timings (type, variant, device, steps, frames, seconds) VALUES ('x', '', 'cpu', 1, 1, 1)")
            os.kill(os.getpid(), 9)
        assert run

    assert ended(fork(work)) == -9
    with Catalog(catalog.path) as again:
        assert len(again.runs()) == 1 and again.estimate("x", None, "cpu", steps=1, frames=1) is None
        begin(again)


# -- what can't be used -------------------------------------------------------------------------------------------


def test_the_database_is_wal_with_foreign_keys_and_a_version(catalog):
    db = sqlite3.connect(catalog.path)
    assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert db.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
    db.close()


def test_migrations_run_once_in_order_from_any_version(tmp_path, monkeypatch):
    import segue.pipeline.catalog_schema as schema

    path = tmp_path / "c.sqlite3"
    with Catalog(path) as old:
        kept = begin(old)
    more = (*MIGRATIONS, ("CREATE TABLE later (n INTEGER)", "INSERT INTO later VALUES (1)"), ("UPDATE later SET n = n * 10 + 2",))
    monkeypatch.setattr(schema, "MIGRATIONS", more)
    for target in (path, tmp_path / "new.sqlite3", path):
        with Catalog(target) as new:
            assert new._db.execute("SELECT n FROM later").fetchall()[0]["n"] == 12
            assert new._db.execute("PRAGMA user_version").fetchone()[0] == len(more)
    with Catalog(path) as new:
        assert new.run(kept.id).id == kept.id


def test_a_migration_that_fails_changes_nothing(tmp_path, monkeypatch):
    import segue.pipeline.catalog_schema as schema

    path = tmp_path / "c.sqlite3"
    Catalog(path).close()
    monkeypatch.setattr(schema, "MIGRATIONS", (*MIGRATIONS, ("CREATE TABLE half (n INTEGER)", "NONSENSE")))
    with pytest.raises(RunError, match="could not be used"):
        Catalog(path)
    db = sqlite3.connect(path)
    assert db.execute("SELECT name FROM sqlite_master WHERE name = 'half'").fetchall() == []
    assert db.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
    db.close()


def test_a_newer_catalog_is_one_clear_error(catalog):
    catalog._db.execute("PRAGMA user_version = 99")
    with pytest.raises(RunError, match=r"newer Segue \(catalog version 99.*Update Segue"):
        Catalog(catalog.path)


def test_a_file_that_is_no_catalog_is_one_clear_error_and_stays_untouched(tmp_path):
    path = tmp_path / "catalog.sqlite3"
    path.write_bytes(b"this is not a database, " * 100)
    with pytest.raises(RunError, match=r"damaged.*Move it aside"):
        Catalog(path)
    assert path.read_bytes() == b"this is not a database, " * 100


def test_damage_in_the_middle_is_one_clear_error(tmp_path):
    path = tmp_path / "catalog.sqlite3"
    with Catalog(path) as catalog:
        run = begin(catalog)
        for i in range(300):
            catalog.record_take(run.id, a_take(i))
    raw = bytearray(path.read_bytes())
    for page in range(2, len(raw) // 4096):
        raw[page * 4096 : page * 4096 + 200] = b"\xff" * 200
    path.write_bytes(raw)
    with pytest.raises(RunError, match=r"catalog\.sqlite3 is damaged"), Catalog(path) as catalog:
        catalog.takes(run.id)
        catalog.pins()


def test_a_folder_that_can_not_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"could not write the catalog .*file, not a folder"):
        Catalog(tmp_path / "file" / "catalog.sqlite3")


def test_a_full_disk_is_told_and_the_catalog_stays_usable(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "none", str(disk)], capture_output=True, text=True)
    if made.returncode:
        pytest.skip(f"no file system can be mounted here: {made.stderr.strip()}")
    try:
        with Catalog(disk / "catalog.sqlite3") as catalog:
            run, n = begin(catalog), 0
            with pytest.raises(RunError, match=r"could not write the catalog .*full.*Free some space"):
                while True:
                    catalog.record_take(run.id, a_take(n))
                    n += 1
            assert n > 10 and len(catalog.takes(run.id)) == n
            subprocess.run(["mount", "-o", "remount,size=4m", str(disk)], check=True)
            catalog.record_take(run.id, a_take(n))
            assert len(catalog.takes(run.id)) == n + 1
            catalog.close()
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        with pytest.raises(RunError, match=r"could not write the catalog"), Catalog(disk / "catalog.sqlite3") as catalog:
            begin(catalog)
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_the_place_follows_segue_home(tmp_path, monkeypatch):
    monkeypatch.setenv("SEGUE_HOME", str(tmp_path / "home"))
    with Catalog() as catalog:
        assert catalog.path == tmp_path / "home" / "catalog.sqlite3" and catalog.path.exists()

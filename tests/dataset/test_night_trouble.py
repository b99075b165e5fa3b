"""What a night can bring: jobs that fail, a model that vanishes and comes back, a disk that is full, kill -9."""

import errno
import json
import shutil
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path

import pytest
from helpers.night_files import night_files
from segue.dataset import environment
from segue.dataset.catalog import NightCatalog
from segue.dataset.night import stop_night
from segue.dataset.work import Worker
from segue.pipeline.errors import RequestError, RunError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def failing(monkeypatch):
    """Make stage `stage` of job `job` fail `times` times."""

    def arrange(job, stage, times, error=RuntimeError("the stage broke")):
        do, left = Worker.do, [times]

        def broken(self, number, name):
            if number == job and name == stage and left[0] > 0:
                left[0] -= 1
                raise error
            do(self, number, name)

        monkeypatch.setattr(Worker, "do", broken)

    return arrange


@pytest.fixture
def sick(monkeypatch):
    """Make every stage of some jobs fail (of all, where none are named), `times` times; `cure` ends it."""
    do, left = Worker.do, {}

    def arrange(error, jobs=None, times=10**6):
        left["times"] = times

        def broken(self, number, name):
            if left["times"] > 0 and (jobs is None or number in jobs):
                left["times"] -= 1
                raise error
            do(self, number, name)

        monkeypatch.setattr(Worker, "do", broken)

    arrange.cure = lambda: left.update(times=0)
    return arrange


@pytest.fixture
def before_opening(monkeypatch):
    """Have something happen before a job is opened, once."""

    def arrange(job, happens):
        opened, done = Worker.open, []

        def watched(self, number):
            if number == job and not done:
                done.append(True)
                happens()
            return opened(self, number)

        monkeypatch.setattr(Worker, "open", watched)

    return arrange


def account(folder):
    return json.loads((folder / "night.json").read_text())


def test_a_job_that_fails_twice_leaves_no_trace(plan_file, night, failing, tmp_path):
    plan = plan_file()
    night(plan, "well")
    failing(1, "polished", 2)
    assert night(plan, "ill").complete
    assert night_files(tmp_path / "ill") == night_files(tmp_path / "well")


@pytest.mark.parametrize("stage", ["drafts", "rejudged"])  # on the model's thread, and beside it
def test_a_job_that_fails_three_times_is_set_aside_with_its_cause(plan_file, night, failing, tmp_path, stage):
    failing(1, stage, 3)
    done = night(plan_file())
    found = account(tmp_path / "night")
    assert done.complete and found["jobs"]["quarantined"] == 1 and found["groups"] == 2
    assert found["failures"] == [{"job": 1, "attempts": 3, "state": "quarantined", "cause": "RuntimeError: the stage broke"}]


CUDNN = RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED")


def jobs_of(folder):
    with NightCatalog(folder / "night.sqlite3") as catalog:
        return catalog.counts(), catalog.failures()


def test_what_fails_job_after_job_is_not_their_fault(plan_file, night, sick, tmp_path):
    night(plan_file(), "well")
    sick(CUDNN)
    for _ in range(2):  # nor does a second start wear them out
        with pytest.raises(RunError, match=r"3 jobs have failed and none was finished.*CUDNN_STATUS.*the same command goes on"):
            night(plan_file(), patience_s=1.2)
    counts, failures = jobs_of(tmp_path / "night")
    assert counts["pending"] == 3 and failures == ()
    sick.cure()
    assert night(plan_file()).complete
    assert night_files(tmp_path / "night") == night_files(tmp_path / "well")


def test_what_fails_job_after_job_and_passes_is_waited_for(plan_file, night, sick, tmp_path):
    night(plan_file(), "well")
    sick(CUDNN, times=4)
    told = []
    assert night(plan_file(), on_progress=lambda p: told.append(p.note)).complete
    assert any("CUDNN_STATUS" in note for note in told)
    assert night_files(tmp_path / "night") == night_files(tmp_path / "well")


def test_a_dead_device_ends_the_process_at_once(plan_file, night, sick, tmp_path):
    sick(RuntimeError("CUDA error: unspecified launch failure"))
    with pytest.raises(RunError, match=r"the device is dead to this process since job \d: .*unspecified launch failure"):
        night(plan_file())
    counts, failures = jobs_of(tmp_path / "night")
    assert counts["quarantined"] == 0 and counts["claimed"] == 0 and failures == ()
    sick.cure()
    night(plan_file())
    night(plan_file(), "well")
    assert night_files(tmp_path / "night") == night_files(tmp_path / "well")


def test_bad_jobs_among_good_ones_are_set_aside_one_by_one(plan_file, night, sick, tmp_path):
    grid = "{{grid: {{caption: '{{genre}}', genre: [a, b, c, d], bpm: [80, 120], duration_s: 1, instrumental: true}}}}"
    plan = plan_file(plan="name: eight\nseed: 9\nprompts: " + grid + "\nruns: [{{preset: {preset}, takes: 2}}]\nwindow: 2\n")
    sick(RuntimeError("this job is bad"), jobs=(0, 1, 2))
    assert night(plan).complete
    counts, failures = jobs_of(tmp_path / "night")
    assert (counts["done"], counts["quarantined"]) == (5, 3) and [f.job for f in failures] == [0, 1, 2]


def test_a_night_of_nothing_is_not_complete(plan_file, night, sick, tmp_path):
    plan = plan_file("budget: {takes: 99}\n")
    lines = [line for line in plan.read_text().splitlines(keepends=True) if "house loop" not in line]
    plan.write_text("".join(lines))
    sick(RuntimeError("this job is bad"))
    with pytest.raises(RunError, match="none of 2 jobs could be done; job 0: RuntimeError: this job is bad"):
        night(plan)
    sick.cure()
    done = night(plan)
    assert done.complete and done.account["groups"] == 2


def test_who_waits_can_be_stopped(plan_file, night, sick, tmp_path):
    sick(CUDNN)
    done = night(plan_file(), on_progress=lambda p: p.note and stop_night(tmp_path / "night"))
    assert done.reason == "stopped on request (segue night stop)" and not done.complete


COVER = """
model: {model}
inputs: {{clip: SOUND}}
stages:
  covered: {{type: cover, source: clip, variant: base, steps: 2, strength: 0.5}}
  judged: {{type: score, source: covered}}
"""


def test_an_input_that_is_gone_is_its_jobs_fault(plan_file, night, before_opening, clip, tmp_path):
    shutil.copy(clip, tmp_path / "clip.wav")
    plan = plan_file(preset=COVER.replace("SOUND", str(tmp_path / "clip.wav")))
    plan.write_text(plan.read_text().replace("  - {compare: repair}\n", ""))
    before_opening(1, lambda: (tmp_path / "clip.wav").rename(tmp_path / "away.wav"))
    done = night(plan)
    found = account(tmp_path / "night")
    assert done.complete and (found["jobs"]["done"], found["jobs"]["quarantined"]) == (1, 2)
    assert all("clip.wav" in failure["cause"] for failure in found["failures"])
    kept = [path.stem for path in (tmp_path / "night" / "inputs").iterdir()]
    assert kept == [json.loads((tmp_path / "night" / "groups.jsonl").read_text())["inputs"]["clip"]]


def test_a_model_that_vanishes_and_comes_back(plan_file, night, before_opening, two_variants, tmp_path):
    model = shutil.copytree(two_variants, tmp_path / "model")
    plan = plan_file(model=model)
    night(plan, "well")
    told = []

    def bring_back(progress):
        if progress.note:
            told.append(progress.note)
            (tmp_path / "away").rename(model)

    before_opening(1, lambda: model.rename(tmp_path / "away"))
    assert night(plan, "shaken", on_progress=bring_back).complete
    assert len(told) == 1 and told[0].startswith("waiting: the model")
    assert night_files(tmp_path / "shaken") == night_files(tmp_path / "well")
    assert account(tmp_path / "shaken")["failures"] == []


def test_a_full_disk_is_waited_for(plan_file, night, monkeypatch, tmp_path):
    night(plan_file(), "well")
    usage, free = namedtuple("usage", "total used free"), [0, 0, 10**12]
    monkeypatch.setattr(environment.shutil, "disk_usage", lambda _: usage(10**12, 0, free.pop(0) if len(free) > 1 else free[0]))
    told = []
    assert night(plan_file(), "full", on_progress=lambda p: told.append(p.note)).complete
    assert any("MB left" in note for note in told)
    assert night_files(tmp_path / "full") == night_files(tmp_path / "well")


def test_a_disk_that_stays_full_ends_the_night_and_says_so(plan_file, night, monkeypatch):
    usage = namedtuple("usage", "total used free")
    with monkeypatch.context() as full:
        full.setattr(environment.shutil, "disk_usage", lambda _: usage(10**12, 10**12, 1000))
        with pytest.raises(RunError, match=r"0 MB left.*The night has stopped; what was finished is kept"):
            night(plan_file(), patience_s=0.0)
    assert night(plan_file()).complete


def test_no_space_left_while_writing_is_the_disks_fault(plan_file, night, failing, tmp_path):
    night(plan_file(), "well")
    failing(1, "polished", 4, OSError(28, "No space left on device"))
    assert night(plan_file(), "full").complete
    assert account(tmp_path / "full")["failures"] == []
    assert night_files(tmp_path / "full") == night_files(tmp_path / "well")


@pytest.mark.parametrize("seen", [True, False])  # by the probe, or only by the jobs
def test_a_disk_that_turns_read_only_is_waited_for_and_told(plan_file, night, sick, monkeypatch, tmp_path, seen):
    night(plan_file(), "well")
    gone = OSError(errno.EROFS, "Read-only file system")
    sick(gone)

    def refused(folder, data, durable=True):
        raise gone

    with monkeypatch.context() as broken:
        if seen:
            broken.setattr(environment, "write_temp", refused)
        begun = time.monotonic()
        with pytest.raises(RunError, match=r"Read-only file system.*The night has stopped"):
            night(plan_file(), patience_s=1.2)
        assert time.monotonic() - begun > 1.2
    assert jobs_of(tmp_path / "night")[1] == ()
    sick.cure()
    assert night(plan_file()).complete
    assert night_files(tmp_path / "night") == night_files(tmp_path / "well")


def test_a_record_that_was_cut_is_told(plan_file, night, tmp_path):
    night(plan_file("budget: {takes: 1}\n"))
    (tmp_path / "night" / "groups.jsonl").write_text("")
    with pytest.raises(RunError, match="it was cut or replaced"):
        night(plan_file())


def test_other_weights_are_refused(plan_file, night, two_variants, tmp_path):
    model = shutil.copytree(two_variants, tmp_path / "model")
    night(plan_file("budget: {takes: 1}\n", model=model))
    shutil.rmtree(model / "turbo" / "transformer")
    shutil.copytree(model / "base" / "transformer", model / "turbo" / "transformer")
    with pytest.raises(RequestError, match=r"weights of run 0, stage polished are not those"):
        night(plan_file(model=model))


def test_a_folder_that_can_not_be_written(plan_file, night, tmp_path):
    (tmp_path / "night").write_text("a file")
    with pytest.raises(RequestError, match="can't be written"):
        night(plan_file())


@pytest.mark.slow
def test_kill_minus_9_at_random_moments():
    command = [sys.executable, "-W", "ignore", str(ROOT / "benchmarks" / "night_kills.py"), "--kills", "5"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    found = json.loads(done.stdout)
    assert found["wrong"] == [] and found["kills"] == 5, done.stderr[-2000:]

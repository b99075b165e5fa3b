"""What a night can bring: jobs that fail, a model that vanishes and comes back, a disk that is full, kill -9."""

import json
import shutil
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest
from helpers.night_files import night_files
from segue.dataset import environment
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

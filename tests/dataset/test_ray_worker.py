"""What a process of a cluster does, called here without one: any process does any step, and errors come back as they were."""

import dataclasses
import errno
import pickle
import sys
from pathlib import Path

import pytest
from helpers.night_files import night_files
from segue.dataset.entries import JobResult
from segue.dataset.environment import is_the_places_fault
from segue.dataset.folder import NightFolder
from segue.dataset.jobs import Jobs
from segue.dataset.keeping import settle_file
from segue.dataset.ledger import entry_place
from segue.dataset.plan import load_plan
from segue.dataset.ray_cluster import Need, _must_hold, import_ray
from segue.dataset.ray_engine import _gpus
from segue.dataset.ray_worker import Answer, Brief, RayWorker, carried
from segue.dataset.work import Worker
from segue.pipeline.errors import Cancelled, Problem, RequestError, RunError
from segue.pipeline.events import StepDone, TakeDone
from segue.pipeline.options import RunOptions, decide


@pytest.fixture
def brief(plan_file, night, tmp_path):
    """Of a night that is begun and has done nothing yet."""
    assert not night(plan_file(), hours=0.0).complete
    return brief_of(tmp_path / "night")


def brief_of(root):
    folder = NightFolder(root)
    options, numerics = decide(RunOptions(threads=1, tile_frames=50, offline=True))
    jobs = Jobs(load_plan(folder.plan), folder.prompts)
    return Brief.of(Worker(folder, jobs, options, numerics, policy="all", created=jobs.plan.created))


def head_steps(brief):
    """A job's steps as the head knows them."""
    folder = NightFolder(brief.root)
    worker = Worker(folder, Jobs(load_plan(folder.plan), folder.prompts), brief.options, brief.numerics, policy="all", created="")
    return lambda number: worker.steps(number)


def test_steps_done_here_and_there_keep_what_one_process_keeps(brief, night, plan_file, tmp_path):
    workers, steps = [RayWorker(pickle.loads(pickle.dumps(brief))) for _ in range(3)], head_steps(brief)
    kept = {}
    for number in range(3):
        for place, step in enumerate(steps(number)):
            answer = workers[place % 2].step(number, step.stage, step.weights)
            assert answer.raised() is None and answer.seconds > 0
            made = [event for event in answer.events if isinstance(event, TakeDone)]
            assert {event.stage for event in made} == {step.stage} and not any(event.cached for event in made)
            assert not any(isinstance(event, StepDone) for event in answer.events)
            assert len(answer.timings) == 2  # of two takes: those read back teach nothing
        kept[number] = workers[2].keep(number).kept
        assert [worker._made._open for worker in workers] == [{}] * 3
    assert [kept[n].takes for n in range(3)] == [4, 4, 4]
    for one in (one for n in range(3) for one in JobResult.model_validate_json(kept[n].result).scored):
        for kind in ("audio", "latents"):  # as the ledger does
            assert settle_file(NightFolder(tmp_path / "night"), kind, *entry_place(one.entry), stays=True) is not None
    night(plan_file(), "local")
    apart = {"groups.jsonl", "pairs.jsonl"}  # the ledger's
    there, local = night_files(tmp_path / "night"), night_files(tmp_path / "local")
    assert {n: d for n, d in there.items() if n not in apart} == {n: d for n, d in local.items() if n not in apart}


def test_weights_change_once_for_each_variant(brief):
    worker, steps = RayWorker(brief), head_steps(brief)
    swaps = {step.stage: worker.step(0, step.stage, step.weights).swaps for step in steps(0)}
    again = {step.stage: worker.step(1, step.stage, step.weights).swaps for step in steps(1)}
    assert swaps == {"drafts": 0, "judged": 0, "polished": 1, "rejudged": 0}  # the first weights replace none
    assert again == {"drafts": 1, "judged": 0, "polished": 1, "rejudged": 0}


def test_a_step_that_fails_comes_back_with_its_cause_and_leaves_nothing_open(brief, monkeypatch):
    def broken(self, number, name):
        self.open(number)
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        except OSError as error:
            raise RunError("could not write") from error

    monkeypatch.setattr(Worker, "do", broken)
    worker, step = RayWorker(brief), head_steps(brief)(0)[0]
    answer = pickle.loads(pickle.dumps(worker.step(0, step.stage, step.weights)))
    error = answer.raised()
    assert type(error) is RunError and str(error) == "could not write"
    assert is_the_places_fault(error) and error.__cause__.errno == errno.ENOSPC
    assert worker._made._open == {} and answer.kept is None


class Stubborn(Exception):
    """Takes two arguments and tells pickle of one."""

    def __init__(self, what, where):
        super().__init__(f"{what} in {where}")


@pytest.mark.parametrize("error", [
    RequestError([Problem("one thing", "mend it", "drafts", "steps", "p.yaml", 3), Problem("another")]), Cancelled("stopped"),
    ValueError("a number"), OSError(5, "Input/output error", "/there"),
])  # fmt: skip
def test_errors_travel_whole(error):
    back = Answer(0.0, pickle.loads(pickle.dumps(carried(error)))).raised()
    assert type(back) is type(error) and str(back) == str(error) and back.__dict__ == error.__dict__


def test_errors_that_can_not_travel_are_told_in_words():
    (back,) = carried(Stubborn("a fault", "the works"))
    assert type(back) is RunError and str(back) == "Stubborn: a fault in the works"


def test_a_stop_ends_what_would_begin(brief):
    worker = RayWorker(brief)
    worker.stop()
    assert isinstance(worker.begin().raised(), Cancelled)


def test_other_weights_than_the_heads_are_refused(brief):
    error = RayWorker(brief).step(0, "drafts", "others").raised()
    assert isinstance(error, RunError) and "the weights of stage 'drafts' are others" in str(error)


def test_another_folder_and_other_software_are_told_together(brief, tmp_path):
    (tmp_path / "empty").mkdir()
    versions = {**brief.numerics.versions, "torch": "1.0"}
    numerics = dataclasses.replace(brief.numerics, versions=versions)
    changed = dataclasses.replace(brief, root=tmp_path / "empty", numerics=numerics)
    error = RayWorker(changed).begin().raised()
    assert isinstance(error, RequestError) and len(error.problems) == 2
    assert f"the folder {tmp_path / 'empty'}" in str(error) and "torch: 1.0 on the head's machine" in str(error)
    (Path(brief.root) / "plan.yaml").write_text("name: other\n")
    assert "is not the head's" in str(RayWorker(brief).begin().raised())


def test_without_ray_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(RequestError, match=r'needs ray, which is not installed. Fix: pip install "segue-audio\[ray\]"'):
        import_ray()


def test_a_cluster_that_is_too_small_is_refused():
    _must_hold({"CPU": 4.0}, [Need(2), Need(2)])
    with pytest.raises(RequestError, match="3 processes need 3 GPUs, and the cluster has 1"):
        _must_hold({"CPU": 8.0, "GPU": 1.0}, [Need(1, 1)] * 3)


def test_every_process_has_a_gpu_of_its_own():
    assert (_gpus("cpu"), _gpus("cuda"), _gpus("cuda:0")) == (0, 1, 1)
    with pytest.raises(RequestError, match="Fix: write --device cuda"):
        _gpus("cuda:1")

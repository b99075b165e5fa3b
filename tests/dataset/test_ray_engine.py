"""A night on a Ray cluster: the bytes of a local one, by one process with the model or two, also when one is killed."""

import os
import signal
import threading
import time

import pytest
from helpers.night_files import night_files
from segue.dataset.ray_cluster import Need, join, leave
from segue.pipeline.errors import RequestError

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install segue-audio[ray]")
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("ray")]  # one process: what they share is made once
PRESET = """
model: {model}
stages:
  drafts: {{type: generate, variant: base, steps: 12}}
  judged: {{type: score, source: drafts}}
  polished: {{type: refine, source: judged, variant: turbo, denoise: 0.5, steps: 4}}
  rejudged: {{type: score, source: polished}}
"""
PLAN = """
name: six
seed: 3
prompts:
  grid: {{caption: "{{genre}}", genre: [jazz, funk, house], bpm: [90, 120], instrumental: true, duration_s: 1, count: 6}}
runs:
  - {{preset: {preset}, takes: 2}}
strategies:
  - {{compare: seeds}}
  - {{compare: repair}}
"""


@pytest.fixture(scope="module")
def cluster():
    """One cluster for all nights here (a night would start its own in the same way), with room for three processes."""
    mine = join(ray, [Need(1)] * 3)
    yield
    leave(ray, mine)
    assert mine and not ray.is_initialized()


@pytest.fixture
def local_night(plan_file, night, tmp_path):
    """A plan of six jobs of two variants and the files of its local night."""
    plan = plan_file(preset=PRESET, plan=PLAN)
    night(plan, "local")
    files = night_files(tmp_path / "local")
    assert sum(name.endswith(".flac") for name in files) == 24
    return plan, files


def processes():
    """The night's processes by the end of their names, as Ray knows them."""
    return {name.split(" ", 2)[2]: ray.get_actor(name) for name in ray.util.list_named_actors() if name.startswith("segue ")}


def where(actor):
    return ray.get(actor.where.options(concurrency_group="control").remote(), timeout=600)


def test_one_process_that_changes_weights_makes_the_bytes_of_a_local_night(cluster, local_night, night, tmp_path):
    plan, local = local_night
    with pytest.raises(RequestError, match="14 processes need 14 CPUs"):
        night(plan, "ray", engine="ray", workers=9)
    heard = []
    done = night(plan, "ray", engine="ray", workers=1, on_event=heard.append)
    assert done.complete and done.account["failures"] == [] and done.account["jobs"]["done"] == 6
    assert done.account["runners"][-1]["model_swaps"] == 1  # a window that holds all jobs
    assert night_files(tmp_path / "ray") == local
    assert {event.stage for event in heard} == {"drafts", "judged", "polished", "rejudged"}
    assert processes() == {}


def test_two_processes_of_which_one_is_killed_make_them_too(cluster, local_night, night, tmp_path):
    plan, local = local_night
    out, seen = tmp_path / "ray", {}

    def kill_one():
        """As soon as the first take is there: of twelve drafts, and nothing refined."""
        until = time.monotonic() + 600
        while not any((out / "work" / "store").rglob("*.json")):
            assert time.monotonic() < until, "no take was made"
            time.sleep(0.01)
        victim = processes()["model 0"]
        _, seen["killed"] = where(victim)
        os.kill(seen["killed"], signal.SIGKILL)
        seen["settled"] = (out / "groups.jsonl").read_bytes()
        _, seen["after"] = where(victim)

    killer = threading.Thread(target=kill_one, daemon=True)
    killer.start()
    done = night(plan, "ray", engine="ray", workers=2)
    killer.join()
    assert seen["settled"] == b"" and seen["after"] != seen["killed"]
    assert done.complete and done.account["failures"] == [] and done.account["jobs"]["done"] == 6
    assert night_files(tmp_path / "ray") == local

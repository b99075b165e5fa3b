"""The local engine: how many jobs are open at once follows from memory, what comes out does not."""

import pytest
from helpers.night_files import night_files
from segue.dataset import local
from segue.dataset.work import Worker


@pytest.fixture
def most_open(monkeypatch):
    """The most jobs that were open at once."""
    most, opened = [0], Worker.open

    def counted(self, number):
        job = opened(self, number)
        most[0] = max(most[0], len(self._open))
        return job

    monkeypatch.setattr(Worker, "open", counted)
    return most


def test_little_memory_means_few_open_jobs_and_the_same_bytes(plan_file, night, most_open, monkeypatch, tmp_path):
    night(plan_file(), "roomy")
    assert most_open == [3]  # the window holds them all
    most_open[0] = 0
    monkeypatch.setattr(local, "free_bytes", lambda device: 1000)
    night(plan_file(), "tight")
    assert most_open == [1]
    assert night_files(tmp_path / "tight") == night_files(tmp_path / "roomy")


def test_what_a_job_will_hold(plan_file, night, monkeypatch):
    expected = []
    asked = Worker.expected_bytes
    monkeypatch.setattr(Worker, "expected_bytes", lambda self, number: expected.append(asked(self, number)) or expected[-1])
    night(plan_file())
    assert expected == [2 * 2 * 1200 * 2 * 4] * 3  # two stages, two takes, a second at 1200 Hz, stereo, float32

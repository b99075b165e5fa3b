"""`segue night`: run, status, stop, rescore; what is printed, and the exit codes."""

import json

import pytest
from segue.pipeline.models.tiny import build_tiny_acestep

PRESET = """
model: MODEL
stages:
  drafts: {type: generate, steps: 2}
  judged: {type: score, source: drafts}
"""
PLAN = """
seed: 1
prompts: {list: [{caption: piano, duration_s: 1, instrumental: true}, {caption: drums, duration_s: 1, instrumental: true}]}
runs: [{preset: preset.yaml, takes: 2}]
"""


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plan")
    model = build_tiny_acestep(folder / "model", seed=1)
    (folder / "preset.yaml").write_text(PRESET.replace("MODEL", str(model)))
    (folder / "small.yaml").write_text(PLAN)
    return folder / "small.yaml"


def test_a_plan_is_carried_out_and_goes_on(segue, plan, tmp_path):
    done = segue("night", plan, "--out", tmp_path / "n", "--threads", "1", "--takes", "1", "--json")
    assert done.code == 0, done
    found = json.loads(done.out)
    assert (found["takes"], found["jobs"]["done"] >= 1, found["complete"]) == (2, True, True)
    assert found["ended"] == "budget used up: 2 of 1 takes"
    more = segue("night", "run", plan, "--out", tmp_path / "n")
    assert "4 takes" in more.out and "nothing is left to do" in more.out
    assert str(tmp_path / "n" / "groups.jsonl") in more.out
    status = json.loads(segue("night", "status", tmp_path / "n", "--json").out)
    assert (status["jobs"]["done"], status["prompts_settled"], status["running"]) == (2, 2, 0)
    assert "2 of 2 prompts settled" in segue("night", "status", tmp_path / "n").out
    assert "nobody works on this night" in segue("night", "stop", tmp_path / "n").out
    assert "0 of 4 takes scored anew" in segue("night", "rescore", tmp_path / "n").out


def test_takes_that_are_in_no_pair_are_told(segue, plan, tmp_path):
    open_, gated = (segue("night", plan, "--out", tmp_path / name, "--set", f"gates.overall_min={least}")
                    for name, least in (("all", 0), ("none", 10)))  # fmt: skip
    assert open_.code == gated.code == 0 and "refused" not in open_.out
    assert "takes kept out of pairs: 4 refused by gates" in gated.out and "0 silent" not in gated.out, gated
    assert "4 takes, 0 pairs" in gated.out


def test_a_night_whose_record_can_t_be_locked_is_told(segue, plan, tmp_path):
    assert segue("night", plan, "--out", tmp_path / "n").code == 0
    before, lock = (tmp_path / "n" / "pairs.jsonl").read_bytes(), tmp_path / "n" / "work" / "lock"
    lock.unlink()
    lock.mkdir()  # no file can be opened there, whoever runs this
    done = segue("pairs", tmp_path / "n")
    told = " ".join(done.err.split())
    assert done.code == 1 and "could not write the night's lock" in told and "unexpected" not in told, done
    assert (tmp_path / "n" / "pairs.jsonl").read_bytes() == before and segue("pairs", tmp_path / "n", "--dry-run").code == 0


@pytest.mark.parametrize("arguments, told", [
    (["night", "no-such-plan", "--out", "x"], "there is no plan and no file 'no-such-plan'"),
    (["night", "PLAN", "--out", "x", "--set", "strategies=[{compare: seeds, rule: topkk}]"], "topkk"),
    (["night", "PLAN", "--out", "x", "--set", "budget.hours=0"], "budget.hours"),
    (["night", "PLAN", "--out", "x", "--engine", "slurm"], "write local or ray"),
    (["night", "status", "x"], "holds no night"),
    (["night", "stop", "x"], "holds no night"),
    (["night", "rescore", "x"], "holds no night"),
])  # fmt: skip
def test_a_wrong_request_ends_with_two_and_makes_nothing(segue, plan, tmp_path, monkeypatch, arguments, told):
    monkeypatch.chdir(tmp_path)
    done = segue(*[plan if a == "PLAN" else a for a in arguments])
    assert done.code == 2 and told in " ".join(done.err.split()) and not (tmp_path / "x").exists()

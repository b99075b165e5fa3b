"""Old takes under a new scorer: the same sounds, other marks; the old record stays; a kill in between costs nothing."""

import json
from pathlib import Path

import pytest
from helpers.night_files import night_files
from segue.dataset import ledger as ledgers
from segue.dataset import rescore as rescoring
from segue.dataset.judgements import read_judgements
from segue.dataset.rescore import rescore
from segue.pipeline.errors import RequestError
from segue.scoring.groups import Group
from segue.stages import score as stage


def entries(folder):
    return [e for line in (folder / "groups.jsonl").read_bytes().splitlines() for e in Group.from_json(line).entries]


@pytest.fixture
def new_scorer(monkeypatch):
    """A scorer of another version that gives every take half its mark."""
    before = stage.score

    def half(samples, rate_hz, **more):
        report = before(samples, rate_hz, **more)
        return report.model_copy(update={"overall": report.overall / 2, "scorer": "segue-3/music"})

    monkeypatch.setattr(stage, "score", half)
    monkeypatch.setattr(stage, "SCORER_VERSION", "3")


def test_the_same_scorer_changes_nothing(plan_file, night, tmp_path):
    night(plan_file())
    before = night_files(tmp_path / "night")
    done = rescore(tmp_path / "night")
    assert (done.scored, done.takes, done.kept) == (0, 12, None) and night_files(tmp_path / "night") == before
    done = rescore(tmp_path / "night", every=True)  # decoded from latents, measured again: the very same figures
    after = night_files(tmp_path / "night")
    assert done.scored == 12 and {n: after[n] for n in before} == before


def test_a_new_scorer_gives_new_marks_and_pairs(plan_file, night, new_scorer, monkeypatch, tmp_path):
    with monkeypatch.context() as old:
        old.setattr(stage, "SCORER_VERSION", "2")
        night(plan_file("audio: none\n"))
    out = tmp_path / "night"
    marks, first = [e.overall for e in entries(out)], Group.from_json((out / "groups.jsonl").read_bytes().splitlines()[0])
    said = {"group": first.id, "chosen": first.entries[0].take, "rejected": first.entries[1].take, "labeller": "ann"}
    (out / "judgements.jsonl").write_text(json.dumps(said) + "\n")
    done = rescore(out)
    assert done.scored == 12 and done.scorer == "segue-3/music"
    assert [e.overall for e in entries(out)] == pytest.approx(marks)  # halved when it was made, and halved now
    groups = [Group.from_json(line) for line in (out / "groups.jsonl").read_bytes().splitlines()]
    assert first.id not in {g.id for g in groups}
    assert read_judgements(out / "judgements.jsonl")[0].group == groups[0].id
    with Path(done.kept).open() as kept:
        assert Group.from_json(kept.readline()) == first
    assert night(plan_file("audio: none\n")).complete  # the night goes on from the new record


@pytest.mark.parametrize("moment", ["new record", "judgements"])
def test_a_kill_in_between_costs_nothing(plan_file, night, new_scorer, monkeypatch, tmp_path, moment):
    with monkeypatch.context() as old:
        old.setattr(stage, "SCORER_VERSION", "2")
        night(plan_file())
        night(plan_file(), "other")
    out = tmp_path / "night"
    rescore(tmp_path / "other")

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as broken, pytest.raises(KeyboardInterrupt):
        if moment == "new record":
            broken.setattr(ledgers, "_append", killed)
        else:
            broken.setattr(ledgers, "rename_groups", killed)
        rescore(out)
    rescore(out)
    assert night_files(out) == night_files(tmp_path / "other")


def test_a_night_that_runs_is_not_rescored(plan_file, night, monkeypatch, tmp_path):
    night(plan_file())
    monkeypatch.setattr(rescoring.NightCatalog, "runners", lambda self: ({"alive": True},))
    with pytest.raises(RequestError, match="1 processes work on the night"):
        rescore(tmp_path / "night")

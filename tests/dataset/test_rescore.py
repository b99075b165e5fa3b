"""Old takes under a new scorer: the same sounds, other marks; the old record stays; a kill in between costs nothing."""

import json
import os
from pathlib import Path

import pytest
from helpers.night_files import night_files
from segue.dataset import ledger as ledgers
from segue.dataset import rescore as rescoring
from segue.dataset.catalog import NightCatalog
from segue.dataset.judgements import read_judgements
from segue.dataset.rescore import rescore
from segue.dataset.status import night_status
from segue.pipeline.atomic import process_mark
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
        return report.model_copy(update={"overall": report.overall / 2, "scorer": "segue-new/music"})

    monkeypatch.setattr(stage, "score", half)
    monkeypatch.setattr(stage, "SCORER_VERSION", "new")


def test_the_same_scorer_changes_nothing(plan_file, night, tmp_path):
    night(plan_file())
    before = night_files(tmp_path / "night")
    done = rescore(tmp_path / "night")
    assert (done.scored, done.takes, done.kept) == (0, 12, None) and night_files(tmp_path / "night") == before
    done = rescore(tmp_path / "night", every=True)  # decoded from latents, measured again: the very same figures
    after = night_files(tmp_path / "night")
    assert done.scored == 12 and done.kept is None and after == before  # nothing is kept of what is as it was


def test_a_new_scorer_gives_new_marks_and_pairs(plan_file, night, new_scorer, monkeypatch, tmp_path):
    with monkeypatch.context() as old:
        old.setattr(stage, "SCORER_VERSION", "old")
        night(plan_file("audio: none\n"))
    out = tmp_path / "night"
    marks, first = [e.overall for e in entries(out)], Group.from_json((out / "groups.jsonl").read_bytes().splitlines()[0])
    said = {"group": first.id, "chosen": first.entries[0].take, "rejected": first.entries[1].take, "labeller": "ann"}
    (out / "judgements.jsonl").write_text(json.dumps(said) + "\n")
    done = rescore(out)
    assert done.scored == 12 and done.scorer == "segue-new/music"
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
        old.setattr(stage, "SCORER_VERSION", "old")
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


def test_what_was_kept_once_stays(plan_file, night, new_scorer, monkeypatch, tmp_path):
    out = tmp_path / "night"
    with monkeypatch.context() as old:
        old.setattr(stage, "SCORER_VERSION", "old")
        night(plan_file())
        first = night_files(out)["groups.jsonl"]
    there = Path(rescore(out).kept)
    with monkeypatch.context() as old:
        old.setattr(stage, "SCORER_VERSION", "old")
        back = Path(rescore(out).kept)  # the very record of the beginning
        assert night_files(out)["groups.jsonl"] == first == night_files(out)[there.name] and back != there
        assert rescore(out).kept is None and rescore(out, every=True).kept is None
    assert there.is_file() and back.is_file()


def test_pairs_are_counted_as_they_are_written(plan_file, night, tmp_path):
    path = plan_file()
    path.write_text(path.read_text().replace("strategies:\n", "strategies:\n  - {compare: human}\n"))
    night(path)
    out = tmp_path / "night"
    first = Group.from_json((out / "groups.jsonl").read_bytes().splitlines()[0])
    said = {"group": first.id, "chosen": first.entries[0].take, "rejected": first.entries[1].take, "labeller": "ann"}
    (out / "judgements.jsonl").write_text(json.dumps(said) + "\n")
    rescore(out)
    done, lines = rescore(out), (out / "pairs.jsonl").read_bytes().splitlines()
    assert (done.pairs_before, done.pairs) == (len(lines), len(lines))
    with NightCatalog(out / "night.sqlite3") as catalog:
        assert len(lines) == catalog.settled().pairs + 1  # that of the judgement


def test_a_night_that_runs_is_not_rescored(plan_file, night, tmp_path):
    night(plan_file())
    with NightCatalog(tmp_path / "night" / "night.sqlite3") as catalog:
        catalog.begin_runner(process_mark(os.getpid()), "2026-01-01T00:00:00Z")
    before = night_files(tmp_path / "night")
    with pytest.raises(RequestError, match="1 processes work on the night"):
        rescore(tmp_path / "night")
    assert night_files(tmp_path / "night") == before


@pytest.mark.parametrize("ends", [True, False])
def test_a_night_that_begins_between_the_check_and_the_lock_loses_nothing(plan_file, night, monkeypatch, tmp_path, ends):
    for name in ("whole", "night"):
        night(plan_file("budget: {takes: 1}\n"), name)
    night(plan_file(), "whole")
    out, judge = tmp_path / "night", rescoring.Judge
    record = (out / "groups.jsonl").read_bytes()

    def meanwhile(*told):
        """Somebody goes on with the night when all has been looked at and was at rest."""
        night(plan_file())
        if not ends:
            with NightCatalog(out / "night.sqlite3") as catalog:
                catalog.begin_runner(process_mark(os.getpid()), "2026-01-01T00:00:00Z")
        return judge(*told)

    monkeypatch.setattr(rescoring, "Judge", meanwhile)
    if ends:
        assert rescore(out, every=True).takes == 12
    else:
        with pytest.raises(RequestError, match="1 processes work on the night"):
            rescore(out, every=True)
    assert len(record) < len((out / "groups.jsonl").read_bytes()) and night_files(out) == night_files(tmp_path / "whole")


def test_the_budget_is_that_of_the_last_beginning(plan_file, night, tmp_path):
    night(plan_file("budget: {takes: 4}\n"))
    out = tmp_path / "night"
    assert night_status(out).budget == {"takes": 4} and night_status(out).eta_s is not None
    with NightCatalog(out / "night.sqlite3") as catalog:
        catalog.note("budget", {"takes": 8, "hours": 2.0})  # what a beginning notes
    assert night_status(out).budget == {"takes": 8, "hours": 2.0}
    rescore(out)
    assert json.loads((out / "night.json").read_text())["budget"] == {"takes": 8, "hours": 2.0}

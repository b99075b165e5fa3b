"""A night from plan to pairs: what lies in its folder, going on with it, budgets, who is compared with whom."""

import json

import pytest
import soundfile as sf
from helpers.night_files import night_files
from helpers.processes import ended, fork
from segue.dataset.keeping import read_latent
from segue.dataset.night import run_night, stop_night
from segue.dataset.status import night_status
from segue.pipeline.audio_file import read_tags
from segue.pipeline.errors import RequestError
from segue.pipeline.options import RunOptions
from segue.scoring.groups import Group
from segue.scoring.pair_schema import Pair


def groups_in(folder):
    return [Group.from_json(line) for line in (folder / "groups.jsonl").read_bytes().splitlines()]


def pairs_in(folder):
    return [Pair.from_json(line) for line in (folder / "pairs.jsonl").read_bytes().splitlines()]


def test_a_night_from_plan_to_pairs(plan_file, night, tmp_path):
    done = night(plan_file())
    out = tmp_path / "night"
    assert done.complete and done.reason == "nothing is left to do"
    groups = groups_in(out)
    assert [g.prompt["caption"] for g in groups] == ['slow "piano"\n and 🎺', "funk band", "house loop"]
    assert [g.strata["genre"] for g in groups] == ["jazz", "funk", "house"]
    assert all(len(g.entries) == 4 for g in groups)  # two drafts, and each of them refined
    for group in groups:
        drafts, polished = group.entries[:2], group.entries[2:]
        assert [e.parent for e in drafts] == [None, None]
        assert [e.parent for e in polished] == [e.take for e in drafts]
        assert {e.generation.model for e in drafts} == {"base"} and {e.generation.model for e in polished} == {"turbo"}
    account = json.loads((out / "night.json").read_text())
    assert (account["takes"], account["groups"], account["jobs"]["done"]) == (12, 3, 3)
    assert account["pairs"] == len(pairs_in(out)) > 0
    assert account["runners"][0]["model_swaps"] <= 2  # a window that holds all: one change each way at most


def test_each_take_keeps_its_sound_its_latent_and_how_it_was_made(plan_file, night, tmp_path):
    night(plan_file())
    out = tmp_path / "night"
    for entry in (e for g in groups_in(out) for e in g.entries):
        tags = read_tags(out / entry.audio_path)
        assert tags["SEGUE_SEED"] == str(entry.seed)
        assert sf.info(out / entry.audio_path).subtype == "PCM_24"
        latent, facts = read_latent(out / entry.latent_path)
        assert latent.frames.shape == (25, 8) and facts["rate_hz"] == 1200
        kept = out / "pipelines" / f"{entry.generation.extra['pipeline']}.yaml"
        assert "polished" in kept.read_text()
        assert entry.generation.extra["lineage"][0]["stage"] == "drafts"
    assert {p.name for p in (out / "work").rglob("*") if p.is_file()} <= {"lock", ".lock", "pairs.sqlite3"}


def test_the_same_command_again_changes_nothing(plan_file, night, tmp_path):
    plan = plan_file()
    night(plan)
    before = night_files(tmp_path / "night")
    again = night(plan)
    assert again.complete and night_files(tmp_path / "night") == before
    assert again.account["runners"][-1]["jobs"] == 0


def test_another_folder_gets_the_same_bytes_whatever_the_window(plan_file, night, tmp_path):
    night(plan_file(), "one")
    night(plan_file().rename(tmp_path / "other.yaml"), "two")
    small = tmp_path / "small.yaml"
    small.write_text((tmp_path / "other.yaml").read_text().replace("window: 8", "window: 1"))
    night(small, "three")
    one, two, three = (night_files(tmp_path / name) for name in ("one", "two", "three"))
    assert one == two
    text = {"groups.jsonl", "pairs.jsonl", "plan.yaml"}  # these name the night, and its plan has another window
    assert {n: d for n, d in one.items() if n not in text} == {n: d for n, d in three.items() if n not in text}


def test_audio_by_policy(plan_file, night, tmp_path):
    night(plan_file("audio: none\n"), "none")
    assert not list((tmp_path / "none").rglob("*.flac"))
    assert {e.audio_path for g in groups_in(tmp_path / "none") for e in g.entries} == {None}
    night(plan_file("audio: paired\n"), "paired")
    out = tmp_path / "paired"
    paired = {side.audio_path for p in pairs_in(out) for side in (p.chosen, p.rejected)}
    assert paired == {p.relative_to(out).as_posix() for p in out.rglob("*.flac")} and "" not in paired
    assert paired == {e.audio_path for g in groups_in(out) for e in g.entries} - {None}
    assert len(list(out.rglob("*.safetensors"))) == 12


WORKED_ON = """
model: {model}
stages:
  drafts: {{type: generate, variant: base, steps: 2}}
  driven: {{type: degrade, source: drafts, clip_db: 6}}
  judged: {{type: score, source: driven}}
  polished: {{type: refine, source: judged, variant: turbo, denoise: 0.5, steps: 2}}
  rejudged: {{type: score, source: polished}}
"""


def test_a_sound_that_no_latent_stands_for_keeps_its_audio(plan_file, night, tmp_path):
    """The refinement encodes the driven waveform; that latent is not what was driven."""
    night(plan_file("audio: none\n", preset=WORKED_ON))
    entries = [e for g in groups_in(tmp_path / "night") for e in g.entries]
    for entry in entries:
        worked_on = entry.take.split("/")[1] == "judged"
        assert (entry.latent_path is None) == worked_on == (entry.audio_path is not None)
    assert len(entries) == 12


def test_what_a_budget_leaves_unsettled_is_no_part_of_the_night(plan_file, night, tmp_path):
    night(plan_file("budget: {takes: 5}\n"))  # one window: jobs of the third prompt may have been done
    out = tmp_path / "night"
    recorded = {place for g in groups_in(out) for e in g.entries for place in (e.audio_path, e.latent_path)}
    assert recorded == {p.relative_to(out).as_posix() for part in ("audio", "latents") for p in (out / part).rglob("*.*")}


def test_a_budget_ends_the_night_after_a_prompt(plan_file, night, tmp_path):
    done = night(plan_file("budget: {takes: 5}\n"))
    assert done.complete and done.reason.startswith("budget used up") and len(groups_in(tmp_path / "night")) == 2
    more = night(plan_file("budget: {takes: 9}\n"))  # another budget is no other plan
    assert more.complete and len(groups_in(tmp_path / "night")) == 3


def test_hours_that_are_over(plan_file, night):
    done = night(plan_file(), hours=0.0)
    assert not done.complete and done.reason == "0 hours are over"
    assert night(plan_file()).complete


def test_gates_keep_takes_out_of_pairs_and_say_why(plan_file, night, tmp_path):
    night(plan_file("gates: {overall_min: 10}\n"))
    entries = [e for g in groups_in(tmp_path / "night") for e in g.entries]
    assert all(e.refused.endswith("is below 10") for e in entries) and pairs_in(tmp_path / "night") == []


def test_settings_are_compared_at_equal_seeds(plan_file, night, tmp_path):
    plan = plan_file().read_text().replace("takes: 2}", "takes: 1, vary: {drafts.steps: [1, 2]}}")
    plan = plan.replace("compare: seeds", "compare: params")
    (tmp_path / "vary.yaml").write_text(plan)
    night(tmp_path / "vary.yaml")
    for group in groups_in(tmp_path / "night"):
        drafts = [e for e in group.entries if e.take.split("/")[1] == "judged"]
        assert len({e.seed for e in drafts}) == 1 and {e.generation.steps for e in drafts} == {1, 2}
        assert {e.generation.varied["drafts.steps"] for e in drafts} == {"1", "2"}
    assert {p.strategy for p in pairs_in(tmp_path / "night")} >= {"same_prompt_different_params"}


def test_another_plan_is_refused_with_the_difference(plan_file, night, tmp_path):
    night(plan_file())
    (tmp_path / "other.yaml").write_text(plan_file().read_text().replace("seed: 3", "seed: 4").replace("takes: 2", "takes: 3"))
    with pytest.raises(RequestError) as wrong:
        night(tmp_path / "other.yaml")
    assert "seed: kept 3, given 4" in str(wrong.value) and "takes: kept 2, given 3" in str(wrong.value)


def test_other_options_are_refused_with_the_difference(plan_file, night, tmp_path):
    night(plan_file())
    with pytest.raises(RequestError) as wrong:
        run_night(plan_file(), tmp_path / "night", created="2027-01-01T00:00:00Z", options=RunOptions(threads=2, device="cpu"))
    assert "threads: kept 1, given 2" in str(wrong.value) and "device" not in str(wrong.value)
    assert "given '2027-01-01T00:00:00Z'" in str(wrong.value)


def test_a_folder_of_other_things_is_left_alone(plan_file, night, tmp_path):
    (tmp_path / "night").mkdir()
    (tmp_path / "night" / "thesis.txt").write_text("mine")
    with pytest.raises(RequestError, match=r"holds no night: thesis\.txt"):
        night(plan_file())
    assert sorted(p.name for p in (tmp_path / "night").iterdir()) == ["thesis.txt"]


def test_a_wrong_plan_leaves_no_night(plan_file, night, tmp_path):
    with pytest.raises(RequestError, match="no_such_stage"):
        night(plan_file(preset="model: {model}\nstages:\n  judged: {{type: score, source: no_such_stage}}\n"))
    assert not (tmp_path / "night").exists()
    assert night(plan_file()).complete  # mended, in the same folder


def test_two_processes_share_the_work(plan_file, night, tmp_path):
    plan = plan_file("", plan=(PLAN_OF_EIGHT))
    night(plan, "alone")
    children = [fork(lambda: night(plan, "shared")) for _ in range(2)]
    assert [ended(pid) for pid in children] == [0, 0]
    assert night_files(tmp_path / "shared") == night_files(tmp_path / "alone")
    runners = json.loads((tmp_path / "shared" / "night.json").read_text())["runners"]
    assert sum(r["jobs"] for r in runners) == 8


PLAN_OF_EIGHT = """
name: eight
seed: 9
prompts: {{grid: {{caption: "{{genre}}", genre: [a, b, c, d], bpm: [80, 120], duration_s: 1, instrumental: true}}}}
runs: [{{preset: {preset}, takes: 2}}]
window: 1
"""


def test_status_and_stop(plan_file, night, tmp_path):
    out = tmp_path / "night"
    with pytest.raises(RequestError, match="holds no night"):
        night_status(out)
    seen = []

    def stop_at_once(progress):
        if not seen:
            seen.append(night_status(out))
            assert stop_night(out) == 1

    done = night(plan_file(), on_progress=stop_at_once)
    assert done.reason == "stopped on request (segue night stop)" and not done.complete
    assert seen[0].running == 1 and seen[0].prompts == 3
    night(plan_file())
    status = night_status(out)
    assert (status.running, status.jobs["done"], status.prompts_settled, status.eta_s) == (0, 3, 3, 0.0)
    assert stop_night(out) == 0


def test_the_same_from_python(plan_file, tmp_path):
    from segue.dataset.plan import load_plan

    done = run_night(load_plan(plan_file()), tmp_path / "night", created="2026-01-01T00:00:00Z")
    assert done.account["takes"] == 12


def test_a_later_start_does_not_take_a_wish_to_stop_back(plan_file, night, tmp_path):
    plan, asked = plan_file(), []

    def stop_and_start_again(progress):
        if not asked:
            asked.append(stop_night(tmp_path / "night"))
            assert ended(fork(lambda: night(plan, hours=0.0))) == 0

    done = night(plan, on_progress=stop_and_start_again)
    assert asked == [1] and done.reason == "stopped on request (segue night stop)"
    assert len(json.loads((tmp_path / "night" / "night.json").read_text())["runners"]) == 2


def test_a_wish_to_stop_counts_while_a_night_still_begins(plan_file, night, tmp_path, monkeypatch):
    from segue.dataset import night as night_module

    plan = plan_file()
    night(plan, hours=0.0)
    weights = night_module._weights

    def stopped_meanwhile(jobs, offline):
        assert stop_night(tmp_path / "night") == 1
        return weights(jobs, offline)

    monkeypatch.setattr(night_module, "_weights", stopped_meanwhile)
    assert night(plan).reason == "stopped on request (segue night stop)"


def test_a_start_that_is_refused_leaves_no_runner(plan_file, night, tmp_path, monkeypatch):
    from segue.dataset import night as night_module

    plan = plan_file()
    night(plan, hours=0.0)
    monkeypatch.setattr(night_module, "_weights", lambda jobs, offline: {"run 0, stage drafts": "others"})
    with pytest.raises(RequestError, match="are not those the night"):
        night(plan)
    assert night_status(tmp_path / "night").running == 0

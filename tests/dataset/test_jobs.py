"""Jobs: numbered by prompt, run and variation; each a pipeline with the job's prompt, seed and settings; wrong plans told."""

from __future__ import annotations

from pathlib import Path

import pytest
from segue.dataset.jobs import Jobs
from segue.dataset.plan import Plan, load_plan
from segue.pipeline.errors import Problem, RequestError
from segue.pipeline.keys import derive_seed

PRESET = """\
name: own
prompt: {caption: the preset's, lyrics: la, duration_s: 1}
takes: 2
stages:
  draft: {type: generate, steps: 2}
  scored: {type: score, source: draft}
"""
PLAN = """\
seed: 7
prompts:
  list:
    - {caption: one, bpm: 96, tags: {genre: jazz}}
    - {caption: two}
    - {caption: three, keyscale: C major}
runs:
  - {preset: own.yaml}
  - preset: own.yaml
    takes: 3
    set: {draft.solver: heun}
    vary: {draft.steps: [3, 4], draft.guidance.scale: [1, 2.5]}
strategies: [{compare: any}]
"""


@pytest.fixture
def plan(tmp_path: Path, tiny_model: str) -> Plan:
    (tmp_path / "own.yaml").write_text(PRESET, encoding="utf-8")
    path = tmp_path / "plan.yaml"
    path.write_text(f"model: {tiny_model}\n{PLAN}", encoding="utf-8")
    return load_plan(path)


def problems_of(tmp_path: Path, tiny_model: str, text: str, preset: str = PRESET) -> list[Problem]:
    (tmp_path / "own.yaml").write_text(preset, encoding="utf-8")
    path = tmp_path / "plan.yaml"
    path.write_text(text.replace("MODEL", tiny_model), encoding="utf-8")
    with pytest.raises(RequestError) as refused:
        Jobs(load_plan(path)).check()
    return refused.value.problems


def test_jobs_are_numbered_by_prompt_then_run_then_variation(plan: Plan) -> None:
    jobs = Jobs(plan)
    assert (len(jobs), jobs.blocks, [jobs.block(b) for b in range(3)]) == (15, 3, [range(0, 5), range(5, 10), range(10, 15)])
    made = list(jobs)
    assert [job.number for job in made] == list(range(15)) and [job.block for job in made] == [n // 5 for n in range(15)]
    assert [jobs.block_of(n) for n in range(15)] == [job.block for job in made]
    assert [job.run for job in made[:5]] == [0, 1, 1, 1, 1]
    steps, scale = "draft.steps", "draft.guidance.scale"
    assert [job.variation for job in made[5:10]] == [
        {}, {steps: "3", scale: "1"}, {steps: "3", scale: "2.5"}, {steps: "4", scale: "1"}, {steps: "4", scale: "2.5"},
    ]  # fmt: skip
    assert [jobs.kind(n) for n in range(5, 10)] == ["0", "1.0", "1.1", "1.2", "1.3"]
    assert jobs.first_of_kinds() == {"0": 0, "1.0": 1, "1.1": 2, "1.2": 3, "1.3": 4}
    assert [job.takes for job in made[:5]] == [2, 3, 3, 3, 3]
    assert made[0].varied == {"run": "0"} and made[8].varied == {"run": "1", steps: "4", scale: "1"}
    assert made[0].strata == {"genre": "jazz", "bpm": "90-109"} and made[14].strata == {"keyscale": "C major"}
    assert jobs.models() == ((plan.model, plan._base),)
    for wrong in (-1, 15):
        with pytest.raises(IndexError):
            jobs[wrong]
    jobs.check()


def test_a_block_has_one_seed_and_blocks_have_others(plan: Plan) -> None:
    jobs = Jobs(plan)
    seeds = [job.seed for job in jobs]
    assert [len(set(seeds[b * 5 : b * 5 + 5])) for b in range(3)] == [1, 1, 1] and len(set(seeds)) == 3
    assert seeds[5] == derive_seed(7, "block", 1)
    other = Jobs(plan.model_copy(update={"seed": 8}).placed(plan._base, plan._file, plan._lines))
    assert not set(seeds) & {job.seed for job in other}


def test_a_pipeline_carries_the_job(plan: Plan) -> None:
    jobs = Jobs(plan)
    made = jobs.pipeline(8)
    assert made.prompt.facts() == {"caption": "two", "lyrics": "la", "duration_s": 1.0}  # left out: the preset's
    assert (made.seed, made.takes, made.model) == (jobs[8].seed, 3, plan.model)
    draft = made.stages["draft"]
    assert (draft.steps, draft.guidance.scale, draft.solver) == (4, 1.0, "heun")
    assert jobs.pipeline(5).stages["draft"].solver is None


def test_settings_are_compared_at_equal_noise(plan: Plan) -> None:
    """Carried out, takes of all settings have the same seeds, and takes of equal settings are equal."""
    jobs = Jobs(plan)
    one, other = jobs.pipeline(1).run(), jobs.pipeline(3).run()
    assert [t.seed for t in one["draft"]] == [t.seed for t in other["draft"]] and len(one["scored"]) == 3
    assert one["draft"][0].key != other["draft"][0].key
    assert [t.key for t in Jobs(plan).pipeline(1).run()["draft"]] == [t.key for t in one["draft"]]


@pytest.mark.parametrize(
    "text", ["null", "8", "true", "a: b", 'say "hi"', "two\nlines", "emoji 🎷", "~", "", "it's", "\u2028\x7f"]
)
def test_settings_arrive_as_they_were_written(plan: Plan, text: str) -> None:
    run = plan.runs[0].model_copy(update={"set": {"draft.about": text, "draft.instruction": text}})
    made = Jobs(plan.model_copy(update={"runs": (run,)}).placed(plan._base, plan._file, plan._lines)).pipeline(0)
    assert made.stages["draft"].about == text and made.stages["draft"].instruction == text


def test_settings_may_be_lists_and_mappings(plan: Plan) -> None:
    given = {"draft.timesteps": [1.0, 0.5], "draft.guidance": {"kind": "cfg", "interval": [0.1, 0.9]}}
    run = plan.runs[0].model_copy(update={"set": given})
    draft = Jobs(plan.model_copy(update={"runs": (run,)}).placed(plan._base, plan._file, plan._lines)).pipeline(0).stages["draft"]
    assert draft.timesteps == (1.0, 0.5) and (draft.guidance.kind, draft.guidance.interval) == ("cfg", (0.1, 0.9))


def test_prompts_are_no_jobs_until_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text("".join(f'{{"caption": "{i}"}}\n' for i in range(2000)), encoding="utf-8")
    text = f"seed: 1\nprompts: {{file: {path}}}\nruns: [{{preset: base-turbo-refine, vary: {{draft.steps: [1, 2, 3, 4, 5]}}}}]\n"
    jobs = Jobs(load_plan(text))
    assert len(jobs) == 10_000 and jobs[9999].prompt.caption == "1999" and jobs[9999].origin == "p.jsonl:2000"
    assert set(jobs._bases) == {4}


HEAD = "model: MODEL\nseed: 7\nprompts: {list: [{caption: one, tags: {genre: jazz}}]}\nruns:\n"


@pytest.mark.parametrize(
    ("rest", "line", "words"),
    [
        ("  - preset: own.yaml\n    set: {draft.stepps: 3}\n", 6, "Did you mean 'steps'?"),
        ("  - preset: own.yaml\n    set: {draft.steps: many}\n", 6, "many"),
        ("  - preset: own.yaml\n    vary: {draft.steps: [2, 0]}\n", 6, "0 must be greater"),
        ("  - preset: own.yaml\n    vary: {drafft.steps: [2, 3]}\n", 6, "'drafft' is no key and no stage"),
        ("  - preset: own.yaml\n    set: {draft.variant: turbo}\n", 6, "turbo"),
        ("  - preset: own.yaml\n    inputs: {clip: a.wav}\n", 6, "no input 'clip'"),
        ("  - preset: own.yaml\n    set: {scored.reference_clips: [nowhere.wav]}\n", 6, "nowhere.wav"),
        ("  - preset: own.yml\n", 5, "no preset and no file 'own.yml'"),
        ("  - preset: base-turbo-refin\n", 5, "Did you mean 'base-turbo-refine'?"),
        ("  - preset: own.yaml\n    vary: {seed: [1, 2]}\n", 6, "the night gives every job its seed"),
        ("  - preset: own.yaml\n    vary: {prompt.bpm: [90, 100]}\n", 6, "prompts are the plan's own"),
        ("  - preset: own.yaml\n    set: {takes: 4}\n", 6, "write takes beside preset"),
        ("  - preset: own.yaml\n    set: {draft.steps: 4}\n    vary: {draft.steps: [1, 2]}\n", 7, "set and varied"),
        ("  - {preset: own.yaml, takes: 1}\n", 4, "compare: seeds needs two takes"),
        ("  - preset: own.yaml\nstrategies: [{compare: params}]\n", 6, "needs two settings"),
        ("  - preset: own.yaml\nstrategies:\n  - compare: repair\n", 7, "no run scores twice"),
        ("  - preset: own.yaml\nstrategies:\n  - {compare: seeds}\n  - {compare: reference}\n", 8, "reference_clips"),
        ("  - preset: own.yaml\nquotas: {by: [gender], pairs: 3}\n", 6, "Did you mean 'genre'?"),
    ],
)
def test_what_is_wrong_with_a_run_is_told_at_its_line_in_the_plan(
    rest: str, line: int, words: str, tmp_path: Path, tiny_model: str
) -> None:
    (problem,) = problems_of(tmp_path, tiny_model, HEAD + rest)
    assert words in str(problem) and problem.file == str(tmp_path / "plan.yaml") and problem.line == line, problem


def test_all_runs_problems_are_told_together(tmp_path: Path, tiny_model: str) -> None:
    text = HEAD + "  - preset: own.yaml\n    set: {draft.stepps: 3}\n  - preset: nowhere.yaml\nquotas: {by: [x], pairs: 3}\n"
    found = problems_of(tmp_path, tiny_model, text)
    assert [p.line for p in found] == [6, 7, 8]


def test_a_fault_of_the_preset_is_told_in_the_preset(tmp_path: Path, tiny_model: str) -> None:
    (problem,) = problems_of(
        tmp_path, tiny_model, HEAD + "  - preset: own.yaml\n", PRESET.replace("source: draft", "source: daft")
    )
    assert problem.file == str(tmp_path / "own.yaml") and problem.line == 6 and "Did you mean 'draft'?" in str(problem)


def test_a_preset_that_scores_nothing_is_refused(tmp_path: Path, tiny_model: str) -> None:
    silent = PRESET.split("  scored")[0]
    (problem,) = problems_of(tmp_path, tiny_model, HEAD + "  - preset: own.yaml\n", silent)
    assert "scores nothing" in problem.cause and problem.line == 5


def test_a_repair_judged_by_other_rules_is_none(tmp_path: Path, tiny_model: str) -> None:
    """Before and after must be judged alike; a second look at the same sound is no repair either."""
    repair = PRESET + "  mended: {type: refine, source: scored, denoise: 0.5}\n  again: {type: score, source: mended}\n"
    text = HEAD + "  - preset: own.yaml\nstrategies: [{compare: repair}]\n"
    for preset in (
        repair.replace("source: mended}", "source: mended, profile: speech}"),
        PRESET + "  again: {type: score, source: scored}\n",
    ):
        (problem,) = problems_of(tmp_path, tiny_model, text, preset)
        assert "no run scores twice" in problem.cause
    (tmp_path / "own.yaml").write_text(repair, encoding="utf-8")
    (tmp_path / "plan.yaml").write_text(text.replace("MODEL", tiny_model), encoding="utf-8")
    Jobs(load_plan(tmp_path / "plan.yaml")).check()


def test_presets_that_fill_in_other_prompts_are_no_settings_of_one(tmp_path: Path, tiny_model: str) -> None:
    (tmp_path / "other.yaml").write_text(PRESET.replace("duration_s: 1", "duration_s: 2"), encoding="utf-8")
    text = HEAD + "  - preset: own.yaml\n  - preset: other.yaml\nstrategies: [{compare: params}]\n"
    (problem,) = problems_of(tmp_path, tiny_model, text)
    assert "fills in" in problem.cause and problem.line == 7


def test_a_plan_without_a_seed_is_not_begun(plan: Plan) -> None:
    with pytest.raises(ValueError, match="no seed yet"):
        Jobs(plan.model_copy(update={"seed": None}))

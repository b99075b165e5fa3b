"""Plans: read whole or refused with every line that is wrong; written again; told apart from other plans."""

from __future__ import annotations

from pathlib import Path

import pytest
from segue.dataset.jobs import Jobs
from segue.dataset.plan import NIGHTS, differences, load_plan
from segue.pipeline.errors import Problem, RequestError

PLAN = """\
name: small
seed: 7
prompts:
  list:
    - {caption: warm jazz trio, bpm: 96, tags: {genre: jazz}}
    - {caption: slow pads}
runs:
  - {preset: base-turbo-refine, takes: 2}
strategies:
  - {compare: seeds, rule: topk, k: 2}
budget:
  hours: 8
"""


def problems(text: str, tmp_path: Path, overrides: dict[str, str] | None = None) -> list[Problem]:
    """What is wrong with a plan in a file."""
    path = tmp_path / "plan.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(RequestError) as refused:
        load_plan(path, overrides)
    assert all(p.file in (str(path), "--set") or str(p.file).startswith("--set ") for p in refused.value.problems)
    return refused.value.problems


def line_of(text: str, part: str) -> int:
    return next(i for i, line in enumerate(text.splitlines(), start=1) if part in line)


@pytest.mark.parametrize(
    ("good", "bad", "words"),
    [
        ("rule: topk", "rule: topkk", "Did you mean 'topk'?"),
        ("compare: seeds", "compare: seed", "Did you mean 'seeds'?"),
        ("rule: topk", "rull: topk", "no key 'rull'. Did you mean 'rule'?"),
        ("  hours: 8", "  hours: 0", "0 must be greater than 0"),
        ("  hours: 8", "  pairs: -3", "-3 must be greater than 0"),
        ("  hours: 8", "  takes: 0", "0 must be greater than 0"),
        ("  hours: 8", "  disk_gb: 0.0", "0.0 must be greater than 0"),
        ("  hours: 8", "  houres: 8", "Did you mean 'hours'?"),
        ("  hours: 8", "  hours: '8'", "write 8 without quotes"),
        ("budget:", "budgets:", "Did you mean 'budget'?"),
        ("takes: 2}", "take: 2}", "Did you mean 'takes'?"),
        ("takes: 2}", "vary: {draft.steps: []}}", "has no values"),
        ("takes: 2}", "vary: {draft.steps: [8, 8]}}", "names a value twice"),
        ("bpm: 96", "bpm: 9", "9 must be greater than or equal to 20"),
        ("bpm: 96", "tempo: 96", "no key 'tempo'"),
        ("tags: {genre: jazz}", "tags: {genre: [jazz]}", "a tag is text or a number"),
    ],
)
def test_a_slip_is_told_with_its_line_and_what_was_meant(good: str, bad: str, words: str, tmp_path: Path) -> None:
    text = PLAN.replace(good, bad)
    (problem,) = problems(text, tmp_path)
    assert words in str(problem) and problem.line == line_of(text, bad), problem


def test_every_problem_is_told_at_once(tmp_path: Path) -> None:
    text = (
        PLAN.replace("topk", "topkk")
        .replace("hours: 8", "hours: -1")
        .replace("bpm: 96", "bpm: fast")
        .replace("seed: 7", "seed: x")
    )
    assert [p.line for p in problems(text, tmp_path)] == [line_of(text, part) for part in ("seed", "bpm", "topkk", "hours")]


@pytest.mark.parametrize("given", ["", "[a, list]\n", "name: x\n"])
def test_a_plan_without_prompts_or_runs_is_none(given: str, tmp_path: Path) -> None:
    assert problems(given, tmp_path)


def test_equal_keys_are_refused(tmp_path: Path) -> None:
    (problem,) = problems(PLAN + "budget: {takes: 3}\n", tmp_path)
    assert "'budget' is given on line 11 and on line 13" in problem.cause


def test_prompts_come_from_one_place(tmp_path: Path) -> None:
    both = PLAN.replace("  list:", "  file: p.jsonl\n  list:")
    (problem,) = problems(both, tmp_path)
    assert "list and file" in problem.cause and problem.line == line_of(both, "prompts:")
    (problem,) = problems("prompts: {}\nruns: [{preset: latent-blend}]\n", tmp_path)
    assert "none of them is given" in problem.cause


def test_overrides_replace_what_the_file_says(tmp_path: Path) -> None:
    made = load_plan(PLAN, {"budget.hours": "0.5", "budget.takes": "4", "name": "8", "strategies[0].k": "3"})
    assert (made.budget.hours, made.budget.takes, made.name, made.strategies[0].k) == (0.5, 4, "8", 3)
    (problem,) = problems(PLAN, tmp_path, {"budget.takes": "0"})
    assert problem.file == "--set" and problem.key == "budget.takes"
    (problem,) = problems(PLAN, tmp_path, {"buget.takes": "3"})
    assert "is no key of a plan. Did you mean 'budget'?" in problem.cause


def test_a_name_that_is_no_plan(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="Did you mean 'seeds'"):
        load_plan("sedes")
    with pytest.raises(RequestError, match="the plan file does not exist"):
        load_plan(tmp_path / "none.yaml")


def test_many_prompts_belong_in_a_file(tmp_path: Path) -> None:
    """Also where only what is kept would be too large to be read again."""
    long = PLAN.replace("warm jazz trio", "x" * 19_000).replace("    - {caption: slow pads}\n", "".join(
        f"    - {{caption: {'y' * 19_000}{i}}}\n" for i in range(60)))  # fmt: skip
    (problem,) = problems(long, tmp_path)
    assert "prompts.jsonl" in problem.fix and "1.16 MB" in problem.cause
    many = load_plan(PLAN)
    listed = (many.prompts.list[0].model_copy(update={"caption": "x" * 19_000}),) * 60
    many = many.model_copy(update={"prompts": many.prompts.model_copy(update={"list": listed})})
    with pytest.raises(RequestError, match=r"prompts\.jsonl"):
        many.begun("2026-01-02T03:04:05Z")


def test_text_survives_being_written_and_read() -> None:
    captions = [
        "two\nlines and\ttab",
        "quotes \"double\" and 'single'",
        "emoji 🎷🥁",
        "- looks: like yaml",
        " blanks ",
        "null",
        "\u2028\x85",
    ]
    made = load_plan(PLAN)
    listed = tuple(made.prompts.list[0].model_copy(update={"caption": caption}) for caption in captions)
    plan = made.model_copy(update={"prompts": made.prompts.model_copy(update={"list": listed})})
    again = load_plan(plan.to_yaml())
    assert [p.caption for p in again.prompts.list] == captions
    assert again == plan and hash(again) == hash(plan)


def test_a_plan_begun_means_the_same_in_another_folder(tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    text = PLAN.replace("seed: 7\n", "").replace("  list:", "  file: some/prompts.jsonl").split("    -")[0]
    path.write_text(text + "runs:\n  - {preset: own.yaml, inputs: {clip: a.wav}}\n  - {preset: latent-blend}\n", encoding="utf-8")
    begun = load_plan(path).begun("2026-01-02T03:04:05Z")
    assert begun.seed is not None and begun.created == "2026-01-02T03:04:05Z"
    assert begun.prompts.file == str(tmp_path / "some/prompts.jsonl")
    assert [run.preset for run in begun.runs] == [str(tmp_path / "own.yaml"), "latent-blend"]
    assert begun.runs[0].inputs == {"clip": str(tmp_path / "a.wav")}
    kept = tmp_path / "out" / "plan.yaml"
    kept.parent.mkdir()
    kept.write_text(begun.to_yaml(), encoding="utf-8")
    again = load_plan(kept)
    assert again == begun and differences(again, load_plan(path)) == []
    assert again.begun("later") == begun  # nothing is filled in twice


def test_another_plan_is_told_by_what_differs() -> None:
    kept = load_plan(PLAN).begun("2026-01-02T03:04:05Z")
    assert differences(kept, load_plan(PLAN)) == []
    assert differences(kept, load_plan(PLAN.replace("hours: 8", "takes: 3"))) == []  # a budget only says when to stop
    assert differences(kept, load_plan(PLAN.replace("seed: 7\n", ""))) == []
    assert differences(kept, load_plan(PLAN.replace("name: small", "name: other"))) == []
    listed = PLAN.split("prompts:")[0] + "prompts: {file: p.csv}\nruns:" + PLAN.split("runs:")[1]
    assert differences(kept, load_plan(listed)) == ["prompts: kept those of a list, given those of a file"]
    told = differences(
        kept, load_plan(PLAN.replace("takes: 2}", "takes: 3}").replace("k: 2", "k: 4").replace("seed: 7", "seed: 8"))
    )
    assert told == ["seed: kept 7, given 8", "runs.0.takes: kept 2, given 3", "strategies.0.k: kept 2, given 4"]
    assert "prompts.list.1.caption: kept 'slow pads', given nothing" in differences(
        kept, load_plan(PLAN.replace("    - {caption: slow pads}\n", ""))
    )


@pytest.mark.parametrize(
    ("gates", "words"),
    [
        ("refuse_defects: [cliping]", "Did you mean 'clipping'?"),
        ("when: report.overal > 3", "Did you mean 'overall'?"),
        ("when: scored.overall > 3", "a gate reads report"),
        ("when: prompt.tempo > 3", "no such field"),
        ("when: 'report.overall >'", "when:"),
        ("overall_min: 11", "11"),
    ],
)
def test_gates_know_reports_and_prompts(gates: str, words: str, tmp_path: Path) -> None:
    text = PLAN + f"gates: {{{gates}}}\n"
    (problem,) = problems(text, tmp_path)
    assert words in str(problem) and problem.line == line_of(text, "gates:")


@pytest.mark.parametrize("path", sorted(NIGHTS.glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_plans_can_be_carried_out(path: Path) -> None:
    plan = load_plan(path.stem)
    assert plan.about and (plan.budget.takes or plan.budget.pairs) and plan.budget.hours is None
    jobs = Jobs(plan.begun("2026-01-02T03:04:05Z", seed=1))
    jobs.check(offline=True)
    assert all(jobs[number].strata for number in range(len(jobs)))


def test_shipped_plans_show_every_strategy() -> None:
    shown = {strategy.compare for path in NIGHTS.glob("*.yaml") for strategy in load_plan(path).strategies}
    assert shown == {"seeds", "params", "repair", "reference", "human"}

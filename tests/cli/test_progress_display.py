"""The two displays, fed with a run's events: what a log and what a terminal shows."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from segue.cli import progress
from segue.cli.progress import Bar, Lines
from segue.pipeline.events import Event, RunDone, RunStarted, StageDone, StageStarted, StepDone, TakeDone, Warned

EVENTS: list[Event] = [
    RunStarted("run-1", ("draft", "polish")),
    StageStarted("draft", "generate", jobs=2, cached=0),
    StepDone("draft", (0,), 1, 2),
    StepDone("draft", (0,), 2, 2),
    TakeDone("draft", 0, False, 1.0),
    StepDone("draft", (1,), 1, 2),
    Warned("120 tokens were cut off [verse]", "draft"),
    TakeDone("draft", 1, False, 1.0),
    StageDone("draft", 65.2, 2),
    StageStarted("polish", "refine", jobs=1, cached=1),
    TakeDone("polish", 0, True, 0.0),
    StageDone("polish", 0.004, 1),
    RunDone("run-1", 66.0),
]


def test_a_log_gets_a_line_a_stage_and_every_warning(capsys: pytest.CaptureFixture[str]) -> None:
    with Lines() as shown:
        for event in EVENTS:
            shown(event)
    printed = capsys.readouterr()
    assert printed.out == "" and shown.run_id == "run-1"
    assert printed.err.splitlines() == [
        "warning: stage 'draft': 120 tokens were cut off [verse]",
        "[1/2] draft: 2 takes in 1 min 5 s",
        "[2/2] polish: 1 take in 0.00 s",
    ]


def test_a_long_stage_says_every_ten_seconds_where_it_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    shown = Lines()
    shown(EVENTS[0])
    shown(EVENTS[1])
    for step in range(1, 31):
        now += 1.0
        shown(StepDone("draft", (0,), step, 30))
    lines = capsys.readouterr().err.splitlines()
    assert lines == [f"[1/2] draft: 0/2 takes, step {step}/30" for step in (10, 20, 30)]


def test_the_bar_shows_stage_step_takes_and_time_left() -> None:
    screen = io.StringIO()
    bar = Bar(Console(file=screen, force_terminal=True, width=120, markup=False, highlight=False))
    with bar:
        for event in EVENTS[:4]:
            bar(event)
        (task,) = bar._bar.tasks
        assert task.completed == pytest.approx(1.0) and task.total == 2
        assert task.fields["step"] == 2 and task.fields["done"] == 0
        bar._bar.refresh()
        for event in EVENTS[4:9]:
            bar(event)
        assert task.finished
    text = screen.getvalue()
    assert "[1/2] draft" in text and "step 2/2" in text and "2/2 takes" in text
    assert "2 takes in 1 min 5 s" in text


def test_micro_batches_count_all_their_takes() -> None:
    bar = Bar(Console(file=io.StringIO(), force_terminal=True))
    bar(EVENTS[0])
    bar(StageStarted("draft", "generate", jobs=4, cached=0))
    bar(StepDone("draft", (0, 1), 1, 2))
    assert bar._bar.tasks[0].completed == pytest.approx(1.0), "half of two takes"

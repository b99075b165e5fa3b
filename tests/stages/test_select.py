"""`select`: order, ties, absent values, directions, and errors that teach, before and during a run."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile as sf
import torch
from hypothesis import given
from hypothesis import strategies as st
from segue import Pipeline, Prompt, RequestError, RunError
from segue.pipeline.take import Audio, Signal, Take
from segue.scoring.metrics import metric
from segue.scoring.report import Metric, QualityReport
from segue.stages import Degrade, Score, Select

HERE = SimpleNamespace(stage="best")  # all that choosing asks of its context


def take(index: int, overall: float = 5.0, report: bool = True, **values: float | None) -> Take:
    made = QualityReport(
        overall=overall,
        metrics={n: metric(n, v) for n, v in values.items()},
        scorer="test",
        duration_s=1.0,
        rate_hz=48_000,
    )
    sound = Signal(Audio(torch.zeros(1, 4), 48_000))
    return Take("scored", index, index, Prompt(), f"k{index}", sound, report=made if report else None)


def chosen(stage: Select, takes: list[Take]) -> list[int]:
    return [t.index for t in stage.choose(takes, HERE)]


@given(st.lists(st.floats(0, 10), min_size=1, max_size=12), st.integers(1, 12))
def test_the_best_by_overall_and_ties_by_index(scores: list[float], keep: int) -> None:
    takes = [take(i, s) for i, s in enumerate(scores)]
    expected = sorted(range(len(scores)), key=lambda i: (-scores[i], i))[:keep]
    assert chosen(Select(source="s", keep=keep), takes) == expected
    assert chosen(Select(source="s", keep=keep), takes[::-1]) == expected


def test_takes_go_on_unchanged() -> None:
    takes = [take(0, 1.0), take(1, 2.0)]
    assert Select(source="s").choose(takes, HERE)[0] is takes[1]


def test_best_follows_the_metrics_own_direction() -> None:
    takes = [take(0, lsd=1.0, si_sdr_db=1.0), take(1, lsd=0.5, si_sdr_db=9.0), take(2, lsd=2.0, si_sdr_db=5.0)]
    assert chosen(Select(source="s", keep=3, by="lsd"), takes) == [1, 0, 2]
    assert chosen(Select(source="s", keep=3, by="si_sdr_db"), takes) == [1, 2, 0]
    assert chosen(Select(source="s", keep=3, by="lsd", order="highest"), takes) == [2, 0, 1]
    assert chosen(Select(source="s", keep=1, by="si_sdr_db", order="lowest"), takes) == [0]


@pytest.mark.parametrize("order", ["highest", "lowest"])
def test_takes_without_a_value_come_last(order: str) -> None:
    takes = [take(0, thd_percent=None), take(1, thd_percent=3.0), take(2, thd_percent=None), take(3, thd_percent=1.0)]
    got = chosen(Select(source="s", keep=4, by="thd_percent", order=order), takes)
    assert got[2:] == [0, 2]
    assert set(got[:2]) == {1, 3}


def test_a_metric_without_a_direction_is_an_error_with_the_fix() -> None:
    with pytest.raises(RunError, match=r"neither better high nor better low.*order: highest"):
        Select(source="s", by="crest_db").choose([take(0, crest_db=9.0)], HERE)
    assert chosen(Select(source="s", by="crest_db", order="highest"), [take(0, crest_db=9.0)]) == [0]


def test_a_missing_field_names_the_known_ones() -> None:
    with pytest.raises(RunError, match=r"no figure 'lds'.*Did you mean 'lsd'.*overall, lsd"):
        Select(source="s", by="lds", order="lowest").choose([take(0, lsd=1.0)], HERE)
    with pytest.raises(RunError, match="no figure 'lsd'"):
        Select(source="s", by="lsd").choose([take(0, crest_db=1.0)], HERE)


def test_a_take_without_a_report_is_an_error() -> None:
    with pytest.raises(RunError, match="put a score stage between 'scored' and 'best'"):
        Select(source="s").choose([take(0, report=False)], HERE)


def test_a_metric_of_someone_elses_brings_its_own_direction() -> None:
    made = take(0)
    report = made.report.model_copy(update={"metrics": {"clap": Metric(value=0.3, higher_is_better=True)}})
    assert chosen(Select(source="s", by="clap"), [made.with_(report=report)]) == [0]


def problems(tmp_path: Path, select: Select, score: Score | None = None) -> str:
    sf.write(tmp_path / "clip.wav", 0.1 * np.sin(np.arange(12_000))[:, None], 24_000)
    stages = {"scored": score or Score(source="clip"), "best": select}
    pipe = Pipeline(inputs={"clip": str(tmp_path / "clip.wav")}, seed=1, stages=stages)
    with pytest.raises(RequestError) as caught:
        pipe.run(out=tmp_path / "out")
    return str(caught.value)


def test_what_can_be_known_is_said_before_the_run(tmp_path: Path) -> None:
    assert "Did you mean 'crest_db'?" in problems(tmp_path, Select(source="scored", by="crest_dB", order="lowest"))
    assert "no field 'lsd'" in problems(tmp_path, Select(source="scored", by="lsd"))
    assert "neither better high nor better low" in problems(tmp_path, Select(source="scored", by="integrated_lufs"))
    assert "no order" in problems(tmp_path, Select(source="scored", by="defects"))
    assert "stage 'best'" in problems(tmp_path, Select(source="clip"))


def test_a_real_run_keeps_the_one_nearest_its_reference(tmp_path: Path) -> None:
    sf.write(tmp_path / "clip.wav", 0.1 * np.sin(np.arange(24_000) / 9)[:, None], 24_000)
    pipe = Pipeline(
        inputs={"clip": str(tmp_path / "clip.wav")},
        seed=1,
        stages={
            "scored": Score(source="clip", reference="clip"),
            "best": Select(source="scored", by="lsd", keep=3),
        },
    )
    (kept,) = pipe.run(out=tmp_path / "out")["best"]
    assert kept.report.field("lsd") == 0.0
    assert kept.stage == "best"


def test_when_and_prompt_hold_for_choosing_too(tmp_path: Path) -> None:
    sf.write(tmp_path / "clip.wav", 0.5 * np.sin(np.arange(24_000) / 9)[:, None], 24_000)
    pipe = Pipeline(
        prompt=Prompt(caption="before", lyrics="la"),
        inputs={"clip": str(tmp_path / "clip.wav")},
        seed=1,
        stages={
            "worse": Degrade(source="clip", bit_depth=(2, 16), takes=4),
            "scored": Score(source="worse"),
            "none": Select(source="scored", when="scored.overall > 99"),
            "all": Select(source="scored", when="scored.overall > -1", prompt=Prompt(caption="after", lyrics="")),
        },
    )
    run = pipe.run()
    assert [t.index for t in run["none"]] == [0, 1, 2, 3]
    assert all(t.lineage[-1]["passed_by"] and t.prompt == pipe.prompt for t in run["none"])
    (best,) = run["all"]
    assert best.report.overall == max(t.report.overall for t in run["scored"])
    assert best.prompt == Prompt(caption="after", lyrics="")

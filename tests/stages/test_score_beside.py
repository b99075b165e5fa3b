"""What `score` may be asked for beside the scorer: every reference figure, reference clips, adapters; and what is refused."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
from pydantic import ValidationError
from segue import Pipeline, Prompt, Run
from segue.cli.main import app
from segue.pipeline.errors import RunError
from segue.presets.loader import load
from segue.scoring.adapters import ADAPTERS, clap
from segue.scoring.comparison import REFERENCE_METRICS
from segue.scoring.feature_distribution import reference_distance
from segue.stages import Score
from segue.training.corpus import make_clip
from typer.testing import CliRunner

RATE = 24_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A take and a folder of references: two songs, one of them in a subfolder, and a text file that is none."""
    (tmp_path / "refs" / "more").mkdir(parents=True)
    for name, seed in (("take.wav", 3), ("refs/a.wav", 4), ("refs/more/b.wav", 5)):
        sf.write(tmp_path / name, make_clip(seed, 2.0).samples.T, RATE, subtype="FLOAT")
    (tmp_path / "refs" / "notes.txt").write_text("no sound")
    return tmp_path


def scored(folder: Path, caption: str | None = None, **settings: Any) -> Run:
    pipe = Pipeline(
        inputs={"clip": str(folder / "take.wav")}, seed=1, prompt=Prompt(caption=caption),
        stages={"scored": Score(source="clip", **settings)},
    )  # fmt: skip
    return pipe.run(out=folder / "out")


def test_a_reference_brings_every_reference_figure(folder: Path) -> None:
    report = scored(folder, reference="clip")["scored"][0].report
    assert {n: report.field(n) for n in REFERENCE_METRICS}.keys() <= report.metrics.keys()
    assert report.field("onset_f_measure") == report.field("envelope_correlation") == pytest.approx(1.0)
    assert report.field("multi_resolution_stft") == report.field("lsd_high") == 0.0
    assert not [n for n in report.metrics if n.startswith(("clap", "reference_distance", "squim"))]


def test_reference_clips_from_a_folder_or_files(folder: Path) -> None:
    by_folder = scored(folder, reference_clips=(str(folder / "refs"),))["scored"][0].report
    by_files = scored(folder, reference_clips=(str(folder / "refs/a.wav"), str(folder / "refs/more/b.wav")))["scored"][0].report
    clips = [(make_clip(seed, 2.0).samples, RATE) for seed in (4, 5)]
    expected = reference_distance(make_clip(3, 2.0).samples, RATE, clips)
    assert by_folder.field("reference_distance") == by_files.field("reference_distance") == pytest.approx(expected)
    assert by_folder.metrics["reference_distance"].higher_is_better is False
    assert by_folder.overall == scored(folder)["scored"][0].report.overall


def test_changed_reference_clips_are_another_judgement(folder: Path) -> None:
    clips = (str(folder / "refs"),)
    first, again = (scored(folder, reference_clips=clips)["scored"][0] for _ in range(2))
    assert first.key == again.key
    sf.write(folder / "refs" / "a.wav", make_clip(9, 2.0).samples.T, RATE, subtype="FLOAT")
    other = scored(folder, reference_clips=clips)["scored"][0]
    assert other.key != first.key
    assert other.report.field("reference_distance") != first.report.field("reference_distance")


def test_clap_joins_the_report_and_not_the_overall(folder: Path, clap_folder: Path) -> None:
    model = {"name": "clap", "model": str(clap_folder)}
    take = scored(folder, caption="a funky tune", adapters=(model,))["scored"][0]
    x = make_clip(3, 2.0).samples
    alone = clap.Clap(str(clap_folder)).score(x, RATE, text="a funky tune")
    assert take.report.field("clap_similarity") == alone["clap_similarity"]
    assert take.report.overall == scored(folder)["scored"][0].report.overall
    other = scored(folder, caption="a slow waltz", adapters=(model,))["scored"][0]
    assert other.key != take.key and other.report.field("clap_similarity") != take.report.field("clap_similarity")
    fixed = scored(folder, caption="a slow waltz", adapters=({**model, "text": "a funky tune"},))["scored"][0]
    assert fixed.report.field("clap_similarity") == take.report.field("clap_similarity")


def test_without_a_caption_clap_has_no_figure_and_says_so(folder: Path, clap_folder: Path) -> None:
    run = scored(folder, adapters=({"name": "clap", "model": str(clap_folder)},))
    assert run["scored"][0].report.metrics["clap_similarity"].value is None
    assert any("no caption" in w for w in run.warnings)


def test_models_are_loaded_once_for_a_stage(folder: Path, clap_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[Any] = []
    begin = clap.Clap.__init__

    def counted(self: clap.Clap, *args: Any) -> None:
        loaded.append(args)
        begin(self, *args)

    monkeypatch.setattr(clap.Clap, "__init__", counted)
    text = (
        "seed: 1\nprompt: {caption: drums}\ninputs: {clip: take.wav}\nstages:\n"
        "  worse: {type: degrade, source: clip, takes: 3, noise: {snr_db: 20}}\n"
        f"  scored: {{type: score, source: worse, reference_clips: [refs], adapters: [{{name: clap, model: {clap_folder}}}]}}\n"
    )
    (folder / "p.yaml").write_text(text)
    takes = load(folder / "p.yaml").run(out=folder / "out")["scored"]
    assert len(takes) == 3 and len(loaded) == 1
    assert all(t.report.field("clap_similarity") is not None and t.report.field("reference_distance") > 0 for t in takes)


def test_fad_compares_with_the_clips(folder: Path, clap_folder: Path) -> None:
    fad = {"name": "fad", "model": str(clap_folder)}
    report = scored(folder, reference_clips=(str(folder / "refs"),), adapters=(fad,))["scored"][0].report
    assert report.field("fad_clap") >= 0 and report.field("reference_distance") >= 0
    with pytest.raises(ValidationError, match="write reference_clips"):
        Score(source="a", adapters=("fad",))


def test_fields_keys_and_short_names() -> None:
    stage = Score(source="a", adapters=("clap", {"name": "squim", "model": "s.pt"}), reference_clips=("refs",))
    assert [a.name for a in stage.adapters] == ["clap", "squim"]
    added = stage.report_fields() - Score(source="a").report_fields()
    assert added == {"reference_distance", *ADAPTERS["clap"].metrics, *ADAPTERS["squim"].metrics}
    assert set(stage.weight_paths()) == {"s.pt", "refs"}
    facts = stage.key_facts()
    assert facts["embedding"] == 1 and [f["version"] for f in facts["adapter_versions"]] == [1, 1]
    assert "torchaudio" in facts["adapter_versions"][1]["packages"]
    assert "embedding" not in Score(source="a").key_facts()
    assert stage.prompt_facts(Prompt(caption="x")) == {"caption": "x"}
    assert Score(source="a", adapters=({"name": "clap", "text": "y"},)).prompt_facts(Prompt(caption="x")) == {}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"adapters": ("clap", "clap")}, "name each adapter once"),
        ({"adapters": ("visqol",)}, "clap"),
        ({"adapters": ({"name": "squim", "text": "x"},)}, "reads no text"),
        ({"adapters": ({"name": "dnsmos", "model": "x"},)}, "carries its weights"),
        ({"reference_clips": ("",)}, "path is empty"),
    ],
)
def test_what_is_refused(given: dict, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Score(source="a", **given)


@pytest.fixture
def refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """What `segue run` says of a preset with this in its score stage; it must refuse it with exit code 2."""
    monkeypatch.chdir(folder)

    def call(settings: str) -> str:
        text = f"inputs: {{clip: take.wav}}\nstages:\n  scored: {{type: score, source: clip, {settings}}}\n"
        (folder / "p.yaml").write_text(text)
        done = CliRunner().invoke(app, ["run", "p.yaml", "--out", "out"])
        assert done.exit_code == 2, done.output
        assert not (folder / "out").exists()
        return " ".join(done.stderr.split())

    return call


def test_bad_clips_are_told_before_the_run(refused: Callable[[str], str], folder: Path) -> None:
    (folder / "empty").mkdir()
    assert "does not exist" in refused("reference_clips: [nowhere.wav]")
    assert "no sound file in the folder" in refused("reference_clips: [empty]")
    told = refused("reference_clips: [take.wav, refs/notes.txt]")
    assert "reference_clips.1" in told and "notes.txt" in told


def test_bad_adapters_are_told_before_the_run(refused: Callable[[str], str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert "did you mean" in refused("adapters: [clapp]").lower()
    assert "there is no" in refused("adapters: [{name: clap, model: ./nowhere}]")
    assert "write reference_clips" in refused("adapters: [fad]")
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda n, *a: None if n == "torchaudio" else find(n, *a))
    told = refused("adapters: [squim]")
    assert "needs torchaudio, which is not installed" in told and "segue-audio[torchaudio]" in told
    assert "adapters.0" in told


def test_a_folder_that_is_no_model_ends_the_run_with_a_sentence(folder: Path) -> None:
    with pytest.raises(RunError, match=r"adapter 'clap': the CLAP model .* can't be loaded"):
        scored(folder, caption="x", adapters=({"name": "clap", "model": str(folder / "refs")},))


def test_silent_references_are_told(folder: Path) -> None:
    sf.write(folder / "silence.wav", np.zeros(RATE), RATE)
    with pytest.raises(RunError, match="reference clips hold no sound"):
        scored(folder, reference_clips=(str(folder / "silence.wav"),))

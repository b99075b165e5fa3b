"""`score` with stems: given as inputs or stages, or made by a separator; and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile as sf
import torch
from pydantic import ValidationError
from segue import Pipeline, Prompt
from segue.cli.main import app
from segue.pipeline.context import Job
from segue.pipeline.errors import RequestError, RunError
from segue.pipeline.take import Audio, Signal, Take
from segue.presets.loader import load
from segue.scoring import score
from segue.scoring.adapters import AdapterError
from segue.scoring.expected import Expected
from segue.stages import Degrade, Score, score_stems
from segue.training.corpus import make_clip
from typer.testing import CliRunner

RATE = 24_000


@pytest.fixture(scope="module")
def tracks() -> dict[str, np.ndarray]:
    """The stems of a clip, of which the bass has an offset."""
    clip = make_clip(40_009_000, 4.0)
    stems = {name: samples.copy() for name, samples in clip.stems.items()}
    assert "bass" in stems and len(stems) > 2
    stems["bass"] += np.float32(0.3 * np.sqrt(np.mean(clip.samples**2)))
    return stems


@pytest.fixture
def folder(tracks: dict[str, np.ndarray], tmp_path: Path) -> Path:
    for name, samples in tracks.items():
        sf.write(tmp_path / f"{name}.wav", samples.T, RATE, subtype="FLOAT")
    sf.write(tmp_path / "mix.wav", np.sum(list(tracks.values()), axis=0, dtype=np.float32).T, RATE, subtype="FLOAT")
    return tmp_path


def pipeline(folder: Path, names: Any, **settings: Any) -> Pipeline:
    return Pipeline(
        inputs={name: str(folder / f"{name}.wav") for name in ("mix", *names)}, seed=1, prompt=Prompt(bpm=120),
        stages={"scored": Score(source="mix", **settings)},
    )  # fmt: skip


def test_a_defect_of_one_stem_is_reported_with_its_name(folder: Path, tracks: dict[str, np.ndarray]) -> None:
    pipe = pipeline(folder, tracks, stems={name: name for name in tracks})
    (take,) = pipe.run(out=folder / "out")["scored"]
    offset = next(d for d in take.report.defects if d.type == "dc_offset")
    assert offset.evidence["stem"] == "bass"
    assert list(take.report.stems) == list(tracks)
    alone = {name: score(x, RATE, expected=Expected(bpm=120)) for name, x in tracks.items()}
    assert dict(take.report.stems) == alone  # each by the same rules, at its own rate
    assert [n for n, r in alone.items() if "dc_offset" in r.defect_types()] == ["bass"]
    (plain,) = pipeline(folder, (), stems={}).run(out=folder / "plain")["scored"]
    assert (plain.report.overall, plain.report.metrics) == (take.report.overall, take.report.metrics)


def test_a_stage_can_be_a_stem(folder: Path, tracks: dict[str, np.ndarray]) -> None:
    """The graph has the edge, and a stem that is made anew is judged anew."""
    pipe = Pipeline(
        inputs={"mix": str(folder / "mix.wav"), "bass": str(folder / "bass.wav")}, seed=1,
        stages={"noisy": Degrade(source="bass", noise={"snr_db": 10}), "scored": Score(source="mix", stems={"bass": "noisy"})},
    )  # fmt: skip
    run = pipe.run(out=folder / "out")
    heard = run["noisy"][0].audio
    assert run["scored"][0].report.stems["bass"] == score(heard.samples, heard.rate_hz)


def test_the_preset_text_comes_back_and_an_unknown_stem_is_told(folder: Path) -> None:
    text = (
        "seed: 1\ninputs: {mix: mix.wav, low: bass.wav}\nstages:\n"
        "  scored: {type: score, source: mix, stems: {bass: low, drums: lov}}\n"
    )
    (folder / "p.yaml").write_text(text)
    done = CliRunner().invoke(app, ["run", str(folder / "p.yaml"), "--out", str(folder / "out")])
    told = " ".join(done.stderr.split())
    assert done.exit_code == 2 and "'lov' is no input and no stage" in told and "Did you mean 'low'" in told and ":4" in told
    assert "stems[drums]" in told
    (folder / "p.yaml").write_text(text.replace(", drums: lov", ""))
    pipe = load(folder / "p.yaml")
    (folder / "again.yaml").write_text(pipe.to_yaml())
    assert load(folder / "again.yaml").stages == pipe.stages
    assert pipe.stages["scored"].references() == {"source": "mix", "stems[bass]": "low"}


def test_stems_are_part_of_the_key_and_their_absence_is_not(folder: Path, tracks: dict[str, np.ndarray]) -> None:
    assert not {"stems", "separate", "separator_version"} & Score(source="a").key_facts().keys()
    assert Score(source="a", stems={"bass": "b"}).key_facts() == Score(source="a").key_facts()  # a source, so by its own key
    keys = {
        pipeline(folder, names, stems={n: n for n in names}).run(out=folder / "out")["scored"][0].key
        for names in ((), ("bass",), tuple(tracks))
    }
    assert len(keys) == 3
    facts = Score(source="a", separate="hdemucs").key_facts()
    assert facts["separate"]["name"] == "hdemucs" and facts["separator_version"]["version"] == 1
    assert Score(source="a", separate={"name": "hdemucs", "model": "w.pt"}).weight_paths() == ("w.pt",)


def test_a_stem_of_another_length_is_told(folder: Path, tracks: dict[str, np.ndarray]) -> None:
    sf.write(folder / "bass.wav", tracks["bass"][:, : 2 * RATE].T, RATE, subtype="FLOAT")
    run = pipeline(folder, ("bass",), stems={"bass": "bass"}).run(out=folder / "out")
    assert any("lasts 4.00 s, its stem 'bass'" in w and "2.00 s" in w for w in run.warnings)
    assert run["scored"][0].report.stems["bass"].duration_s == 2.0


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"stems": {"bass": "a"}}, "the very sound that is judged"),
        ({"stems": {"bass": "b", "drums": "b"}}, "'bass' and 'drums' are both 'b'"),
        ({"stems": {"Bass!": "b"}}, "is no name"),
        ({"stems": {"bass": "b"}, "separate": "hdemucs"}, "both given"),
        ({"separate": "spleeter"}, "hdemucs"),
    ],
)
def test_what_is_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Score(source="a", **given)


class Separator:
    """Gives the mix as bass and silence as drums."""

    loaded = 0

    def __init__(self) -> None:
        Separator.loaded += 1

    def separate(self, samples: Any, rate_hz: int) -> dict[str, np.ndarray]:
        x = np.asarray(samples)
        return {"drums": np.zeros_like(x), "bass": x.copy()}


@pytest.fixture
def separator(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], None]:
    """Puts `loader` in the place of what loads the real model (see the adapter's own tests)."""

    def put(loader: Any) -> None:
        monkeypatch.setattr(score_stems, "missing_extra", lambda facts: None)
        monkeypatch.setattr(score_stems, "load_separator", loader)

    return put


def test_a_separator_makes_the_stems_and_is_loaded_once(folder: Path, separator: Callable[[Any], None]) -> None:
    asked: list[Any] = []
    separator(lambda name, model, device: (asked.append((name, model, device)), Separator())[1])
    pipe = Pipeline(
        inputs={"mix": str(folder / "mix.wav")}, seed=1,
        stages={
            "worse": Degrade(source="mix", takes=2, noise={"snr_db": 60}),
            "scored": Score(source="worse", separate="hdemucs", reference_clips=(str(folder / "bass.wav"),)),
        },
    )  # fmt: skip
    takes = pipe.run(out=folder / "out")["scored"]
    assert asked == [("hdemucs", None, "cpu")] and len(takes) == 2
    for take in takes:
        assert take.report.stems["drums"].defect_types() == ("silence",)
        assert {d.evidence["stem"] for d in take.report.defects} == {"bass"}
        assert take.report.field("reference_distance") > 0


def test_nan_is_not_taken_apart(separator: Callable[[Any], None]) -> None:
    """A model can decode it, though no input file may hold it."""
    separator(lambda name, model, device: pytest.fail("there is nothing to separate"))
    x = torch.zeros(2, RATE)
    x[0, 100] = float("nan")
    said: list[str] = []
    take = Take("draft", 0, 0, Prompt(), "k", Signal(Audio(x, RATE)))
    ctx = SimpleNamespace(audio=lambda take: take.audio, warn=said.append)
    (made,) = Score(source="draft", separate="hdemucs").run([Job(0, 0, Prompt(), {"source": take}, "k")], ctx)
    assert made.report.defect_types() == ("nan",) and made.report.stems == {}
    assert any("not taken apart" in w for w in said)


def test_what_a_separator_lacks_is_told(folder: Path, separator: Callable[[Any], None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *a: None)
    with pytest.raises(RequestError) as caught:
        pipeline(folder, (), separate={"name": "hdemucs", "model": str(folder / "w.bin")}).run(out=folder / "out")
    told = str(caught.value)
    assert "needs torchaudio" in told and "segue-audio[torchaudio]" in told and "'w.bin' is no .safetensors" in told
    monkeypatch.undo()
    with pytest.raises(RequestError, match="no weights file"):
        pipeline(folder, (), separate={"name": "hdemucs", "model": "nowhere.pt"}).run(out=folder / "out")

    def broken(*args: Any, **settings: Any) -> None:
        raise AdapterError("can't load it")

    separator(broken)
    with pytest.raises(RunError, match="stage 'scored', separate 'hdemucs': can't load it"):
        pipeline(folder, (), separate="hdemucs").run(out=folder / "out")

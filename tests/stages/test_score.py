"""`score` in real runs: reports, references, training state, keys, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch
from pydantic import ValidationError
from segue import Pipeline, Prompt
from segue.pipeline.models.resolve import describe_model
from segue.pipeline.take import Audio, Signal, Take
from segue.scoring import METRICS, score
from segue.stages import Generate, Score
from segue.stages.score import model_training

RATE = 24_000


def sound(seconds: float = 1.0, seed: int = 0, channels: int = 2) -> np.ndarray:
    t = np.arange(int(seconds * RATE)) / RATE
    rng = np.random.default_rng(seed)
    tune = sum(np.sin(2 * np.pi * f * t) * np.exp(-2 * (t % 0.5)) for f in (220.0, 330.0, 1_000.0, 3_000.0))
    return (0.1 * tune + 0.002 * rng.standard_normal((channels, t.size))).astype(np.float32)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    sf.write(tmp_path / "clip.wav", sound().T, RATE, subtype="FLOAT")
    return tmp_path / "clip.wav"


def test_the_report_is_the_scorers_and_the_sound_stays(clip: Path, tmp_path: Path) -> None:
    pipe = Pipeline(inputs={"clip": str(clip)}, seed=1, stages={"scored": Score(source="clip")})
    (take,) = pipe.run(out=tmp_path / "out")["scored"]
    assert take.report == score(sound(), RATE)
    assert take.report.model_training is None
    np.testing.assert_array_equal(take.audio.samples.numpy(), sound())
    assert take.lineage[-1]["overall"] == take.report.overall


def test_a_reference_adds_figures_at_the_takes_own_rate(clip: Path, tmp_path: Path) -> None:
    high = np.repeat(sound(channels=1), 2, axis=1)  # the same clip at twice the rate, mono, crudely
    sf.write(tmp_path / "other.wav", high.T, 2 * RATE, subtype="FLOAT")
    pipe = Pipeline(
        inputs={"clip": str(clip), "other": str(tmp_path / "other.wav")},
        seed=1,
        stages={
            "same": Score(source="clip", reference="clip"),
            "near": Score(source="clip", reference="other"),
        },
    )
    run = pipe.run(out=tmp_path / "out")
    same, near = run["same"][0].report, run["near"][0].report
    assert same.field("lsd") == 0.0
    assert same.field("si_sdr_db") > 100
    assert same.field("chroma_similarity") == pytest.approx(1.0)
    assert near.field("chroma_similarity") > 0.9
    assert near.field("lsd") > 0.01
    assert same.overall == near.overall
    assert same.metrics["lsd"].higher_is_better is False


def test_nan_is_reported_and_not_compared() -> None:
    x = torch.zeros(1, RATE)
    x[0, 5] = float("nan")
    report = score(x, RATE)
    stage = Score(source="clip", reference="clip")

    class Here:
        def audio(self, take: Take, rate_hz: int | None = None, channels: int | None = None) -> Audio:
            return take.audio

    take = Take("clip", 0, 0, Prompt(), "k", Signal(Audio(x, RATE)))
    values = stage._against(take, take, report, Here())
    assert set(values.values()) == {None}


@pytest.mark.parametrize(
    ("states", "wanted"),
    [
        ((), None),
        (("trained",), None),
        (("trained", "preliminary"), "preliminary"),
        (("preliminary", "untrained", "trained"), "untrained"),
    ],
)
def test_the_worst_training_state_in_the_lineage(states: tuple[str, ...], wanted: str | None) -> None:
    lineage = ({"stage": "x", "type": "degrade"}, *({"stage": "d", "training": s} for s in states))
    take = Take("d", 0, 0, Prompt(), "k", Signal(Audio(torch.zeros(1, 10), RATE)), lineage=lineage)
    assert model_training(take) == wanted


def test_references_fields_and_key() -> None:
    plain, compared = Score(source="a"), Score(source="a", reference="b")
    assert plain.references() == {"source": "a"}
    assert compared.references() == {"source": "a", "reference": "b"}
    extra = {n for n, facts in METRICS.items() if facts.needs_reference}
    assert compared.report_fields() - plain.report_fields() == extra
    assert {"overall", "defects"} <= plain.report_fields()
    assert plain.key_facts() == Score(source="other", about="a note").key_facts()
    assert plain.key_facts() != Score(source="a", profile="speech").key_facts()
    assert plain.key_facts() != Score(source="a", weights={"noise": 2}).key_facts()


@pytest.mark.parametrize(
    ("given", "words"),
    [({"profile": "opera"}, "music"), ({"weights": {"loud": 1}}, "no term 'loud'"), ({"weights": {"noise": -1}}, "0 or more")],
)
def test_what_is_refused(given: dict, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Score(source="a", **given)


def test_the_strides_of_the_decoder_are_told_to_the_scorer(
    tmp_path: Path, tiny_model: str, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of the model that decoded the take, at its own rate; of a sound from elsewhere, or resampled since, nothing."""
    told: dict[str, object] = {}

    def listening(samples: torch.Tensor, rate_hz: int, **rest: object) -> object:
        told[str(rest.pop("profile"))] = rest["expected"].strides
        return score(samples, rate_hz, **rest)

    monkeypatch.setattr("segue.stages.score.score", listening)
    quick = {"steps": 2, "guidance": {"kind": "none"}}
    pipe = Pipeline(
        model=tiny_model, prompt=Prompt(caption="slow piano", duration_s=1), inputs={"clip": str(clip)}, seed=1,
        stages={"made": Generate(**quick), "of_made": Score(source="made", profile="music"),
                "of_clip": Score(source="clip", profile="speech")},
    )  # fmt: skip
    pipe.run(home=tmp_path)
    strides = next(iter(describe_model(tiny_model, offline=True).variants.values())).strides
    assert told == {"music": strides, "speech": None} and len(strides) > 1

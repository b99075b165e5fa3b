"""`cover` from audio codes: the string is judged before any weight is loaded, with everything else that is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from segue import Pipeline, Prompt, load
from segue.pipeline.errors import Problem, RequestError
from segue.pipeline.models.pool import Pool
from segue.pipeline.models.resolve import describe_model
from segue.pipeline.prepare import prepare
from segue.stages import Cover

CODE = "<|audio_code_{}|>".format


@pytest.fixture
def no_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **rest: object) -> None:
        raise AssertionError("weights were asked for")

    monkeypatch.setattr(Pool, "model", refuse)


def problems(model: str, codes: str, **prompt: object) -> list[Problem]:
    pipe = Pipeline(model=model, prompt=Prompt(**prompt), seed=1, stages={"dressed": Cover(audio_codes=codes, steps=1)})
    with pytest.raises(RequestError) as caught:
        pipe.run()
    return caught.value.problems


@pytest.mark.usefixtures("no_weights")
def test_the_size_of_the_codebook_is_read_from_the_configuration(tiny_model: str) -> None:
    info = describe_model(tiny_model).variant(None)
    assert (info.codebook_size, info.code_frames) == (200, 5)
    (p,) = problems(tiny_model, CODE(199) + CODE(200) + CODE(3))
    assert (p.stage, p.key) == ("dressed", "audio_codes")
    assert "1 of 3 audio codes lie outside the model's codebook of 200 codes: 200 (number 2)" in p.cause and "0 to 199" in p.fix


@pytest.mark.usefixtures("no_weights")
def test_a_string_without_codes_or_with_broken_ones(tiny_model: str) -> None:
    (p,) = problems(tiny_model, "17, 4, 3")
    assert p.key == "audio_codes" and "no <|audio_code_N|> token" in p.cause
    (p,) = problems(tiny_model, CODE(1) + "<|audio_code_2|" + CODE(3))
    assert "'<|audio_code_2|' at character 17 is no audio code" in p.cause


@pytest.mark.usefixtures("no_weights")
def test_codes_that_do_not_last_as_long_as_was_asked_for(tiny_model: str) -> None:
    (p,) = problems(tiny_model, CODE(1) * 10, duration_s=8)  # 10 codes of 5 frames at 25 a second: 2 s
    assert "10 audio codes stand for 2 s, and prompt.duration_s asks for 8 s" in p.cause
    assert p.fix == "write prompt: {duration_s: 2}, or give 40 codes" and p.key == "audio_codes"


@pytest.mark.usefixtures("no_weights")
def test_codes_over_the_models_length(tiny_model: str) -> None:
    (p,) = problems(tiny_model, CODE(1) * 3005)
    assert "it would make 601 s" in p.cause and "at most 600 s" in p.cause


@pytest.mark.usefixtures("no_weights")
def test_everything_is_reported_at_once_with_its_line(tiny_model: str, tmp_path: Path) -> None:
    preset = tmp_path / "p.yaml"
    preset.write_text(f"""model: {tiny_model}
prompt: {{duration_s: 8}}
inputs: {{clip: nowhere.wav}}
stages:
  dressed:
    type: cover
    audio_codes: "<|audio_code_7|><|audio_code_900|>x"
    variant: base
  other: {{type: refine, source: clip, variant: turbo}}
""")
    with pytest.raises(RequestError) as caught:
        prepare(load(preset))
    found = [(p.line, p.stage, p.key) for p in caught.value.problems]
    assert found == [
        (3, None, "inputs.clip"), (7, "dressed", "audio_codes"), (7, "dressed", "audio_codes"), (7, "dressed", "audio_codes"),
        (9, "other", "variant"),
    ]
    said = "\n".join(map(str, caught.value.problems))
    assert "900 (number 2)" in said and "'x' at character 35" in said and "stand for 0.4 s" in said


@pytest.mark.parametrize(("duration", "seconds"), [(None, 2.0), (2, 2.0), (1.9, 1.9)])
def test_the_length_is_the_prompts_or_that_of_the_codes(
    tiny_model: str, tmp_path: Path, duration: float | None, seconds: float
) -> None:
    stages = {"dressed": Cover(audio_codes=CODE(1) * 10, steps=1)}
    pipe = Pipeline(model=tiny_model, prompt=Prompt(duration_s=duration), seed=1, stages=stages)
    assert prepare(pipe).graph.duration_s("dressed") == seconds
    take = pipe.run(home=tmp_path)["dressed"][0]
    assert take.audio.duration_s == pytest.approx(seconds)

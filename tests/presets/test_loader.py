"""Presets loaded: names, files and text, overrides, and every mistake at once with its line and what to write instead."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from segue.pipeline.errors import Problem, RequestError
from segue.pipeline.graph_checks import build_graph
from segue.presets.loader import FOLDER, load, presets
from segue.stages import STAGES, Generate, Refine, Score, Select

HEAD = "prompt: {caption: warm jazz, duration_s: 8}\n"
CHAIN = HEAD + "stages:\n  draft: {type: generate}\n  polish: {type: refine, source: draft, denoise: 1e-1}\n"


def wrong(text: str, **more: dict[str, str]) -> list[Problem]:
    with pytest.raises(RequestError) as caught:
        load(text, **more)  # type: ignore[arg-type]
    return caught.value.problems


def one(text: str, **more: dict[str, str]) -> Problem:
    found = wrong(text, **more)
    assert len(found) == 1, "\n".join(map(str, found))
    return found[0]


def test_text_gives_the_same_pipeline_as_python() -> None:
    from segue.pipeline.pipeline import Pipeline
    from segue.pipeline.spec import Prompt

    made = Pipeline(
        prompt=Prompt(caption="warm jazz trio", bpm=96, duration_s=8),
        seed=7,
        takes=4,
        stages={
            "draft": Generate(variant="base", steps=30),
            "polish": Refine(source="draft", variant="turbo", denoise=0.5),
            "scored": Score(source="polish"),
            "best": Select(source="scored", keep=1),
        },
    )
    written = load(
        "prompt: {caption: warm jazz trio, bpm: 96, duration_s: 8}\nseed: 7\ntakes: 4\nstages:\n"
        "  draft: {type: generate, variant: base, steps: 30}\n"
        "  polish: {type: refine, source: draft, variant: turbo, denoise: 0.5}\n"
        "  scored: {type: score, source: polish}\n  best: {type: select, source: scored, keep: 1}\n"
    )
    assert written == made and load(made.to_yaml()) == made


def test_every_shipped_preset_loads_builds_and_comes_back_from_its_own_text() -> None:
    shipped = presets()
    assert len(shipped) >= 12 and len({p.name for p in shipped}) == len(shipped)
    for info in shipped:
        assert info.about and info.path.parent == FOLDER
        pipeline = load(info.name)
        assert pipeline.name == info.name
        assert load(pipeline.to_yaml()) == pipeline
        assert build_graph(pipeline, model=None).outputs


def test_a_file_gives_base_name_and_lines(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(HEAD + "inputs: {clip: sounds/a.wav}\nstages:\n  a: {type: refine, source: clip}\n")
    pipeline = load(path)
    assert pipeline.name == "mine"
    assert pipeline.path("sounds/a.wav") == tmp_path / "sounds" / "a.wav"
    assert load(str(path)) == pipeline
    path.write_text(HEAD + "inputs: {clip: a.wav}\nstages:\n  a: {type: refine, source: clop}\n")
    with pytest.raises(RequestError) as caught:
        build_graph(load(path), model=None)
    [problem] = caught.value.problems
    assert (problem.file, problem.line) == (str(path), 4)


def test_unknown_presets_and_files(tmp_path: Path) -> None:
    assert "Did you mean 'cover-refine'?" in one("cover-refin").cause
    assert "does not exist" in one(str(tmp_path / "none.yaml")).cause
    assert one("").cause and one("a\0b").cause


@pytest.mark.parametrize(
    ("text", "where", "said"),
    [
        ("stages: {}\n", (None, "stages", 1), "no stages"),
        (HEAD, (None, "stages", None), "no stages"),
        ("stages: [a]\n", (None, "stages", 1), "a list"),
        ("just words\n", (None, None, None), "a mapping of keys"),
        ("# nothing\n", (None, None, None), "is empty"),
        (HEAD + "stages:\n  a: 5\n", ("a", None, 3), "a stage is a mapping"),
        (HEAD + "stages:\n  a: {type: genrate}\n", ("a", "type", 3), "Did you mean 'generate'?"),
        (HEAD + "stages:\n  a:\n    type: 7\n", ("a", "type", 4), "no stage type"),
        (HEAD + "stages:\n  a: {steps: 4}\n", ("a", "type", 3), "has no type"),
        (HEAD + "stages:\n  a: {type: generate, caption: x}\n", ("a", "caption", 3), "belongs to the prompt"),
        (HEAD + "stages:\n  a: {type: generate, stepps: 4}\n", ("a", "stepps", 3), "Did you mean 'steps'?"),
        (HEAD + "stages:\n  a: {type: generate, cfg_scale: 4}\n", ("a", "cfg_scale", 3), "no key 'cfg_scale'"),
        (
            HEAD + "stages:\n  a: {type: generate}\n  b: {type: score, source: a, steps: 4}\n",
            ("b", "steps", 4),
            "does not denoise",
        ),
        (HEAD + "stages:\n  a: {type: generate, steps: 0}\n", ("a", "steps", 3), "greater than or equal to 1"),
        (HEAD + "stages:\n  a: {type: generate, steps: 1.5}\n", ("a", "steps", 3), "whole number"),
        (HEAD + "stages:\n  a: {type: generate, steps: '8'}\n", ("a", "steps", 3), "without quotes"),
        (HEAD + "stages:\n  a: {type: generate, steps: yes}\n", ("a", "steps", 3), "'yes' is text"),
        (HEAD + "stages:\n  a: {type: generate, steps: true}\n", ("a", "steps", 3), "takes a number"),
        (HEAD + "stages:\n  a: {type: generate, solver: eulr}\n", ("a", "solver", 3), "Did you mean 'euler'?"),
        (HEAD + "stages:\n  a: {type: generate, timesteps: [0.1, 0.5]}\n", ("a", "timesteps", 3), "fall strictly"),
        (HEAD + "stages:\n  a: {type: generate, timesteps: [1.0, x]}\n", ("a", "timesteps", 3), "'x' is text"),
        (HEAD + "stages:\n  a: {type: generate, guidance: 7}\n", ("a", "guidance", 3), "a mapping"),
        (HEAD + "stages:\n  a: {type: generate, guidance: {scal: 7}}\n", ("a", "guidance.scal", 3), "Did you mean 'scale'?"),
        (HEAD + "stages:\n  a: {type: generate, prompt: {bpm: 5}}\n", ("a", "prompt.bpm", 3), "greater than or equal to 20"),
        (HEAD + "stages:\n  a: {type: generate, adapters: [{scale: 1}]}\n", ("a", "adapters.0.path", 3), "'path' is missing"),
        (HEAD + "stages:\n  a: {type: refine}\n", ("a", "source", 3), "'source' is missing"),
        (HEAD + "stages:\n  a: {type: generate, schedule: custom}\n", ("a", None, 3), "custom needs timesteps"),
        (HEAD + "stages:\n  a: {type: extract, source: clip, track: vocal}\ninputs: {clip: x}\n", ("a", "track", 3), "'vocals'?"),
        (
            "prompt: {timesignature: 4}\nstages:\n  a: {type: score, source: b}\ninputs: {b: c}\n",
            (None, "prompt.timesignature", 1),
            "must be text",
        ),
        ("steps: 4\n" + CHAIN, (None, "steps", 1), "belongs to a stage"),
        ("bpm: 4\n" + CHAIN, (None, "bpm", 1), "belongs to the prompt"),
        ("takes: 0\n" + CHAIN, (None, "takes", 1), "greater than or equal to 1"),
        ("promtp: {}\nstages:\n  a: {type: score, source: b}\ninputs: {b: c}\n", (None, "promtp", 1), "Did you mean 'prompt'?"),
        ("inputs: {../x: a.wav}\n" + CHAIN, (None, "inputs", 1), "'../x' is no name"),
        ("inputs: {my clip: a.wav}\n" + CHAIN, (None, "inputs", 1), "'my clip' is no name"),
        (CHAIN + "  🎵: {type: generate}\n", (None, "stages", 5), "'🎵' is no name"),
        (CHAIN + "  ../evil: {type: generate}\n", (None, "stages", 5), "'../evil' is no name"),
        (CHAIN + f"  {'a' * 65}: {{type: generate}}\n", (None, f"stages.{'a' * 65}", 5), "64 at most"),
        (CHAIN + "outputs: polish\n", (None, "outputs", 5), "not a list"),
        (CHAIN + "seed: -1\n", (None, "seed", 5), "greater than or equal to 0"),
        (CHAIN + "seed: 99999999999999999999\n", (None, "seed", 5), "less than or equal to"),
        (CHAIN + "prompt: {}\n", (None, None, 5), "on line 1 and on line 5"),
    ],
)
def test_mistakes(text: str, where: tuple[str | None, str | None, int | None], said: str) -> None:
    problem = one(text)
    assert (problem.stage, problem.key, problem.line) == where
    assert said in f"{problem.cause} {problem.fix}"


def test_every_field_of_every_stage_refuses_a_mapping_with_an_odd_key() -> None:
    """Whatever its type: the wrong kind is one clear problem at that key."""
    for name, cls in STAGES.items():
        for field in cls.model_fields:
            if field == "type":
                continue
            found = wrong(f"inputs: {{clip: x}}\nstages:\n  a:\n    type: {name}\n    {field}: {{odd: [1]}}\n")
            assert any(p.stage == "a" and p.key and p.key.startswith(field) and p.line == 5 for p in found), (name, field, found)


def test_everything_wrong_comes_at_once_in_the_order_of_lines() -> None:
    found = wrong(
        "takes: x\n"
        "inputs: {clip: 7}\n"
        "stages:\n"
        "  a: {type: genrate}\n"
        "  b: {type: refine, source: nope, denoise: 3}\n"
        "  c: {type: refine, source: nope}\n"
        "  d: {type: select, source: a}\n"
        "  e: {type: score, source: a}\n"
        "  f: {type: refine, source: e, when: 'e.overal < 4'}\n"
        "outputs: [zz]\n"
    )
    assert [(p.line, p.stage, p.key) for p in found] == [
        (1, None, "takes"),
        (2, None, "inputs.clip"),
        (4, "a", "type"),
        (5, "b", "denoise"),
        (5, "b", "source"),
        (6, "c", "source"),
        (9, "f", "when"),
        (10, None, "outputs[0]"),
    ]


def test_missing_input_files_are_told_with_the_rest(tmp_path: Path) -> None:
    file = tmp_path / "p.yaml"
    file.write_text("takes: x\ninputs: {clip: gone.wav}\nstages: {a: {type: score, source: clip}}\n")
    with pytest.raises(RequestError) as caught:
        load(file)
    assert [p.key for p in caught.value.problems] == ["takes", "inputs.clip"]


def test_sound_stages_are_judged_beside_a_broken_one() -> None:
    found = wrong(
        HEAD + "stages:\n  a: {type: generate, x: 1}\n  b: {type: generate}\n  c: {type: select, source: b}\noutputs: [d]\n"
    )
    assert [(p.stage, p.key) for p in found] == [("a", "x"), ("c", "source"), (None, "outputs[0]")]


def test_overrides() -> None:
    pipeline = load(
        CHAIN,
        overrides={
            "prompt.caption": "late-night: synthwave #1, 96 bpm",
            "prompt.bpm": "96",
            "polish.denoise": "0.25",
            "stages.draft.steps": "8",
            "draft.guidance.scale": "3",
            "draft.timesteps": "null",
            "takes": "3",
            "draft.prompt.caption": "",
            "name": "5",
        },
    )
    draft, polish = pipeline.stages["draft"], pipeline.stages["polish"]
    assert isinstance(draft, Generate) and isinstance(polish, Refine)
    assert pipeline.prompt.caption == "late-night: synthwave #1, 96 bpm" and pipeline.prompt.bpm == 96 and pipeline.takes == 3
    assert (draft.steps, draft.guidance.scale, draft.prompt.caption, polish.denoise) == (8, 3.0, "", 0.25)
    assert pipeline.name == "5"
    assert pipeline.prompt.duration_s == 8  # beside what was set


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("drafft.steps", "8", "Did you mean 'draft'?"),
        ("stages.drafft.steps", "8", "Did you mean 'draft'?"),
        ("promt.caption", "x", "Did you mean 'prompt'?"),
        ("draft.stepps", "8", "Did you mean 'steps'?"),
        ("draft.steps", "eight", "'eight' is text"),
        ("draft.timesteps", "[1.0, 0.5", "not YAML"),
        ("takes.x", "1", "plain value"),
        ("draft", "1", "as a whole"),
        ("stages", "{}", "as a whole"),
        ("", "1", "empty"),
        ("outputs.0", "x", "no place in a list"),
        ("draft.steps", ".nan", "no finite number"),
    ],
)
def test_overrides_that_can_not_be(path: str, value: str, said: str) -> None:
    problem = one(CHAIN + "outputs: []\n", overrides={path: value})
    assert said in str(problem) and str(problem.file).startswith("--set")


def test_overrides_leave_the_document_alone_and_lines_point_away_from_it() -> None:
    pipeline = load(CHAIN, overrides={"polish.source": "drat"})
    with pytest.raises(RequestError) as caught:
        build_graph(pipeline, model=None)
    assert (caught.value.problems[0].file, caught.value.problems[0].line) == ("--set", None)
    assert build_graph(load(CHAIN), model=None).order == ("draft", "polish")


def test_inputs_are_replaced_by_files_of_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = "inputs: {clip: a.wav, other: b.wav}\nstages:\n  a: {type: score, source: clip}\n  b: {type: score, source: other}\n"
    pipeline = load(text, inputs={"clip": "mine/c.wav"})
    assert pipeline.inputs == {"clip": str(tmp_path / "mine" / "c.wav"), "other": "b.wav"}
    with pytest.raises(RequestError, match="Did you mean 'clip'"):
        load(text, inputs={"clib": "c.wav"})
    with pytest.raises(RequestError, match="it has none"):
        load(CHAIN, inputs={"clip": "c.wav"})


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.text(alphabet="ab:-{}[]&*!|'\"# \n,stagetypromp0.1", max_size=80))
def test_any_text_loads_or_is_refused(text: str) -> None:
    with pytest.raises(RequestError) as caught:
        load(text + "\n")
    assert caught.value.problems


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats() | st.sampled_from(["x", "clip", "a", "vocals", ""]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["x", "scale", "caption", "low", "path"]), inner, max_size=2)
    ),
    max_leaves=4,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_any_values_for_any_keys_load_or_are_refused(data: st.DataObject) -> None:
    import json

    kind = data.draw(st.sampled_from(sorted(STAGES)))
    keys = st.sampled_from([*STAGES[kind].model_fields, "odd"])
    stage = {**data.draw(st.dictionaries(keys, VALUES, max_size=5)), "type": kind}
    text = json.dumps({"inputs": {"clip": "x.wav"}, "stages": {"a": stage}}) + "\n"
    try:
        build_graph(load(text), model=None)
    except RequestError as refused:
        assert all(p.cause for p in refused.problems)

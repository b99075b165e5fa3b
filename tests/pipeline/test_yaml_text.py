"""A pipeline written as preset text, and read back equal."""

from __future__ import annotations

from typing import ClassVar, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from segue.pipeline.pipeline import Pipeline
from segue.pipeline.spec import Adapter, DiffusionStage, Guidance, Name, Prompt, Stage
from segue.pipeline.yaml_text import to_yaml
from segue.presets.loader import load


class Make(DiffusionStage):
    task: ClassVar[str | None] = "generate"
    type: Literal["make"] = "make"


class Join(Stage):
    type: Literal["join"] = "join"
    sources: tuple[Name, ...]
    gains_db: tuple[float, ...] | None = None
    weights: dict[str, float] = {}  # noqa: RUF012 - pydantic copies it


TYPES: dict[str, type[Stage]] = {"make": Make, "join": Join}

TEXTS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
    st.text(" \n\tab:#-'\"{}[],&*!|>%@`?\\", max_size=20),
    st.sampled_from(
        [
            "",
            "no",
            "null",
            "~",
            "1e-3",
            "0o17",
            "0x1f",
            "4:4",
            "1:30",
            "1_000",
            ".5",
            "true",
            "<<",
            "=",
            "2024-01-01",
            "-",
            "?",
            "a: b",
            " a",
            "a ",
            "a\n",
            "\na",
            "a\n\n",
            "a\n b\n",
            "a \nb",
            "a\tb",
            "# a",
            "a #b",
            "...",
            "---",
            "%x",
            "\ufeff",
            "\x85",
            "\u2028",
            "🎵",
            "\x00",
            "[verse]\nla la: la\n\n[chorus]\n# one\n",
            "x" * 300,
            "word " * 60,
            ("word " * 60 + "\n") * 2,
        ]
    ),
)
NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True)
PROMPTS = st.builds(
    Prompt,
    caption=st.none() | TEXTS,
    lyrics=st.none() | TEXTS,
    instrumental=st.none() | st.booleans(),
    bpm=st.none() | st.integers(20, 400),
    keyscale=st.none() | st.sampled_from(["C major", "no", "", "5"]),
    timesignature=st.none() | st.sampled_from(["4", "4:4", "6/8"]),
    duration_s=st.none() | st.floats(1e-6, 3600),
)
MAKES = st.builds(
    Make,
    about=TEXTS,
    when=st.none() | TEXTS,
    seed=st.none() | st.integers(0, 2**63 - 1),
    takes=st.none() | st.integers(1, 9),
    prompt=PROMPTS,
    steps=st.none() | st.integers(1, 1000),
    shift=st.none() | st.floats(1e-3, 20),
    trace=st.booleans(),
    guidance=st.builds(Guidance, scale=st.none() | st.floats(0, 30), interval=st.just((0.0, 1.0)) | st.just((1e-05, 0.5))),
    adapters=st.lists(st.builds(Adapter, path=st.text(min_size=1, max_size=9), scale=st.floats(-4, 4)), max_size=2).map(tuple),
)
JOINS = st.builds(
    Join,
    sources=st.lists(NAMES, max_size=4).map(tuple),
    gains_db=st.none() | st.lists(st.floats(-90, 20), max_size=3).map(tuple),
    weights=st.dictionaries(TEXTS, st.floats(0, 1), max_size=2),
)
PIPELINES = st.builds(
    Pipeline,
    name=TEXTS.filter(lambda t: 1 <= len(t) <= 120),
    about=TEXTS,
    prompt=PROMPTS,
    takes=st.integers(1, 9),
    seed=st.none() | st.integers(0, 2**63 - 1),
    inputs=st.dictionaries(NAMES, TEXTS, max_size=2),
    stages=st.dictionaries(NAMES, MAKES | JOINS, min_size=1, max_size=3),
    outputs=st.lists(NAMES, max_size=2).map(tuple),
)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(PIPELINES)
def test_load_undoes_to_yaml_without_minding_the_graph(pipeline: Pipeline) -> None:
    again = load(to_yaml(pipeline), types=TYPES)
    assert again == pipeline
    assert [type(s) for s in again.stages.values()] == [type(s) for s in pipeline.stages.values()]
    assert list(again.stages) == list(pipeline.stages) and list(again.inputs) == list(pipeline.inputs)
    assert to_yaml(again) == to_yaml(pipeline)


def test_defaults_are_left_out_and_the_order_is_that_of_reading() -> None:
    pipeline = Pipeline(
        name="demo",
        prompt=Prompt(caption="warm: jazz", bpm=96),
        takes=4,
        inputs={"clip": "a.wav"},
        outputs=("mix",),
        stages={"draft": Make(steps=30, guidance=Guidance(scale=3)), "mix": Join(gains_db=(0, -3.5), sources=("draft", "clip"))},
    )
    assert pipeline.to_yaml() == (
        "name: demo\n"
        "prompt: {caption: 'warm: jazz', bpm: 96}\n"
        "takes: 4\n"
        "inputs: {clip: a.wav}\n"
        "stages:\n"
        "  draft:\n"
        "    type: make\n"
        "    steps: 30\n"
        "    guidance: {scale: 3.0}\n"
        "  mix:\n"
        "    type: join\n"
        "    sources: [draft, clip]\n"
        "    gains_db: [0.0, -3.5]\n"
        "outputs: [mix]\n"
    )


def test_lyrics_stand_as_a_block() -> None:
    text = to_yaml(Pipeline(prompt=Prompt(lyrics="[verse]\none\ntwo: #2\n"), stages={"a": Make()}))
    assert "  lyrics: |\n    [verse]\n    one\n    two: #2\n" in text


@pytest.mark.parametrize("text", ["no", "1e-3", "4:4", "null", "", "0o17"])
def test_text_that_looks_like_something_else_is_quoted(text: str) -> None:
    written = to_yaml(Pipeline(prompt=Prompt(caption=text), stages={"a": Make()}))
    assert f'"{text}"' in written or f"'{text}'" in written

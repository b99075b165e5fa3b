"""Drawings: every stage and edge is in them, texts are escaped, and a broken pipeline can still be drawn."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import ClassVar, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from segue.pipeline.drawing import as_html, as_mermaid, as_png, as_text
from segue.pipeline.graph_checks import build_graph
from segue.pipeline.models.base import ModelInfo, VariantDefaults, VariantInfo
from segue.pipeline.pipeline import Pipeline
from segue.pipeline.sketch import sketch
from segue.pipeline.spec import DiffusionStage, Name, Stage


class Make(DiffusionStage):
    task: ClassVar[str | None] = "generate"
    type: Literal["make"] = "make"
    source: Name | None = None
    timbre: Name | None = None

    def references(self) -> dict[str, str]:
        return {k: v for k, v in (("source", self.source), ("timbre", self.timbre)) if v}


class Join(Stage):
    type: Literal["join"] = "join"
    sources: tuple[Name, ...] = ()


class Judge(Stage):
    scores: ClassVar[bool] = True
    type: Literal["judge"] = "judge"
    source: Name


PIPELINE = Pipeline(
    name="demo <b>&",
    takes=4,
    inputs={"clip": "sounds/a&b.wav"},
    stages={
        "voice": Make(source="clip"),
        "drums": Make(source="clip", steps=30),
        "bass": Make(source="drums", timbre="clip"),
        "both": Join(sources=("voice", "bass", "drums")),
        "judged": Judge(source="both"),
        "again": Make(source="judged", when='judged.overall < 4 and "a" in judged.defects'),
    },
)


def test_lanes_draw_every_edge() -> None:
    assert as_text(PIPELINE) == (
        "demo <b>& · segue-mini\n"
        "\n"
        "○       clip    input             a&b.wav\n"
        "├─╮\n"
        "│ ●     voice   make   4 takes\n"
        "├─│─╮\n"
        "│ │ ●   drums   make   4 takes    30 steps\n"
        "├─│─┤\n"
        "● │ │   bass    make   4 takes\n"
        "├─┴─╯\n"
        "■       both    join   4 takes\n"
        "◇       judged  judge  4 takes\n"
        '●       again   make   4 takes    when judged.overall < 4 and "a" in judged.defects\n'
    )


def test_the_graph_knows_variants() -> None:
    info = VariantInfo(
        model="toy",
        family="toy",
        variant="fast",
        tasks=frozenset({"generate"}),
        defaults=VariantDefaults(steps=8, shift=3.0),
        rate_hz=48000,
        channels=2,
        hop_length=1920,
        latent_dim=64,
        max_duration_s=600,
        max_text_tokens=256,
        max_lyric_tokens=2048,
        fingerprint="f",
        codec="c",
    )
    graph = build_graph(PIPELINE, model=ModelInfo("toy", "toy", {"fast": info}, {"": "fast"}))
    assert "make · fast" in as_text(graph) and "8 steps" in as_text(graph) and "30 steps" in as_text(graph)
    assert "make · fast" in as_html(graph)


def test_mermaid_has_every_box_and_arrow() -> None:
    text = as_mermaid(PIPELINE)
    assert text.startswith("flowchart TD\n") and text.count(" --> ") + text.count(" -->|") == 9
    assert "-->|timbre|" in text and "a#38;b.wav" in text and "&" not in text.replace("#38;", "")


def test_html_is_well_formed_and_escaped() -> None:
    page = PIPELINE._repr_html_()
    tree = ET.fromstring(page)
    texts = [e.text for e in tree.iter() if e.tag.endswith("}text")]
    assert {"clip", *PIPELINE.stages} <= set(texts) and "timbre" in texts
    assert "<b>" not in page and "<script" not in page and "http" not in page.replace("http://www.w3.org/2000/svg", "")


def test_repr_is_one_line() -> None:
    assert repr(PIPELINE) == (
        "Pipeline('demo <b>&', voice: make, drums: make, bass: make, both: join, judged: judge, again: make, takes=4)"
    )
    assert "… 94 more" in repr(Pipeline(stages={f"s{i}": Make() for i in range(100)})) and str(PIPELINE) == repr(PIPELINE)


def test_png_is_an_image_of_the_size_of_the_graph(tmp_path: Path) -> None:
    from matplotlib.image import imread

    small = imread(as_png(Pipeline(name="$x$", stages={"a": Make()}), tmp_path / "sub" / "a.png"))
    large = imread(as_png(PIPELINE, tmp_path / "b.png"))
    assert large.shape[0] > 3 * small.shape[0] and large.shape[1] > small.shape[1]
    ink = (large[..., :3] < 0.9).any(axis=-1)
    assert 0.02 < ink.mean() < 0.9 and not ink[0].any() and not ink[:, 0].any()


@pytest.mark.parametrize("draw", [as_text, as_mermaid, as_html, repr])
def test_broken_pipelines_can_be_drawn(draw: object) -> None:
    broken = Pipeline(stages={"a": Make(source="b"), "b": Make(source="a"), "c": Make(source="nowhere"), "d": Make(source="d")})
    assert callable(draw) and draw(broken)
    assert "reads unknown 'nowhere'" in as_text(broken)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.lists(st.integers(0, 8), max_size=3, unique=True), min_size=1, max_size=9))
def test_boxes_of_any_graph_stand_apart_and_arrows_point_down(reads: list[list[int]]) -> None:
    stages = {f"s{i}": Join(sources=tuple(f"s{j}" for j in sorted(js) if j < i)) for i, js in enumerate(reads)}
    pipeline = Pipeline(stages=stages)
    drawn = sketch(pipeline)
    at = {b.name: b for b in drawn.boxes}
    assert set(at) == set(stages)
    assert {(a.start, a.end) for a in drawn.arrows} == {(s, n) for n, stage in stages.items() for s in stage.sources}
    for arrow in drawn.arrows:
        assert [row for _, row in arrow.via] == list(range(at[arrow.start].row + 1, at[arrow.end].row))
        for x, row in arrow.via:
            assert all(abs(x - b.x) > 0.6 for b in drawn.boxes if b.row == row)
    for a in drawn.boxes:
        assert all(a is b or a.row != b.row or abs(a.x - b.x) > 0.999 for b in drawn.boxes)
    lines = as_text(pipeline).splitlines()
    assert sum("join" in line for line in lines) == len(stages)

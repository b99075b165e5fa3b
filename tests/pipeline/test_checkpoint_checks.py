"""A step checkpoint is noise in part: every stage type but refine is refused it, before any weight is loaded."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from segue import Pipeline
from segue.pipeline.errors import Problem, RequestError
from segue.pipeline.graph_checks import build_graph
from segue.pipeline.models.base import ModelInfo
from segue.pipeline.models.resolve import describe_model
from segue.pipeline.spec import Prompt, Stage
from segue.stages import STAGES, Generate, Refine, Score

HALF = Generate(steps=4, stop_at=2)
FROM_SOURCE: dict[str, dict[str, Any]] = {
    "caption": {}, "degrade": {"bit_depth": 8}, "super_resolve": {}, "cover": {}, "repaint": {"start_s": 0, "end_s": 1},
    "extract": {"track": "drums"}, "lego": {"track": "bass"}, "complete": {"tracks": ("drums",)}, "score": {}, "select": {},
    "save": {}, "separate": {"stem": "bass"}, "wiener": {"estimates": ("clip",)},
}
BESIDE = ("generate", "refine", "cover", "repaint", "super_resolve", "extract", "lego", "complete")  # take a timbre


def found(stages: dict[str, Stage], model: ModelInfo | None = None, **top: Any) -> list[Problem]:
    pipeline = Pipeline(prompt=Prompt(duration_s=2), inputs={"clip": "clip.wav"}, stages=stages, **top)
    try:
        build_graph(pipeline, model=model)
    except RequestError as error:
        return error.problems
    return []


def of_noise(problems: list[Problem], stage: str | None = "reader") -> list[tuple[str | None, str]]:
    return [(p.key, p.cause) for p in problems if p.stage == stage and "still noise" in p.cause]


def test_every_stage_type_is_looked_at() -> None:
    assert {*FROM_SOURCE, *BESIDE, "mix"} == set(STAGES)


def test_an_estimate_of_noise_is_told_too() -> None:
    reader = STAGES["wiener"](source="clip", estimates=("half",))
    ((key, cause),) = of_noise(found({"half": HALF, "reader": reader}))
    assert key == "estimates[0]" and "which wiener would take for sound" in cause


@pytest.mark.parametrize("kind", FROM_SOURCE)
def test_no_stage_but_refine_reads_a_checkpoint(kind: str) -> None:
    reader = STAGES[kind](source="half", **FROM_SOURCE[kind])
    ((key, cause),) = of_noise(found({"half": HALF, "reader": reader}))
    assert key == "source" and "stop_at: 2" in cause and f"which {kind} would take for sound" in cause
    finished = {"half": HALF, "done": Refine(source="half"), "reader": STAGES[kind](source="done", **FROM_SOURCE[kind])}
    assert not of_noise(found(finished))


@pytest.mark.parametrize("kind", BESIDE)
def test_no_stage_follows_the_sound_of_a_checkpoint(kind: str) -> None:
    source = {} if kind == "generate" else {"source": "clip"}
    reader = STAGES[kind](timbre="half", **source, **FROM_SOURCE.get(kind, {}))
    assert [key for key, _ in of_noise(found({"half": HALF, "reader": reader}))] == ["timbre"]


def test_mixing_and_comparing_are_refused_too() -> None:
    mix = STAGES["mix"](sources=("clip", "half"), domain="latent")
    assert [key for key, _ in of_noise(found({"half": HALF, "reader": mix}))] == ["sources[1]"]
    against = Score(source="clip", reference="half")
    assert [key for key, _ in of_noise(found({"half": HALF, "reader": against}))] == ["reference"]


def test_refine_goes_on_with_it_and_then_everybody_may_read() -> None:
    stages = {"half": HALF, "rest": Refine(source="half"), "scored": Score(source="rest")}
    assert found(stages) == [] and found(stages, outputs=("rest", "scored")) == []


def test_a_checkpoint_is_no_output() -> None:
    ((key, cause),) = of_noise(found({"half": HALF}), "half")
    assert key == "stop_at" and "nothing reads it" in cause
    named = found({"half": HALF, "rest": Refine(source="half")}, outputs=("rest", "half"))
    assert [key for key, _ in of_noise(named, None)] == ["outputs[1]"] and len(named) == 1


def test_no_checkpoint_passes_refine_by() -> None:
    stages = {"half": HALF, "reader": Refine(source="half", when="prompt.bpm == 90"), "scored": Score(source="reader")}
    assert [key for key, _ in of_noise(found(stages))] == ["when"]


def test_a_variant_with_another_autoencoder_does_not_go_on_with_it() -> None:
    known = describe_model("segue-mini")
    infos = {name: known.variants[name] for name in known.variants}
    infos["turbo"] = replace(infos["turbo"], codec="another")
    other = ModelInfo(known.name, known.family, infos, known.default_variants)
    stages = {"half": Generate(variant="base", stop_at=2), "rest": Refine(source="half", variant="turbo")}
    (problem,) = found(stages, other)
    assert (problem.stage, problem.key) == ("rest", "variant") and "another autoencoder" in problem.cause
    assert "write variant: base" in problem.fix
    assert found(stages, known) == []

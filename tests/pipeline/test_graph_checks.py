"""Everything a graph refuses, with the words that help; all of it at once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
from helpers.toy_variants import variant
from segue.pipeline.errors import Problem, RequestError
from segue.pipeline.graph import Graph, GraphScope, InputFacts, Scope
from segue.pipeline.graph_checks import build_graph
from segue.pipeline.models.base import ModelInfo, VariantDefaults
from segue.pipeline.pipeline import Pipeline
from segue.pipeline.spec import Adapter, DiffusionStage, Guidance, Name, Prompt, Stage


class Make(DiffusionStage):
    task: ClassVar[str | None] = "generate"
    type: Literal["make"] = "make"


class Change(DiffusionStage):
    task: ClassVar[str | None] = "refine"
    type: Literal["change"] = "change"
    source: Name


class Dress(DiffusionStage):
    task: ClassVar[str | None] = "cover"
    type: Literal["dress"] = "dress"
    source: Name
    strength: float = 1.0


class Pull(DiffusionStage):
    task: ClassVar[str | None] = "extract"
    type: Literal["pull"] = "pull"
    source: Name


class Judge(Stage):
    scores: ClassVar[bool] = True
    type: Literal["judge"] = "judge"
    source: Name
    fields: tuple[str, ...] | None = None

    def report_fields(self) -> frozenset[str] | None:
        return frozenset(self.fields) if self.fields is not None else None


class Best(Stage):
    chooses: ClassVar[bool] = True
    needs_report: ClassVar[bool] = True
    keeps_report: ClassVar[bool] = True
    type: Literal["best"] = "best"
    source: Name


class Join(Stage):
    type: Literal["join"] = "join"
    sources: tuple[Name, ...]


class Picky(Stage):
    type: Literal["picky"] = "picky"
    source: Name

    def check(self, scope: Scope) -> Iterator[Problem]:
        yield scope.problem(f"{scope.takes(self.source)} takes of {scope.duration_s(self.source)} s displease me", key="source")


COMMON = {"generate", "refine", "cover"}
MODEL = ModelInfo(
    "toy",
    "toy",
    {"base": variant("base", COMMON | {"extract", "lego", "complete"}), "turbo": variant("turbo", COMMON, max_steps=20)},
    {"": "turbo", "extract": "base"},
)


def problems(pipeline: Pipeline, model: ModelInfo | None = None, **facts: InputFacts) -> list[Problem]:
    with pytest.raises(RequestError) as caught:
        build_graph(pipeline, model=model, facts=facts)
    return caught.value.problems


def only(stages: dict[str, Stage], model: ModelInfo | None = None, **more: Any) -> Problem:
    found = problems(Pipeline(stages=stages, **more), model)
    assert len(found) == 1, "\n".join(map(str, found))
    return found[0]


def test_an_unknown_source_is_named_with_the_nearest_known_one() -> None:
    p = only({"draft": Make(), "next": Change(source="drafd")})
    assert (p.stage, p.key) == ("next", "source") and "Did you mean 'draft'?" in p.cause


def test_every_unknown_source_of_a_list_is_named() -> None:
    found = problems(Pipeline(stages={"a": Make(), "m": Join(sources=("a", "b", "c"))}))
    assert [p.key for p in found] == ["sources[1]", "sources[2]"]


def test_a_stage_that_reads_itself() -> None:
    assert "reads itself" in only({"a": Change(source="a")}).cause


def test_a_circle_is_drawn() -> None:
    p = only({"start": Make(), "a": Change(source="c"), "b": Change(source="a"), "c": Change(source="b"), "d": Judge(source="c")})
    assert "a → b → c → a" in p.cause and p.stage == "a" and p.key == "source"


def test_two_circles_are_two_problems() -> None:
    stages = {n: Change(source=s) for n, s in (("a", "b"), ("b", "a"), ("c", "d"), ("d", "c"))}
    assert len(problems(Pipeline(stages=stages))) == 2


def test_a_name_for_input_and_stage() -> None:
    found = problems(Pipeline(inputs={"a": "x.wav"}, stages={"a": Make(), "b": Change(source="a")}))
    assert any("names an input and a stage" in p.cause for p in found)


def test_prompt_is_taken() -> None:
    assert only({"prompt": Make()}).key == "stages.prompt"


def test_outputs_must_be_stages_each_once() -> None:
    pipeline = Pipeline(inputs={"clip": "x"}, stages={"draft": Make()}, outputs=("drafft", "clip", "draft", "draft"))
    found = problems(pipeline)
    assert [p.key for p in found] == ["outputs[0]", "outputs[1]", "outputs[3]"]
    assert "Did you mean 'draft'?" in found[0].cause and "an input" in found[1].cause


def test_missing_and_unreadable_inputs() -> None:
    pipeline = Pipeline(inputs={"a": "a.wav", "b": "b.wav"}, stages={"j": Join(sources=("a", "b"))})
    broken = InputFacts(Path("b.wav"), problem=Problem("b.wav is no sound file", "give a WAV"))
    found = problems(pipeline, a=InputFacts(Path("a.wav"), exists=False), b=broken)
    assert [p.key for p in found] == ["inputs.a", "inputs.b"]
    assert "a.wav does not exist" in found[0].cause and found[1].cause == "b.wav is no sound file"


@pytest.mark.parametrize(
    ("when", "said"),
    [
        ("judged.overall <", "ends too early"),
        ("judgd.overall < 5", "Did you mean 'judged'?"),
        ("later.overall < 5", "does not come before"),
        ("c.overall < 5", "is this stage itself"),
        ("a.overall < 5", "scores nothing"),
        ("prompt.captoin == 'x'", "Did you mean 'caption'?"),
        ("judged.loudnes < 5", "Did you mean 'loudness'?"),
        ("judged.overall < '5'", 'judged.overall < "5", and these are a number and text'),
        ("judged.overall > 1 and 'x' in judged.loudness", "text and a number"),
        ("prompt.bpm == 'fast'", "a number and text"),
        ("prompt.caption == 1", "text and a number"),
    ],
)
def test_when_reads_upstream_reports_and_the_prompt(when: str, said: str) -> None:
    judge = Judge(source="a", fields=("overall", "loudness"))
    p = only({"a": Make(), "judged": judge, "c": Change(source="judged", when=when), "later": Judge(source="c")})
    assert (p.stage, p.key) == ("c", "when") and said in p.cause


def test_when_may_name_any_field_where_the_fields_are_not_known() -> None:
    stages = {"a": Make(), "judged": Judge(source="a"), "c": Change(source="judged", when="judged.whatever < 3")}
    assert build_graph(Pipeline(stages=stages), model=None).order == ("a", "judged", "c")


@pytest.mark.parametrize(
    "when",
    ["judged.overall < 5", "prompt.lyrics == none", "'x' in judged.defects", "prompt.caption in ['a', 'b']",
     "prompt.instrumental", "'jazz' in prompt.caption", "prompt.instrumental == true", "judged.defects == []"],
)  # fmt: skip
def test_when_compares_values_of_one_kind(when: str) -> None:
    stages = {"a": Make(), "judged": Judge(source="a", fields=("overall", "defects")), "c": Change(source="judged", when=when)}
    assert build_graph(Pipeline(stages=stages), model=None).warnings == ()


def test_when_needs_a_source() -> None:
    assert "has none" in only({"a": Make(when="prompt.bpm == 4")}).cause


@pytest.mark.parametrize(
    ("stages", "why"),
    [
        ({"b": Best(source="a")}, "nothing upstream scores it"),
        ({"j": Judge(source="a"), "c": Change(source="j"), "b": Best(source="c")}, "changed after 'j' scored it"),
        ({"j": Judge(source="a", when="prompt.bpm == 4"), "b": Best(source="j")}, "only the takes"),
    ],
)
def test_choosing_needs_a_report_that_still_holds(stages: dict[str, Stage], why: str) -> None:
    p = only({"a": Make(), **stages})
    assert p.stage == "b" and why in p.cause


def test_a_missing_report_is_not_complained_of_behind_a_broken_reference() -> None:
    p = only({"j": Change(source="nowhere"), "b": Best(source="j")})
    assert p.stage == "j"


def test_extract_on_turbo_says_which_variant_can() -> None:
    p = only({"a": Make(), "x": Pull(source="a", variant="turbo")}, MODEL)
    assert p.key == "variant" and "complete, extract and lego want base" in p.cause and p.fix == "write variant: base"


def test_extract_without_a_variant_takes_the_one_that_can() -> None:
    graph = build_graph(Pipeline(stages={"a": Make(), "x": Pull(source="a")}), model=MODEL)
    info = graph.info("x")
    assert info is not None and info.variant == "base"


def test_a_task_no_variant_can_do() -> None:
    model = ModelInfo("toy", "toy", {"t": variant("t", {"generate"})}, {"": "t"})
    assert "no variant of model 'toy' can do cover" in only({"a": Make(), "d": Dress(source="a")}, model).cause


def test_unknown_variant_and_steps_over_the_limit() -> None:
    found = problems(Pipeline(stages={"a": Make(variant="bass"), "b": Make(variant="turbo", steps=21)}), MODEL)
    assert [p.key for p in found] == ["variant", "steps"]
    assert "Did you mean 'base'?" in found[0].cause and "takes 1 to 20" in found[1].cause


def test_three_hours_are_refused_once_with_the_limit() -> None:
    pipeline = Pipeline(
        inputs={"clip": "x.wav"}, stages={"a": Change(source="clip"), "b": Change(source="a"), "j": Judge(source="clip")}
    )
    found = problems(pipeline, MODEL, clip=InputFacts(Path("x.wav"), duration_s=10800.0))
    assert len(found) == 1 and found[0].stage == "a" and "at most 600 s" in found[0].cause and "10800" in found[0].cause


def test_three_hours_may_be_judged() -> None:
    pipeline = Pipeline(inputs={"clip": "x.wav"}, stages={"j": Judge(source="clip")})
    build_graph(pipeline, model=MODEL, facts={"clip": InputFacts(Path("x.wav"), duration_s=10800.0)})


def test_a_prompt_longer_than_the_model_can() -> None:
    found = problems(Pipeline(prompt=Prompt(duration_s=700), stages={"a": Make(), "b": Change(source="a")}), MODEL)
    assert [(p.stage, p.key) for p in found] == [("a", "prompt.duration_s")]


def test_missing_adapters_are_named(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there/lora.safetensors").touch()
    stage = Make(adapters=(Adapter(path="there"), Adapter(path="gone.safetensors")))
    found = problems(Pipeline(stages={"a": stage}).placed(base=tmp_path))
    assert [p.key for p in found] == ["adapters[1].path"] and str(tmp_path / "gone.safetensors") in found[0].cause


def test_unequal_takes_can_not_be_joined() -> None:
    p = only({"a": Make(takes=2), "b": Make(takes=3), "m": Join(sources=("a", "b"))})
    assert "'a' gives 2, 'b' gives 3" in p.cause


def test_choosing_makes_no_takes() -> None:
    assert only({"a": Make(), "j": Judge(source="a"), "b": Best(source="j", takes=2)}).key == "takes"


def test_takes_that_multiply_without_end() -> None:
    stages: dict[str, Stage] = {"a": Make(takes=1000), "b": Change(source="a", takes=1000), "c": Change(source="b", takes=1000)}
    p = only(stages)
    assert p.stage == "b" and "1000000" in p.cause


def test_a_stages_own_check_sees_its_surroundings() -> None:
    p = only({"a": Make(), "p": Picky(source="a")}, prompt=Prompt(duration_s=3), takes=2)
    assert p == Problem("2 takes of 3.0 s displease me", stage="p", key="source")


def test_an_instruction_that_reads_like_a_cover_is_a_warning_except_on_covers() -> None:
    text = "Generate audio semantic tokens based on the given conditions:"
    stages = {"a": Make(instruction=text), "d": Dress(source="a", instruction=text), "o": Make(instruction="Play it")}
    graph = build_graph(Pipeline(stages=stages), model=MODEL)
    assert [(w.stage, w.key) for w in graph.warnings] == [("a", "instruction")]


def test_a_switch_at_step_0_is_a_warning() -> None:
    stages = {f"d{s}": Dress(source="a", strength=s / 100) for s in (0, 12, 13, 100)}
    graph = build_graph(Pipeline(stages={"a": Make(), **stages}), model=MODEL)  # turbo: 8 steps
    assert [(w.stage, w.key) for w in graph.warnings] == [("d12", "strength")]


def test_guidance_that_was_written_and_does_nothing_is_a_warning() -> None:
    guided = VariantDefaults(steps=8, shift=1.0, guidance_kind="apg", guidance_scale=7.0)
    model = ModelInfo("toy", "toy", {"plain": variant("plain", COMMON), "guided": variant("guided", COMMON, defaults=guided)},
                      {"": "plain"})
    written = {
        "scale_alone": Make(guidance=Guidance(scale=3)), "kind_alone": Make(guidance=Guidance(kind="apg")),
        "none_and_scale": Make(guidance=Guidance(kind="none", scale=3)), "both": Make(guidance=Guidance(kind="cfg", scale=3)),
        "said_none": Make(guidance=Guidance(kind="none")), "said_one": Make(guidance=Guidance(kind="cfg", scale=1)),
        "nothing": Make(), "default_kind": Make(variant="guided", guidance=Guidance(scale=3)),
        "default_scale": Make(variant="guided", guidance=Guidance(kind="cfg")),
    }
    graph = build_graph(Pipeline(stages=written), model=model)
    assert [(w.stage, w.key) for w in graph.warnings] == [
        ("scale_alone", "guidance.scale"), ("kind_alone", "guidance.kind"), ("none_and_scale", "guidance.scale"),
    ]


def test_a_shift_that_turbos_tables_do_not_know_is_the_one_that_runs_and_a_warning() -> None:
    stages = {"off": Make(schedule="turbo", shift=2.6), "on": Make(schedule="turbo", shift=2), "free": Make(shift=2.6)}
    graph = build_graph(Pipeline(stages=stages), model=MODEL)
    assert [(w.stage, w.key) for w in graph.warnings] == [("off", "shift")]
    assert [graph.stage(name).shift for name in stages] == [3.0, 2.0, 2.6]  # type: ignore[attr-defined]
    assert graph.stage("off").key_facts() == Make(schedule="turbo", shift=3, **_defaults()).key_facts()


def _defaults() -> dict[str, Any]:
    filled = Make(schedule="turbo", shift=3).resolved(MODEL.variants["turbo"])
    return {k: getattr(filled, k) for k in ("variant", "steps", "solver", "t_start_policy", "guidance")}


def test_all_problems_come_at_once_with_lines() -> None:
    pipeline = Pipeline(
        inputs={"clip": "x.wav"},
        outputs=("nix",),
        stages={
            "a": Change(source="clop"),
            "b": Best(source="clip"),
            "c": Change(source="c", when="("),
            "d": Pull(source="clip", variant="turbo"),
        },
    ).placed(
        file="my.yaml", lines={("stages", "a", "source"): 7, ("stages", "b"): 8, ("stages", "c", "when"): 9, ("outputs",): 3}
    )
    found = problems(pipeline, MODEL, clip=InputFacts(Path("x.wav"), exists=False))
    assert {(p.stage, p.key) for p in found} == {
        (None, "inputs.clip"),
        (None, "outputs[0]"),
        ("a", "source"),
        ("b", "source"),
        ("c", "source"),
        ("c", "when"),
        ("d", "variant"),
    }
    assert all(p.file == "my.yaml" for p in found)
    lines = {(p.stage, p.key): p.line for p in found}
    assert lines["a", "source"] == 7 and lines["b", "source"] == 8 and lines["c", "when"] == 9 and lines[None, "outputs[0]"] == 3


def test_a_scope_answers_for_names_that_do_not_exist() -> None:
    scope = GraphScope(Graph(Pipeline(stages={"a": Change(source="x")})), "a")
    assert scope.duration_s("x") is None and scope.takes("x") == 1 and scope.has_report("x") and scope.info is None
    assert scope.report_fields("x") is None and scope.input("x") is None

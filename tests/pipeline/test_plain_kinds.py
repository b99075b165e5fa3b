"""Nothing in a spec is turned into another kind without a word."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from pydantic import Field, ValidationError
from segue.pipeline.pipeline import Pipeline
from segue.pipeline.plain_kinds import kinds_in, refuse_coercion
from segue.pipeline.spec import DiffusionStage, Guidance, Prompt, Stage


@pytest.mark.parametrize(
    ("annotation", "kinds"),
    [
        (int | None, {int, type(None)}),
        (Annotated[float, Field(ge=0)] | None, {float, type(None)}),
        (Literal["a", 3] | None, {str, int, type(None)}),
        (tuple[float, ...], {tuple}),
        (dict[str, int], {dict}),
    ],
)
def test_kinds_in(annotation: Any, kinds: set[Any]) -> None:
    assert kinds_in(annotation) == kinds


@pytest.mark.parametrize(
    "make",
    [
        lambda: Stage(type="x", takes="8"),
        lambda: Stage(type="x", takes=True),
        lambda: Stage(type="x", seed="7"),
        lambda: Prompt(bpm="96"),
        lambda: Prompt(duration_s=True),
        lambda: Prompt(instrumental="yes"),
        lambda: Guidance(interval=["0.1", 1]),
        lambda: Guidance(interval=[False, 1]),
        lambda: DiffusionStage(type="x", timesteps=["1.0", 0.5]),
        lambda: Prompt(caption=5),
        lambda: Pipeline(name=True, stages={"a": Stage(type="x")}),
    ],
)
def test_specs_refuse_what_pydantic_would_convert(make: Any) -> None:
    with pytest.raises(ValidationError):
        make()


def test_numbers_stay_numbers() -> None:
    assert Prompt(duration_s=8).duration_s == 8.0
    assert Prompt(bpm=96.0).bpm == 96  # a whole float loses nothing
    assert Guidance(interval=[0, 1]).interval == (0.0, 1.0)


def test_unions_with_text_or_lists_are_left_to_pydantic() -> None:
    refuse_coercion(int | str, "8")
    refuse_coercion(int | tuple[int, int], [1, 2])
    refuse_coercion(tuple[str, ...], ["1"])
    with pytest.raises(ValueError, match="without quotes"):
        refuse_coercion(int | tuple[int, int], [1, "2"])

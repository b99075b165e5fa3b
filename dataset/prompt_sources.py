"""What a plan may say of its prompts: a list, a file, a grid to be sampled, or a folder of sounds to be described.

Frozen specs that are checked as far as they can be without opening a file. What they become is in `prompts`.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterator, Mapping
from typing import Any, Literal, Self

from pydantic import ConfigDict, Field, ValidationError, field_validator, model_validator

from ..pipeline.errors import did_you_mean
from ..pipeline.prompt import Prompt
from ..pipeline.spec import Spec

MAX_CELLS = 250_000
"""Cells a grid may have: each draw looks at all of them."""

_RANGE = re.compile(r"(\d{2,3})\s*-\s*(\d{2,3})")

Axis = tuple[str | int | float | bool, ...]


class TaggedPrompt(Prompt):
    """A prompt with tags: what it is an example of (genre …), for balance. Tags are text and reach no model."""

    tags: dict[str, str] = Field(default_factory=dict, description="what it is an example of, e.g. {genre: jazz}")
    origin: str = Field("", max_length=4000, description="where the prompt comes from; no effect")

    @field_validator("tags", mode="before")
    @classmethod
    def _tags_are_text(cls, value: Any) -> Any:
        return {name: as_text(v) for name, v in value.items()} if isinstance(value, Mapping) else value

    def plain(self) -> Prompt:
        """The prompt without its tags."""
        return Prompt.model_construct(**{name: getattr(self, name) for name in Prompt.model_fields})


class Grid(Spec):
    """Prompts out of every combination of some axes, the most wanted first (see `grid`).

    Keys beside `count` and `beyond`: a list is an axis (``genre: [jazz, funk]``); a single value of a prompt field stands
    in every prompt (``duration_s: 8``). `caption` is text with axes in braces (``"{genre} with {instrumentation}"``), or an
    axis itself. A `bpm` may be a range (``"90-109"``): the tempo is then drawn from it.
    """

    model_config = ConfigDict(extra="allow")

    count: int | None = Field(None, ge=1, le=10_000_000, description="prompts to draw; left out: every combination once")
    beyond: str | None = Field(None, min_length=1, description="folder of an earlier night, whose coverage counts")

    @property
    def axes(self) -> dict[str, Axis]:
        """Values by axis, as declared."""
        return {name: tuple(v) for name, v in (self.model_extra or {}).items() if isinstance(v, list | tuple)}

    @property
    def fixed(self) -> dict[str, Any]:
        """What stands in every prompt; a caption here is a pattern."""
        return {name: v for name, v in (self.model_extra or {}).items() if not isinstance(v, list | tuple)}

    @property
    def cells(self) -> int:
        """How many combinations there are."""
        total = 1
        for values in self.axes.values():
            total *= len(values)
        return total

    @model_validator(mode="after")
    def _axes_make_prompts(self) -> Self:
        axes, fixed = self.axes, self.fixed
        if not axes:
            raise ValueError("a grid needs at least one axis; write e.g. genre: [jazz, funk]")
        for name, value in fixed.items():
            if name not in Prompt.model_fields:
                near = did_you_mean(name, [*Prompt.model_fields, "count", "beyond"])
                axis = f"For an axis write {name}: [{value}]"
                raise ValueError(f"'{name}' is one value ({value!r}) and no prompt field.{near} {axis}")
        for name, values in axes.items():
            _check_axis(name, values)
        self._check_caption(axes, fixed)
        if self.cells > MAX_CELLS:
            raise ValueError(f"the axes have {self.cells} combinations, at most {MAX_CELLS} are weighed; take some values away")
        _check_prompt({name: value for name, value in fixed.items() if name != "caption"}, "")
        return self

    def _check_caption(self, axes: Mapping[str, Axis], fixed: Mapping[str, Any]) -> None:
        pattern = fixed.get("caption", "")
        if not isinstance(pattern, str):
            raise ValueError(f"caption is {pattern!r}; write text, with axes in braces")
        named = set(placeholders(pattern)) if pattern else set()
        known = [name for name in (*axes, *fixed) if name != "caption"]
        for name in sorted(named - set(known)):
            near = did_you_mean(name, known)
            raise ValueError(f"caption names {{{name}}}, and there is no such axis.{near} Axes are {', '.join(axes)}")
        idle = [name for name in axes if name not in Prompt.model_fields and name not in named]
        if idle:
            raise ValueError(f"axis '{idle[0]}' decides nothing: it is no prompt field, and caption does not name {{{idle[0]}}}")


def placeholders(pattern: str) -> Iterator[str]:
    """Names in braces of a caption's pattern. Raises ValueError for braces that are no plain name."""
    try:
        parts = list(string.Formatter().parse(pattern))
    except ValueError as error:
        raise ValueError(f"caption's braces don't match ({error}); write {{genre}}, and {{{{ for a brace itself") from None
    for _, name, form, conversion in parts:
        if name is None:
            continue
        if form or conversion or not re.fullmatch(r"\w+", name) or name.isdigit():
            raise ValueError(f"caption's '{{{name}}}' is no plain name; write an axis in braces, e.g. {{genre}}")
        yield name


def _check_axis(name: str, values: Axis) -> None:
    if not values:
        raise ValueError(f"axis '{name}' has no values; leave it out, or write some")
    for value in values:
        if not isinstance(value, str | int | float | bool):
            raise ValueError(f"axis '{name}' holds {value!r}; its values are texts and numbers")
        if name in Prompt.model_fields and span(name, value) is None:
            _check_prompt({name: value}, f"axis '{name}': ")
    texts = [as_text(value) for value in values]
    twice = next((text for text in texts if texts.count(text) > 1), None)
    if twice is not None:
        raise ValueError(f"axis '{name}' names '{twice}' twice; write each value once")


def span(name: str, value: object) -> tuple[int, int] | None:
    """Bounds of a tempo given as a range, both included: ``("bpm", "90-109")`` -> (90, 109); None for anything else.
    Raises ValueError for a range that runs backwards or out of what a prompt takes."""
    found = _RANGE.fullmatch(value) if name == "bpm" and isinstance(value, str) else None
    if found is None:
        return None
    low, high = int(found[1]), int(found[2])
    if low > high:
        raise ValueError(f"axis 'bpm': range '{value}' runs backwards; write low-high")
    for bpm in (low, high):
        _check_prompt({"bpm": bpm}, f"axis 'bpm', range '{value}': ")
    return low, high


def _check_prompt(fields: Mapping[str, Any], head: str) -> None:
    try:
        Prompt.model_validate(fields)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise ValueError(f"{head}{'.'.join(map(str, first['loc']))} {first['input']!r}: {first['msg']}") from None


def as_text(value: object) -> str:
    """A plain value as it stands in YAML: ``true`` and not ``True``. Raises ValueError for lists, mappings and nothing."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)
    raise ValueError(f"a tag is text or a number, this is {value!r}"[:200])


class Captions(Prompt):
    """Prompts that the caption stage hears out of the sound files of a folder. Prompt fields given here stand as they are."""

    folder: str = Field(min_length=1, description="folder of sound files, searched to any depth")
    by: Literal["signal", "qwen2-audio"] = Field("signal", description="who writes the captions, as in the caption stage")
    captioner: str | None = Field(None, min_length=1, description="qwen2-audio: local folder or hub id of the model")

    @model_validator(mode="after")
    def _captioner_is_for_qwen(self) -> Self:
        if self.by == "signal" and self.captioner is not None:
            raise ValueError("captioner is given, but by: signal needs none; write by: qwen2-audio, or leave captioner out")
        return self

    def given(self) -> Prompt:
        """The prompt fields that stand as they are."""
        return Prompt.model_construct(**{name: getattr(self, name) for name in Prompt.model_fields})


class Prompts(Spec):
    """Where a plan's prompts come from: exactly one of its keys."""

    list: tuple[TaggedPrompt, ...] | None = Field(None, min_length=1, description="prompts, each with its fields and tags")
    file: str | None = Field(None, min_length=1, description="a .jsonl or .csv file; unknown columns become tags")
    grid: Grid | None = Field(None, description="axes whose combinations are sampled")
    captions: Captions | None = Field(None, description="a folder of sounds to be described")

    @model_validator(mode="after")
    def _one(self) -> Self:
        given = [name for name in type(self).model_fields if getattr(self, name) is not None]
        if len(given) != 1:
            what = f"both {' and '.join(given)}" if given else "none of them"
            raise ValueError(f"prompts come from one of list, file, grid, captions, and {what} is given; write one")
        return self

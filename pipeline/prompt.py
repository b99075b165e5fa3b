"""`Prompt`, what the music should be, and the ground every spec stands on: frozen, unknown keys refused, no silent coercion.

Knows no stage and no preset.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from .plain_kinds import refuse_coercion

NAME_PATTERN = r"^[a-z][a-z0-9_]*$"
SEED_MAX = 2**63 - 1


def _name(value: str) -> str:
    if not re.fullmatch(NAME_PATTERN, value) or len(value) > 64:
        raise ValueError(
            f"'{value}' is no name: names start with a small letter and hold only small letters, digits and '_', 64 at most"
        )
    return value


Name = Annotated[str, AfterValidator(_name)]
Unit = Annotated[float, Field(ge=0.0, le=1.0)]
Seconds = Annotated[float, Field(ge=0.0)]
Seed = Annotated[int, Field(ge=0, le=SEED_MAX)]


class Spec(BaseModel):
    """Base of everything a preset can say: frozen, unknown keys refused, no NaN, no silent type coercion of text."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True)

    @field_validator("*", mode="before")
    @classmethod
    def _no_coercion(cls, value: Any, field: ValidationInfo) -> Any:
        refuse_coercion(cls.model_fields[str(field.field_name)].annotation, value)
        return value


class Prompt(Spec):
    """What the music should be. A field left out (None) inherits; an empty string means empty.

    On the pipeline a field left out means "none given"; on a stage it means "as the take has it".
    """

    caption: str | None = Field(None, max_length=20_000, description="what the music should sound like, in words")
    lyrics: str | None = Field(None, max_length=100_000, description="lyrics, with [verse]/[chorus] tags")
    instrumental: bool | None = Field(None, description="true sends '[Instrumental]' in place of lyrics")
    vocal_language: str | None = Field(None, max_length=16, description="language code of the lyrics, e.g. en")
    bpm: int | None = Field(None, ge=20, le=400, description="tempo in beats per minute")
    keyscale: str | None = Field(None, max_length=40, description="key and mode, e.g. 'C major'")
    timesignature: str | None = Field(None, max_length=8, description="beats in a bar, e.g. '4'")
    duration_s: float | None = Field(None, gt=0, le=3600, description="length in seconds")

    def over(self, below: Prompt) -> Prompt:
        """This prompt laid over `below`: fields given here win, the rest comes from `below`."""
        return below.model_copy(update=self.model_dump(exclude_none=True))

    def facts(self) -> dict[str, Any]:
        """The fields that are given, as plain data."""
        return self.model_dump(exclude_none=True)

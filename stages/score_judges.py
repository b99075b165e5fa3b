"""What `score` may be asked for beside the scorer: reference clips and perceptual adapters, as a preset writes them.

The specs and their checks, and what is loaded of them for one stage's work. Every formula and every model lies in
`scoring/`; this module knows files, the preset's paths and the take's caption.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue

from ..pipeline.audio_file import probe_audio, read_audio
from ..pipeline.context import Context
from ..pipeline.errors import Problem, RequestError, RunError
from ..pipeline.scope import Scope
from ..pipeline.spec import Spec
from ..pipeline.take import Audio
from ..scoring.adapters import ADAPTERS, Adapter, AdapterError, load_adapter, missing_extra
from ..scoring.feature_distribution import FeatureDistribution, reference_distance, reference_distribution
from ..scoring.samples import Array

SOUND_ENDINGS = frozenset({".wav", ".flac", ".ogg", ".mp3", ".aiff", ".aif", ".caf", ".au", ".w64", ".rf64"})

AdapterName = Literal["audiobox", "clap", "dnsmos", "fad", "squim"]


class ScoreAdapter(Spec):
    """A perceptual adapter: its name, and its model where it takes one. A name alone is short for {name: …}."""

    name: AdapterName = Field(description="; ".join(f"{name}: {facts.about}" for name, facts in ADAPTERS.items()))
    model: str | None = Field(
        None, min_length=1, max_length=1000,
        description="file or folder of the weights, relative to the preset, or hub id; left out: the adapter's own",
    )
    text: str | None = Field(
        None, min_length=1, max_length=20_000, description="clap: what the sound should be; left out: the take's caption"
    )

    @model_validator(mode="before")
    @classmethod
    def _name_alone(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _fits_the_adapter(self) -> ScoreAdapter:
        if self.text is not None and not ADAPTERS[self.name].needs_text:
            raise ValueError(f"adapter '{self.name}' reads no text; leave text out, or write name: clap")
        if self.model is not None and not ADAPTERS[self.name].model:
            raise ValueError(f"adapter '{self.name}' carries its weights in its package; leave model out")
        return self

    def key_facts(self) -> dict[str, Any]:
        """Version of the adapter and of the packages it needs; the weights' content is in the key of its own."""
        facts = ADAPTERS[self.name]
        return {"name": self.name, "version": facts.version, "packages": facts.installed()}


@dataclass(frozen=True)
class OrName:
    """Tells editors that one of `names` alone may stand for the block."""

    names: tuple[str, ...]

    def __get_pydantic_json_schema__(self, schema: Any, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"anyOf": [{"type": "string", "enum": list(self.names)}, handler(schema)]}


AdapterOrName = Annotated[ScoreAdapter, OrName(tuple(ADAPTERS))]


def clip_files(path: Path) -> list[Path]:
    """The sound files a reference path names: itself, or those in a folder (with its subfolders), in order."""
    if not path.is_dir():
        return [path]
    return sorted(p for p in path.rglob("*") if p.suffix.lower() in SOUND_ENDINGS and not p.name.startswith("."))


def clip_problems(paths: Sequence[str], scope: Scope) -> Iterator[Problem]:
    """What is wrong with a preset's `reference_clips`, by their headers."""
    for i, text in enumerate(paths):
        place, key = scope.path(text), f"reference_clips.{i}"
        files = clip_files(place)
        if not files:
            yield scope.problem(
                f"there is no sound file in the folder '{place}'.", "name a folder with sound files, or the files", key
            )
        for file in files:
            try:
                probe_audio(file)
            except RequestError as error:
                yield error.problems[0].at(stage=scope.stage, key=key)


def adapter_problems(adapters: Sequence[ScoreAdapter], scope: Scope) -> Iterator[Problem]:
    """What is wrong with a preset's `adapters`: packages that are absent, models that are nowhere."""
    for i, adapter in enumerate(adapters):
        missing = missing_extra(ADAPTERS[adapter.name])
        if missing is not None:
            yield scope.problem(missing.cause, missing.fix, f"adapters.{i}")
        if adapter.model is not None and _looks_local(adapter) and not scope.path(adapter.model).exists():
            yield scope.problem(
                f"there is no '{scope.path(adapter.model)}'.",
                f"write the model as {ADAPTERS[adapter.name].model}",
                f"adapters.{i}.model",
            )


def _looks_local(adapter: ScoreAdapter) -> bool:
    """Whether the model can only be a path: everything but owner/name, for those that take hub ids."""
    name = str(adapter.model)
    hub = "hub id" in ADAPTERS[adapter.name].model
    return not hub or name.startswith((".", "~", "/")) or name.count("/") != 1


class Judges:
    """Reference clips and adapters of one stage, each loaded when first asked, kept as long as this is."""

    def __init__(self, clips: Sequence[str], adapters: Sequence[ScoreAdapter], ctx: Context) -> None:
        self._clips, self._adapters, self._ctx_path = tuple(clips), tuple(adapters), ctx.path
        self._device, self._stage = ctx.numerics.device, ctx.stage
        self._loaded: dict[int, Adapter] = {}

    def figures(self, audio: Audio, caption: str | None) -> dict[str, float | None]:
        """Every figure the stage asks for, of a sound of finite samples. Raises RunError when something can't be loaded."""
        samples: Array = audio.samples.numpy()
        found: dict[str, float | None] = {}
        if self._clips:
            found["reference_distance"] = reference_distance(samples, audio.rate_hz, self._references)
        for i, spec in enumerate(self._adapters):
            try:
                adapter = self._loaded.get(i) or self._load(i, spec)
                found |= adapter.score(samples, audio.rate_hz, text=spec.text or caption)
            except (AdapterError, ValueError) as error:
                raise RunError(f"stage '{self._stage}', adapter '{spec.name}': {error}") from error
        return found

    @cached_property
    def _references(self) -> FeatureDistribution:
        try:
            return reference_distribution(self._sounds())
        except ValueError as error:
            raise RunError(f"stage '{self._stage}', reference_clips: {error}") from error

    def _sounds(self) -> Iterator[tuple[Array, int]]:
        """The clips, one at a time."""
        for text in self._clips:
            for file in clip_files(self._ctx_path(text)):
                clip = read_audio(file)
                yield clip.samples.numpy(), clip.rate_hz

    def _load(self, i: int, spec: ScoreAdapter) -> Adapter:
        name = spec.model
        if name is not None and self._ctx_path(name).exists():
            name = str(self._ctx_path(name))
        references = self._sounds() if ADAPTERS[spec.name].needs_references else None
        self._loaded[i] = load_adapter(spec.name, name, device=self._device, references=references)
        return self._loaded[i]


def metrics_of(clips: Sequence[str], adapters: Sequence[ScoreAdapter]) -> tuple[str, ...]:
    """Names of the figures these add to a report."""
    return (*(("reference_distance",) if clips else ()), *(m for a in adapters for m in ADAPTERS[a.name].metrics))


def nothing(clips: Sequence[str], adapters: Sequence[ScoreAdapter]) -> Mapping[str, float | None]:
    """Those names, each without a value: for a sound whose samples aren't numbers."""
    return dict.fromkeys(metrics_of(clips, adapters))

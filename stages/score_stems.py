"""What `score` may be told of stems: takes that are the tracks of the one judged, or a model that makes them out of it.

The spec and its checks, and which take is which track. How a stem is judged is the stage's business, how the reports are put
together that of `scoring/stems.py`, and the models lie in `scoring/adapters/`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from ..pipeline.context import Context, Job
from ..pipeline.errors import Problem, RunError
from ..pipeline.scope import Scope
from ..pipeline.spec import Spec
from ..pipeline.take import Audio, Take
from ..scoring.adapters import SEPARATORS, AdapterError, Separator, load_separator, missing_extra
from ..scoring.samples import Array
from ..scoring.stems import LENGTHS_DIFFER_S
from .kept import kept
from .score_judges import OrName

_WEIGHT_ENDINGS = (".safetensors", ".pt", ".pth")


class StemSeparator(Spec):
    """A model that takes a mix apart: its name, and its weights. A name alone is short for {name: …}."""

    name: Literal["hdemucs"] = Field(description="; ".join(f"{name}: {facts.about}" for name, facts in SEPARATORS.items()))
    model: str | None = Field(
        None, min_length=1, max_length=1000,
        description="file of the weights, relative to the preset; left out: those that torchaudio downloads once",
    )

    @model_validator(mode="before")
    @classmethod
    def _name_alone(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    def key_facts(self) -> dict[str, Any]:
        """Version of the separator and of the packages it needs; the weights' content is in the key of its own."""
        facts = SEPARATORS[self.name]
        return {"name": self.name, "version": facts.version, "packages": facts.installed()}


SeparatorOrName = Annotated[StemSeparator, OrName(tuple(SEPARATORS))]


def wrong_stems(source: str, stems: Mapping[str, str]) -> str | None:
    """Why these can't be the stems of `source`; None when they can."""
    for track, name in stems.items():
        if name == source:
            return f"stem '{track}' is '{name}', the very sound that is judged; name the take of that track alone"
        twin = next((other for other, n in stems.items() if n == name and other != track), None)
        if twin is not None:
            return f"stems '{track}' and '{twin}' are both '{name}'; each track has a take of its own"
    return None


def separator_problems(separator: StemSeparator | None, scope: Scope) -> Iterator[Problem]:
    """What is wrong with a preset's `separate`: packages that are absent, weights that are nowhere or of another kind."""
    if separator is None:
        return
    missing = missing_extra(SEPARATORS[separator.name])
    if missing is not None:
        yield scope.problem(missing.cause, 'pip install "segue-audio[torchaudio]", or give stems', "separate")
    if separator.model is not None:
        path, key = scope.path(separator.model), "separate.model"
        if path.suffix not in _WEIGHT_ENDINGS:
            yield scope.problem(f"'{path.name}' is no {', '.join(_WEIGHT_ENDINGS)} file.", "name a state dict", key)
        elif not path.is_file():
            yield scope.problem(f"there is no weights file '{path}'.", "write the path of one", key)


def stem_key(track: str) -> str:
    """The key by which a stage's references and a job's sources name a stem."""
    return f"stems[{track}]"


def given_stems(job: Job, tracks: Mapping[str, str], ctx: Context) -> dict[str, Take]:
    """The takes of the tracks, by name; warns of one that is longer or shorter than the take judged."""
    found = {track: job.sources[stem_key(track)] for track in tracks}
    whole = ctx.audio(job.source).duration_s
    for track, take in found.items():
        length = ctx.audio(take).duration_s
        if abs(length - whole) > LENGTHS_DIFFER_S:
            ctx.warn(
                f"'{job.source.id}' lasts {whole:.2f} s, its stem '{track}' ('{take.id}') {length:.2f} s; "
                "both are taken to begin together"
            )
    return found


def separated(audio: Audio, separator: StemSeparator, ctx: Context) -> dict[str, Array]:
    """The stems of a sound of finite samples `[C, T]`, by name, at its rate. Raises RunError when the model can't be loaded."""
    try:
        model: Separator = kept(ctx, lambda: _loaded(separator, ctx), "separator")
        return model.separate(audio.samples, audio.rate_hz)
    except (AdapterError, ValueError) as error:
        raise RunError(f"stage '{ctx.stage}', separate '{separator.name}': {error}") from error


def _loaded(separator: StemSeparator, ctx: Context) -> Separator:
    weights = str(ctx.path(separator.model)) if separator.model is not None else None
    return load_separator(separator.name, weights, device=ctx.numerics.device)

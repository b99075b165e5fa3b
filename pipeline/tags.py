"""The tags Segue writes into sound files: enough to say how a take came about, and to make it again (`segue rerun FILE`).

Keys:

=================  =====================================================================================
TITLE              the caption's first 120 characters (left out without one), for players
COMMENT            one line: preset, stage, take index and seed
SEGUE_VERSION      version of Segue that made the take
SEGUE_PRESET       the preset in full, as YAML
SEGUE_RUN_SEED     the run's seed, from which every other seed follows
SEGUE_STAGE        name of the stage the take belongs to
SEGUE_INDEX        the take's index in that stage
SEGUE_SEED         the take's own seed
SEGUE_KEY          the take's key: names its content (see `pipeline/keys.py`)
SEGUE_PROMPT       the prompt as the take has it, JSON
SEGUE_NUMERICS     threads, dtype, kind of device, micro-batch, tile and library versions it was made with, JSON
SEGUE_LINEAGE      one JSON object a stage, oldest first: drawn parameters, steps run … (no traces)
SEGUE_BASE         folder the preset's relative paths start from (only when it was asked to be written)
=================  =====================================================================================

Knows nothing of how tags lie in a file (that is `audio_tags`) and of any stage type.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from .audio_file import read_tags
from .context import Numerics
from .errors import Problem, RequestError
from .keys import numerics_facts
from .prompt import Prompt
from .take import Take

_NEEDED = ("SEGUE_PRESET", "SEGUE_RUN_SEED", "SEGUE_STAGE", "SEGUE_INDEX", "SEGUE_SEED")
_TITLE_LENGTH = 120


@dataclass(frozen=True)
class TakeTags:
    """What a sound file says about the take in it. `base` and `numerics` are None when the file doesn't tell."""

    preset: str
    run_seed: int
    stage: str
    index: int
    seed: int
    key: str
    prompt: Prompt
    lineage: tuple[Mapping[str, Any], ...]
    version: str
    base: str | None = None
    numerics: Numerics | None = None


def take_tags(
    take: Take, *, preset_yaml: str, run_seed: int, numerics: Numerics, base: Path | None = None
) -> dict[str, str]:
    """The tags of a take, by key. The same take of the same preset and run seed gives the same tags: no clock, no host.

    `base` is written only when given; it names a folder of this machine.
    """
    caption = " ".join((take.prompt.caption or "").split())
    tags = {
        "TITLE": caption if len(caption) <= _TITLE_LENGTH else caption[: _TITLE_LENGTH - 1] + "…",
        "COMMENT": f"Segue: stage {take.stage}, take {take.index}, seed {take.seed}, run seed {run_seed}",
        "SEGUE_VERSION": metadata.version("segue-audio"),
        "SEGUE_PRESET": preset_yaml,
        "SEGUE_RUN_SEED": str(run_seed),
        "SEGUE_STAGE": take.stage,
        "SEGUE_INDEX": str(take.index),
        "SEGUE_SEED": str(take.seed),
        "SEGUE_KEY": take.key,
        "SEGUE_PROMPT": _json(take.prompt.facts()),
        "SEGUE_NUMERICS": _json(numerics_facts(numerics.portable())),
        "SEGUE_LINEAGE": _json(take.plain_lineage()),
    }
    if base is not None:
        tags["SEGUE_BASE"] = str(base)
    return {key: _cleaned(text) for key, text in tags.items() if text}


def read_take_tags(path: str | Path) -> TakeTags:
    """What a sound file's tags say about its take.

    Raises RequestError when the file is missing or no sound file, when it carries no tags of Segue's, or when a tag was
    changed so that it can't be understood.
    """
    tags = read_tags(path)
    missing = [key for key in _NEEDED if key not in tags]
    if missing:
        raise RequestError(
            Problem(
                cause=f"'{path}' does not say how it was made: its tags lack {', '.join(missing)}.",
                fix="give a FLAC, OGG, MP3 or WAV file that Segue wrote (editors and converters may drop its tags).",
            )
        )
    try:
        return TakeTags(
            preset=tags["SEGUE_PRESET"],
            run_seed=int(tags["SEGUE_RUN_SEED"]),
            stage=tags["SEGUE_STAGE"],
            index=int(tags["SEGUE_INDEX"]),
            seed=int(tags["SEGUE_SEED"]),
            key=tags.get("SEGUE_KEY", ""),
            prompt=Prompt(**json.loads(tags.get("SEGUE_PROMPT", "{}"))),
            lineage=tuple(json.loads(tags.get("SEGUE_LINEAGE", "[]"))),
            version=tags.get("SEGUE_VERSION", ""),
            base=tags.get("SEGUE_BASE"),
            numerics=Numerics(**json.loads(tags["SEGUE_NUMERICS"])) if "SEGUE_NUMERICS" in tags else None,
        )
    except (ValueError, TypeError) as error:
        raise RequestError(
            Problem(cause=f"a tag of '{path}' can't be understood: {error}.", fix="use the file as Segue wrote it.")
        ) from error


def _json(data: Any) -> str:
    """JSON in one line; numbers that are no numbers become text, for JSON has none."""
    return json.dumps(_plain(data), ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _plain(data: Any) -> Any:
    if isinstance(data, Mapping):
        return {str(k): _plain(v) for k, v in data.items()}
    if isinstance(data, list | tuple):
        return [_plain(v) for v in data]
    if isinstance(data, float) and data - data != 0.0:  # NaN or infinite
        return str(data)
    return data


def _cleaned(text: str) -> str:
    """Text as tags can hold it: NUL characters and lone surrogates, which no tag can, become the replacement character."""
    return "".join("\ufffd" if c == "\0" or "\ud800" <= c <= "\udfff" else c for c in text)

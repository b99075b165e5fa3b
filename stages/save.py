"""`save`: takes as sound files in the run's folder, named, levelled when asked, guarded against clipping, tagged.

What travels on is the take as it was: loudness and peak guard change the file only, and are recorded. Knows nothing of
what comes before it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from ..pipeline.audio_file import FORMATS, resample, write_audio
from ..pipeline.context import Context, Job, Result
from ..pipeline.errors import Problem, RunError
from ..pipeline.scope import Scope
from ..pipeline.spec import Name, Stage
from ..pipeline.tags import take_tags
from ..pipeline.take import Audio
from ..scoring.loudness import loudness

SLUG_LENGTH = 60


class Save(Stage):
    """Writes each take to a file; the take itself goes on unchanged."""

    version: ClassVar[int] = 1
    keeps_report: ClassVar[bool] = True
    writes_files: ClassVar[bool] = True
    reads_prompt: ClassVar[frozenset[str]] = frozenset()  # the file's name has no part in the bytes
    type: Literal["save"] = "save"
    source: Name
    format: Literal["flac", "wav", "ogg", "mp3"] = Field("flac", description="kind of file")
    subtype: Literal["PCM_24", "PCM_16", "FLOAT", "VORBIS", "OPUS", "MPEG_LAYER_III"] | None = Field(
        None, description="how samples are stored; left out: 24 bit in flac and wav, Vorbis in ogg"
    )
    directory: str | None = Field(
        None, max_length=200, description="folder inside the run's folder; left out: named as the stage"
    )
    naming: Literal["timestamp_slug", "stage_index"] = Field(
        "timestamp_slug", description="20241108_152030_heavy_boots_on_marble_floor, or saved-00"
    )
    loudness_lufs: float | None = Field(
        None, ge=-70, le=0, description="integrated loudness (BS.1770-4) the file is brought to, before the peak guard"
    )

    @field_validator("directory")
    @classmethod
    def _inside(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = PurePosixPath(value).parts
        if value.startswith(("/", "~")) or ".." in parts or "\\" in value or re.match(r"[A-Za-z]:", value):
            raise ValueError(f"'{value}' leads out of the run's folder; write a folder inside it, e.g. best or out/best")
        if not parts or not value.isprintable():
            raise ValueError(f"{value!r} is no folder name")
        return value

    @model_validator(mode="after")
    def _subtype_fits(self) -> Self:
        if self.subtype is not None and self.subtype not in FORMATS[self.format]:
            raise ValueError(
                f"{self.format} holds no {self.subtype}; write subtype: {' or '.join(FORMATS[self.format])}"
            )
        return self

    def check(self, scope: Scope) -> Iterator[Problem]:
        """Two save stages must not write the same names into the same folder."""
        if self.naming != "timestamp_slug":
            return
        mine = (PurePosixPath(self.directory or scope.stage), self.format)
        for name, other in scope.stages.items():
            if name == scope.stage:
                return
            if not isinstance(other, Save) or other.naming != self.naming:
                continue
            if (PurePosixPath(other.directory or name), other.format) == mine:
                yield scope.problem(
                    f"stage '{name}' writes {self.format} files of the same names into '{mine[0]}'.",
                    "give each its own directory, or write naming: stage_index", "directory",
                )

    def run(self, jobs: Sequence[Job], ctx: Context) -> list[Result]:
        if ctx.out is None:
            raise RunError(
                f"stage '{ctx.stage}' has nowhere to write to: the run has no folder. Give one: --out FOLDER, or "
                "pipe.run(out=FOLDER)."
            )
        return [self._one(job, ctx, ctx.out) for job in jobs]

    def _one(self, job: Job, ctx: Context, out: Path) -> Result:
        folder = out / (self.directory or ctx.stage)
        if not folder.resolve().is_relative_to(out.resolve()):
            raise RunError(f"stage '{ctx.stage}': '{self.directory}' is a link that leads out of the run's folder {out}.")
        path = folder / f"{self._stem(job, ctx)}.{self.format}"
        audio, levelled = self._levelled(ctx.audio(job.source))
        take = job.source.with_(stage=ctx.stage, index=job.index, prompt=job.prompt, key=job.key)
        tags = take_tags(take, preset_yaml=ctx.preset, run_seed=ctx.run_seed, numerics=ctx.numerics)
        written = write_audio(path, audio, format=self.format, subtype=self.subtype, tags=tags)
        facts = {
            "file": path.relative_to(out).as_posix(), "format": written.format, "subtype": written.subtype, **levelled,
            "peak": written.peak, "guard_db": written.gain_db, "sha256": written.sha256,
        }
        return Result(same_signal=True, facts=facts)

    def _stem(self, job: Job, ctx: Context) -> str:
        if self.naming == "stage_index":
            return f"{ctx.stage}-{job.index:02d}"
        made = datetime.fromisoformat(ctx.created).astimezone(UTC).strftime("%Y%m%d_%H%M%S")
        return f"{made}_{slug(job.prompt.caption or '')}" + (f"_{job.index:02d}" if job.index else "")

    def _levelled(self, audio: Audio) -> tuple[Audio, dict[str, Any]]:
        """The audio at the loudness asked for, and what was measured and done. Silence has no loudness and stays."""
        if self.loudness_lufs is None:
            return audio, {}
        heard = audio if audio.rate_hz >= 8_000 else resample(audio, 48_000)  # its weighting needs a few kHz
        found = loudness(heard.samples, heard.rate_hz).integrated
        if found is None:
            return audio, {"loudness_lufs": None, "loudness_gain_db": 0.0}
        gain_db = self.loudness_lufs - found
        louder = Audio(audio.samples * 10.0 ** (gain_db / 20.0), audio.rate_hz)
        return louder, {"loudness_lufs": found, "loudness_gain_db": gain_db}


def slug(text: str) -> str:
    """`text` as part of a file name: ASCII letters and digits in lower case, words joined by '_', at most 60 characters.

    Accents are dropped, everything else that is no letter or digit separates words; ``untitled`` when nothing is left.

    >>> slug("Heavy boots, on a marble floor!")
    'heavy_boots_on_a_marble_floor'
    """
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode("ascii").lower()
    words = re.findall(r"[a-z0-9]+", plain)
    short = ""
    for word in words:
        longer = f"{short}_{word}" if short else word
        if len(longer) > SLUG_LENGTH:
            break
        short = longer
    return short or (words[0][:SLUG_LENGTH] if words else "untitled")

"""The corpus' unit: a clip with stems and everything that is known about it, from one integer seed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from .captions import make_caption, make_lyrics
from .composer import Section, Song, compose
from .render import render


@dataclass(frozen=True)
class Clip:
    """A rendered song. ``stems`` maps ACE-Step track names to ``[2, T]`` float32 samples."""

    seed: int
    rate_hz: int
    stems: dict[str, np.ndarray]
    instruments: dict[str, str]
    caption: str
    bpm: int
    keyscale: str
    timesignature: str
    lyrics: str
    sections: tuple[Section, ...]
    style: str
    song: Song

    @property
    def samples(self) -> np.ndarray:
        """The mix, ``[2, T]`` float32: the sum of the stems."""
        return np.asarray(np.sum(list(self.stems.values()), axis=0, dtype=np.float32))

    @property
    def duration_s(self) -> float:
        return next(iter(self.stems.values())).shape[-1] / self.rate_hz

    def facts(self) -> dict[str, Any]:
        """Everything but the samples, ready for JSON."""
        return {
            "seed": self.seed, "rate_hz": self.rate_hz, "duration_s": self.duration_s, "caption": self.caption,
            "bpm": self.bpm, "keyscale": self.keyscale, "timesignature": self.timesignature, "lyrics": self.lyrics,
            "style": self.style, "instruments": self.instruments,
            "sections": [[section.name, section.start_s, section.end_s] for section in self.sections],
        }  # fmt: skip


def make_clip(seed: int, duration_s: float = 8.0, rate_hz: int = 24_000, renderer: str = "synth") -> Clip:
    """Compose and render the clip of ``seed``: same arguments, same samples (``fluidsynth``: with the same sound font)."""
    song = compose(seed, duration_s)
    rng = np.random.default_rng([seed, 0xCA9])
    return Clip(
        seed=seed,
        rate_hz=rate_hz,
        stems=render(song, rate_hz, renderer),
        instruments=dict(song.instruments),
        caption=make_caption(song, rng),
        bpm=song.bpm,
        keyscale=song.key.keyscale,
        timesignature=str(song.beats),
        lyrics=make_lyrics(song),
        sections=tuple(song.sections),
        style=song.style.name,
        song=song,
    )


def _write(seed: int, folder: Path, duration_s: float, rate_hz: int, stems: bool, renderer: str) -> dict[str, Any]:
    import soundfile

    clip = make_clip(seed, duration_s, rate_hz, renderer)
    name = f"{seed:08d}"
    soundfile.write(folder / f"{name}.flac", clip.samples.T, rate_hz, subtype="PCM_16")
    facts = {"file": f"{name}.flac", **clip.facts()}
    if stems:
        facts["stems"] = {}
        for track, samples in clip.stems.items():
            facts["stems"][track] = f"{name}.{track}.flac"
            soundfile.write(folder / facts["stems"][track], samples.T, rate_hz, subtype="PCM_16")
    return facts


def make_corpus(
    folder: Path | str,
    clips: int,
    *,
    first_seed: int = 0,
    duration_s: float = 8.0,
    rate_hz: int = 24_000,
    stems: bool = True,
    renderer: str = "synth",
    workers: int = 1,
) -> Iterator[dict[str, Any]]:
    """Write ``clips`` clips as FLAC (mix and stems) with ``clips.jsonl`` beside them; yields the facts of each."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write = partial(_write, folder=folder, duration_s=duration_s, rate_hz=rate_hz, stems=stems, renderer=renderer)
    seeds = range(first_seed, first_seed + clips)
    with (folder / "clips.jsonl").open("w", encoding="utf-8") as lines:
        if workers <= 1:
            for seed in seeds:
                facts = write(seed)
                lines.write(json.dumps(facts) + "\n")
                yield facts
            return
        with ProcessPoolExecutor(workers) as pool:
            for facts in pool.map(write, seeds, chunksize=8):
                lines.write(json.dumps(facts) + "\n")
                yield facts

"""Unseen clips and the means to run the product on them: its own presets and stages, its own autoencoder.

One pipeline holds a stage a clip, so a group of measurements loads the weights once. Knows no bar.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...pipeline.audio_file import write_audio
from ...pipeline.context import Numerics
from ...pipeline.models.pool import Pool
from ...pipeline.models.resolve import describe_model
from ...pipeline.options import RunOptions
from ...pipeline.pipeline import Pipeline
from ...pipeline.run import Run
from ...pipeline.session import Counts
from ...pipeline.spec import Prompt, Stage
from ...pipeline.take import Audio, Take
from ..corpus import make_clip
from .listeners import Heard, Listeners, features

# Seeds: training composes below 30,000,000, choices (guidance, budgets) were made on 40,000,000 and on.
JUDGED_FIRST_SEED, CHOICE_FIRST_SEED = 50_000_000, 40_000_000
LISTENER_CLIPS = 800
# So many of them are also heard through the autoencoder, so that its own sound is not taken for an instrument's.
RECONSTRUCTED_CLIPS = 240


def _listened(seed: int) -> tuple[Heard, dict[str, Any]]:
    clip = make_clip(seed)
    return features(clip.samples, clip.rate_hz), clip.facts()


def make_listeners(
    through: Callable[[torch.Tensor], torch.Tensor], clips: int = LISTENER_CLIPS, reconstructed: int = RECONSTRUCTED_CLIPS,
    workers: int = 2,
) -> Listeners:  # fmt: skip
    """Listeners fitted on the training seeds 0 … ``clips`` − 1, the first ``reconstructed`` of them also as they come
    ``through`` the autoencoder."""
    found = [_listened(0)]  # librosa's functions are compiled here, before processes that would write numba's cache at once
    with ProcessPoolExecutor(workers) as processes:
        found += processes.map(_listened, range(1, clips), chunksize=16)
    for seed in range(reconstructed):
        clip = make_clip(seed)
        found.append((features(through(torch.from_numpy(clip.samples)).numpy(), clip.rate_hz), clip.facts()))
    heard, facts = zip(*found, strict=True)
    return Listeners(heard, facts)


class Bench:
    """``clips`` unseen clips, written as sound files below ``work``, and model ``model`` to run on them."""

    def __init__(self, model: str, clips: int, work: Path, *, first_seed: int = JUDGED_FIRST_SEED) -> None:
        self.model, self.work = model, work
        self.info = describe_model(model, offline=True)
        self.clips = [make_clip(first_seed + index) for index in range(clips)]
        self.rate_hz = next(iter(self.info.variants.values())).rate_hz
        self.hop = next(iter(self.info.variants.values())).hop_length
        self.pool = Pool(self.info, Numerics(threads=torch.get_num_threads(), tile_frames=50), Counts())
        work.mkdir(parents=True, exist_ok=True)
        self._inputs: dict[str, Path] = {}
        for index in range(clips):
            self.add_input(f"clip{index}", self.samples(index))

    def add_input(self, name: str, samples: torch.Tensor) -> None:
        """Make ``samples`` ``[2, T]`` an input that stages may name; ``clip<k>``, the clips themselves, are there."""
        self._inputs[name] = self.work / f"{name}.flac"
        write_audio(self._inputs[name], Audio(samples, self.rate_hz))

    def input_path(self, index: int) -> Path:
        """The sound file of clip ``index``."""
        return self._inputs[f"clip{index}"]

    def part(self, index: int, tracks: Sequence[str]) -> torch.Tensor:
        """The sum of some stems of a clip, ``[2, T]``."""
        return torch.from_numpy(np.sum([self.clips[index].stems[track] for track in tracks], axis=0, dtype=np.float32))

    @cached_property
    def listeners(self) -> Listeners:
        return make_listeners(self.through)

    @property
    def facts(self) -> list[dict[str, Any]]:
        return [clip.facts() for clip in self.clips]

    def prompt(self, index: int) -> Prompt:
        """Everything that is known of a clip, as a person would write it."""
        clip = self.clips[index]
        lyrics: dict[str, Any] = {"instrumental": True} if "vocals" not in clip.stems else {"lyrics": clip.lyrics}
        return Prompt(caption=clip.caption, bpm=clip.bpm, keyscale=clip.keyscale, timesignature=clip.timesignature,
                      duration_s=clip.duration_s, vocal_language="en", **lyrics)  # fmt: skip

    def run(self, stages: Mapping[str, Stage]) -> Run:
        """Run stages as one pipeline, with the inputs that they name."""
        named = {name for stage in stages.values() for name in stage.references().values()} - set(stages)
        pipeline = Pipeline(
            name="evaluation", model=self.model, seed=7, stages=dict(stages), outputs=tuple(stages),
            inputs={name: str(self._inputs[name]) for name in sorted(named)},
        )  # fmt: skip
        return pipeline.run(home=self.work / "home", options=RunOptions(offline=True, tile_frames=50))

    def samples(self, index: int) -> torch.Tensor:
        """The clip itself, ``[2, T]``."""
        return torch.from_numpy(self.clips[index].samples)

    @torch.no_grad()
    def through(self, samples: torch.Tensor) -> torch.Tensor:
        """Samples ``[2, T]`` through the autoencoder and back: the ceiling of everything that is decoded."""
        return self.pool.decode(self.pool.encode(samples[None]))[0, :, : samples.shape[-1]]

    @cached_property
    def reconstructions(self) -> list[torch.Tensor]:
        return [self.through(self.samples(index)) for index in range(len(self.clips))]

    def hear(self, sounds: Sequence[torch.Tensor]) -> list[Heard]:
        return [features(sound.numpy(), self.rate_hz) for sound in sounds]


def audio_of(run: Run, name: str) -> torch.Tensor:
    """Samples ``[2, T]`` of a stage's only take."""
    return take_of(run, name).audio.samples


def take_of(run: Run, name: str) -> Take:
    (take,) = run[name]
    return take


def mean(values: Sequence[float | None]) -> float:
    """Mean of the values that there are; NaN for none."""
    found = [float(value) for value in values if value is not None]
    return float(np.mean(found)) if found else float("nan")

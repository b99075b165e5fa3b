"""From cached clips to training examples of the six tasks, laid out as diffusers' pipeline lays them out.

The transformer sees ``[source latents, chunk mask, x_t]``. text2music: silence and ones. repaint: the source, silence
inside the window; mask one inside. cover: the source through tokenizer and detokenizer, ones. extract, lego, complete:
the full source, ones. Every draw depends on (seed, step) alone, so a resumed run sees the same batches.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ...pipeline.models.acestep import reference_frames
from ..mini import FRAME_RATE_HZ, LATENT_DIM
from .beats import beat_phases, tempo_angles
from .prompts import PromptPair, draw_prompt, instruction_for

TASKS = ("text2music", "repaint", "cover", "extract", "lego", "complete")
WEIGHTS = {"text2music": 0.2, "repaint": 0.06, "cover": 0.2, "extract": 0.08, "lego": 0.34, "complete": 0.12}
# The start of a run: copying from the context is learnt first and carries the rest.
EARLY_WEIGHTS = {"text2music": 0.2, "repaint": 0.25, "cover": 0.1, "extract": 0.25, "lego": 0.1, "complete": 0.1}
# Lengths in latent frames (25 a second): mostly 4 s at first, 4 to 12 s later.
EARLY_LENGTHS = (100, 100, 100, 124, 200)
LENGTHS = (100, 150, 200, 200, 300)
REFERENCE_FRAMES, REFERENCED = 750, 0.08
FROM_THE_START = 0.9  # of text2music's examples


@dataclass
class Batch:
    """Examples of one length. ``target``, ``source``: ``[B, T, 64]``; ``mask``: ``[B, T]``; ``covers``: which of them are,
    ``[C]``; ``references``: ``[R, 750, 64]`` of those that have one, ``referenced`` ``[R]``; ``phases``: where in its bar
    each frame is, ``[B, T, 6]``, ``angles``: the tempo, ``[B, 48]`` (both of ``beats``); ``tokens``: what
    ``network.tokenize`` made of ``prompts``."""

    target: torch.Tensor
    source: torch.Tensor
    mask: torch.Tensor
    covers: torch.Tensor
    references: torch.Tensor
    referenced: torch.Tensor
    prompts: list[PromptPair]
    tasks: list[str]
    phases: torch.Tensor
    angles: torch.Tensor
    tokens: tuple[torch.Tensor, ...] | None = None

    @property
    def composed(self) -> torch.Tensor:
        """Which examples are made from text alone, 0 or 1 ``[B]``."""
        return torch.tensor([float(task == "text2music") for task in self.tasks])

    @property
    def told(self) -> torch.Tensor:
        """Which examples' prompts name the tempo, 0 or 1 ``[B]``."""
        return torch.tensor([float("- bpm: N/A" not in prompt.text) for prompt in self.prompts])

    def pin_memory(self) -> Batch:
        """The same in page-locked memory, which a GPU copies from without being waited for."""
        self.target, self.source, self.mask = self.target.pin_memory(), self.source.pin_memory(), self.mask.pin_memory()
        self.references, self.referenced = self.references.pin_memory(), self.referenced.pin_memory()
        self.covers = self.covers.pin_memory()
        self.phases, self.angles = self.phases.pin_memory(), self.angles.pin_memory()
        if self.tokens is not None:
            self.tokens = tuple(part.pin_memory() for part in self.tokens)
        return self

    def pad(self, multiple: int) -> None:
        """References and covers of no example, until there are a ``multiple`` of each: few counts, few shapes."""
        nobody = len(self.target)
        more = -len(self.referenced) % multiple
        self.references = torch.cat([self.references, self.references.new_zeros(more, *self.references.shape[1:])])
        self.referenced = torch.cat([self.referenced, self.referenced.new_full((more,), nobody)])
        self.covers = torch.cat([self.covers, self.covers.new_full((-len(self.covers) % multiple,), nobody)])


def _draw_task(item: dict[str, Any], weights: dict[str, float], rng: np.random.Generator) -> str:
    names = [name for name in TASKS if weights.get(name, 0) > 0 and _possible(item, name)]
    chances = np.array([weights[name] for name in names])
    return names[int(rng.choice(len(names), p=chances / chances.sum()))]


def _possible(item: dict[str, Any], task: str) -> bool:
    return task not in ("extract", "lego", "complete") or len(item["stems"]) > 1


def _repaint_window(frames: int, rng: np.random.Generator) -> tuple[int, int]:
    length = int(frames * rng.uniform(0.2, 0.7))
    start = int(rng.integers(0, frames - length + 1))
    if rng.random() < 0.3:
        start = 0 if rng.random() < 0.5 else frames - length
    return start, start + length


def _first_frame(item: dict[str, Any], task: str, frames: int, rng: np.random.Generator) -> int:
    """Where an example is cut out. A piece that is generated begins where pieces begin."""
    first = int(rng.integers(0, len(item["mix"]) - frames + 1))
    return 0 if task == "text2music" and rng.random() < FROM_THE_START else first


def draw_example(
    item: dict[str, Any], task: str, first: int, frames: int, silence: torch.Tensor, rng: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, list[str]]:
    """Target ``[T, 64]``, source ``[T, 64]``, mask ``[T]`` and the tracks that the instruction names."""
    cut = slice(first, first + frames)
    mix, mask = item["mix"][cut].float(), torch.ones(frames)
    if task == "text2music":
        return mix, silence[:frames], mask, []
    if task == "cover":
        return mix, mix, mask, []
    if task == "repaint":
        start, end = _repaint_window(frames, rng)
        source, mask = mix.clone(), torch.zeros(frames)
        source[start:end], mask[start:end] = silence[start:end], 1.0
        return mix, source, mask, []
    tracks = list(item["stems"])
    track = tracks[int(rng.integers(len(tracks)))]
    if task == "extract":
        return item["stems"][track][cut].float(), mix, mask, [track]
    if task == "lego":
        return item["stems"][track][cut].float(), item["rests"][track][cut].float(), mask, [track]
    if rng.random() < 0.5:
        return mix, item["rests"][track][cut].float(), mask, [track]
    others = [name for name in tracks if name != track]
    return mix, item["stems"][track][cut].float(), mask, others


def draw_batch(
    items: list[dict[str, Any]], size: int, silence: torch.Tensor, rng: np.random.Generator, *,
    weights: dict[str, float] = WEIGHTS, lengths: tuple[int, ...] = LENGTHS, full_prompts: bool = False,
) -> Batch:  # fmt: skip
    """A batch of mixed tasks, all of one of ``lengths``; ``silence`` is the model's latent of silence from its beginning on,
    ``[F, 64]``, as long as the longest example."""
    longest = max(len(item["mix"]) for item in items)
    frames = int(rng.choice([length for length in lengths if length <= longest] or [longest]))
    long_enough = items if frames <= LENGTHS[0] else [item for item in items if len(item["mix"]) >= frames]
    chosen = [long_enough[int(index)] for index in rng.integers(len(long_enough), size=size)]
    frames = min(frames, *(len(item["mix"]) for item in chosen))
    targets, sources, masks, prompts, tasks, starts, phases, angles = [], [], [], [], [], [], [], []
    for item in chosen:
        task = _draw_task(item, weights, rng)
        first = _first_frame(item, task, frames, rng)
        target, source, mask, tracks = draw_example(item, task, first, frames, silence, rng)
        prompts.append(draw_prompt(item["facts"], instruction_for(task, tracks), frames / FRAME_RATE_HZ, rng,
                                   full=full_prompts))
        starts.append(int(rng.integers(0, len(item["mix"]) - LENGTHS[0] + 1)) if len(item["mix"]) > LENGTHS[0] else 0)
        targets.append(target)
        sources.append(source)
        masks.append(mask)
        tasks.append(task)
        angles.append(tempo_angles(item["facts"]))
        phases.append(beat_phases(item["facts"], first, frames))
    referenced = torch.from_numpy(np.flatnonzero(rng.random(size) < REFERENCED))
    return Batch(
        torch.stack(targets), torch.stack(sources), torch.stack(masks),
        torch.tensor([row for row, task in enumerate(tasks) if task == "cover"], dtype=torch.long),
        _references(chosen, starts, referenced), referenced, prompts, tasks, torch.stack(phases), torch.stack(angles),
    )  # fmt: skip


def _references(chosen: list[dict[str, Any]], starts: list[int], referenced: torch.Tensor) -> torch.Tensor:
    """4 s of the examples that get a timbre reference, from their starts on, laid out as the product does: ``[R, 750, 64]``."""
    made = []
    for row in referenced.tolist():
        cut = chosen[row]["mix"][starts[row] : starts[row] + LENGTHS[0]]
        made.append(reference_frames(cut.float(), REFERENCE_FRAMES))
    return torch.stack(made) if made else torch.zeros(0, REFERENCE_FRAMES, LATENT_DIM)

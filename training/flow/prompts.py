"""What the text encoder reads: the very template and instructions of diffusers' ``AceStepPipeline``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from diffusers.pipelines.ace_step.pipeline_ace_step import SFT_GEN_PROMPT, AceStepPipeline

# The same pitch class by its other name, so that both spellings are learnt.
_OTHER_NAME = {"C#": "Db", "Db": "C#", "Eb": "D#", "F#": "Gb", "Ab": "G#", "G#": "Ab", "Bb": "A#"}
_UNKNOWN_WORDS = ("for the", "café", "scene", "untitled", "7b", "demo", "zum", "Tag", "über", "夜", "remix", "v2")


@dataclass(frozen=True)
class PromptPair:
    """The formatted text prompt and the formatted lyrics of one example."""

    text: str
    lyrics: str


def instruction_for(task: str, tracks: list[str]) -> str:
    """The task's instruction with track names in capitals, classes joined with " | "."""
    return AceStepPipeline._get_task_instruction(task, tracks[0] if tracks else None, tracks)


def format_prompt(
    instruction: str, caption: str, lyrics: str, *, duration_s: float, bpm: int | None, keyscale: str | None,
    timesignature: str | None,
) -> PromptPair:  # fmt: skip
    """Fill the templates exactly as the pipeline does; ``None`` becomes N/A."""
    metas = AceStepPipeline._build_metadata_string(bpm, keyscale, timesignature, duration_s)
    text = SFT_GEN_PROMPT.format(instruction, caption, metas)
    return PromptPair(text, f"# Languages\nen\n\n# Lyric\n{lyrics}<|endoftext|>")


def draw_prompt(
    facts: dict[str, Any], instruction: str, duration_s: float, rng: np.random.Generator, *, full: bool = False
) -> PromptPair:
    """A training prompt: each fact is left out now and then (never when ``full``), keys get their other name at times."""
    def keep(chance: float) -> bool:
        return full or rng.random() < chance

    caption = facts["caption"] if keep(0.9) else ""
    if not full and caption and rng.random() < 0.06:
        words = caption.split()
        words.insert(int(rng.integers(len(words) + 1)), str(rng.choice(_UNKNOWN_WORDS)))
        caption = " ".join(words)
    if not full and caption and rng.random() < 0.2:
        caption = caption.lower()
    tonic, mode = facts["keyscale"].split()
    if not full and tonic in _OTHER_NAME and rng.random() < 0.15:
        tonic = _OTHER_NAME[tonic]
    lyrics = facts["lyrics"]
    if not full and rng.random() < 0.3:
        lyrics = ""
    return format_prompt(
        instruction,
        caption,
        lyrics,
        duration_s=duration_s,
        bpm=facts["bpm"] if keep(0.85) else None,
        keyscale=f"{tonic} {mode}" if keep(0.85) else None,
        timesignature=facts["timesignature"] if keep(0.85) else None,
    )

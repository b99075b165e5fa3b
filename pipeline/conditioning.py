"""Text that routes an ACE-Step model: task instructions, the prompt template, the lyrics template, audio-code strings.

One model does every task; the instruction inside the text prompt chooses which. Wording, template and cover detection
are those of ACE-Step 1.5 (its `constants.py`; diffusers' `AceStepPipeline._format_prompt` writes the same text, which a
test asserts). This module knows no tensors, no weights and no stage; it turns words into the exact words a model wants.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from .errors import Problem, RequestError, did_you_mean
from .prompt import Prompt

TASK_INSTRUCTIONS = {
    "text2music": "Fill the audio semantic mask based on the given conditions:",
    "repaint": "Repaint the mask area based on the given conditions:",
    "cover": "Generate audio semantic tokens based on the given conditions:",
    "extract": "Extract the {TRACK_NAME} track from the audio:",
    "extract_default": "Extract the track from the audio:",
    "lego": "Generate the {TRACK_NAME} track based on the audio context:",
    "lego_default": "Generate the track based on the audio context:",
    "complete": "Complete the input track with {TRACK_CLASSES}:",
    "complete_default": "Complete the input track:",
}
DEFAULT_INSTRUCTION = TASK_INSTRUCTIONS["text2music"]

TRACK_NAMES = (
    "woodwinds", "brass", "fx", "synth", "strings", "percussion",
    "keyboard", "guitar", "bass", "drums", "backing_vocals", "vocals",
)  # fmt: skip

_AS_TEXT2MUSIC = ("generate", "refine", "super_resolve", "text2music")
_COVER_MARKS = ("generate audio semantic tokens", "based on the given conditions")
_INSTRUMENTAL = "[Instrumental]"
_DEFAULT_LANGUAGE = "en"
_CODE = re.compile(r"<\|audio_code_([0-9]{1,12})\|>")


def instruction_for(task: str, track: str | None = None, classes: Sequence[str] = ()) -> str:
    """The instruction text of a task.

    `task` is a stage's task (generate, refine, super_resolve, cover, repaint, extract, lego, complete). `track` names
    the stem for extract and lego, `classes` the stems for complete; both are written in capitals, classes joined with
    `` | ``. Without them the task's own default wording is used.

    Raises RequestError for an unknown task.
    """
    if task in _AS_TEXT2MUSIC:
        return DEFAULT_INSTRUCTION
    if task in ("extract", "lego"):
        if track:
            return TASK_INSTRUCTIONS[task].format(TRACK_NAME=track.upper())
        return TASK_INSTRUCTIONS[f"{task}_default"]
    if task == "complete":
        if classes:
            return TASK_INSTRUCTIONS[task].format(TRACK_CLASSES=" | ".join(c.upper() for c in classes))
        return TASK_INSTRUCTIONS["complete_default"]
    if task in ("cover", "repaint"):
        return TASK_INSTRUCTIONS[task]
    known = (*_AS_TEXT2MUSIC, "cover", "repaint", "extract", "lego", "complete")
    raise RequestError(
        Problem(
            f"there is no instruction for a task '{task}'.{did_you_mean(task, known)}",
            f"use one of {', '.join(known)}.",
        )
    )


def triggers_cover(instruction: str) -> bool:
    """Whether the original executor would take this instruction for a cover (it looks for two substrings).

    Free instruction text that holds both turns on cover conditioning there by accident; a stage warns about it.
    """
    lowered = instruction.lower()
    return all(mark in lowered for mark in _COVER_MARKS)


def format_text(prompt: Prompt, instruction: str, duration_s: float | None) -> str:
    """The text prompt exactly as the text encoder was trained on it.

    Missing metadata is written ``N/A``; `duration_s` is cut to whole seconds (a missing or zero one reads 30, as the
    reference does). An instruction without its closing colon gets one.
    """
    if not instruction.endswith(":"):
        instruction += ":"
    bpm = str(prompt.bpm) if prompt.bpm else "N/A"
    metre = _given(prompt.timesignature)
    key = _given(prompt.keyscale)
    seconds = int(duration_s) if duration_s is not None and duration_s > 0 else 30
    metas = f"- bpm: {bpm}\n- timesignature: {metre}\n- keyscale: {key}\n- duration: {seconds} seconds\n"
    return f"# Instruction\n{instruction}\n\n# Caption\n{prompt.caption or ''}\n\n# Metas\n{metas}<|endoftext|>\n"


def format_lyrics(prompt: Prompt) -> str:
    """The lyrics text; an instrumental prompt sends ``[Instrumental]`` in place of lyrics. No language given: ``en``."""
    language = _DEFAULT_LANGUAGE if prompt.vocal_language is None else prompt.vocal_language
    lyrics = _INSTRUMENTAL if prompt.instrumental else (prompt.lyrics or "")
    return f"# Languages\n{language}\n\n# Lyric\n{lyrics}<|endoftext|>"


def parse_audio_codes(text: str, codebook_size: int | None = None) -> list[int]:
    """The numbers in a string of ``<|audio_code_123|>`` tokens (5 a second), in order; blanks between them are allowed.

    Raises RequestError with what `audio_code_problems` finds.
    """
    problems = audio_code_problems(text, codebook_size)
    if problems:
        raise RequestError(problems)
    return [int(n) for n in _CODE.findall(text)]


def audio_code_problems(text: str, codebook_size: int | None = None) -> list[Problem]:
    """What is wrong with a string of audio codes: none in it, something between them that is no code (dropped, it would
    shorten the music unseen), or codes at or above `codebook_size` (None: not known)."""
    codes = [int(n) for n in _CODE.findall(text)]
    if not codes:
        return [Problem("the audio codes hold no <|audio_code_N|> token", "write codes like <|audio_code_123|><|audio_code_7|>")]
    problems = []
    stray = _stray(text)
    if stray is not None:
        place, rest = stray
        problems.append(Problem(
            f"{rest!r} at character {place + 1} is no audio code", "leave it out, or write it as <|audio_code_N|> with a number",
        ))
    outside = [(n, code) for n, code in enumerate(codes, start=1) if codebook_size is not None and code >= codebook_size]
    if outside:
        shown = ", ".join(f"{code} (number {n})" for n, code in outside[:3]) + (" …" if len(outside) > 3 else "")
        problems.append(Problem(
            f"{len(outside)} of {len(codes)} audio codes lie outside the model's codebook of {codebook_size} codes: {shown}",
            f"use codes from 0 to {(codebook_size or 1) - 1}, made by a language model of the same family",
        ))
    return problems


def _stray(text: str) -> tuple[int, str] | None:
    """Where the first text that is neither code nor blank stands, and its beginning."""
    at = 0
    for found in (*_CODE.finditer(text), None):
        between = text[at : found.start() if found is not None else len(text)]
        if between.strip():
            first = at + len(between) - len(between.lstrip())
            rest = between.strip()
            return first, rest if len(rest) <= 40 else f"{rest[:39]}…"
        at = found.end() if found is not None else at
    return None


def _given(text: str | None) -> str:
    return text if text and text.strip() else "N/A"

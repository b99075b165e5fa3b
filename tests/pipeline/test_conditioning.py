"""Instructions, prompt and lyrics templates: equal to the peer's, and to the seed's wording."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from segue.pipeline.conditioning import (
    DEFAULT_INSTRUCTION,
    TASK_INSTRUCTIONS,
    TRACK_NAMES,
    format_lyrics,
    format_text,
    instruction_for,
    parse_audio_codes,
    triggers_cover,
)
from segue.pipeline.errors import RequestError
from segue.pipeline.spec import Prompt


def peer():
    """The peer's formatting, without any weights."""
    from diffusers import AceStepPipeline

    return object.__new__(AceStepPipeline)


words = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=40)


@given(
    caption=words,
    lyrics=words,
    language=st.sampled_from(["en", "zh", "de"]),
    bpm=st.none() | st.integers(20, 400),
    key=st.none() | st.sampled_from(["C major", "", "  ", "F# minor"]),
    metre=st.none() | st.sampled_from(["3", "4", ""]),
    seconds=st.floats(0.04, 600),
    task=st.sampled_from(["text2music", "repaint", "cover"]),
)
def test_templates_equal_the_peers(caption, lyrics, language, bpm, key, metre, seconds, task):
    prompt = Prompt(
        caption=caption, lyrics=lyrics, vocal_language=language, bpm=bpm, keyscale=key, timesignature=metre
    )
    text, sung = peer()._format_prompt(
        caption, lyrics, language, seconds, TASK_INSTRUCTIONS[task], bpm=bpm, keyscale=key, timesignature=metre
    )
    assert format_text(prompt, TASK_INSTRUCTIONS[task], seconds) == text
    assert format_lyrics(prompt) == sung


def test_text_exactly_as_published():
    prompt = Prompt(caption="warm jazz trio", bpm=96, timesignature="4", keyscale="C major")
    assert format_text(prompt, "Do this", 8.9) == (
        "# Instruction\nDo this:\n\n# Caption\nwarm jazz trio\n\n# Metas\n- bpm: 96\n- timesignature: 4\n"
        "- keyscale: C major\n- duration: 8 seconds\n<|endoftext|>\n"
    )
    assert format_text(Prompt(), DEFAULT_INSTRUCTION, None).count("N/A") == 3


def test_instrumental_takes_the_place_of_lyrics():
    assert format_lyrics(Prompt(instrumental=True, lyrics="la la")).endswith("# Lyric\n[Instrumental]<|endoftext|>")
    assert format_lyrics(Prompt(vocal_language="")) == "# Languages\n\n\n# Lyric\n<|endoftext|>"  # empty means empty


@pytest.mark.parametrize("task", ["text2music", "repaint", "cover", "extract", "lego", "complete"])
@pytest.mark.parametrize("named", [False, True])
def test_instructions_equal_the_peers(task, named):
    track = "backing_vocals" if named else None
    classes = ["drums", "bass"] if named else []
    theirs = peer()._get_task_instruction(task, track, classes or None)
    assert instruction_for(task, track, classes) == theirs


@pytest.mark.parametrize("task", ["generate", "refine", "super_resolve"])
def test_stages_without_a_source_speak_as_text2music(task):
    assert instruction_for(task) == DEFAULT_INSTRUCTION


def test_unknown_task_says_what_was_meant():
    with pytest.raises(RequestError, match="Did you mean 'extract'"):
        instruction_for("extrat")


def test_only_the_cover_instruction_triggers_cover():
    assert triggers_cover(TASK_INSTRUCTIONS["cover"].upper())
    assert triggers_cover("Please GENERATE audio semantic tokens, based on the given conditions, softly")
    for task in ("text2music", "repaint", "extract", "lego", "complete"):
        assert not triggers_cover(TASK_INSTRUCTIONS[task])
    assert not triggers_cover("generate audio semantic tokens")


def test_twelve_tracks():
    assert len(set(TRACK_NAMES)) == 12 and {"vocals", "backing_vocals", "drums", "bass", "fx"} <= set(TRACK_NAMES)


def test_audio_codes():
    assert parse_audio_codes(" <|audio_code_12|> <|audio_code_3|>\n<|audio_code_0|>") == [12, 3, 0]
    with pytest.raises(RequestError, match="hold no"):
        parse_audio_codes("12 3")
    with pytest.raises(RequestError, match=r"1 of 2 audio codes .* codebook of 12 codes: 12 \(number 2\)"):
        parse_audio_codes("<|audio_code_11|><|audio_code_12|>", codebook_size=12)


@pytest.mark.parametrize(
    ("text", "place", "rest"),
    [
        ("<|audio_code_1|><|audio_code_2>", 17, "<|audio_code_2>"), ("x<|audio_code_1|>", 1, "x"),
        ("<|audio_code_1|> , <|audio_code_2|>", 18, ","), ("<|audio_code_1|><|audio_code_-2|>", 17, "<|audio_code_-2|>"),
        ("<|audio_code_1|><|audio_code_" + "9" * 5000 + "|>", 17, "<|audio_code_999"),
    ],
)
def test_what_is_no_audio_code_is_never_dropped(text: str, place: int, rest: str):
    with pytest.raises(RequestError, match="is no audio code") as caught:
        parse_audio_codes(text)
    assert f"at character {place} " in str(caught.value) and rest in str(caught.value)

"""Prompt files, read line by line; prompts kept in the night's folder; prompts heard out of sounds."""

from __future__ import annotations

import csv
import gc
import io
import json
import shutil
import time
import tracemalloc
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
from helpers.tiny_qwen import build_tiny_qwen2_audio
from hypothesis import given, settings
from hypothesis import strategies as st
from segue.dataset import captions
from segue.dataset.plan import Plan, load_plan
from segue.dataset.prompt_file import MAX_TOLD, read_prompts
from segue.dataset.prompt_sources import TaggedPrompt
from segue.dataset.prompts import PromptTable, prompt_table
from segue.pipeline.errors import Problem, RequestError, RunError
from segue.pipeline.home import segue_home
from segue.pipeline.pipeline import Pipeline
from segue.stages import caption as caption_stage
from segue.stages.caption import Caption

HARD = [
    "two\nlines",
    'a "quoted", text',
    "it's",
    "emoji 🎷🥁",
    "tab\there",
    " blanks ",
    "carriage\r\nreturn",
    "\u2028",
    "null",
    "8",
]


def file(tmp_path: Path, name: str, content: str | bytes) -> Path:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return path


def plan_for(path: Path, seed: int = 7) -> Plan:
    return load_plan(f"seed: {seed}\nprompts: {{file: {path}}}\nruns: [{{preset: base-turbo-refine}}]\n")


def broken(path: Path) -> list[Problem]:
    with pytest.raises(RequestError) as refused:
        list(read_prompts(path))
    assert all(problem.file == str(path) for problem in refused.value.problems)
    return refused.value.problems


def test_fields_fill_the_prompt_and_other_keys_are_tags(tmp_path: Path) -> None:
    lines = [
        {
            "caption": "warm trio",
            "bpm": 96,
            "duration_s": 4.5,
            "instrumental": True,
            "genre": "jazz",
            "year": 1959,
            "live": False,
        },
        {"caption": "pads", "tags": {"genre": "ambient"}, "mood": None, "origin": "my notes"},
    ]
    path = file(tmp_path, "p.jsonl", "\ufeff" + json.dumps(lines[0]) + "\n\n" + json.dumps(lines[1]))
    first, second = read_prompts(path)
    assert first.tags == {"genre": "jazz", "year": "1959", "live": "false"} and first.origin == "p.jsonl:1"
    assert (first.caption, first.bpm, first.duration_s, first.instrumental) == ("warm trio", 96, 4.5, True)
    assert second.tags == {"genre": "ambient"} and second.origin == "my notes"
    table = "caption,bpm,duration_s,instrumental,genre,year,live\nwarm trio,96,4.5,yes,jazz,1959,false\npads,,,,ambient,,\n"
    rows = list(read_prompts(file(tmp_path, "p.csv", table)))
    assert rows[0].plain() == first.plain() and rows[0].tags == first.tags
    assert rows[1].plain() == second.plain() and rows[1].tags == second.tags and rows[1].origin == "p.csv:3"


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)


@settings(max_examples=40, deadline=None)
@given(captions=st.lists(TEXTS, min_size=1, max_size=4))
def test_captions_survive_unchanged(captions: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    """From JSON lines, from CSV, through the kept file and through a list in YAML."""
    folder, given_ = tmp_path_factory.mktemp("captions"), [*HARD, *captions]
    path = file(
        folder, "p.jsonl", "".join(json.dumps({"caption": c}, ensure_ascii=i % 2 == 0) + "\n" for i, c in enumerate(given_))
    )
    assert [p.caption for p in read_prompts(path)] == given_
    text = io.StringIO(newline="")
    csv.writer(text).writerows([["genre", "caption"], *(["x", c] for c in given_)])
    rows = file(folder, "p.csv", text.getvalue())
    assert [p.caption for p in read_prompts(rows)] == given_
    kept = folder / "kept.jsonl"
    prompt_table(plan_for(path)).keep(kept)
    assert [p.caption for p in prompt_table(plan_for(path), kept)] == given_
    listed = plan_for(path).prompts.model_copy(update={"file": None, "list": tuple(TaggedPrompt(caption=c) for c in given_)})
    again = load_plan(plan_for(path).model_copy(update={"prompts": listed}).to_yaml())
    assert [p.caption for p in prompt_table(again)] == given_


def test_every_broken_line_of_json_lines_is_told(tmp_path: Path) -> None:
    lines = [
        b'{"caption": "good"}',
        b'{"caption": "cut off',
        b'["a", "list"]',
        b'{"caption": "x", "caption": "y"}',
        b'{"caption": "x", "bpm": NaN}',
        b'{"caption": "half \\ud83d"}',
        b'{"caption": "caf\xe9"}',
        b'{"caption": "x", "bpm": 5}',
        b'{"caption": "x", "bpm": "96"}',
        b'{"caption": "x", "genre": ["jazz"]}',
        b'{"caption": 8, "tags": 3}',
        b'{"caption": "good"}',
    ]
    found = broken(file(tmp_path, "p.jsonl", b"\n".join(lines)))
    assert [problem.line for problem in found] == list(range(2, 12))
    said = ["not JSON", "an object", "'caption' is given twice", "NaN", "half a character", "UTF-8"]
    for problem, words in zip(found, [*said, "bpm", "without quotes", "'genre'", "tags"], strict=True):
        assert words in str(problem) and problem.fix, problem


def test_every_broken_row_of_a_csv_is_told_with_the_line_it_begins_on(tmp_path: Path) -> None:
    text = 'caption,bpm,instrumental\n"two\nlines",96,true\nx,fast,true\nx,96\nx,96,perhaps\n"y\nz",9,\nlast,100,no\n'
    found = broken(file(tmp_path, "p.csv", text))
    assert [(p.line, p.key or "") for p in found] == [(4, ""), (5, ""), (6, ""), (7, "bpm")]
    assert "not a whole number" in found[0].cause and "2 cells, the header 3" in found[1].cause
    assert "not true or false" in found[2].cause
    (problem,) = broken(file(tmp_path, "q.csv", 'caption\nfine\n"never ends\n'))
    assert problem.line == 3 and "not CSV" in problem.cause


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("caption,caption", "stands twice"),
        ("caption,", "no name"),
        ("title,tempo", "is a prompt field"),
        ("caption,tags", "tags"),
    ],
)
def test_a_header_that_can_t_be_is_told(header: str, words: str, tmp_path: Path) -> None:
    (problem,) = broken(file(tmp_path, "p.csv", f"{header}\na,b\n"))
    assert words in problem.cause


def test_files_that_are_no_prompt_files(tmp_path: Path) -> None:
    assert "holds no prompt" in broken(file(tmp_path, "p.jsonl", "\n\n"))[0].cause
    assert "holds no prompt" in broken(file(tmp_path, "p.csv", ""))[0].cause
    assert "no kind of prompt file" in broken(file(tmp_path, "p.txt", "a caption"))[0].cause
    (tmp_path / "d.jsonl").mkdir()
    for missing in (tmp_path / "nowhere.jsonl", tmp_path / "d.jsonl"):
        with pytest.raises(RequestError) as refused:
            prompt_table(plan_for(missing))
        (problem,) = refused.value.problems
        assert "can't be read" in problem.cause and problem.key == "prompts.file" and problem.line == 2


def test_of_very_many_broken_lines_the_number_is_told(tmp_path: Path) -> None:
    found = broken(file(tmp_path, "p.jsonl", "nothing\n" * (MAX_TOLD + 234)))
    assert len(found) == MAX_TOLD + 1 and "and 234 more" in found[-1].cause


def test_a_hundred_thousand_prompts_load_in_seconds_and_few_bytes(tmp_path: Path) -> None:
    path = file(
        tmp_path, "p.jsonl", "".join(f'{{"caption": "number {i}", "bpm": 96, "genre": "jazz"}}\n' for i in range(100_000))
    )
    begun = time.process_time()
    table = prompt_table(plan_for(path))
    assert time.process_time() - begun < 20
    assert len(table) == 100_000 and table[99_999].caption == "number 99999"
    kept = tmp_path / "kept.jsonl"
    table.keep(kept)
    begun = time.process_time()
    again = prompt_table(plan_for(path), kept)
    assert time.process_time() - begun < 1 and again[54_321].caption == "number 54321"


def test_memory_does_not_grow_with_the_captions() -> None:
    def peak(length: int) -> int:
        tracemalloc.start()
        table = PromptTable.of(TaggedPrompt(caption="x" * length) for _ in range(1500))
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert len(table) == 1500
        return most

    assert peak(20_000) < peak(20) + 4_000_000  # 30 MB of captions


def test_kept_prompts_are_those_of_the_beginning(tmp_path: Path) -> None:
    path, kept = file(tmp_path, "p.jsonl", '{"caption": "one"}\n{"caption": "two"}\n'), tmp_path / "kept.jsonl"
    prompt_table(plan_for(path), kept).keep(kept)
    path.write_text('{"caption": "one"}\n{"caption": "other"}\n', encoding="utf-8")
    with pytest.raises(RequestError, match="is not what it was when this night was begun"):
        prompt_table(plan_for(path), kept)
    path.unlink()  # gone is no change: what was in it is kept
    assert [p.caption for p in prompt_table(plan_for(path), kept)] == ["one", "two"]
    with pytest.raises(RequestError, match="other words"):
        prompt_table(plan_for(tmp_path / "q.jsonl"), kept)
    assert [p.caption for p in read_prompts(kept)] == ["one", "two"]  # and may be given as a prompt file
    kept.write_text('{"caption": "one"}\n', encoding="utf-8")
    with pytest.raises(RequestError, match="no kept prompts"):
        prompt_table(plan_for(path), kept)


def test_a_folder_that_can_t_be_written_is_told(tmp_path: Path) -> None:
    path = file(tmp_path, "p.jsonl", '{"caption": "one"}\n')
    with pytest.raises(RunError, match="the night's prompts"):
        prompt_table(plan_for(path)).keep(path / "kept.jsonl")


def sound(path: Path, hz: float, seconds: int = 2, rate: int = 24_000) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    t = np.arange(rate * seconds) / rate
    sf.write(path, 0.3 * np.sin(2 * np.pi * hz * t), rate)


def caption_plan(folder: Path, more: str = "") -> Plan:
    return load_plan(f"seed: 7\nprompts:\n  captions: {{folder: {folder}{more}}}\nruns: [{{preset: base-turbo-refine}}]\n")


def test_sounds_are_described_in_order_and_only_once(tmp_path: Path) -> None:
    folder, kept = tmp_path / "sounds", tmp_path / "kept.jsonl"
    sound(folder / "b.wav", 220)
    sound(folder / "a" / "low.flac", 110)
    (folder / "notes.txt").write_text("no sound")
    plan = caption_plan(folder, ", instrumental: true, bpm: 100")
    table = prompt_table(plan, kept)
    assert [p.origin for p in table] == ["a/low.flac", "b.wav"]
    assert all(p.caption and p.bpm == 100 and p.instrumental and p.duration_s == 2 for p in table)
    table.keep(kept)
    shutil.rmtree(folder)  # nothing is left to be heard
    assert list(prompt_table(plan, kept)) == list(table)


@pytest.mark.parametrize("batch_s", [600.0, 1.0])
def test_captions_are_those_of_the_stage_however_the_files_are_batched(
    batch_s: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(captions, "BATCH_S", batch_s)
    for i in range(3):
        sound(tmp_path / f"{i}.wav", 110 * (i + 1), seconds=1)
    alone = [
        Pipeline(inputs={"clip": str(tmp_path / f"{i}.wav")}, stages={"heard": Caption(source="clip")}).run()["heard"][0].prompt
        for i in range(3)
    ]
    shutil.rmtree(segue_home())  # nothing is taken from the store
    assert [p.plain() for p in prompt_table(caption_plan(tmp_path))] == alone


def test_a_captioner_is_loaded_once_and_let_go_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = []

    class Counted(caption_stage.Qwen2AudioCaptioner):
        def __init__(self, *given: Any) -> None:
            super().__init__(*given)
            loaded.append(weakref.ref(self))

    monkeypatch.setattr(caption_stage, "Qwen2AudioCaptioner", Counted)
    monkeypatch.setattr(captions, "BATCH_S", 1.0)
    model = build_tiny_qwen2_audio(tmp_path / "model")
    for i in range(3):
        sound(tmp_path / "sounds" / f"{i}.wav", 110 * (i + 1), seconds=1)
    plan = caption_plan(tmp_path / "sounds", f", by: qwen2-audio, captioner: {model}, duration_s: 4")
    table = prompt_table(plan)
    assert len(table) == 3 and table[0].caption and table[0].duration_s == 4
    gc.collect()
    assert [captioner() for captioner in loaded] == [None]


def test_folders_without_sounds_and_broken_sounds_are_told(tmp_path: Path) -> None:
    for folder, words in ((tmp_path / "nowhere", "does not exist"), (tmp_path, "holds no sound file")):
        with pytest.raises(RequestError, match=words) as refused:
            prompt_table(caption_plan(folder))
        assert refused.value.problems[0].line == 3
    for name in ("x.wav", "y.flac"):
        (tmp_path / name).write_bytes(b"no sound at all")
    sound(tmp_path / "z.wav", 220)
    with pytest.raises(RequestError) as refused:
        prompt_table(caption_plan(tmp_path))
    assert [name for name in ("x.wav", "y.flac", "z.wav") if name in str(refused.value)] == ["x.wav", "y.flac"]
    with pytest.raises(RequestError, match="by: qwen2-audio"):
        caption_plan(tmp_path, ", captioner: some/model")

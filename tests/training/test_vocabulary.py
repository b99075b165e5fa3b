"""The tokenizer: one token for each value that matters, every text survives."""

from __future__ import annotations

import re

import numpy as np
import pytest
from segue.training.corpus import captions
from segue.training.corpus.composer import compose
from segue.training.corpus.theory import MAJOR_NAMES, MINOR_NAMES
from segue.training.flow.beats import tempo_angles
from segue.training.vocabulary import END_OF_TEXT, TEMPOS, make_tokenizer, number_tokens, related_rows


@pytest.fixture(scope="module")
def tokenizer():
    return make_tokenizer()


def test_values_are_single_tokens(tokenizer):
    for bpm in range(40, 241):
        assert len(tokenizer(f" {bpm}").input_ids) == 1
    for key in [f"{n} major" for n in MAJOR_NAMES] + [f"{n} minor" for n in MINOR_NAMES]:
        assert len(tokenizer(f" {key}").input_ids) == 1, key
    assert len(tokenizer(" 4").input_ids) == 1
    assert len(tokenizer(END_OF_TEXT).input_ids) == 1


@pytest.mark.parametrize("text", ["plain words", "日本の歌 🎵", "naïve café – Ünïcödé", "a\tb\n\n  c", "zzyzx-9000"])
def test_any_text_survives(tokenizer, text):
    assert tokenizer.decode(tokenizer(text).input_ids) == text


def test_words_of_the_corpus_are_in_the_vocabulary(tokenizer):
    """A caption costs about a token a word: no word of the composer's is spelt in bytes."""
    for seed in range(120):
        song = compose(seed)
        caption = captions.make_caption(song, np.random.default_rng(seed))
        pieces = len(re.findall(r"\w+|[^\w\s]", caption))
        assert len(tokenizer(caption).input_ids) <= pieces + 3, caption


def test_related_values_start_as_neighbours(tokenizer):
    """Neighbouring tempos and related keys are alike at the start, distant ones are not; both spellings are one key."""
    rows = related_rows(tokenizer, 192)

    def likeness(a: str, b: str) -> float:
        x, y = (rows[tokenizer(text).input_ids[0]] for text in (a, b))
        return float(x @ y / np.linalg.norm(x) / np.linalg.norm(y))

    assert likeness(" 100", " 101") > 0.8 > likeness(" 100", " 104") > likeness(" 100", " 140")
    assert likeness(" C major", " G major") > likeness(" C major", " F# major")
    assert likeness(" C# major", " Db major") == pytest.approx(1.0)
    tempos = {token for number in TEMPOS for token in number_tokens(tokenizer, number)}
    assert all(0.07 < row.std() < 0.13 if token in tempos else 0.01 < row.std() < 0.04 for token, row in rows.items())


def test_a_tempo_is_read_from_its_neighbours(tokenizer):
    """What a linear reading of three tempos of four learns, how far rotary attention turns in a beat, holds for the fourth."""
    rows, numbers = related_rows(tokenizer, 192), np.arange(60, 181)
    inputs = np.stack([rows[number_tokens(tokenizer, number)[0]] for number in numbers])
    wanted = np.stack([tempo_angles({"bpm": number}).numpy() for number in numbers])
    known = numbers % 4 != 0
    weights = np.linalg.solve(inputs[known].T @ inputs[known] + 1e-4 * np.eye(192), inputs[known].T @ wanted[known])
    assert np.mean((inputs[~known] @ weights - wanted[~known]) ** 2) < 1e-3 < 0.1 < wanted.var(0).mean()


def test_padding_is_on_the_right(tokenizer):
    batch = tokenizer(["one two three", "one"], padding="longest")
    assert batch["attention_mask"][1] == [1, 0, 0]

"""The `when` language: what it answers, what it refuses, and that it never fails in any other way."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from segue.pipeline.expression import Expression, ExpressionError, parse

FACTS = {
    ("scored", "overall"): 6.5,
    ("scored", "defects"): ("clipping", "gap"),
    ("scored", "loudness_lufs"): None,
    ("scored", "bad"): float("nan"),
    ("prompt", "bpm"): 96,
    ("prompt", "caption"): "warm jazz",
    ("prompt", "instrumental"): True,
    ("prompt", "lyrics"): None,
}


def answer(text: str) -> bool:
    return parse(text).evaluate(lambda root, field: FACTS[root, field])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('scored.overall < 7 and "clipping" in scored.defects', True),
        ("scored.overall<7", True),
        ("scored.overall >= 6.5", True),
        ("scored.overall != 6.5", False),
        ("'hum' in scored.defects", False),
        ("'hum' not in scored.defects", True),
        ("not 'hum' in scored.defects", True),
        ("90 <= prompt.bpm < 100", True),
        ("90 <= prompt.bpm < 96", False),
        ("prompt.bpm == 96 or scored.overall > 9", True),
        ("false or true and not false", True),
        ("not (true and false)", True),
        ("not true == false", True),
        ("prompt.instrumental", True),
        ("'jazz' in prompt.caption", True),
        ("prompt.caption in ['warm jazz', \"cold\"]", True),
        ("prompt.lyrics == none", True),
        ("prompt.lyrics != none and prompt.lyrics < 'a'", False),
        ("-1e1 < scored.overall", True),
        ("prompt.caption < 'x'", True),
        ("1 in [1, 2]", True),
        ("none in [none]", True),
        ("(scored.overall) < (7)", True),
    ],
)
def test_answers(text: str, expected: bool) -> None:
    assert answer(text) is expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty"),
        ("   ", "empty"),
        ("scored.overall = 7", "=="),
        ("scored.overall < ", "ends too early"),
        ("(scored.overall < 7", "close the bracket"),
        ("scored.overall < 7)", "')'"),
        ("scored < 7", "scored.overall"),
        ("scored.", "ends too early"),
        ("scored.a.b < 1", "no calls and no fields of fields"),
        ("scored.f() < 1", "no calls"),
        ("__import__('os')", "no value by itself"),
        ("1 + 1 == 2", "no arithmetic"),
        ("scored.overall & 1", "write 'and'"),
        ("'abc", "close the string"),
        ("7", "neither true nor false"),
        ("scored.overall", "compare it"),
        ("not scored.overall", "compare it"),
        ("'a' and true", "neither true nor false"),
        ("scored.overall not 7", "'in' after 'not'"),
        ("1 2", "did not expect '2'"),
        ("[scored.overall] == [1]", "a list holds only"),
        ("true.x == 1 1", "did not expect"),
        ("1e999 < 2", "too large"),
        ("x" * 1001, "1001 characters"),
        ("(" * 40 + "true" + ")" * 40, "nests deeper"),
        ("not " * 40 + "true", "nests deeper"),
        ("lambda: 1", "can't read"),
        ("and", "expected a name"),
        ("scored.in < 1", "expected a field"),
    ],
)
def test_unreadable_text_is_refused_with_advice(text: str, said: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        parse(text)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("scored.nothing < 1", "scored.nothing"),
        ("true or scored.nothing < 1", "scored.nothing"),  # a missing field is an error even where it would not be needed
        ("scored.loudness_lufs < -20", "none"),
        ("scored.overall < 'a'", "a number"),
        ("scored.overall == '6.5'", "never be equal"),
        ("prompt.instrumental == 1", "never be equal"),
        ("prompt.instrumental < true", "true/false"),
        ("1 in scored.overall", "looks for"),
        ("1 in prompt.caption", "looks for"),
        ("scored.bad > 1", "NaN"),
        ("prompt.bpm", "neither true nor false"),
        ("prompt.lyrics", "neither true nor false"),
    ],
)
def test_questions_without_an_answer_are_errors(text: str, said: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        answer(text)
    assert said in str(caught.value)


def test_names_are_all_that_is_read() -> None:
    expression = parse("a.x < 1 < b.y and not ('q' in a.z or prompt.bpm == none) and a.x == 'b.c'")
    assert expression.names() == {("a", "x"), ("b", "y"), ("a", "z"), ("prompt", "bpm")}


def test_or_stops_at_the_first_that_holds() -> None:
    assert answer("prompt.lyrics == none or prompt.lyrics < 'a'")


def test_huge_whole_numbers_compare_exactly() -> None:
    assert parse("9" * 900 + " > 1e300").evaluate(lambda *_: 0)


@given(st.text(max_size=60))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    try:
        assert isinstance(parse(text), Expression)
    except ExpressionError as refused:
        assert refused.cause


WORDS = ["scored.overall", "scored.defects", "prompt.bpm", "prompt.lyrics", "'clipping'", "7", "-1", "2.5", "none", "true"]
WORDS += ["and", "or", "not", "in", "<", "<=", "==", "!=", ">", "(", ")", "[", "]", ","]


@given(st.lists(st.sampled_from(WORDS), max_size=14))
def test_any_row_of_words_is_answered_or_refused(words: list[str]) -> None:
    try:
        assert answer(" ".join(words)) in (True, False)
    except ExpressionError as refused:
        assert refused.cause


NUMBERS = st.one_of(st.integers(-(10**6), 10**6), st.floats(-1e6, 1e6))


@given(NUMBERS, NUMBERS, st.sampled_from(["<", "<=", ">", ">=", "==", "!="]))
def test_comparisons_are_those_of_numbers(a: float, b: float, op: str) -> None:
    import operator

    expected = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "==": operator.eq, "!=": operator.ne}
    assert parse(f"{a!r} {op} {b!r}").evaluate(lambda *_: 0) is expected[op](a, b)


@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.sampled_from(["and", "or"])), min_size=1, max_size=6))
def test_and_binds_tighter_than_or_and_not_tighter_than_and(parts: list[tuple[bool, bool, str]]) -> None:
    ours, python = "", ""
    for i, (value, negated, join) in enumerate(parts):
        ours += (f" {join} " if i else "") + ("not " if negated else "") + str(value).lower()
        python += (f" {join} " if i else "") + ("not " if negated else "") + str(value)
    assert parse(ours).evaluate(lambda *_: 0) is eval(python)  # words drawn above

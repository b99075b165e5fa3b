"""Reading YAML: YAML 1.2 scalars, lines of every key, and everything that is refused."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from segue.pipeline.errors import RequestError
from segue.pipeline.yaml_text import plain_scalar
from segue.presets.yaml_reader import MAX_BYTES, read_file, read_yaml


def refused(text: str) -> list[tuple[int | None, str]]:
    with pytest.raises(RequestError) as caught:
        read_yaml(text, "f.yaml")
    assert all(p.file == "f.yaml" and p.fix for p in caught.value.problems)
    return [(p.line, p.cause) for p in caught.value.problems]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("yes", "yes"),
        ("on", "on"),
        ("off", "off"),
        ("4:4", "4:4"),
        ("1:30", "1:30"),
        ("2024-01-01", "2024-01-01"),
        ("1e-3", 0.001),
        ("1E3", 1000.0),
        (".5", 0.5),
        ("5.", 5.0),
        ("-0", 0),
        ("+7", 7),
        ("0o17", 15),
        ("0x1F", 31),
        ("017", 17),
        ("1_000", "1_000"),
        ("true", True),
        ("FALSE", False),
        ("~", None),
        ("", None),
        ("null", None),
        ("Null", None),
        ("C major", "C major"),
        ("nan", "nan"),
        ("e5", "e5"),
        ("1.2.3", "1.2.3"),
        ("=", "="),
    ],
)
def test_scalars_are_those_of_yaml_1_2(text: str, value: object) -> None:
    got = read_yaml(f"a: {text}\n").data["a"]
    assert got == value and type(got) is type(value)


def test_quoted_scalars_are_text_and_keys_always_are() -> None:
    assert read_yaml("""no: '1'\n1: "true"\nnull: ''\ntrue: x""").data == {"no": "1", "1": "true", "null": "", "true": "x"}


def test_lines_of_every_key_and_item() -> None:
    document = read_yaml("a:\n  b: [1,\n    2]\n  c: {d: 4}\n\n'e.f': x\n")
    assert document.lines == {
        ("a",): 1,
        ("a", "b"): 2,
        ("a", "b", "0"): 2,
        ("a", "b", "1"): 3,
        ("a", "c"): 4,
        ("a", "c", "d"): 4,
        ("e.f",): 6,
    }


def test_equal_keys_are_refused_with_both_lines_and_all_of_them() -> None:
    found = refused("a: 1\nb:\n  c: 1\n  d: 2\n  c: 3\na: 2\n")
    assert found == [(5, "key 'b.c' is given on line 3 and on line 5"), (6, "key 'a' is given on line 1 and on line 6")]


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("a: &x 1", 1, "anchor"),
        ("a: 1\nb: *x", 2, "alias"),
        ("a: &a [x, x]\nb: [*a, *a]", 1, "anchor"),
        ("a: 1\nb: !!python/object/apply:os.system [ls]", 2, "tag"),
        ("a: !custom x", 1, "tag"),
        ("<<: {a: 1}", 1, "merge"),
        ("a: 1\nb: .nan", 2, "no finite number"),
        ("a: [1, -.inf]", 1, "no finite number"),
        ("a: 1e999", 1, "no finite number"),
        ("a:\n\tb: 1", 2, "tab"),
        ("a: b: c", 1, "a second ': '"),
        ("a: [1, 2", 1, "not YAML"),
        ("a: 'x", 1, "not YAML"),
        ("a: 1\n--- \nb: 1", 2, "second document"),
        ("? [a, b]\n: 1", 1, "a key must be text"),
        ("a: \x07", 1, "U+0007"),
        ("[" * 5000, 1, "nests deeper"),
        ("{a: " * 5000, 1, "nests deeper"),
        ('a: "\\ud83d"', 1, "half a character"),
        ('"\\udc00": 1', 1, "half a character"),
    ],
)
def test_refused(text: str, line: int, said: str) -> None:
    found = refused(text)
    assert said in found[0][1] and found[0][0] == line


def test_several_problems_come_together() -> None:
    assert len(refused("a: .nan\nb: &x 1\nc: !t 1\na: 2\n")) == 4


def test_an_empty_file_is_nothing() -> None:
    assert read_yaml("").data is None and read_yaml("# a note\n").data is None


def test_ten_megabytes_are_refused_before_they_are_read(tmp_path: Path) -> None:
    path = tmp_path / "big.yaml"
    path.write_bytes(b"#" * 10_000_000)
    with pytest.raises(RequestError, match=r"10\.0 MB"):
        read_file(path)
    with pytest.raises(RequestError, match="at most 1 MB"):
        read_yaml("#" * (MAX_BYTES + 1))


def test_files_that_can_not_be_read(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes("a: 1\nb: Köln\n".encode("latin-1"))
    with pytest.raises(RequestError, match="not UTF-8") as caught:
        read_file(tmp_path / "latin.yaml")
    assert caught.value.problems[0].line == 2
    with pytest.raises(RequestError, match="does not exist"):
        read_file(tmp_path / "none.yaml")
    with pytest.raises(RequestError, match="is a folder"):
        read_file(tmp_path)
    with pytest.raises(RequestError):
        read_file(Path("a\0b"))
    with pytest.raises(RequestError):
        read_file(tmp_path / ("x" * 5000))


def test_a_byte_order_mark_is_no_character(tmp_path: Path) -> None:
    (tmp_path / "bom.yaml").write_bytes(b"\xef\xbb\xbfa: 1\n")
    assert read_yaml(read_file(tmp_path / "bom.yaml")).data == {"a": 1}


@given(st.text(max_size=80) | st.text(alphabet="ab:-{}[]#&*!|>'\"%@ \n\t,?.0", max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        read_yaml(text)
    except RequestError as refused_:
        assert refused_.problems


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs", "Cc", "Cn", "Zl", "Zp"]), max_size=12),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abno12_", min_size=1, max_size=5), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=40)
@given(st.dictionaries(st.text("abno_", min_size=1, max_size=5), PLAIN, max_size=4), st.booleans())
def test_json_is_read_as_it_is(data: dict[str, object], as_ascii: bool) -> None:
    """YAML 1.2 takes JSON in (pairs of surrogate escapes, which it has not, are joined)."""
    assert read_yaml(json.dumps(data, ensure_ascii=as_ascii)).data == data


@given(st.from_regex(r"[-+0-9a-zA-Z_.:~]{0,8}", fullmatch=True))
def test_numbers_agree_with_yaml_1_1_wherever_both_read_a_plain_decimal(text: str) -> None:
    ours = plain_scalar(text)
    theirs = yaml.safe_load(f"a: {text}") if _safe(text) else None
    if isinstance(ours, float) and not math.isnan(ours) and theirs is not None and isinstance(theirs["a"], float):
        assert ours == theirs["a"]


def _safe(text: str) -> bool:
    try:
        return isinstance(yaml.safe_load(f"a: {text}"), dict)
    except (yaml.YAMLError, ValueError):
        return False

"""YAML from strangers: the scalars of YAML 1.2, positions, and every known bomb."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_engine.errors import JobError, TemplateError
from hybrid_engine.files.strict.yamltext import MAX_BYTES, parse_yaml


def read(text: str) -> Any:
    return parse_yaml(text.encode())[0]


def refused(data: bytes | str) -> JobError:
    with pytest.raises(JobError) as caught:
        parse_yaml(data if isinstance(data, bytes) else data.encode(), file="x.yaml")
    assert caught.value.file == "x.yaml"
    return caught.value


BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{','.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(9)
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"), ("on", "on"), ("yes", "yes"), ("off", "off"), ("y", "y"), ("12:30:45", "12:30:45"),
        ("2026-11-20", "2026-11-20"), ("2026-11-20T07:36:00Z", "2026-11-20T07:36:00Z"), ("0x1F", 31), ("0o17", 15),
        ("-1.5e3", -1500.0), (".5", 0.5), ("+7", 7), ("-0", 0), ("1_000", "1_000"), ("1e3", 1000.0),
        ("~", None), ("", None), ("null", None),
        ("True", True), ("FALSE", False), ("'5'", "5"), ('"true"', "true"), ("! 5", "5"), ("0", 0),
        ("0.10", 0.1), ("1.2.3", "1.2.3"),
        ("${{ params.x }}", "${{ params.x }}"), ("٣", "٣"),
    ],
)  # fmt: skip
def test_scalars_are_those_of_yaml_1_2(text: str, value: object) -> None:
    found = read(f"a: {text}\n")["a"]
    assert (found, type(found)) == (value, type(value))


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufeff\ufffe\uffff\u2028\u2029\x85")))
def test_quoted_text_is_text(text: str) -> None:
    quoted = text.replace("'", "''")
    assert read(f"a: '{quoted}'") == {"a": text}


@given(st.text(max_size=100) | st.text("-:{}[]&*!|>'\"%@` \n#?,a1", max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        parse_yaml(text.encode(errors="replace"))
    except JobError as error:
        assert error.code


@pytest.mark.parametrize(
    ("data", "code", "line", "column"),
    [
        ("", "empty", None, None),
        ("# only a comment\n", "empty", None, None),
        (b"\xef\xbb\xbfa: 1", "bom", 1, 1),
        (b"a: \xff", "not_utf8", 1, 4),
        ("a: 1".encode("utf-16-le"), "syntax", 1, 2),
        (b"a: \x00", "syntax", 1, 4),
        (b"a: \x01", "syntax", 1, 4),
        ('a: "\\ud800"', "lone_surrogate", 1, 4),
        ("a: 1\nb: 2\na: 3", "duplicate_key", 3, 1),
        ("{a: 1, 'a': 2}", "duplicate_key", 1, 8),
        ("a: &a [*a]", "circle", 1, 8),
        ("a: &a {b: [*a]}", "circle", 1, 12),
        ("a: *b", "unknown_alias", 1, 4),
        (BOMB, "too_many_values", 6, 11),
        ("[" * 500, "too_deep", 1, 65),
        ("- " * 500, "too_deep", 1, 129),
        ("a: !!python/object/apply:os.system ['true']", "tag", 1, 4),
        ("a: !!str 5", "tag", 1, 4),
        ("!foo {}", "tag", 1, 1),
        ("a: !" + "!" * 500_000, "tag", 1, None),
        ("x: {a: 1}\n<<: {b: 1}", "merge_key", 2, 1),
        ("1: x", "key_type", 1, 1),
        ("true: x", "key_type", 1, 1),
        ("? [a]\n: b", "key_type", 1, 3),
        ("&a a: 1\n*a : 2", "key_type", 2, 1),
        ("a: 014", "leading_zero", 1, 4),
        ("a: .nan", "not_finite", 1, 4),
        ("a: -.inf", "not_finite", 1, 4),
        ("a: 1e999", "not_finite", 1, 4),
        ("a: " + "9" * 300, "too_long_number", 1, 4),
        ("a: 1\n---\nb: 2", "several_documents", 2, 1),
        ("%YAML 1.1\n---\na: no", "directive", 1, 1),
        ("%TAG !e! tag:x,2000:\n---\na: 1", "directive", 1, 1),
        ("a: b: c", "syntax", 1, 5),
        ("a: [1\nb: 2", "syntax", 2, 2),
        ("\ta: 1", "syntax", 1, 1),
        ("a: 'x", "syntax", 1, 6),
        ("a: |\n  x\n y\n", "syntax", 3, 2),
    ],
)
def test_what_is_refused_is_told_with_its_place(
    data: bytes | str, code: str, line: int | None, column: int | None
) -> None:
    error = refused(data)
    assert (error.code, error.line, error.column) == (code, line, column)


FORBIDDEN = [
    # Characters
    "a: @b", "a: `b`", "a: %b", "- @x", "a: b\x7f", "a: b\x0c", "a: b\x80", "a: \ufffe", "a: \x1b[1m", "a: 1\n\0",
    "a: b\ufeffc", "a: 1\n\ufeffb: 2", "a: |\n b\ufeffc",
    # Escapes
    'a: "\\q"', "a: \"\\'\"", 'a: "\\x4"', 'a: "\\u12"', 'a: "\\UFFFFFFFF"', 'a: "\\U80000000"', 'a: "\\U00110000"',
    # Directives and documents
    "%YAML 1.3\n---\na: 1", "%YAML 1.20\n---\na", "%YAML 1.2 x\n---\na", "%YAML 2.0\n---\na", "%YAML 1\n---\na",
    "%YAML 1.2\n%YAML 1.2\n---\na", "%YAML 99999999999999999999.2\n---\na", "% \n---\na", "%YAML 1.2\na: 1",
    "%FOO\n---\na",
    "a: 1\n... b", "a: 1\n---\nb: 2", "--- a: b", 'a: "b\n---\nc"', "a: 'b\n...\nc'", "a: [b\n---\nc]",
    # Indentation
    "a:\n  b\n c: d", "a: b\n  c: d", "- a\nb: c", "- - a\n - b", "a:\n  b: 1\n c: 2", "a: |2x\n  b", "a: |0\n b",
    "a: |12\n b",
    "a: >-+\n b", "a: |\n b\nc", "a:\n    b: 1\n  c: 2", "- |\n   \n b",
    # Tabs where indentation is
    "\ta: b", "a:\n\tb: c", "a: b\n\tc: d", "a:\t- b", "-\t- a", "?\ta", "a: |\n\tb", 'a: "b\n\tc"',
    "- [\n\ta,\n a\n ]",
    # Lines of brackets and quotes that are not indented
    "a: [b,\nc,\nd]", "a: {\nb: 1}", "- [\nb]", 'a: "b\nc\nd"', "- 'a\nb'", "a:\n  b: 'x\n  y'", "a:\n- 'x\ny'",
    "a: {b: 'c\nd'}",
    # Indicators
    "a: - b", "a: ? b", "a: -", "a: :", "[-]", "[-, -]", "a: [?]", "a: [:]", "{?a: b}", "[?a]", "a: b: c", "a : : b",
    "[a: b: c]",
    # Brackets and quotes
    "a: [1\nb: 2", "[a", "{a: 1", "]", "}", "a: [b]]", "a: [b]c", "a: {b}c", "a: [1,,2]", "a: [,1]", "a: {,}", "a: ,b",
    "a: 'x", 'a: "x', "a: 'x' y", "a: 'it's'", 'a: "a"b"', '"a" "b"', "a: 'b': c", "a: 'b\n c' d",
    # Comments
    'a: "b"#c', "a: 'b'#c", "[a]#c", "[a,#c\n]", "{a: 1}#c", "a: b #c\n d", "a: b\n#c\n d", "a: |#c\n b",
    # Anchors and aliases
    "*a b", "a: *b", "a: &a *a", "&a &b c", "a: &", "a: *", "a: & b", "x: &a b\n- c",
]  # fmt: skip


@pytest.mark.parametrize("text", FORBIDDEN)
def test_what_yaml_forbids_is_refused(text: str) -> None:
    error = refused(text)
    assert error.line is not None, error
    assert "Error" not in error.message  # in words, not as an exception


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: [b\n]", {"a": ["b"]}), ("a: {b: 1\n}\nc: 2", {"a": {"b": 1}, "c": 2}), ("[a,\nb]", ["a", "b"]),
        ("a:\n- [b,\n  c]", {"a": [["b", "c"]]}), ("a: &x\n  b: 'c\n   d'", {"a": {"b": "c d"}}),
        ("a: [b, # c\n# d\n\n  e]", {"a": ["b", "e"]}), ("a: 'b\n\n  c'", {"a": "b\nc"}),
        ("a: 'b\r\n c'", {"a": "b c"}),
        ("a: b#c", {"a": "b#c"}), ("a: '#b'", {"a": "#b"}), ("a: [-1]", {"a": [-1]}), ("[-a, :b]", ["-a", ":b"]),
        ("[? a]", [{"a": None}]), ("a?: b?", {"a?": "b?"}), ("%YAML 1.2\n---\na: 1", {"a": 1}),
        ("# c\n---\na: 1\n...\n", {"a": 1}),
        ("a: '\ufeff'", {"a": "\ufeff"}), ("a: |\n  x\n   ", {"a": "x\n \n"}), ('a: "\\u2028"', {"a": "\u2028"}),
        ("a: 'é 😀'", {"a": "é 😀"}),
    ],
)  # fmt: skip
def test_what_looks_like_it_is_allowed(text: str, value: object) -> None:
    assert read(text) == value


@pytest.mark.parametrize("character", "\x85\u2028\u2029")
@pytest.mark.parametrize("text", ["a: x{}b", "a: 'x{}b'", "a: |\n x{}b\n", "a: 1 # x{}b: 2", "a: {}"])
def test_a_character_that_the_scanner_takes_for_a_line_break_is_refused(text: str, character: str) -> None:
    error = refused(text.format(character))
    assert error.code == "line_separator"
    assert error.hint is not None


def test_nothing_is_told_at_its_key_not_where_the_next_thing_stands() -> None:
    for text in ("a:\n\n\nb: 1\n", "{a: , b: 1}", "a: # c\n\nb: 'é'"):
        _, positions = parse_yaml(text.encode())
        assert positions.locate("a") == positions.locate("a", key=True)


def test_aliases_are_fine_while_they_stay_small() -> None:
    value, positions = parse_yaml(b"a: &x {k: [1, 2]}\nb: *x\nc: &t text\nd: *t\n")
    assert value == {"a": {"k": [1, 2]}, "b": {"k": [1, 2]}, "c": "text", "d": "text"}
    assert positions.locate("b.k.0") == (2, 4)


def test_an_alias_bomb_costs_nothing() -> None:
    started = time.perf_counter()
    refused(BOMB)
    assert time.perf_counter() - started < 2


def test_too_many_bytes_are_refused_before_they_are_read() -> None:
    assert refused(b"a" * (MAX_BYTES + 1)).code == "too_large"


def test_every_field_has_its_line_and_column() -> None:
    _, positions = parse_yaml(b"name: x\nsteps:\n  a:\n    retries: 3\n    with: {x: [1, 22]}\n")
    assert positions.locate("steps.a.retries") == (4, 14)
    assert positions.locate("steps.a.retries", key=True) == (4, 5)
    assert positions.locate(["steps", "a", "with", "x", 1]) == (5, 19)
    assert positions.locate("steps.a.nothing.here") == positions.locate("steps.a") == (4, 5)
    assert positions.locate("") == positions.locate("nothing") == (1, 1)


def test_the_error_is_of_the_kind_that_was_asked_for() -> None:
    with pytest.raises(TemplateError):
        parse_yaml(b"[", error=TemplateError)


@pytest.mark.parametrize(
    "data",
    [b"[" + b"1," * 60_000 + b"]", b"{" * 100_000, b"? " * 50_000, b"a: " + b"x " * 100_000,
    b'a: "' + b"\\x41" * 50_000 + b'"',
     b"#\n" * 100_000, b"&a " * 50_000, b"*" * 100_000, b"%" * 100_000, b"--- \n" * 20_000, b": " * 50_000,
     b"|" * 100_000],
)  # fmt: skip
def test_no_text_of_a_hundred_kilobytes_takes_long(data: bytes) -> None:
    started = time.perf_counter()
    try:
        parse_yaml(data)
    except JobError:
        pass
    assert time.perf_counter() - started < 10

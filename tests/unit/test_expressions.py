"""Expressions: what they can say, what they cannot, and that nothing of Python can be reached through them."""

from __future__ import annotations

import json
import time
import tracemalloc
from collections.abc import Mapping
from typing import Any

import pytest
from builders import a_state
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_engine.errors import ExpressionError
from hybrid_engine.model import events as e
from hybrid_engine.rules.context import names_of
from hybrid_engine.rules.expression_functions import FUNCTIONS
from hybrid_engine.rules.expression_syntax import parse
from hybrid_engine.rules.expression_values import MAX_ITEMS, MAX_TEXT, check_size
from hybrid_engine.rules.expressions import compile_condition, compile_value, evaluate, evaluate_condition, references

NAMES: dict[str, Any] = {
    "params": {
        "x": 5,
        "s": "héllo",
        "a-b": 1,
        "l": [3, 1, 2],
        "n": None,
        "t": True,
        "d": {"k": "v"},
        "big": "x" * 900_000,
    },
    "steps": {
        "profile": {"output": {"score": 0.5, "rows": [{"id": 7}]}, "status": "completed"},
        "my-step": {"output": None, "status": "skipped"},
        "import": {"output": {"class": 7}},
    },
    "workflow": {"id": "w"},
}

STEPS = a_state(e.WorkflowStarted(), e.StepStarted("one", 1), e.StepCompleted("one", 1, {"rows": 7}, 0))


def value(expression: str) -> Any:
    return evaluate("${{ " + expression + " }}", NAMES)


def refused(expression: str) -> ExpressionError:
    with pytest.raises(ExpressionError) as caught:
        value(expression)
    return caught.value


@pytest.mark.parametrize(
    ("expression", "result"),
    [
        ("params.x", 5), ("params['a-b']", 1), ("params.d.k", "v"), ("params.l[0] + params.l[-1]", 5),
        ("params.s[1]", "é"),
        ("steps.profile.output.rows[0].id", 7), ("steps.import.output.class", 7),
        ("steps['my-step'].status", "skipped"),
        ("1 + 2 * 3 - 4 / 2", 5.0), ("7 // 2", 3), ("7 % 4", 3), ("-params.x", -5), ("+1", 1), ("'a' + \"b\"", "ab"),
        ("[1] + [params.x]", [1, 5]), ("params.x > 3 && params.t", True), ("false || 'fallback'", "fallback"),
        ("!params.t", False), ("!params.t == false", True), ("!(true && false)", True), ("!!params.x", True),
        ("not true", False),
        ("true and null", None), ("1 < params.x <= 5", True), ("params.x != 4", True), ("true == 1", False),
        ("1 == 1.0", True),
        ("'a && b || !c'", "a && b || !c"), ("'a' if params.t else 'b'", "a"), ("3 in params.l", True),
        ("'ell' in 'hello'", True),
        ("'k' not in params.d", False), ("true in params.l", False), ("null", None),
        ("'it\\'s \\u00e9 \\n'", "it's é \n"),
        ("'}}' + \"${{\"", "}}${{"), ("1\n + \n2", 3), ("params . x", 5),
        ("len(params.s) + len(params.l) + len(params.d)", 9),
        ("str(1.5) + str(true) + str(null) + str([1])", "1.5true[1]"),
        ("int('42') + int(3.9) + int(true)", 46), ("int(' -7 ')", -7), ("float('1.5') + float(1)", 2.5),
        ("bool('true')", True),
        ("bool('')", False), ("bool(params.l)", True), ("round(2.567, 2)", 2.57), ("round(2.5)", 2), ("abs(-3)", 3),
        ("min(params.l) + max(1, 9, 4)", 10), ("max('a', 'b')", "b"), ("sum(params.l)", 6), ("sum([])", 0),
        ("sorted(params.l)", [1, 2, 3]), ("lower('AB') + upper('cd') + trim(' e ')", "abCDe"),
        ("contains(params.l, 3)", True),
        ("contains(params.d, 'k') && contains('abc', 'b')", True), ("starts_with('abc', 'ab')", True),
        ("ends_with('abc', 'ab')", False), ("join(params.l)", "3,1,2"), ("join(['a', true, null], '-')", "a-true-"),
        ("split('a,b', ',')", ["a", "b"]), ("split(' a  b ')", ["a", "b"]), ("keys(params.d)", ["k"]),
        ("values(params.d)", ["v"]),
        ("json(params.d)", '{"k":"v"}'), ("default(params.n, 1)", 1), ("default(params.nope.deeper, 2)", 2),
        ("default(steps['my-step'].output.score, 3)", 3), ("default(params.l[9], 4)", 4),
        ("default(params.x, params.nope)", 5),
        ("default(false, 1)", False),
    ],
)  # fmt: skip
def test_expressions_say_what_they_seem_to_say(expression: str, result: object) -> None:
    found = value(expression)
    assert (found, type(found)) == (result, type(result))


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("plain", "plain"),
        ("$x {{ }} $ {", "$x {{ }} $ {"),
        ("${{params.l}}", [3, 1, 2]),
        (" ${{ params.l }}", " [3,1,2]"),
        ("${{ params.x }}${{ params.t }}-${{ params.n }}-${{ params.d }}", '5true--{"k":"v"}'),
        ("${{ '${{ params.x }}' }}", "${{ params.x }}"),
    ],
)
def test_a_whole_expression_keeps_its_type_and_a_part_becomes_text(text: str, result: object) -> None:
    assert evaluate(text, NAMES) == result


def test_values_are_walked_and_results_are_never_parsed_again() -> None:
    names = {"params": {"evil": "${{ params.secret }}", "secret": 1}}
    compiled = compile_value(
        {"a": ["${{ params.evil }}", "x${{ params.evil }}", 5, None], "b": {"c": "${{ params.secret }}"}}
    )
    assert compiled.evaluate(names) == {
        "a": ["${{ params.secret }}", "x${{ params.secret }}", 5, None],
        "b": {"c": 1},
    }
    assert compiled.references == {"params.evil", "params.secret"}


def test_references_are_dotted_paths_also_inside_of_computed_indexes() -> None:
    found = references(
        {"a": ["${{ steps.a.output.b + default(params['x'], steps[params.k].output) }}"], "b": "${{ workflow.id }}"}
    )
    assert found == {"steps.a.output.b", "params.x", "steps.[]", "params.k", "workflow.id"}
    assert references("${{ [steps, steps.a.output[params.k].x, steps[1], params] }}") == {
        "steps", "steps.a.output.[]", "params.k", "steps.1", "params"
    }  # fmt: skip
    assert compile_condition("steps.a.status == 'x' && true").references == {"steps.a.status"}


@pytest.mark.parametrize(
    ("condition", "result"),
    [
        (True, True), (False, False), (None, True), ("params.x > 3", True), ("${{ params.x > 9 }}", False),
        (" ${{ true }} ", True),
        ("params.n", False), ("params.l", True), ("0", False), ("'true'", True), ("'false'", False),
        ("''", False), ("!params.n", True),
    ],
)  # fmt: skip
def test_conditions_with_and_without_braces(condition: str | bool | None, result: bool) -> None:
    assert evaluate_condition(condition, NAMES) is result


@pytest.mark.parametrize("condition", ["params.s", "${{ params.x }} > 3", "x ${{ true }}", "", "${{ }}", "params.x ="])
def test_what_cannot_be_a_condition_is_refused_instead_of_being_always_true(condition: str) -> None:
    with pytest.raises(ExpressionError):
        evaluate_condition(condition, NAMES)


@pytest.mark.parametrize(
    ("expression", "hint"),
    [
        ("params.treshold", "known"), ("parms.x", "did you mean 'params'?"),
        ("steps.profil.output", "did you mean 'profile'?"),
        ("steps.my-step.output", "write steps['my-step']"), ("lenn(1)", "did you mean 'len'?"),
        ("params.x = 5", "=="),
        ("steps['my-step'].output.score", "default("), ("params.n > 1", "missing"), ("params.s + 5", "str()"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_what_would_be_right(expression: str, hint: str) -> None:
    assert hint in str(refused(expression).hint)


ATTACKS = [
    "().__class__.__bases__[0].__subclasses__()", "params.__class__", "params.x.__class__", "params.s.format",
    "'{0.__class__}'.format(1)",
    "'a'.upper()", "params.l.append(1)", "params.l.sort", "params.d.items()", "__import__('os')",
    "__builtins__", "open('/etc/passwd')",
    "eval('1')", "exec('1')", "getattr(params, 'x')", "len.__globals__", "len", "globals()", "type(1)",
    "lambda: 1", "(lambda: 1)()",
    "[x for x in params.l]", "{x for x in params.l}", "{1: 2}", "(x for x in params.l)", "f'{params}'",
    "f'{1:999999999}'", "b'a'",
    "(a := 1)", "2 ** 9", "9 ** 9 ** 9", "1 << 999999999", "1 >> 1", "1 & 1", "1 | 1", "1 ^ 1", "~1",
    "params.x is 5", "1 @ 2",
    "'a' * 999999999", "999999999 * 'a'", "[1] * 999999999", "'%s' % 1", "'%999999999d' % 1", "params.l[0:2]",
    "(1, 2)", "len(*params.l)",
    "len(x=1)", "await x", "yield", "1j", "...", "params.x; 1", "params.x # c", "a = 1", "del x", "x ? 1 : 2",
    "`id`", "$(id)",
    "params[params]", "params.l['__class__']", "params.l[true]", "params.l[9]", "int('9' + '9')['a']",
    "true + 1", "sorted([1, 'a'])",
    "sum(['a'])", "max([])", "min(null)", "split('a', '')", "round(1.5, 99999)", "int('1_0')", "int('٣')",
    "int('')", "float('nan')",
    "float('inf')", "float('x')", "1e999", "1e308 * 10", "-1e308 * 10", "1 / 0", "1 % 0", "0.0 // 0",
    "int(1e300)", "9" * 200,
    "9999999999 * " * 20 + "1", "params.big + params.big", "params.big + upper(params.big)",
    "join([params.big, params.big])",
    "join(split(params.big, 'x'), params.big)", "split(params.big, 'x') + split(params.big, 'x')",
    "json([params.big, params.big, params.big])",
    "[[params.big, params.big], [params.big, params.big]]", "(" * 300 + "1" + ")" * 300, "[" * 150 + "]" * 150,
    "-" * 1000 + "1",
    "not " * 300 + "1", "1" + "+1" * 400, "x" * 2001, "'\\d'", "'\\N{BULLET}'", "'\\ud800'", "'unclosed", "\0",
    "'a\0'",
    "", " ", "}", "{", "a b", "if", "import os", "params.", ".x", "'a' 'b' c", "params..x", "1.x", "\\\n1",
]  # fmt: skip


@pytest.mark.parametrize("expression", ATTACKS)
def test_an_attack_is_an_expression_error_at_once(expression: str) -> None:
    started = time.perf_counter()
    error = refused(expression)
    assert time.perf_counter() - started < 1
    assert len(str(error)) < 1000


def plain(found: object) -> bool:
    """Is this JSON and nothing else, through and through?"""
    if isinstance(found, list):
        return all(map(plain, found))
    if isinstance(found, Mapping):
        return all(isinstance(key, str) and plain(item) for key, item in found.items())
    return found is None or type(found) in (bool, int, float, str)


WORDS = st.sampled_from([
    "params", "steps", "workflow", "steps.one", ".x", ".s", ".l", ".output", "['a-b']", "[0]", "1", "2.5", "'text'",
    "true",
    "null", "+", "-", "*", "/",
    "//", "%", "**", "<<", "==", "!=", "<", ">=", "&&", "||", "!", "not", "in", "if", "else", "(", ")", "[",
    "]", ",", "len", "json",
    "join", "split", "default", "upper", "max", "sorted", ".__class__", ".format", "lambda", "for", ":", "{",
    "}", "~", "\\", "f'", "'", '"',
])  # fmt: skip


@given(st.lists(WORDS, max_size=25).map(" ".join) | st.lists(WORDS, max_size=12).map("".join) | st.text(max_size=60))
@settings(max_examples=400)
def test_any_expression_ends_in_json_or_in_an_expression_error(expression: str) -> None:
    started = time.perf_counter()
    for names in (NAMES, names_of(STEPS)):
        try:
            found = evaluate("${{ " + expression + " }}", names)
        except ExpressionError:
            continue
        assert plain(found)
        assert len(json.dumps(found)) < 8 * MAX_TEXT
    assert time.perf_counter() - started < 5


@given(st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
))  # fmt: skip
def test_data_goes_through_an_expression_unchanged(data: object) -> None:
    if isinstance(data, int) and abs(data) >= 10**100:
        return
    assert evaluate("${{ params.data }}", {"params": {"data": data}}) == data


@pytest.mark.parametrize(
    "expression",
    ["steps", "[steps]", "[[steps], steps.one]", "values(steps)", "default(steps, 1)", "[steps] + [steps]",
    "steps || 1",
     "true && steps", "steps if true else 1", "json(steps)", "str([steps])", "default([steps], 1)[0]",
     "[workflow, params]",
     "keys(steps)", "steps == steps", "contains([steps], steps)", "len(steps)"],
)  # fmt: skip
def test_the_names_themselves_are_plain_data(expression: str) -> None:
    found = evaluate({"x": "${{ " + expression + " }}"}, names_of(STEPS))
    assert plain(found)
    json.dumps(found)


def test_steps_as_a_whole_are_a_mapping_of_all_steps() -> None:
    found = evaluate("${{ [steps] }}", names_of(STEPS))
    one = {"status": "completed", "output": {"rows": 7}, "exit_code": 0, "attempt": 1, "error": None}
    assert isinstance(found, list)
    assert isinstance(found[0], dict)
    assert found[0]["one"] == one


@pytest.mark.parametrize(
    ("value", "code"),
    [(object(), "not_json"), ({1: 2}, "not_json"), ([{"a": {1, 2}}], "not_json"), ((1, 2), "not_json"),
    (b"x", "not_json"),
     (float("nan"), "not_finite"), ([float("inf")], "not_finite"), ({"a": 10**100}, "too_large"), (range(3),
     "not_json")],
)  # fmt: skip
def test_what_is_not_json_does_not_come_out(value: object, code: str) -> None:
    for expression in ("params.v", "[params.v]", "default(params.v, 1)"):
        with pytest.raises(ExpressionError) as caught:
            evaluate("${{ " + expression + " }}", {"params": {"v": value}})
        assert caught.value.code in (code, "failed")


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def test_a_result_is_as_deep_as_a_document_may_be() -> None:
    assert evaluate("${{ params.v }}", {"params": {"v": nested(64)}}) == nested(64)
    for expression, depth in (("params.v", 65), ("[params.v]", 64), ("params.v", 100_000), ("json(params.v)", 100_000)):
        with pytest.raises(ExpressionError):
            evaluate("${{ " + expression + " }}", {"params": {"v": nested(depth)}})


class Broken(Mapping[str, Any]):
    """A name that raises what nobody expects."""

    def __init__(self, failure: Exception) -> None:
        self.failure = failure

    def __getitem__(self, name: str) -> Any:
        raise self.failure

    def __iter__(self) -> Any:
        raise self.failure

    def __len__(self) -> int:
        raise self.failure


@pytest.mark.parametrize(
    "failure",
    [RecursionError(), OverflowError("x"), TypeError("x"), MemoryError(), AttributeError("x"), AssertionError()],
)
def test_whatever_is_raised_inside_is_an_expression_error(failure: Exception) -> None:
    for text in ("${{ params.v.x }}", "${{ [params.v] }}", "x${{ len(params.v) }}", "${{ params.v == 1 || params.v }}"):
        with pytest.raises(ExpressionError):
            evaluate({"a": text}, {"params": {"v": Broken(failure)}})
    with pytest.raises(ExpressionError):
        evaluate_condition("params.v.x", {"params": {"v": Broken(failure)}})


def test_a_value_too_deep_to_be_walked_is_an_expression_error() -> None:
    with pytest.raises(ExpressionError):
        evaluate(nested(100_000), {})


# --- bounds, each at its edge


@pytest.mark.parametrize(
    ("at_the_edge", "beyond"),
    [
        ("params.half + params.half", "params.half + params.half + 'x'"),
        ("join([params.half, params.rest], ',')", "join([params.half, params.half], ',')"),
        ("join([params.half, params.half], '')", "join([params.half, params.half, 'x'], '')"),
        ("join(params.list, '1234567890123456789')", "join(params.list, '12345678901234567890')"),
        ("params.list + params.list", "params.list + params.list + [1]"),
        ("params.big + 0", "params.big + 1"),
        ("sum([params.big])", "sum([params.big, 1])"),
        ("params.low - 0", "params.low - 1"),
        ("abs(params.low)", "sum([params.low, params.low])"),
        ("1.7e308 + 0", "1.7e308 + 1.7e308"),
        ("json(params.half) + ''", "[params.most, params.most]"),
        ("params.most", "params.long"),
        ("len(split(params.lines, 'x'))", "len(split(params.lines + 'x', 'x'))"),
        ("params.big * 1 // 1", "params.big * 2 // 2"),
        ("round(1.5, 20)", "round(1.5, 21)"),
    ],
)
def test_a_bound_is_where_it_is_said_to_be(at_the_edge: str, beyond: str) -> None:
    half = MAX_TEXT // 2
    names = {
        "params": {
            "half": "y" * half, "rest": "y" * (half - 1),
            "most": "x" * MAX_TEXT, "big": 10**100 - 1, "low": 1 - 10**100,
            "list": [0] * (MAX_ITEMS // 2), "long": "x" * (MAX_TEXT + 1), "lines": "x" * (MAX_ITEMS - 1),
        },
    }  # fmt: skip
    evaluate("${{ " + at_the_edge + " }}", names)
    with pytest.raises(ExpressionError) as caught:
        evaluate("${{ " + beyond + " }}", names)
    assert caught.value.code in ("too_large", "not_finite")


def test_what_would_be_too_large_is_not_made_first() -> None:
    names = {"params": {"list": ["x"] * 50_000, "text": "y" * 2_000}}
    tracemalloc.start()
    try:
        with pytest.raises(ExpressionError, match=r"join: .* 100048000 characters"):
            evaluate("${{ join(params.list, params.text) }}", names)
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


def test_a_text_with_expressions_in_it_is_bounded_as_a_whole() -> None:
    names = {"params": {"half": "y" * (MAX_TEXT // 2)}}
    assert len(str(evaluate("${{ params.half }}${{ params.half }}", names))) == MAX_TEXT
    for text in ("${{ params.half }}x${{ params.half }}", "${{ params.half }}${{ params.half }}x"):
        with pytest.raises(ExpressionError) as caught:
            evaluate(text, names)
        assert caught.value.code == "too_large"


def test_the_arguments_of_a_step_are_bounded_together() -> None:
    names = {"params": {"v": "y" * (MAX_TEXT - 10)}}
    assert evaluate({f"a{n}": "${{ params.v }}" for n in range(16)}, names)
    with pytest.raises(ExpressionError) as caught:
        evaluate({f"a{n}": "${{ params.v }}" for n in range(17)}, names)
    assert caught.value.code == "too_large"


def test_the_size_of_a_value_counts_texts_keys_and_parts() -> None:
    check_size([0] * 9, 10)
    check_size({"abc": "defg", "h": 1}, 11)
    for value, limit in (([0] * 10, 10), ({"abc": "defg", "h": 1}, 10), ("x" * 10, 10), ([["x"] * 2, ["x"] * 2], 10)):
        with pytest.raises(ExpressionError):
            check_size(value, limit)


def test_an_expression_has_so_many_parts_and_no_more() -> None:
    """`1` is one node, each `+1` two and its operator one; `Expression` is one."""
    assert value("1" + "+1" * 98) == 99
    parse("max([" + ",".join(["1"] * 297) + "])")
    with pytest.raises(ExpressionError) as caught:
        parse("max([" + ",".join(["1"] * 298) + "])")
    assert caught.value.code == "too_large"
    parse("!" * 98 + "true")
    with pytest.raises(ExpressionError) as caught:
        parse("!" * 99 + "true")
    assert caught.value.code == "too_large"
    parse("1" + " " * 1997 + "+1")
    with pytest.raises(ExpressionError, match="2000"):
        parse("1" + " " * 1998 + "+1")


def test_evaluating_changes_nothing_that_it_was_given() -> None:
    before = json.dumps(NAMES)
    evaluate({"a": "${{ sorted(params.l) }}", "b": "${{ params.l + [4] }}", "c": "${{ params }}"}, {**NAMES})
    assert json.dumps(NAMES) == before


def test_an_error_inside_of_a_value_has_its_path() -> None:
    for work in (compile_value, lambda data: evaluate(data, NAMES)):
        with pytest.raises(ExpressionError) as caught:
            work({"a": [1, {"b": "${{ lenn(1) }}"}]})
        assert caught.value.path == "a.1.b"


def test_a_text_with_very_many_expressions_is_refused() -> None:
    assert evaluate("${{ 1 }}" * 200, {}) == "1" * 200
    with pytest.raises(ExpressionError):
        evaluate("${{ 1 }}" * 201, {})


def test_an_expression_is_parsed_once() -> None:
    assert parse("params.x + 1") is parse("params.x + 1")


@pytest.mark.parametrize(
    "expression",
    [
        "params.huge",
        "sum(params.tens)",
    ],
)
def test_what_an_expression_makes_is_bounded(expression: str) -> None:
    params = {"huge": "x" * (MAX_TEXT + 1), "tens": [10**100 - 1] * 2}
    with pytest.raises(ExpressionError) as found:
        evaluate("${{ " + expression + " }}", {"params": params})
    assert found.value.code == "too_large"


def test_a_joined_text_is_refused_before_it_is_made() -> None:
    with pytest.raises(ExpressionError) as found:
        FUNCTIONS["join"](["x"] * 3, "y" * (MAX_TEXT // 2))
    assert found.value.code == "too_large"


def test_a_text_with_expressions_in_it_is_bounded() -> None:
    assert len(evaluate("a ${{ params.big }}", NAMES)) == 900_002
    with pytest.raises(ExpressionError) as found:
        evaluate("a ${{ params.big }} and ${{ params.big }}", NAMES)
    assert found.value.code == "too_large"


def test_an_expression_has_a_bounded_number_of_nodes() -> None:
    parse(f"[{', '.join('1' * 200)}]")
    with pytest.raises(ExpressionError) as found:
        parse(f"[{', '.join('1' * 400)}]")
    assert found.value.code == "too_large"

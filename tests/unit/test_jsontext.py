"""The JSON of short-lived processes says what `json` says."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_engine.model import jsontext

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(values)
def test_it_writes_what_json_writes(value: object) -> None:
    assert jsontext.encode(value) == json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    spaced = jsontext.encoder(sort_keys=True, item_separator=", ", key_separator=": ")
    assert spaced(value) == json.dumps(value, ensure_ascii=False, sort_keys=True)


@given(values, st.booleans())
def test_it_reads_what_json_wrote(value: object, indent: bool) -> None:
    text = json.dumps(value, ensure_ascii=indent, indent=2 if indent else None)
    assert jsontext.decode(text + "\n") == json.loads(text)
    assert jsontext.decode(text.encode("utf-8", "surrogatepass")) == json.loads(text)


@pytest.mark.parametrize(
    "text",
    ["", " ", "{", "[1,]", "NaN", "[-Infinity]", "1 2", '{"a":1,}', "[" * 100_000, '"\\x"', b"\xff", "\ufeff1", "'a'"],
)
def test_what_is_not_json_is_a_value_error(text: str | bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        jsontext.decode(text)


def test_what_json_has_no_form_for_is_refused() -> None:
    with pytest.raises(ValueError, match=r".+"):
        jsontext.encode([float("nan")])
    with pytest.raises(TypeError, match="object"):
        jsontext.encode([object()])


def test_nothing_heavy_is_imported() -> None:
    script = (
        "import sys; from hybrid_engine.model import jsontext; jsontext.decode(jsontext.encode({'a': [1.5]}));"
        "print(sorted({'json', 're', 'enum', 'typing', 'functools'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert done.stdout == "[]\n"

"""Patterns of parameters, matched in time that grows with the text only, whatever the pattern.

Python's `re` can be made to hang by one line of a template; the engine inside pydantic (Rust's `regex`) cannot: it has
no backtracking, no look-around, no back-references, and refuses patterns that compile to too much.
A pattern is looked for anywhere in the text, as in JSON Schema: write ^ and $ for the whole.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pydantic_core import SchemaValidator

_MANY = 200
_compiled: dict[str, SchemaValidator] = {}


def check_pattern(pattern: str) -> str:
    """Return `pattern` when it can be used; raise ValueError with the reason otherwise."""
    from pydantic_core import SchemaError

    try:
        _validator(pattern)
    except SchemaError as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"not a usable pattern: {reason:.300}") from None
    return pattern


def matches(pattern: str, text: str) -> bool:
    """Is there a match of `pattern` anywhere in `text`?"""
    from pydantic_core import ValidationError

    try:
        _validator(pattern).validate_python(text)
    except ValidationError:
        return False
    return True


def _validator(pattern: str) -> SchemaValidator:
    found = _compiled.get(pattern)
    if found is None:
        from pydantic_core import SchemaValidator, core_schema

        found = SchemaValidator(core_schema.str_schema(pattern=pattern, regex_engine="rust-regex"))
        if len(_compiled) >= _MANY:
            _compiled.clear()
        _compiled[pattern] = found
    return found

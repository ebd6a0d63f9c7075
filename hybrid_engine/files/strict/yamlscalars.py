"""Plain scalars of YAML by the core schema of version 1.2, and those that are refused because they are ambiguous.

Knows no events and no places: `ScalarError` says what is wrong, the caller says where.
"""

from __future__ import annotations

import re

from hybrid_engine.files.strict.jsontext import MAX_DIGITS
from hybrid_engine.model.words import Json

_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?[0-9]+", re.ASCII)
_OTHER_INT = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+", re.ASCII)
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", re.ASCII)
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)", re.ASCII)
_INDICATORS = frozenset("-?:")


class ScalarError(ValueError):
    """A scalar that is refused."""

    def __init__(self, code: str, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint


def plain_value(text: str) -> Json:
    """The value of an unquoted scalar. Raises ScalarError."""
    if text in _NULLS:
        return None
    if text in _BOOLS:
        return _BOOLS[text]
    if text in _INDICATORS:
        # The scanner takes `[-]` for a list of a dash; an indicator needs a character behind it to be text.
        raise ScalarError("syntax", f"is not YAML: {text} alone is an indicator, not text", "quote it")
    if text[0] not in "-+.0123456789":
        return checked_text(text)
    return _numeral(text)


def checked_text(text: str) -> str:
    """The text itself, when all of it are characters. Raises ScalarError."""
    if not text.isprintable():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ScalarError("lone_surrogate", "half of a surrogate pair is not a character") from None
    return text


def _numeral(text: str) -> Json:
    if _INT.fullmatch(text):
        return _integer(text)
    if _OTHER_INT.fullmatch(text) and len(text) <= MAX_DIGITS:
        return int(text, 0)
    if _FLOAT.fullmatch(text):
        value = float(text)
        if value - value == 0.0:
            return value
    elif not _NOT_FINITE.fullmatch(text):
        return checked_text(text)
    raise ScalarError("not_finite", f"{text:.40} is not a finite number", "quote it for text")


def _integer(text: str) -> int:
    digits = text.lstrip("+-")
    if len(digits) > MAX_DIGITS:
        raise ScalarError("too_long_number", f"a number of {len(digits)} digits", "quote it for text")
    if digits[0] == "0" and len(digits) > 1:
        hint = f'write {digits.lstrip("0") or "0"} for the number, "{text}" for text'
        raise ScalarError("leading_zero", f"{text} could be a number or text", hint)
    return int(text)

"""JSON for short-lived processes: what `json` gives, without its import, which is two thirds of an interpreter start.

`json` brings the `re` module along and uses it only to look for white space. The scanner and the encoder below it are
the same compiled ones; where an interpreter has none, `json` itself is used. Light module.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_SPACE = " \t\n\r"


def _refuse(word: str) -> object:
    raise ValueError(f"{word} is not JSON")


def _default(value: object) -> object:
    raise TypeError(f"a {type(value).__name__} has no JSON form")


class _Context:
    """What the compiled scanner asks its decoder."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = staticmethod(_refuse)
    memo: dict[str, str] = {}


def encoder(*, sort_keys: bool = False, item_separator: str = ",", key_separator: str = ":") -> Callable[[Any], str]:
    """A function from a JSON value to its text. NaN and infinities are refused (ValueError), text is not escaped."""
    try:
        from _json import encode_basestring, make_encoder
    except ImportError:
        from json import JSONEncoder

        return JSONEncoder(
            ensure_ascii=False, allow_nan=False, sort_keys=sort_keys, check_circular=False,
            separators=(item_separator, key_separator),
        ).encode  # fmt: skip
    iterate = make_encoder(
        None, _default, encode_basestring, None, key_separator, item_separator, sort_keys, False, False
    )

    def encode(value: Any) -> str:
        return encode_basestring(value) if isinstance(value, str) else "".join(iterate(value, 0))

    return encode


def decode(data: bytes | str) -> Any:
    """The value of a JSON text. Raises ValueError (also for NaN, infinities, and bytes that are not UTF-8)."""
    text = data if isinstance(data, str) else data.decode("utf-8")
    body = text.strip(_SPACE)
    try:
        value, end = _scan(body, 0)
    except StopIteration:
        raise ValueError("not JSON") from None
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if end != len(body):
        raise ValueError(f"more text behind the JSON value, at character {end}")
    return value


def _make_scanner() -> Callable[[str, int], tuple[Any, int]]:
    try:
        from _json import make_scanner
    except ImportError:
        from json import JSONDecoder

        return JSONDecoder(parse_constant=_refuse).raw_decode
    return make_scanner(_Context())  # type: ignore[arg-type]


_scan = _make_scanner()
encode = encoder()
"""Compact, in the order given."""

"""Arguments with an inner form: `-p name=value`, `-p name:=json`, `--label name=value`. Light module."""

from __future__ import annotations

from hybrid_engine.errors import JobError
from hybrid_engine.model.jsontext import decode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any


def params_of(texts: Iterable[str]) -> dict[str, Any]:
    """`name=value` is text, to be read as what the parameter wants to be; `name:=value` is JSON. Raises JobError."""
    params: dict[str, Any] = {}
    for text in texts:
        name, sign, value = text.partition("=")
        is_json = name.endswith(":")
        name = name[:-1] if is_json else name
        if not sign or not name:
            raise JobError(f"{text!r:.60} is not name=value or name:=json", path="params")
        if name in params:
            raise JobError("is given twice", path=f"params.{name:.80}")
        try:
            params[name] = decode(value) if is_json else value
        except ValueError as error:
            raise JobError(f"{value!r:.60} is not JSON: {error}", path=f"params.{name:.80}") from None
    return params


def labels_of(texts: Iterable[str]) -> dict[str, str]:
    """`name=value`. Raises JobError."""
    labels: dict[str, str] = {}
    for text in texts:
        name, sign, value = text.partition("=")
        if not sign or not name:
            raise JobError(f"{text!r:.60} is not name=value", path="labels")
        labels[name] = value
    return labels

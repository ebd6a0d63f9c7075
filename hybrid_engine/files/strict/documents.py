"""The entry points for content that others wrote: a document of either grammar, and a small JSON object.

Whatever is wrong with the content, and whatever a parser raises over it, is an InputError of that file.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from hybrid_engine.errors import InputError, JobError
from hybrid_engine.files.strict.jsontext import JsonPositions, parse_json
from hybrid_engine.files.strict.yamltext import YamlLimits, parse_yaml
from hybrid_engine.model.words import Json


class Places(Protocol):
    """Where the fields of a document stand."""

    def look_up(self, paths: Iterable[str]) -> None: ...
    def locate(self, path: str, *, key: bool = False) -> tuple[int, int] | None: ...


def parse_document(
    data: bytes,
    name: str,
    *,
    file: str | None = None,
    error: type[InputError] = JobError,
    limits: YamlLimits | None = None,
) -> tuple[Json, Places]:
    """The value of a document and the places of its fields: JSON when `name` says so, else YAML of at most `limits`."""
    if name.lower().endswith(".json"):
        return parse_json(data, file=file, error=error), JsonPositions(data)
    return parse_yaml(data, file=file, error=error, limits=limits or YamlLimits())


def parse_object(data: bytes, *, file: str | None = None, error: type[InputError] = JobError) -> dict[str, Any]:
    """A JSON object, as signals and answers are; nothing at all counts as an empty one."""
    if not data.strip():
        return {}
    value = parse_json(data, file=file, error=error)
    if not isinstance(value, dict):
        raise error("must be a JSON object", file=file, line=1, column=1, code="wrong_type")
    return value

"""Untrusted input: files and texts that others wrote, read so that none can hang, swell or mislead the engine.

`plainfile` opens and reads files. `parse_document` and `parse_object` are for their content, `parse_json` and
`parse_yaml` for content whose grammar is known; `guarded` is for what is done with it. All refuse with an InputError
that names the place, whatever a parser raises. Nothing here knows what a job or a template is.
"""

from __future__ import annotations

from hybrid_engine.files.strict.documents import Places, parse_document, parse_object
from hybrid_engine.files.strict.guard import guarded
from hybrid_engine.files.strict.jsontext import JsonPositions, parse_json
from hybrid_engine.files.strict.plainfile import open_plain_file, read_plain_file
from hybrid_engine.files.strict.yamltext import Positions, YamlLimits, parse_yaml

__all__ = [
    "JsonPositions",
    "Places",
    "Positions",
    "YamlLimits",
    "guarded",
    "open_plain_file",
    "parse_document",
    "parse_json",
    "parse_object",
    "parse_yaml",
    "read_plain_file",
]

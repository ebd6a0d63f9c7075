"""Untrusted input: files and texts that others wrote, read so that none can hang, swell or mislead the engine.

`plainfile` opens and reads files, `jsontext` and `yamltext` parse; all refuse with an InputError that names the place.
Nothing here knows what a job or a template is. Our own files (journals, states) are read elsewhere.
"""

from __future__ import annotations

from hybrid_engine.files.strict.jsontext import JsonPositions, parse_json
from hybrid_engine.files.strict.plainfile import open_plain_file, read_plain_file
from hybrid_engine.files.strict.yamltext import Positions, parse_yaml

__all__ = [
    "JsonPositions",
    "Positions",
    "open_plain_file",
    "parse_json",
    "parse_yaml",
    "read_plain_file",
]

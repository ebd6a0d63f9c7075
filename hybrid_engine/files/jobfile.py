"""Job files as they are dropped: `.yaml`, `.yml` and `.json` hold one job, `.jsonl` one per line.

What is read here is data with a place; whether it is a good job is for `rules.requests` and `rules.params`, whose
errors `JobEntry.explain` puts in their place in the file. A bad line hurts only itself, and is handed on as it was.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import BinaryIO

from hybrid_engine.errors import InputError, JobError
from hybrid_engine.files.strict import (
    JsonPositions,
    Places,
    open_plain_file,
    parse_document,
    parse_json,
    read_plain_file,
)
from hybrid_engine.model.words import Json

SUFFIXES = (".yaml", ".yml", ".json", ".jsonl")
MAX_FILE = 1024 * 1024
"""Bytes of a file with one job."""
MAX_LINES_FILE = 1024 * 1024 * 1024
"""Bytes of a file with many."""
MAX_LINE = 1024 * 1024

_OF_THE_NAME = ("unknown_field", "unknown_param")
"""Codes of problems with a field's name: they are at the name in the file, not at the value."""


class JobEntry:
    """One job of a file: `raw` is what it says, or `error` why that cannot be known. `line` is None in a file of one.

    `data` is the text as it was, verbatim; of a line that is too long its first MAX_LINE bytes.
    """

    __slots__ = ("_positions", "data", "error", "file", "line", "raw")

    def __init__(
        self,
        file: str,
        line: int | None,
        data: bytes,
        raw: Json = None,
        error: JobError | None = None,
        positions: Places | None = None,
    ) -> None:
        self.file = file
        self.line = line
        self.data = data
        self.raw = raw
        self.error = error
        self._positions = positions

    def explain(self, error: InputError) -> InputError:
        """`error` about this job, with file, line and column filled in, for each of its problems too.

        An error of another file (the job's template is broken) becomes one at the field that leads there: what is put
        aside is the job. The template's own error is not changed, because it is kept and told to others.
        """
        if error.file is not None and error.file != self.file:
            error = JobError(f"cannot be used: {error}", path="template", code="bad_template")
        positions = self._positions or JsonPositions(self.data)
        positions.look_up([problem.path or "" for problem in error.problems])
        for problem in (*error.problems, error):
            first = problem.problems[0] if problem.problems else problem
            place = positions.locate(first.path or "", key=first.code in _OF_THE_NAME) or (1, 1)
            problem.file = self.file
            problem.line = self.line + place[0] - 1 if self.line is not None else place[0]
            problem.column = place[1]
        return error


class JobFile:
    """A dropped file, opened safely; iterate to get its jobs. `status` is what `fstat` said.

    `name` is what errors call the file. Raises JobError when the file as a whole cannot be taken.
    """

    def __init__(self, path: str, name: str | None = None, *, links: int = 1) -> None:
        self.path = path
        self.name = name or os.path.basename(path)
        self._suffix = os.path.splitext(self.name)[1].lower()
        if self._suffix not in SUFFIXES:
            raise JobError(
                "is not a job file", file=self.name, code="unknown_suffix", hint="known: " + " ".join(SUFFIXES)
            )
        self._data: bytes | None = None
        self._fd = -1
        try:
            if self._suffix == ".jsonl":
                self._fd, self.status = open_plain_file(path, MAX_LINES_FILE, links=links)
            else:
                self._data, self.status = read_plain_file(path, MAX_FILE, links=links)
        except JobError as error:
            error.file = self.name
            raise

    def __iter__(self) -> Iterator[JobEntry]:
        if self._data is not None:
            yield self._single(self._data)
            return
        if self._fd < 0:
            raise RuntimeError("the lines of a job file can be read once")
        with os.fdopen(self._fd, "rb", buffering=256 * 1024) as file:
            self._fd = -1
            yield from _lines(file, self.name)

    def close(self) -> None:
        """Let go of a file whose lines are not wanted."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> JobFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _single(self, data: bytes) -> JobEntry:
        raw, positions = parse_document(data, self._suffix, file=self.name)
        return JobEntry(self.name, None, data, raw, positions=positions)


def read_job_file(path: str, name: str | None = None, *, links: int = 1) -> list[JobEntry]:
    """All jobs of a file at once; for one that may be large, iterate over a JobFile instead."""
    with JobFile(path, name, links=links) as file:
        return list(file)


def _lines(file: BinaryIO, name: str) -> Iterator[JobEntry]:
    number = 0
    try:
        while line := file.readline(MAX_LINE + 1):
            number += 1
            if len(line) > MAX_LINE and not line.endswith(b"\n"):
                _skip_line(file)
                error = JobError(
                    f"this line is longer than {MAX_LINE} bytes", file=name, line=number, column=1, code="too_large"
                )
                yield JobEntry(name, number, line[:MAX_LINE], error=error)
            elif line.strip():
                yield _line(name, number, line.rstrip(b"\r\n"))
    except OSError as failure:
        raise JobError(
            f"cannot be read on from line {number + 1}: {failure.strerror}", file=name, code="unreadable"
        ) from failure


def _skip_line(file: BinaryIO) -> None:
    while (rest := file.readline(256 * 1024)) and not rest.endswith(b"\n"):
        pass


def _line(name: str, number: int, data: bytes) -> JobEntry:
    try:
        return JobEntry(name, number, data, parse_json(data, file=name))
    except JobError as error:
        error.line = number
        return JobEntry(name, number, data, error=error)

"""What an attempt leaves in its folder, read back: exit status, output, progress, the end of its log."""

from __future__ import annotations

import os
import re
import signal

from hybrid_engine.errors import InputError
from hybrid_engine.execution import leases
from hybrid_engine.files import atomic, strict
from hybrid_engine.model.attempt import Attempt, Outcome
from hybrid_engine.model.words import Json

MAX_OUTPUT = 1 << 20
TAIL = 400
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,127}")
_STATUS = re.compile(rb"[0-9]{1,3}\n")
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f]")


def of_exit(attempt: Attempt, folder: str, code: int) -> Outcome:
    """The outcome of a shell attempt that ended with `code` (negative: by that signal)."""
    if code != 0:
        error = {"kind": "exit" if code > 0 else "killed", "message": _exit_message(code, folder)}
        return _failed(attempt, error, code)
    try:
        output = read_output(os.path.join(folder, "output"))
    except InputError as error:
        return _failed(attempt, {"kind": "bad_output", "message": str(error)}, code)
    except OSError:
        raise
    except Exception as error:  # whatever a parser raises at a stranger's bytes, the attempt has to end
        return _failed(
            attempt, {"kind": "bad_output", "message": f"output: cannot be understood: {error!r:.200}"}, code
        )
    return Outcome(attempt.workflow, attempt.step, attempt.number, "completed", output, code)


def of_record(attempt: Attempt, folder: str) -> Outcome | None:
    """The outcome of a shell attempt by what its shell wrote down, or None when it did not get so far."""
    code = status_of(folder)
    return None if code is None else of_exit(attempt, folder, code)


def status_of(folder: str) -> int | None:
    """The exit status that a shell step left: in its lease or, by an engine of format 1, in a file `exit`."""
    record = leases.read(os.path.join(folder, "lease"))
    if record.status is not None or record.began is not None:
        return record.status
    data = _read_exit(folder)
    return int(data) if data is not None and _STATUS.fullmatch(data) else None


def of_word(attempt: Attempt, folder: str) -> Outcome | None:
    """The outcome of a call that its worker, whose engine was gone, left in the attempt's `exit` file."""
    data = _read_exit(folder)
    if data is None:
        return None
    try:
        answer = strict.parse_json(data, file="exit")
    except InputError:
        return None
    return of_answer(attempt, answer) if isinstance(answer, dict) else None


def _read_exit(folder: str) -> bytes | None:
    try:
        return atomic.read(os.path.join(folder, "exit"), MAX_OUTPUT * 2)
    except OSError as error:
        if error.errno in atomic.PASSING:
            raise
        return None


def of_answer(attempt: Attempt, answer: dict[str, Json]) -> Outcome:
    """The outcome that a function's worker reports."""
    if not isinstance(answer, dict) or not isinstance(answer.get("error", {}), dict):
        return _failed(attempt, {"kind": "bad_output", "message": "the worker's answer cannot be understood"}, None)
    if "error" in answer:
        return _failed(attempt, _error_of(answer["error"]), None)
    return Outcome(attempt.workflow, attempt.step, attempt.number, "completed", answer.get("output"))


def _error_of(found: Json) -> dict[str, Json]:
    """A reported error, with the fields that every error has and in characters that a journal can hold.

    It comes from where functions run: what they raise may have any text, and they can write to their answer's file.
    """
    if isinstance(found, dict) and isinstance(found.get("kind"), str) and isinstance(found.get("message"), str):
        fields = ((name, found.get(name)) for name in ("kind", "message", "where"))
        return {name: text.encode(errors="backslashreplace").decode() for name, text in fields if isinstance(text, str)}
    return {"kind": "bad_output", "message": "the worker's answer cannot be read"}


def _failed(attempt: Attempt, error: dict[str, Json], code: int | None) -> Outcome:
    return Outcome(attempt.workflow, attempt.step, attempt.number, "failed", None, code, error)


def ended_by(attempt: Attempt, kind: str, message: str, code: int | None = None) -> Outcome:
    """An outcome that we caused or found: a time-out, a cancellation, a death."""
    word = kind if kind in ("timeout", "cancelled", "lost") else "failed"
    error: dict[str, Json] = {"kind": kind, "message": message}
    return Outcome(attempt.workflow, attempt.step, attempt.number, word, None, code, error)  # type: ignore[arg-type]


def _exit_message(code: int, folder: str) -> str:
    number = -code if code < 0 else code - 128
    name = signal_name(number)
    if code < 0:
        text = f"killed by {name or number}"
    else:
        text = f"exit code {code}" + (f" ({name})" if code > 128 and name else "")
    last = last_words(os.path.join(folder, "stderr.log"))
    return f"{text}: {last}" if last else text


def signal_name(number: int) -> str | None:
    try:
        return signal.Signals(number).name
    except ValueError:
        return None


def last_words(path: str) -> str:
    """The last line of a log that says something, without control characters."""
    try:
        text = atomic.read_tail(path, TAIL).decode("utf-8", "replace")
    except OSError:
        return ""
    lines = [line for raw in text.splitlines() if (line := _CONTROL.sub("", raw).strip())]
    return lines[-1] if lines else ""


def read_output(path: str) -> Json:
    """What the step wrote to `$HYBRID_OUTPUT`: one JSON object, or `name=value` lines; None when it wrote nothing.

    Raises InputError, with the line, for anything else, and OSError when the machine is in trouble.
    """
    try:
        data = atomic.read(path, MAX_OUTPUT + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno in atomic.PASSING:
            raise  # says nothing about the step: its caller tries again
        raise InputError(f"cannot be read: {error.strerror}", file="output") from None
    if len(data) > MAX_OUTPUT:
        raise InputError(f"is larger than {MAX_OUTPUT} bytes; leave large results as artifacts", file="output")
    if not data.strip():
        return None
    if data.lstrip().startswith(b"{"):
        return strict.parse_json(data, file="output")
    return strict.guarded(lambda: _read_pairs(data), "name=value", "output", InputError)


def _read_pairs(data: bytes) -> dict[str, str]:
    pairs: dict[str, str] = {}
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"is not UTF-8: {error.reason}", file="output") from None
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        name, equals, value = line.partition("=")
        if not equals or not _NAME.fullmatch(name.strip()):
            raise InputError(f"{line!r:.80} is not name=value", file="output", line=number)
        pairs[name.strip()] = value
    return pairs


def read_progress(path: str) -> tuple[float, str | None] | None:
    """The latest `42` or `42 message` of a progress file; None when there is none that makes sense."""
    line = last_words(path)
    number, _, message = line.partition(" ")
    try:
        percent = float(number.rstrip("%"))
    except ValueError:
        return None
    if not 0 <= percent <= 100:
        return None
    return percent, message.strip()[:200] or None

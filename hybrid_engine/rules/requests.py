"""Requests checked: what a dropped job file, a command line or a program may ask for.

Everything here is independent of the template; `rules.params` checks the parameters against it. Light: see there.
"""

from __future__ import annotations

from hybrid_engine.errors import InputError, JobError
from hybrid_engine.model.durations import microseconds
from hybrid_engine.model.ids import check_id, check_name, check_user, is_name
from hybrid_engine.model.job import FORMAT, REQUEST_FIELDS
from hybrid_engine.model.jsontext import encode
from hybrid_engine.model.nearest import did_you_mean
from hybrid_engine.rules.params import MAX_PROBLEMS, not_plain, told, too_many

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MAX_KEY = 512
MAX_LABELS = 64
MAX_LABEL = 256
MAX_PARAMS = 1024 * 1024
TRIGGERS = ("cli", "inbox", "api", "schedule", "parent")


def check_request(raw: object) -> dict[str, Any]:
    """The fields of a request, checked; those not given are left out. Raises JobError with all `problems`."""
    if not isinstance(raw, dict):
        raise JobError(f"a job is a mapping with at least a template, not {told(raw)}", code="wrong_type")
    _check_format(raw)
    problems: list[InputError] = []
    request: dict[str, Any] = {}
    for field, value in raw.items():
        if len(problems) >= MAX_PROBLEMS:
            problems.append(too_many())
            break
        check = _CHECKS.get(field)
        try:
            if check is None:
                raise JobError("unknown field", code="unknown_field", hint=did_you_mean(field, REQUEST_FIELDS))
            if value is not None:
                request[field] = check(value)
        except InputError as error:
            error.path = f"{field!s:.80}.{error.path}" if error.path else f"{field!s:.80}"
            problems.append(error)
    if "template" not in request and raw.get("template") is None:
        problems.insert(0, JobError("is missing: a job names its template", path="template", code="missing"))
    if "delay" in request and "at" in request:
        problems.append(JobError("give either delay or at, not both", path="at", code="conflict"))
    if problems:
        raise JobError.of(problems)
    return request


def due_at(request: dict[str, Any], now: str) -> str:
    """The stamp from which the job may start: `at`, or `now` plus `delay`; never before `now`."""
    at: str | None = request.get("at")
    if at is not None:
        return max(at, now)
    delay = request.get("delay")
    if not delay:
        return now
    from datetime import timedelta

    from hybrid_engine.model.stamps import moment, stamp

    try:
        return stamp(moment(now) + timedelta(microseconds=microseconds(delay)))
    except OverflowError:
        raise JobError("lies beyond the year 9999", path="delay") from None


def _check_format(raw: dict[str, Any]) -> None:
    """A newer format is told by itself: whatever else looks wrong may be right there."""
    written_by = raw.get("format", FORMAT)
    if isinstance(written_by, bool) or not isinstance(written_by, int) or written_by < 1:
        raise JobError(f"must be {FORMAT}, not {told(written_by)}", path="format")
    if written_by > FORMAT:
        raise JobError(
            f"this job is of format {written_by}; this program knows up to {FORMAT}",
            path="format",
            code="newer_format",
            hint="a newer hybrid wrote it: update",
        )


def _template(value: object) -> str:
    return check_name(value, "template name")


def _params(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise JobError(f"must be a mapping of names to values, not {told(value)}", code="wrong_type")
    for name in value:
        if not isinstance(name, str):
            raise JobError(f"a parameter's name must be text, not {told(name)}", code="wrong_type")
    if problem := not_plain(value):
        code, message = problem
        raise JobError(message, code=code)
    try:
        size = len(encode(value).encode())
    except (TypeError, ValueError) as error:
        raise JobError(f"is not JSON: {error}", code="not_json") from None
    if size > MAX_PARAMS:
        raise JobError(f"is {size} bytes of JSON; at most {MAX_PARAMS}", code="too_large", hint="pass a path")
    return value


def _priority(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 9:
        raise JobError(f"must be a whole number from 0 to 9, not {told(value)}", hint="9 is the most urgent")
    return value


def _delay(value: object) -> object:
    try:
        microseconds(value)
    except ValueError as error:
        raise JobError(str(error)) from None
    return value


def _at(value: object) -> str:
    from hybrid_engine.model.stamps import moment, stamp

    how = "write it like 2026-11-20T07:36:00Z or 2026-11-20T08:36:00+01:00"
    if (
        not isinstance(value, str)
        or not 17 <= len(value) <= 40
        or value[4] + value[7] != "--"
        or value[10] not in "Tt "
    ):
        raise JobError(f"{told(value)} is not a moment", hint=how)
    try:
        return stamp(moment(value.upper()))
    except OverflowError:
        raise JobError(f"{told(value)} is out of reach", hint=how) from None
    except ValueError as error:
        why = "has no offset from UTC" if "offset" in str(error) else "is not a moment"
        raise JobError(f"{told(value)} {why}", hint=how) from None


def _key(value: object) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_KEY:
        raise JobError(f"must be text of 1 to {MAX_KEY} characters")
    return _clean(value)


def _labels(value: object) -> dict[str, str]:
    if not isinstance(value, dict):
        raise JobError(f"must be a mapping of names to text, not {told(value)}", code="wrong_type")
    if len(value) > MAX_LABELS:
        raise JobError(f"at most {MAX_LABELS} labels, not {len(value)}", code="too_many")
    for name, text in value.items():
        if not is_name(name):
            raise JobError(f"{told(name)} is not a name: use letters, digits, '_' and '-', at most 64")
        if not isinstance(text, str):
            raise JobError(f"must be text, not {told(text)}", path=str(name), hint="put it in quotes")
        if len(text) > MAX_LABEL:
            raise JobError(f"at most {MAX_LABEL} characters, not {len(text)}", path=str(name))
        _clean(text)
    return value


def _trigger(value: object) -> str:
    if value not in TRIGGERS:
        raise JobError(f"must be one of {', '.join(TRIGGERS)}, not {told(value)}")
    return str(value)


def _clean(text: str) -> str:
    """Text for people: no control characters, no half of a surrogate pair."""
    if not text.isprintable() and any(ord(c) < 32 or 127 <= ord(c) < 160 or 0xD800 <= ord(c) < 0xE000 for c in text):
        raise JobError("must not contain control characters")
    return text


_CHECKS: dict[object, Any] = {
    "template": _template,
    "params": _params,
    "priority": _priority,
    "delay": _delay,
    "at": _at,
    "key": _key,
    "labels": _labels,
    "user": check_user,
    "id": check_id,
    "format": int,
    "trigger": _trigger,
}

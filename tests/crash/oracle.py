"""The promise in checkable form, on the format on disk alone (docs/internals.md): no code of the engine is used here.

`before` is asked right after a crash: what was on the disk must still be legible, and what it says is kept as facts.
`after` is asked once recovery has ended: everything the world was told is true, and nothing happened twice. Each gives
sentences; none means that the promise was kept. The one thing taken from elsewhere is `fold`, which the scenario hands
in.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.crash.scenario import Plan

SEED = 0x48594252
QUEUE_NAME = re.compile(r"\d-\d{8}T\d{12}Z-(.+)\.json")
FINAL = {"workflow_completed": "completed", "workflow_failed": "failed", "workflow_cancelled": "cancelled"}
STEP_ENDS = {
    "step_completed": "completed", "step_failed": "failed", "step_skipped": "skipped", "step_cancelled": "cancelled",
}  # fmt: skip
_CRC = re.compile(rb',"crc":"([0-9a-f]{8})"\}$')


@dataclass(slots=True)
class Facts:
    """What the disk said right after a crash: the good part of each journal, the steps that are over, how many lines
    the world had seen."""

    journals: dict[str, bytes] = field(default_factory=dict)
    over: set[tuple[str, str]] = field(default_factory=set)
    lines: int = 0


# ---- reading -------------------------------------------------------------------------------------------------------


def _read(*parts: str) -> bytes | None:
    try:
        with open(os.path.join(*parts), "rb") as file:
            return file.read()
    except (FileNotFoundError, NotADirectoryError):
        return None


def _names(*parts: str) -> list[str]:
    try:
        return sorted(os.listdir(os.path.join(*parts)))
    except FileNotFoundError:
        return []


def workflows(home: str) -> list[str]:
    return [name for name in _names(home, "workflows") if not name.startswith(".")]


def queued(home: str) -> list[str]:
    """The workflow ids of the files in `queue/`, in the order of work."""
    return [match[1] for name in _names(home, "queue") if (match := QUEUE_NAME.fullmatch(name))]


def line_problem(line: bytes, number: int) -> str | None:
    """What is wrong with one journal line (without its line feed), or None."""
    found = _CRC.search(line)
    if not found:
        return f"line {number} does not end with a checksum"
    if zlib.crc32(line[: found.start()] + b"}", SEED) != int(found[1], 16):
        return f"line {number} does not match its checksum"
    try:
        record = json.loads(line)
    except ValueError:
        return f"line {number} is not JSON"
    return None if record.get("n") == number else f"line {number} has the number {record.get('n')}"


def good_part(journal: bytes) -> bytes:
    """The journal up to, not including, its first line that cannot be trusted."""
    end = 0
    for number, line in enumerate(journal.split(b"\n")[:-1], 1):
        if line_problem(line, number):
            break
        end += len(line) + 1
    return journal[:end]


def events(journal: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in journal.splitlines()]


def _ended(story: list[dict[str, Any]]) -> dict[str, str]:
    """The steps whose last word is an end, and which."""
    ends: dict[str, str] = {}
    for event in story:
        if event["type"] in STEP_ENDS:
            ends[event["step"]] = STEP_ENDS[event["type"]]
        elif event["type"] == "step_reopened":
            ends.pop(event["step"], None)
    return ends


def outside_lines(outside: str) -> list[list[str]]:
    return [line.split() for line in (_read(outside) or b"").decode().splitlines()]


def asked_ids(home: str) -> dict[str, set[str]]:
    """For each tag, the ids of the workflows and queued jobs that carry it as a parameter: by the first line of a
    journal, of which a name in the queue is a second one, or by a job file, as homes of format 1 have it."""
    found: dict[str, set[str]] = {}
    files = [("workflows", id, name) for id in workflows(home) for name in ("journal.jsonl", "job.json")]
    for parts in files + [("queue", name) for name in _names(home, "queue") if QUEUE_NAME.fullmatch(name)]:
        try:
            job = json.loads((_read(home, *parts) or b"null").partition(b"\n")[0])
        except ValueError:
            continue
        if isinstance(job, dict) and "tag" in job.get("params", {}):
            found.setdefault(job["params"]["tag"], set()).add(str(job.get("workflow") or job["id"]))
    return found


# ---- right after the crash -----------------------------------------------------------------------------------------


def known_journal(home: str, id: str, logged: Mapping[str, list[bytes]]) -> bytes:
    """All that is known of a workflow: the good part of its journal, and what the commit log has beyond it."""
    good = good_part(_read(home, "workflows", id, "journal.jsonl") or b"")
    number = good.count(b"\n")
    for line in logged.get(id, ()):
        if line_problem(line.rstrip(b"\n"), number + 1) is None:
            good, number = good + line, number + 1
    return good


def facts(home: str, outside: str, logged: Mapping[str, list[bytes]]) -> Facts:
    found = Facts(lines=len(outside_lines(outside)))
    for id in {*workflows(home), *logged}:
        good = known_journal(home, id, logged)
        found.journals[id] = good
        found.over |= {(id, step) for step in _ended(events(good))}
    return found


def before(home: str, logged: Mapping[str, list[bytes]], *, power_lost: bool = False) -> Iterator[str]:
    """Views are never half written (but a power cut may leave what recovery mends) and never ahead of what is known."""
    views = [("queue-state.json",)] + [("workflows", id, "state.json") for id in workflows(home)]
    for parts in views:
        content = _read(home, *parts)
        if content is None:
            continue
        try:
            view = json.loads(content)
        except ValueError:
            if not power_lost:
                yield f"{'/'.join(parts)} is half written: {content[:40]!r}"
            continue
        if len(parts) == 3 and isinstance(view, dict):
            known = known_journal(home, parts[1], logged).count(b"\n")
            if view.get("seq", 0) > known:
                yield f"{'/'.join(parts)} tells of event {view['seq']}, what is known ends at {known}"


# ---- after recovery ------------------------------------------------------------------------------------------------


def after(
    home: str,
    outside: str,
    plans: Mapping[str, Plan],
    fold: Callable[[str, str], bytes],
    seen: list[Facts],
    *,
    power_lost: bool = False,
) -> Iterator[str]:
    """All that must be true when recovery has ended by itself; `seen` holds the facts of each crash before it."""
    stories: dict[str, list[dict[str, Any]]] = {}
    for id in workflows(home):
        if not _is_nothing(home, id):
            yield from _check_journal(home, id, stories, fold)
    yield from _check_queue(home)
    if not power_lost:  # else an unsynced drop may have become garbage; whether it was acknowledged is asked below
        yield from (f"a good job was rejected: {name}" for name in _names(home, "inbox", "rejected"))
    yield from _check_tidiness(home)
    yield from _check_asked(home, outside)
    for known in seen:
        yield from _check_kept(home, known, outside)
    yield from _check_effects(outside, stories)
    for id, story in stories.items():
        yield from _check_plan(id, story, plans, outside)


def _is_nothing(home: str, id: str) -> bool:
    """A folder made for a job that was lost, lawfully, before it was acknowledged (`_check_asked` sees to that)."""
    return not {"journal.jsonl", "state.json", "steps"} & set(_names(home, "workflows", id))


def _check_journal(
    home: str, id: str, stories: dict[str, list[dict[str, Any]]], fold: Callable[[str, str], bytes]
) -> Iterator[str]:
    journal = _read(home, "workflows", id, "journal.jsonl") or b""
    lines = journal.split(b"\n")
    problem = next((p for n, line in enumerate(lines[:-1], 1) if (p := line_problem(line, n))), None)
    if problem or lines[-1] or not journal:
        yield f"{id}: the journal is not whole: {problem or 'a torn tail' if journal else 'it is empty or missing'}"
        return
    stories[id] = events(journal)
    if stories[id][-1]["type"] not in FINAL:
        yield f"{id}: the last event is {stories[id][-1]['type']}, so it is not finished"
    state = _read(home, "workflows", id, "state.json")
    if state != fold(home, id):
        yield f"{id}: state.json is not what the journal adds up to: {(state or b'(missing)')[:60]!r}"


def _check_queue(home: str) -> Iterator[str]:
    left = _names(home, "queue")
    if left:
        yield f"still in queue/: {', '.join(left)}"
    for name in _names(home, "inbox"):
        if name != "rejected":
            yield f"still in inbox/: {name}"
    try:
        view = json.loads(_read(home, "queue-state.json") or b"")
    except ValueError:
        yield "queue-state.json does not parse"
        return
    if [job["id"] for job in view["jobs"]] != queued(home) or view["counts"]["total"] != len(left):
        yield f"queue-state.json lists {[job['id'] for job in view['jobs']]}, queue/ holds {queued(home)}"


def _check_tidiness(home: str) -> Iterator[str]:
    for folder, _, files in os.walk(home):
        for name in files:
            path = os.path.relpath(os.path.join(folder, name), home)
            if name.endswith(".tmp") or path.startswith(os.path.join(".hybrid", "tmp", "")):
                yield f"a temporary file was left: {path}"
            if path.startswith(os.path.join(".hybrid", "quarantine", "")):
                yield f"put into quarantine: {path}"
    for lock in ("queue-state.json.lock", ".hybrid/lock"):
        if os.path.exists(os.path.join(home, lock)):
            with open(os.path.join(home, lock), "rb") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    yield f"the lock {lock} is still held"


def removed(outside: str) -> dict[str, str]:
    """The workflows whose removal has begun, and `gone` for those that are gone for good, else `removing`."""
    return {line[1]: line[0] for line in outside_lines(outside) if line[0] in ("removing", "gone")}


def _check_asked(home: str, outside: str) -> Iterator[str]:
    ids = asked_ids(home)
    lines = outside_lines(outside)
    gone = {line[2]: line[0] for line in lines if line[0] in ("removing", "gone")}
    yield from (f"the job {tag} was removed and is back" for tag, word in gone.items() if word == "gone" and tag in ids)
    for verb, tag in (line for line in lines if line[0] in ("asked", "acked")):
        count = len(ids.get(tag, ()))
        if verb == "acked" and count != 1 and not (tag in gone and count == 0):
            yield f"the job {tag} was acknowledged and is there {count} times"
        if verb == "asked" and count > 1:
            yield f"the job {tag} was asked for once and is there {count} times"


def _check_kept(home: str, known: Facts, outside: str) -> Iterator[str]:
    gone = removed(outside)
    for id, good in known.journals.items():
        if id in gone and not os.path.exists(os.path.join(home, "workflows", id)):
            continue
        if not (_read(home, "workflows", id, "journal.jsonl") or b"").startswith(good):
            yield f"{id}: events that were in the journal at the crash are gone"
    for line in outside_lines(outside)[known.lines :]:
        if line[0] == "ran" and (line[1], line[2]) in known.over:
            yield f"{line[1]}: step {line[2]} was over before the crash and ran again"


def _check_effects(outside: str, stories: dict[str, list[dict[str, Any]]]) -> Iterator[str]:
    ran = Counter((line[1], line[2], int(line[3])) for line in outside_lines(outside) if line[0] == "ran")
    told = [(id, event) for id, story in stories.items() for event in story]
    started = {(id, event["step"], event["attempt"]) for id, event in told if event["type"] == "step_started"}
    gone = removed(outside)
    for (id, step, attempt), times in ran.items():
        if id not in stories:
            if id in gone:
                continue
            yield f"{id}: step {step} has run, and nothing is known of the workflow"
        elif (id, step, attempt) not in started:
            yield f"{id}: attempt {attempt} of step {step} has run, and its start is not in the journal"
        if times > 1:
            yield f"{id}: attempt {attempt} of step {step} ran {times} times"
    for id, event in told:
        if event["type"] == "step_completed" and not ran[(id, event["step"], event["attempt"])]:
            yield f"{id}: step {event['step']} is completed and has never run"


def _check_plan(id: str, story: list[dict[str, Any]], plans: Mapping[str, Plan], outside: str) -> Iterator[str]:
    plan = plans[story[0]["template"]]
    if FINAL.get(story[-1]["type"]) not in (plan.status, None):
        yield f"{id}: ended {FINAL[story[-1]['type']]} instead of {plan.status}"
    if (ends := _ended(story)) != dict(plan.steps):
        yield f"{id}: steps ended {ends} instead of {dict(plan.steps)}"
    order = [line[2] for line in outside_lines(outside) if line[0] == "ran" and line[1] == id]
    for step, needs in plan.needs.items():
        for need in needs:
            if step in order and need in order[order.index(step) :]:
                yield f"{id}: step {need} ran after step {step}, which needs it, had begun"


def fingerprint(home: str) -> dict[str, bytes | None]:
    """What a second recovery must not change."""
    names = [(id, name) for id in workflows(home) for name in ("journal.jsonl", "state.json")]
    return {f"{id}/{name}": _read(home, "workflows", id, name) for id, name in names}

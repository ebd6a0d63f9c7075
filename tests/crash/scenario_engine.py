"""The scenario of the real engine: its own command line, three workflows, every door a job can come in by.

`engine` runs shell steps only, so that a case takes milliseconds; `engine:function` makes one step a Python function.
A `warm` run puts finished workflows into the home before anything is broken: recovery must leave them alone, and the
template cache and the index are in use from the first operation on.
"""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Mapping

from tests.crash.scenario import Plan, note

HEAD = re.compile(rb"=(\d{16}) ([0-9a-f]{8}) ([0-9a-f]{8})\n")
SEED = 0x4C4F4731

QUICK = {"HYBRID_SETTLE": "10ms", "HYBRID_RESCAN": "200ms"}
"""A dropped file is taken as whole after this long, and a full disk is looked at again this often."""

SAY = 'echo "ran $HYBRID_WORKFLOW $HYBRID_STEP $HYBRID_ATTEMPT" >>../outside'

ONE_SHELL = f"only: {{run: '{SAY}'}}"
ONE_FUNCTION = "only: {call: world.note}"

FUNCTIONS = """
import os
from hybrid_engine import context, function

@function
def note():
    fd = os.open("../outside", os.O_WRONLY | os.O_APPEND)
    os.write(fd, f"ran {context().workflow} {context().step} {context().attempt}\\n".encode())
    os.close(fd)
    return {"noted": True}
"""

CHAIN = f"""
name: chain
params: {{tag: {{type: string}}}}
steps:
  first:
    run: |
      {SAY}
      echo word=durable >>"$HYBRID_OUTPUT"
  second:
    run: |
      {SAY}
      test "$HYBRID_ATTEMPT" -gt 1
    retry: {{attempts: 3, delay: 0s, jitter: false}}
  third:
    env: {{WORD: "${{{{ steps.first.output.word }}}}"}}
    run: |
      {SAY}
      test "$WORD" = durable
"""

DIAMOND = f"""
name: diamond
params: {{tag: {{type: string}}}}
steps:
  split:
    run: '{SAY}'
  left:
    needs: split
    run: '{SAY}; exit 3'
    continue_on_error: true
  right:
    needs: split
    run: '{SAY}'
  join:
    needs: [left, right]
    run: '{SAY}'
"""

PLANS: Mapping[str, Plan] = {
    "one": Plan("completed", {"only": "completed"}),
    "chain": Plan(
        "completed",
        {"first": "completed", "second": "completed", "third": "completed"},
        {"second": ("first",), "third": ("second",)},
    ),
    "diamond": Plan(
        "completed",
        {"split": "completed", "left": "failed", "right": "completed", "join": "completed"},
        {"left": ("split",), "right": ("split",), "join": ("left", "right")},
    ),
}


def start() -> int:
    """What `hybrid start --until-idle` does, below the reading of arguments."""
    from hybrid_engine.bootstrap import run_daemon
    from hybrid_engine.errors import HybridError
    from hybrid_engine.settings import load

    os.environ.update(QUICK)
    try:
        run_daemon(load(), until_idle=True)
    except HybridError as error:
        print(f"hybrid: {error}")
        return error.exit_code
    return 0


def enqueue(outside: str, template: str, tag: str, *more: str) -> None:
    """What `hybrid enqueue` does on its short way; main itself would end the process."""
    from hybrid_engine.cli import fast

    note(outside, "asked", tag)
    if fast.enqueue([template, "-p", f"tag={tag}", *more], os.environ) == 0:
        note(outside, "acked", tag)


def drop(home: str, outside: str, template: str, tag: str) -> None:
    """What a careful stranger does: write elsewhere, sync, rename into the inbox, sync the inbox."""
    note(outside, "asked", tag)
    part, target = os.path.join(home, f"{tag}.part"), os.path.join(home, "inbox", f"{tag}.yaml")
    try:
        with open(part, "w", encoding="utf-8") as file:
            file.write(f"template: {template}\nparams: {{tag: {tag}}}\n")
            file.flush()
            os.fsync(file.fileno())
        os.rename(part, target)
        folder = os.open(os.path.dirname(target), os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError:
        return
    note(outside, "acked", tag)


class EngineScenario:
    """One job enqueued with a key and a priority, one dropped as a file, one enqueued plainly; then run until idle."""

    preload: tuple[str, ...] = ("hybrid_engine.bootstrap", "hybrid_engine.cli.fast")
    refusals: frozenset[int] = frozenset({1, 2, 66})
    patience = 0.3
    limit = 15.0
    plans = PLANS

    def __init__(self, variant: str) -> None:
        if variant not in ("", "function"):
            raise ValueError(f"no variant of the engine's scenario is called {variant!r}")
        self.name = f"engine:{variant}" if variant else "engine"
        self._one = ONE_FUNCTION if variant else ONE_SHELL

    def make(self, home: str, outside: str) -> None:
        from hybrid_engine.files.home import init_home
        from hybrid_engine.files.layout import Layout

        init_home(Layout(home), sample=False)
        one = f"name: one\nparams: {{tag: {{type: string}}}}\nsteps:\n  {self._one}\n"
        files = {"templates/one.yaml": one, "templates/chain.yaml": CHAIN, "templates/diamond.yaml": DIAMOND,
                 "functions/world.py": FUNCTIONS}  # fmt: skip
        for name, text in files.items():
            with open(os.path.join(home, name), "w", encoding="utf-8") as file:
                file.write(text)

    def warm(self, home: str, outside: str) -> int:
        for template in PLANS:
            drop(home, outside, template, f"{template}-veteran")
        return start()

    def act(self, home: str, outside: str) -> int:
        enqueue(outside, "one", "one-job", "--key", "nightly", "--priority", "5")
        drop(home, outside, "chain", "chain-job")
        enqueue(outside, "diamond", "diamond-job")
        return start()

    def recover(self, home: str, outside: str) -> int:
        return start()

    def fold(self, home: str, workflow: str) -> bytes:
        from hybrid_engine.files import journal, views
        from hybrid_engine.rules.transitions import fold

        reading = journal.read(os.path.join(home, "workflows", workflow, "journal.jsonl"))
        state = fold((entry.n, entry.at, entry.event) for entry in reading.entries)
        return b"" if state is None else views.render_state(views.state_record(state))

    def logged(self, home: str) -> Mapping[str, list[bytes]]:
        found: dict[str, list[bytes]] = {}
        for payload in frames(os.path.join(home, ".hybrid", "log")):
            for line in payload.splitlines(keepends=True):
                id, _, rest = line.partition(b" ")
                if rest == b"-\n":
                    found.pop(id.decode(), None)
                elif not line.startswith(b"#"):
                    found.setdefault(id.decode(), []).append(rest)
        return found


def frames(folder: str) -> list[bytes]:
    """The payloads of the log's frames that count, by the format's description alone: a segment is read up to its first
    bad frame, and what a later header calls void is void."""
    found: list[tuple[int, int, bytes]] = []
    names = [name for name in sorted(os.listdir(folder)) if name.endswith(".log")] if os.path.isdir(folder) else []
    for name in names:
        with open(os.path.join(folder, name), "rb") as file:
            data = file.read()
        at = 0
        while (head := HEAD.match(data, at)) is not None:
            payload = data[head.end() : head.end() + int(head[2], 16)]
            if zlib.crc32(payload, zlib.crc32(data[at + 1 : at + 26], SEED)) != int(head[3], 16):
                break
            if at == 0:
                _, _, previous, end = map(int, payload.partition(b"\n")[0][1:].split())
                found = [frame for frame in found if frame[0] < previous or (frame[0] == previous and frame[1] <= end)]
            at = head.end() + len(payload)
            found.append((int(name[:16]), at, payload))
    return [payload for _, _, payload in found]


def scenario(variant: str) -> EngineScenario:
    return EngineScenario(variant)

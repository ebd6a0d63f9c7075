"""`python -m benchmarks [name …] [--quick] [--worn] [--json FILE] [--where DIR]`: run them, print rows, then the table.

Never fails for a figure that falls short. A benchmark that takes longer than its share, or breaks, is a row that says
so; the others are run.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from types import FrameType
from typing import Any

from benchmarks import commandline, killing, latency, pressure, resting, scale, throughput, wearing
from benchmarks.common import Row, Stage

BENCHMARKS: dict[str, tuple[Callable[[Stage], list[Row]], float]] = {
    "one-step": (throughput.one_step, 150),
    "ten-steps": (throughput.ten_steps, 300),
    "shell": (throughput.shell, 240),
    "drop": (latency.drop, 150),
    "client": (throughput.client_enqueue, 120),
    "checkpoints": (pressure.checkpoints, 400),
    "writing": (pressure.writing, 150),
    "enqueue": (commandline.enqueue, 60),
    "look": (commandline.look, 300),
    "scale": (scale.scale, 420),
    "large": (scale.large, 150),
    "kill": (killing.kill, 120),
    "idle": (resting.idle, 90),
}
"""Name: what to call, and the seconds after which it is broken off."""
WORN = ("one-step", "ten-steps", "shell", "drop", "client", "checkpoints", "writing")
"""Those that are called again for a worn home; `scale` wears its own, full one, which took long to fill."""
WEARING = 120.0
"""More seconds, then."""


class TooLongError(Exception):
    """A benchmark has used up its time."""


def main() -> int:
    chosen = _arguments()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # whoever ends us wants the homes gone, too
    rows: list[Row] = []
    with Stage(chosen.where, quick=chosen.quick) as stage:
        stage.wear = wearing.wear if chosen.worn else None
        print(f"homes in {stage.folder} ({_file_system(stage.folder)}); {_machine()}", flush=True)
        try:
            for name in chosen.names or BENCHMARKS:
                rows += _run(name, stage)
                if chosen.worn and name in WORN:
                    rows += _run_worn(name, stage)
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
    _print_table(rows)
    if chosen.json:
        _write_json(chosen.json, rows, quick=chosen.quick)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=f"of {', '.join(BENCHMARKS)}; all when none is given")
    parser.add_argument("--quick", action="store_true", help="smaller numbers: a fifth of the time")
    parser.add_argument("--worn", action="store_true", help="also in homes that have just run and pruned 20,000")
    parser.add_argument("--json", metavar="FILE", help="write the rows there, too")
    parser.add_argument("--where", metavar="DIR", help="make the homes there, instead of in the temporary folder")
    chosen = parser.parse_args()
    unknown = set(chosen.names) - set(BENCHMARKS)
    if unknown:
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS)}")
    return chosen


def _run_worn(name: str, stage: Stage) -> list[Row]:
    stage.worn = True
    try:
        return _run(name, stage)
    finally:
        stage.worn = False


def _run(name: str, stage: Stage) -> list[Row]:
    call, most = BENCHMARKS[name]
    most += WEARING if stage.wear else 0
    signal.signal(signal.SIGALRM, _too_long)
    signal.setitimer(signal.ITIMER_REAL, most / 3 if stage.quick else most)
    start = time.monotonic()
    try:
        rows = call(stage)
    except TooLongError:
        rows = [Row(name, "–", "", note="broken off: it took too long")]
    except Exception as error:  # whatever it is, the other benchmarks are run
        rows = [Row(name, "–", "", note=f"broke: {type(error).__name__}: {error}"[:200])]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        stage.clear()
    for row in rows:
        row.name = f"worn home: {row.name}" if stage.worn else row.name
        ratio = "" if row.ratio is None else f" → {_short(row.ratio)}"
        beside = f" beside {row.beside}" if row.beside else ""
        note = f" ({row.note})" if row.note else ""
        print(f"  {row.name}: {row.figure}{beside}{ratio} {row.verdict}{note}", flush=True)
    print(f"  ({name}: {time.monotonic() - start:.0f} s)", flush=True)
    return rows


def _too_long(number: int, frame: FrameType | None) -> None:
    raise TooLongError


# --- what is told --------------------------------------------------------------------------------------------------


def _print_table(rows: list[Row]) -> None:
    head = ("benchmark", "figure", "beside", "ratio", "reach", "goal", "verdict")
    lines = [head, *map(_cells, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    print()
    for number, line in enumerate(lines):
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip())
        if number == 0:
            print("  ".join("─" * width for width in widths))


def _cells(row: Row) -> tuple[str, ...]:
    sign = "≤ " if row.less else "≥ "
    told = [f"{sign}{limit:g}" if limit is not None else "" for limit in (row.reach, row.goal)]
    ratio = "" if row.ratio is None else _short(row.ratio)
    return (row.name, row.figure, row.beside, ratio, *told, row.verdict or row.note)


def _short(ratio: float) -> str:
    return f"{ratio:.3g}" if ratio < 100 else f"{ratio:,.0f}"


def _write_json(path: str, rows: list[Row], *, quick: bool) -> None:
    record: dict[str, Any] = {
        "at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "machine": _machine(),
        "quick": quick,
        "rows": [row.as_record() for row in rows],
    }
    with open(path, "w", encoding="utf-8") as file:
        json.dump(record, file, indent=1, ensure_ascii=False)
        file.write("\n")


def _machine() -> str:
    load = os.getloadavg()[0]
    return f"{os.cpu_count()} cores, load {load:.1f}, Linux {platform.release()}, Python {platform.python_version()}"


def _file_system(folder: str) -> str:
    """The kind of file system: figures of one in memory say nothing."""
    found = ("", "?")
    with open("/proc/self/mounts", encoding="utf-8", errors="replace") as file:
        for line in file:
            _, place, kind, *_ = line.split()
            inside = folder == place or folder.startswith(place.rstrip("/") + "/")
            if inside and len(place) >= len(found[0]):
                found = (place, kind)
    return found[1] + (" – IN MEMORY: syncs cost nothing here, use --where" if found[1] in ("tmpfs", "ramfs") else "")


if __name__ == "__main__":
    sys.exit(main())

"""The entry point `hybrid`: a plain `enqueue` takes the short way, everything else goes to typer. Light module."""

from __future__ import annotations

import os
import sys

INTERRUPTED = 130


def main() -> int:
    """Run the command line of this process; returns the exit code."""
    argv = sys.argv[1:]
    if "start" not in argv:  # a daemon hands the user's umask on to its steps
        os.umask(0o077)
    try:
        if argv[:1] == ["enqueue"]:
            from hybrid_engine.cli import fast

            code = fast.enqueue(argv[1:], os.environ)
            if code is not None:
                _leave(code)
        from hybrid_engine.cli.app import run

        return run(argv)
    except KeyboardInterrupt:
        return INTERRUPTED


def _leave(code: int) -> None:
    """End without taking the interpreter apart: nothing is open that a destructor would have to close."""
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        code = code or 1
    os._exit(code)


if __name__ == "__main__":
    sys.exit(main())

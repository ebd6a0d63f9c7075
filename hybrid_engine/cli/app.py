"""The typer application: which commands there are, and what becomes of an error.

Every error ends as one message on stderr and an exit code (docs/exit-codes.md); a traceback is never shown, but kept in
`logs/`. Commands are in one file per theme and import what is heavy inside of the command that needs it.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from hybrid_engine import __version__
from hybrid_engine.cli import daemon, follow, home, jobs, look, templates
from hybrid_engine.cli.output import complain
from hybrid_engine.errors import HybridError

USAGE, INTERNAL, INTERRUPTED = 2, 70, 130
_UsageError: type[Exception] = typer.BadParameter.__mro__[1]
_ClickError: type[Exception] = typer.BadParameter.__mro__[2]

app = typer.Typer(
    name="hybrid",
    help="A durable workflow engine whose database is a folder.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich" if sys.stdout.isatty() else None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"hybrid-engine {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    home_option: Annotated[
        str | None, typer.Option("--home", "-C", help="The home; else HYBRID_HOME, else the current folder.")
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    if home_option:
        os.environ["HYBRID_HOME"] = os.path.abspath(home_option)


for theme in (home, daemon, jobs, look, follow, templates):
    theme.register(app)


def run(argv: list[str]) -> int:
    """Run one command line; returns the exit code."""
    try:
        code = app(args=argv, prog_name="hybrid", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except HybridError as error:
        complain(str(error))
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except BrokenPipeError:
        return _seen_enough()
    except SystemExit as ended:
        if isinstance(ended.__context__, BrokenPipeError):  # typer makes this of it
            return _seen_enough()
        return ended.code if isinstance(ended.code, int) else 0
    except OSError as error:
        complain(f"{error.strerror or error}" + (f": {error.filename}" if error.filename else ""))
        return 1
    except _ClickError as error:
        return _usage(error)
    except Exception as error:
        return _internal(error)


def _seen_enough() -> int:
    """Whoever read our output went away. What is still in the buffer goes nowhere, and says nothing."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return 0


def _usage(error: Exception) -> int:
    message = error.format_message()  # type: ignore[attr-defined]
    if isinstance(error, _UsageError):
        context = getattr(error, "ctx", None)
        path = context.command_path if context is not None else "hybrid"
        message = f"{message}\n(`{path} --help` tells more)" if message else f"`{path} --help` tells how to use it"
    complain(message)
    return USAGE


def _internal(error: Exception) -> int:
    """An error nobody thought of: short for the person, whole in a file."""
    import traceback

    from hybrid_engine.cli.output import crash_report

    where = crash_report("".join(traceback.format_exception(error)))
    told = f"; the details are in {where}" if where else ""
    complain(f"this should not have happened: {type(error).__name__}: {error}{told}")
    return INTERNAL

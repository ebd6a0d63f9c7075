"""The typer application, made for one command line, and what becomes of an error.

Every error ends as a message on stderr and an exit code (docs/exit-codes.md); a traceback is never shown, but kept in
`logs/`. Only the command that is asked for is imported and built; commands import what is heavy when they need it.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Annotated

import typer

from hybrid_engine import __version__
from hybrid_engine.cli import output
from hybrid_engine.cli.commands import COMMANDS, FAMILIES, Entry, chosen, with_color_first
from hybrid_engine.cli.help import Command, Group
from hybrid_engine.cli.output import complain
from hybrid_engine.errors import HybridError, InputError

USAGE, INTERNAL, INTERRUPTED = 2, 70, 130
_UsageError: type[Exception] = typer.BadParameter.__mro__[1]
_ClickError: type[Exception] = typer.BadParameter.__mro__[2]


def _version(wanted: bool) -> None:
    if wanted:
        print(f"hybrid-engine {__version__}")
        raise typer.Exit


def _color(choice: str) -> str:
    if choice not in output.COLOR_CHOICES:
        raise typer.BadParameter(f"{choice!r:.40} is not one of {', '.join(output.COLOR_CHOICES)}")
    output.use_color(choice)
    return choice


def _main(
    home_option: Annotated[
        str | None,
        typer.Option("--home", "-C", metavar="FOLDER", help="The home; else HYBRID_HOME, else the current folder."),
    ] = None,
    color: Annotated[
        str,
        typer.Option(
            callback=_color,
            is_eager=True,
            metavar="WHEN",
            help="Use color: auto, always or never. NO_COLOR is honoured.",
            autocompletion=lambda: output.COLOR_CHOICES,
        ),
    ] = "auto",
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    if home_option:
        os.environ["HYBRID_HOME"] = os.path.abspath(home_option)


def build(entries: list[Entry] | None = None) -> typer.Typer:
    """The application with these commands; with all of them when none are given."""
    app = _typer("A durable workflow engine whose database is a folder.")
    app.callback()(_main)
    families: dict[str, typer.Typer] = {}
    for entry in COMMANDS if entries is None else entries:
        family, _, name = entry.name.rpartition(" ")
        if family and family not in families:
            about, group = FAMILIES[family]
            families[family] = _typer(about)
            app.add_typer(families[family], name=family, rich_help_panel=group)
        module, _, function = entry.where.partition(":")
        (families[family] if family else app).command(
            name, cls=Command, epilog="\n".join(entry.examples), rich_help_panel=None if family else entry.group
        )(getattr(import_module(f"hybrid_engine.cli.{module}"), function))
    return app


def _typer(about: str) -> typer.Typer:
    return typer.Typer(
        cls=Group,
        name="hybrid",
        help=about,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )


def run(argv: list[str]) -> int:
    """Run one command line; returns the exit code."""
    output.use_color("auto")
    argv = with_color_first(argv)
    try:
        app = build(None if "_HYBRID_COMPLETE" in os.environ else chosen(argv))
        code = app(args=argv, prog_name="hybrid", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except InputError as error:
        complain(_told(error))
        return error.exit_code
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


def _told(error: InputError) -> str:
    """The message of an error; each of several problems on a line of its own."""
    if len(error.problems) < 2:
        return str(error)
    where = f"{error.file}: " if error.file else ""
    return "\n  ".join([f"{where}{len(error.problems)} problems:", *map(str, error.problems)])


def _seen_enough() -> int:
    """Whoever read our output went away. What is still in the buffer goes nowhere, and says nothing."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return 0


def _usage(error: Exception) -> int:
    message = error.format_message()  # type: ignore[attr-defined]
    if isinstance(error, _UsageError):
        context = getattr(error, "ctx", None)
        path = context.command_path if context is not None else "hybrid"
        message = f"{message}\n(see `{path} --help`)" if message else f"see `{path} --help`"
    complain(message)
    return USAGE


def _internal(error: Exception) -> int:
    """An error nobody thought of: short for the person, whole in a file."""
    import traceback

    from hybrid_engine.cli.crash import crash_report

    where = crash_report("".join(traceback.format_exception(error)))
    told = f"; the details are in {where}" if where else ""
    complain(f"internal error: {type(error).__name__}: {error}{told}")
    return INTERNAL

"""Commands about the home itself: init, config, doctor. Those that remove workflows are in `pruning`."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from hybrid_engine.cli import options
from hybrid_engine.cli.output import emit, note, say
from hybrid_engine.cli.tables import table

DAMAGED = 65


def init(
    folder: Annotated[str | None, typer.Argument(help="The folder; else HYBRID_HOME, else the current folder.")] = None,
    sample: Annotated[bool, typer.Option(help="Create a sample template, function and data.")] = True,
    as_json: options.Json = False,
) -> None:
    """Create a home: folders, a sample template, a sample function, sample data. Does not overwrite your files."""
    from hybrid_engine.files.home import init_home, warnings, write_schemas
    from hybrid_engine.settings import load

    layout = load(home=folder).layout
    made = init_home(layout, sample)
    made += write_schemas(layout)
    warned = warnings(layout)
    if as_json:
        emit({"home": layout.home, "made": made, "warnings": warned})
        return
    for path in made:
        say(f"created {path}")
    for warning in warned:
        note(f"warning: {warning}")
    say(f"{layout.home} is a home" if made else f"{layout.home} already is a complete home")
    if made and sample:
        go = "" if os.path.samefile(layout.home, os.getcwd()) else f"cd {os.path.relpath(layout.home)} && "
        say(f"next: {go}hybrid enqueue data_processing && hybrid start --until-idle")


def config(as_json: options.Json = False) -> None:
    """Show every setting, its value and where it comes from."""
    rows = options.settings().rows()
    if as_json:
        emit(rows)
    else:
        table(rows, {"env": "setting", "value": "value", "from": "from", "about": "about"})


def doctor(
    repair: Annotated[bool, typer.Option("--repair", help="Repair what can be repaired safely.")] = False,
    as_json: options.Json = False,
) -> int:
    """Check the home: journals, queue, permissions, leftovers, file system. Exits with 65 when something is damaged."""
    from dataclasses import asdict

    from hybrid_engine.files import doctor as examiner
    from hybrid_engine.files.place import check_is_home
    from hybrid_engine.sql.index import Index

    layout = options.settings().layout
    if not os.path.isdir(layout.private):
        check_is_home(layout)
    found = examiner.examine(
        layout,
        repair=repair,
        open_index=lambda write: Index(layout.index) if write else Index.open_reader(layout.index),
    )
    rows = [asdict(finding) for finding in found]
    if as_json:
        emit(rows)
    else:
        for row in rows:
            row["path"] = _seen_from(layout.home, row["path"])
            row["done"] = "repaired" if row["repaired"] else row["repair"] and f"can be repaired: {row['repair']}"
        columns = {"severity": "severity", "code": "code", "path": "path", "message": "message"}
        if any(row["done"] for row in rows):
            columns["done"] = "repair"
        table(rows, columns)
    return DAMAGED if any(row["severity"] == "error" and not row["repaired"] for row in rows) else 0


def _seen_from(home: str, path: str) -> str:
    """A path inside of the home without it: shorter, and the home is known."""
    inside = os.path.relpath(path, home)
    return path if inside.startswith("..") else inside

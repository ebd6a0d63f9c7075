"""Commands about the home itself: init, config, prune, doctor."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from hybrid_engine.cli import options
from hybrid_engine.cli.output import emit, note, say, size, table

if TYPE_CHECKING:
    from hybrid_engine.files.prune import PruneReport


DAMAGED = 65


def register(app: typer.Typer) -> None:
    for command in (init, config, prune, doctor):
        app.command()(command)


def init(
    folder: Annotated[str | None, typer.Argument(help="The folder; else HYBRID_HOME, else the current one.")] = None,
    sample: Annotated[bool, typer.Option(help="With a sample template, function and data.")] = True,
    as_json: options.Json = False,
) -> None:
    """Make a home: its folders, a sample template, a sample function, sample data. Overwrites nothing."""
    from hybrid_engine.files.home import init_home, warnings
    from hybrid_engine.settings import load

    layout = load(home=folder).layout
    made = init_home(layout, sample)
    warned = warnings(layout)
    if as_json:
        emit({"home": layout.home, "made": made, "warnings": warned})
        return
    for path in made:
        say(f"made {path}")
    for warning in warned:
        note(f"warning: {warning}")
    say(f"{layout.home} is a home" + ("" if made else " already, and complete"))
    if made and sample:
        go = "" if os.path.samefile(layout.home, os.getcwd()) else f"cd {os.path.relpath(layout.home)} && "
        say(f"go on with: {go}hybrid enqueue data_processing && hybrid start --until-idle")


def config(as_json: options.Json = False) -> None:
    """Show every setting, its value and where it came from."""
    rows = options.settings().rows()
    if as_json:
        emit(rows)
    else:
        table(rows, {"env": "setting", "value": "value", "from": "from", "about": "about"})


def prune(
    older_than: Annotated[str | None, typer.Option(help="Workflows that ended longer ago, such as 30d.")] = None,
    keep: Annotated[int | None, typer.Option(min=0, help="All but so many of the newest.")] = None,
    max_size: Annotated[str | None, typer.Option(help="The oldest ones, until the rest fits, such as 10GiB.")] = None,
    status: Annotated[list[str] | None, typer.Option(help="Look only at these: completed, failed, cancelled.")] = None,
    template: Annotated[str | None, typer.Option(help="Look only at workflows of this template.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
    as_json: options.Json = False,
) -> int:
    """Remove finished workflows, by age, count or size. Unfinished ones are never touched."""
    from datetime import timedelta

    from hybrid_engine.errors import InputError
    from hybrid_engine.files import prune as pruning
    from hybrid_engine.files.home import open_home
    from hybrid_engine.files.lock import holder
    from hybrid_engine.files.records import Records
    from hybrid_engine.model.durations import microseconds
    from hybrid_engine.settings import bytes_of
    from hybrid_engine.sql.index import Index

    layout = options.settings().layout
    open_home(layout)
    try:
        age = timedelta(microseconds=microseconds(older_than)) if older_than is not None else None
        limit = bytes_of(max_size) if max_size is not None else None
    except ValueError as error:
        raise InputError(str(error)) from None
    with Index(layout.index) as index:
        if index.fresh and holder(layout) is None:
            index.rebuild(Records(layout))
        report = pruning.prune(
            layout, index, older_than=age, keep=keep, max_bytes=limit, status=options.statuses_of(status),
            template=template, dry_run=dry_run,
        )  # fmt: skip
    _tell_pruned(report, as_json)
    return 1 if report.problems else 0


def _tell_pruned(report: PruneReport, as_json: bool) -> None:
    from dataclasses import asdict

    if as_json:
        emit(asdict(report))
        return
    for workflow in report.ids:
        say(workflow)
    for workflow, why in report.skipped:
        note(f"left {workflow}: {why}")
    for problem in report.problems:
        note(f"problem: {problem}")
    verb = "would be removed" if report.dry_run else "removed"
    note(f"{report.workflows} workflows {verb}, {size(report.bytes)}")


def doctor(
    repair: Annotated[bool, typer.Option("--repair", help="Do what is safe, and say what was done.")] = False,
    as_json: options.Json = False,
) -> int:
    """Check the home: journals, queue, rights, leftovers, kind of disk. Exits with 65 when something is wrong."""
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
            row["done"] = "repaired" if row["repaired"] else row["repair"] and f"can be repaired: {row['repair']}"
        columns = {"severity": "severity", "code": "code", "path": "path", "message": "message"}
        if any(row["done"] for row in rows):
            columns["done"] = "repair"
        table(rows, columns)
    return DAMAGED if any(row["severity"] == "error" and not row["repaired"] for row in rows) else 0

"""How help looks: commands in groups, examples at the end. Plain text: a help that takes long is not asked for."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand, TyperGroup

from hybrid_engine.cli.commands import GROUPS


class Command(TyperCommand):
    """A command whose epilog are examples, one a line."""

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        if self.epilog:
            with formatter.section("Examples"):
                for line in self.epilog.splitlines():
                    formatter.write(f"{'':{formatter.current_indent}}{line}\n")


class Group(TyperGroup):
    """A command with commands of its own; those at the top are listed in groups."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        commands = [(name, self.commands[name]) for name in self.list_commands(ctx) if not self.commands[name].hidden]
        width = max((len(name) for name, _ in commands), default=0)
        for group in (*GROUPS, None):
            rows = [(name, command) for name, command in commands if getattr(command, "rich_help_panel", None) == group]
            if rows:
                with formatter.section(group or "Commands"):
                    for name, command in rows:
                        # Not `write_dl`, which would give each group a column of its own width.
                        indent = formatter.current_indent
                        about = command.get_short_help_str(formatter.width - indent - width - 2)
                        formatter.write(f"{'':{indent}}{name:<{width}}  {about}\n")

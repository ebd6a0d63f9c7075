"""The tree of errors.

HybridError                     everything this product raises on purpose; `exit_code` is what the CLI exits with
├── InputError                  what somebody gave us is wrong; carries where and what would be right
│   ├── TemplateError           a template file
│   ├── JobError                a job file, or the arguments of `enqueue`
│   ├── SettingsError           .env, hybrid.toml, the environment
│   └── ExpressionError         a `${{ … }}`
├── NotFoundError               no such workflow, template, step
├── ConflictError               the request does not fit the present state (cancel a finished workflow)
├── IllegalTransitionError      an event the transition table has no place for: a bug or a damaged journal
├── JournalError                a journal that cannot be trusted (damage in the middle)
│   └── NewerJournalError       … or is sound, but tells of things that this version does not know
├── HomeError                   the home is missing, not ours, open to others, or of a newer format
├── UncertainError              it is not known whether what was asked for was done
├── LockHeldError               another engine holds the home
└── NotRunningError             no engine runs here
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

MANY = 20
"""How many problems one message tells; all of them are in `problems`."""


class HybridError(Exception):
    """Base of all. `str(error)` is a sentence for a person; no traceback is ever needed to understand it."""

    exit_code = 1


class InputError(HybridError):
    """Something given to us is wrong. `file`, `line`, `column` (from 1) say where; `path` is the dotted field path.

    `problems` are the single errors when there are several (see `of`).
    """

    exit_code = 2

    def __init__(
        self,
        message: str,
        *,
        file: str | None = None,
        line: int | None = None,
        column: int | None = None,
        path: str | None = None,
        code: str = "invalid",
        hint: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.file = file
        self.line = line
        self.column = column
        self.path = path
        self.code = code
        self.hint = hint
        self.problems: tuple[InputError, ...] = ()

    @classmethod
    def of(cls, problems: Sequence[InputError]) -> Self:
        """One error that tells all of `problems` (at least one); its place and code are those of the first."""
        first = problems[0]
        if len(problems) == 1:
            message, path, hint = first.message, first.path, first.hint
        else:
            told = [f"line {p.line}: {p.in_its_place()}" if p.line else p.in_its_place() for p in problems[:MANY]]
            more = [f"and {len(problems) - MANY} more"] if len(problems) > MANY else []
            message, path, hint = f"{len(problems)} problems: " + "; ".join(told + more), None, None
        error = cls(
            message, file=first.file, line=first.line, column=first.column, path=path, code=first.code, hint=hint
        )
        error.problems = tuple(problems)
        return error

    def in_its_place(self) -> str:
        """Path, message and hint, without the file."""
        text = f"{self.path}: {self.message}" if self.path else self.message
        return f"{text} ({self.hint})" if self.hint else text

    def __str__(self) -> str:
        where = ":".join(str(part) for part in (self.file, self.line, self.column) if part is not None)
        text = self.in_its_place()
        return f"{where}: {text}" if where else text

    def as_dict(self) -> dict[str, object]:
        """The reason as a program reads it: code, message, place, path, hint; all `problems` when several."""
        fields = ("code", "message", "file", "line", "column", "path", "hint")
        record = {name: getattr(self, name) for name in fields if getattr(self, name) is not None}
        if len(self.problems) > 1:
            record["problems"] = [problem.as_dict() for problem in self.problems]
        return record


class TemplateError(InputError):
    pass


class JobError(InputError):
    pass


class SettingsError(InputError):
    pass


class ExpressionError(InputError):
    pass


class NotFoundError(HybridError):
    exit_code = 4


class ConflictError(HybridError):
    exit_code = 5


class IllegalTransitionError(HybridError):
    exit_code = 70


class JournalError(HybridError):
    exit_code = 65


class NewerJournalError(JournalError):
    pass


class HomeError(HybridError):
    exit_code = 66


class UncertainError(HybridError):
    exit_code = 75


class LockHeldError(HybridError):
    exit_code = 6


class NotRunningError(HybridError):
    exit_code = 3

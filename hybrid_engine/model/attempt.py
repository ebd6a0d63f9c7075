"""An attempt, as handed to an executor, and its outcome, as handed back.

Both are small, self-contained and versioned: no expression is left in an attempt, and an outcome holds no reference
into memory, so that either may cross to another process or another machine.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from hybrid_engine.model.words import Json

FORMAT = 1

WorkKind = Literal["shell", "function"]
OutcomeKind = Literal["completed", "failed", "timeout", "cancelled", "lost"]


@dataclass(slots=True)
class Attempt:
    """One try of one step.

    `key` is `<workflow>/<address>/<attempt>` and names this try; `idempotency_key` is `<workflow>/<address>` and is the
    same for every try of the step. `timeout` and `grace` are seconds; `boot` names the machine's start in which it
    began. Exactly one of `script` and `function` is set.
    """

    workflow: str
    step: str
    number: int
    script: str | None = None
    function: str | None = None
    arguments: dict[str, Json] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)
    timeout: float | None = None
    grace: float = 5.0
    started_at: str | None = None
    boot: str | None = None
    format: int = FORMAT

    @property
    def kind(self) -> WorkKind:
        """What kind of work it is: executors choose by it who runs the attempt."""
        return "function" if self.script is None else "shell"

    @property
    def key(self) -> str:
        return f"{self.workflow}/{self.step}/{self.number}"

    @property
    def idempotency_key(self) -> str:
        return f"{self.workflow}/{self.step}"


@dataclass(slots=True)
class Outcome:
    """How an attempt ended. `error` is {kind, message, …} unless it completed. `output_ref` stands in place of a large
    output, once that is in a file.

    `lost` means that nobody knows: the attempt died together with the engine, its worker's host or the machine.
    """

    workflow: str
    step: str
    number: int
    kind: OutcomeKind
    output: Json = None
    exit_code: int | None = None
    error: dict[str, Json] | None = None
    output_ref: dict[str, Json] | None = None

    @property
    def key(self) -> str:
        """That of its attempt."""
        return f"{self.workflow}/{self.step}/{self.number}"

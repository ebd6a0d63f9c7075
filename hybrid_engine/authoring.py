"""What the author of a function step imports: the decorator `function`, and `context()` inside a running one.

    from hybrid_engine import context, function

    @function
    def profile(path: str) -> dict:
        context().progress(50, "half way")
        return {"score": 0.93}

The function is called `quality.profile` in templates when its file is `functions/quality.py`. Light module: it is
imported by every worker.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    F = TypeVar("F", bound=Callable[..., Any])

MARK = "__hybrid_function__"
ATTEMPT_LEVELS = 3
"""An attempt's folder is `steps/<step>/<attempt>` in that of its workflow."""


def function(target: Any = None, *, name: str | None = None) -> Any:
    """Mark a function (plain or async) as usable by `call:`. `@function` or `@function(name="other")`."""

    def mark(callable_: F) -> F:
        setattr(callable_, MARK, name or callable_.__name__)
        return callable_

    return mark if target is None else mark(target)


class Context:
    """The attempt that is being made. Outside of a worker (in a test of the function) it holds harmless defaults."""

    def __init__(self, folder: str = "") -> None:
        self._folder = folder

    @property
    def workflow(self) -> str:
        """The id of the workflow."""
        return os.environ.get("HYBRID_WORKFLOW", "")

    @property
    def step(self) -> str:
        return os.environ.get("HYBRID_STEP", "")

    @property
    def attempt(self) -> int:
        """From 1."""
        return int(os.environ.get("HYBRID_ATTEMPT", "1"))

    @property
    def key(self) -> str:
        """The idempotency key: the same for every attempt of this step."""
        return os.environ.get("HYBRID_KEY", "")

    @property
    def artifacts(self) -> str:
        """The workflow's artifact folder; it is made when it is asked for."""
        path = os.environ.get("HYBRID_ARTIFACTS") or os.path.join(os.getcwd(), "artifacts")
        make_folders(path)
        return path

    def progress(self, percent: float, message: str = "") -> None:
        """Say how far the step is, from 0 to 100. Shown within a second or so."""
        if not 0 <= percent <= 100:
            raise ValueError(f"percent must be between 0 and 100, not {percent}")
        if not self._folder:
            return
        line = f"{percent:g} {message}".strip().replace("\n", " ")
        try:
            make_folders(self._folder, ATTEMPT_LEVELS)
            with open(os.path.join(self._folder, "progress"), "w", encoding="utf-8") as file:
                file.write(line + "\n")
        except FileNotFoundError:
            pass  # the workflow was removed: nobody wants to know any more


def make_folders(path: str, levels: int = 1) -> None:
    """Make a folder, and up to `levels` - 1 that are missing above it, for nobody but the user.

    What is above them must be there: a workflow that was removed does not come back because a step of it still runs.
    """
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        pass
    except FileNotFoundError:
        if levels == 1:
            raise
        make_folders(os.path.dirname(path), levels - 1)
        make_folders(path)


_current = Context()


def context() -> Context:
    """The attempt that is being made right now."""
    return _current


def _enter(folder: str) -> None:
    """For the worker: an attempt begins whose files lie in `folder`."""
    global _current
    _current = Context(folder)

"""The nearest right name, for errors. Light: `difflib` is imported only when somebody has mistyped."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_MANY = 2_000


def nearest(word: object, known: Iterable[str]) -> str | None:
    """The name in `known` that `word` was probably meant to be, or None."""
    if not isinstance(word, str) or not word or len(word) > 100:
        return None
    names = list(known)[:_MANY]
    folded = word.casefold().replace("-", "_")
    for name in names:
        if name.casefold().replace("-", "_") == folded:
            return name
    from difflib import get_close_matches

    found = get_close_matches(word, [name for name in names if len(name) <= 100], 1, 0.6)
    return found[0] if found else None


def did_you_mean(word: object, known: Iterable[str]) -> str | None:
    """A hint for an error, or None: the nearest name, else all of them when they are few."""
    names = list(known)
    name = nearest(word, names)
    if name is not None:
        return f"did you mean {name!r}?"
    if 0 < len(names) <= 20:
        return "known: " + ", ".join(names)
    return None

"""Hybrid Engine: a durable workflow engine whose database is a folder.

For Python programs: `Client` (enqueue, look, wait) and, inside `functions/`, the decorator `function` and `context`.
Names are loaded when they are first used: `hybrid enqueue` must not pay for what it does not need.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hybrid_engine.authoring import Context, context, function
    from hybrid_engine.client import Client

__version__ = "0.1.0"

_WHERE = {
    "Client": "hybrid_engine.client",
    "function": "hybrid_engine.authoring",
    "context": "hybrid_engine.authoring",
    "Context": "hybrid_engine.authoring",
}

__all__ = ["Client", "Context", "__version__", "context", "function"]


def __getattr__(name: str) -> object:
    if name not in _WHERE:
        raise AttributeError(f"module 'hybrid_engine' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(_WHERE[name]), name)
    globals()[name] = value
    return value

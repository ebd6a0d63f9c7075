"""Functions for the example of outputs: what they return is the step's output."""

from __future__ import annotations

from typing import Any

from hybrid_engine import function


@function
def price(basket: list[dict[str, Any]], discount: float = 0.0) -> dict[str, Any]:
    """Add up a basket; each item has a name, a count and a unit price."""
    total = sum(item["count"] * item["price"] for item in basket)
    return {"total": round(total * (1 - discount), 2), "names": [item["name"] for item in basket]}

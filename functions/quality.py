"""How good is a CSV file of orders? The functions of the sample template `data_processing`.

Each may be a step: `call: quality.profile`. What a function returns is the step's output and must be JSON.
"""

from __future__ import annotations

import csv
from collections import Counter
from datetime import date
from typing import Any

from hybrid_engine import function


def _fault(row: dict[str, str], seen: set[str]) -> str | None:
    """What is wrong with a row, in two words, or None."""
    if None in row or None in row.values():
        return "wrong number of fields"
    values = {name: value.strip() for name, value in row.items()}
    if "@" not in values["email"][1:-1]:
        return "bad email"
    if not values["quantity"].isdigit() or int(values["quantity"]) < 1:
        return "bad quantity"
    if not values["unit_price"].replace(".", "", 1).isdigit():
        return "bad price"
    try:
        date.fromisoformat(values["ordered_on"])
    except ValueError:
        return "bad date"
    if values["order_id"] in seen:
        return "duplicate order"
    seen.add(values["order_id"])
    return None


@function
def profile(path: str) -> dict[str, Any]:
    """Count rows and faults; `score` is the share of good rows, from 0 to 1."""
    faults: Counter[str] = Counter()
    seen: set[str] = set()
    rows, revenue = 0, 0.0
    with open(path, newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            rows += 1
            fault = _fault(row, seen)
            if fault:
                faults[fault] += 1
            else:
                revenue += int(row["quantity"]) * float(row["unit_price"])
    good = rows - faults.total()
    return {
        "rows": rows,
        "good": good,
        "score": round(good / rows, 4) if rows else 1.0,
        "faults": dict(sorted(faults.items())),
        "revenue": round(revenue, 2),
    }


@function
def report(source: str, profile: dict[str, Any], cleaned: dict[str, Any] | None = None) -> dict[str, Any]:
    """Compare the file before and after cleaning; a person reads `text`."""
    after = _again(cleaned["path"]) if cleaned else profile
    lines = [f"{source}: {profile['good']} of {profile['rows']} rows are good (score {profile['score']})"]
    lines += [f"  {count} x {fault}" for fault, count in profile["faults"].items()]
    if cleaned:
        lines.append(f"cleaned: {after['rows']} rows, score {after['score']}, in {cleaned['path']}")
    else:
        lines.append("good enough, used as it is")
    lines.append(f"revenue: {after['revenue']:.2f}")
    text = "\n".join(lines)
    print(text)
    return {"text": text, "rows": after["rows"], "score": after["score"], "revenue": after["revenue"]}


_again = profile

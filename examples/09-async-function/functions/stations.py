"""Ask weather stations, many at a time. The stations are made up; the waiting is real."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from hybrid_engine import context, function


@function
async def collect(stations: list[str], seconds: float = 1.2) -> dict[str, Any]:
    """Ask all stations at once; leave what they said in readings.json."""
    answers: dict[str, float] = {}

    async def ask(name: str, place: int) -> None:
        await asyncio.sleep(seconds * place / len(stations))
        answers[name] = 10.0 + place
        context().progress(100 * len(answers) / len(stations), f"{name} has answered")
        print(f"{name}: {answers[name]} degrees")

    await asyncio.gather(*(ask(name, place) for place, name in enumerate(stations, 1)))
    readings = Path(context().artifacts, "readings.json")
    readings.write_text(json.dumps(answers, indent=2) + "\n")
    return {"warmest": max(answers, key=answers.__getitem__), "stations": len(answers)}

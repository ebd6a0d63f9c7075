"""The commands `schema template` and `schema job`: JSON Schema, draft 2020-12, made from the models."""

from __future__ import annotations

from hybrid_engine.cli.output import emit


def template() -> None:
    """Print the JSON Schema of template files."""
    from hybrid_engine.rules.schemas import template_schema

    emit(template_schema())


def job() -> None:
    """Print the JSON Schema of job files."""
    from hybrid_engine.rules.schemas import job_schema

    emit(job_schema())

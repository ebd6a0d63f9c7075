"""Events and the journal's words for them."""

from __future__ import annotations

from dataclasses import MISSING, fields

import pytest
from builders import at, created

from hybrid_engine.model import events as e
from hybrid_engine.model.events import EVENT_TYPES, as_record, from_record

OTHERS = {"str": "x", "int": 7, "float": 1.5, "bool": True, "Stamp": at(1), "Json": {"a": [1, None]}}


def filled(cls: type[e.Event]) -> e.Event:
    """An event of which no field is at its default."""
    values = {}
    for field in fields(cls):
        kind = str(field.type).split(" | ")[0]
        values[field.name] = OTHERS.get(kind, [f"of {field.name}"] if kind.startswith("list") else {"a": "b"})
    return cls(**values)


@pytest.mark.parametrize("cls", EVENT_TYPES.values(), ids=EVENT_TYPES)
def test_every_field_of_every_event_is_written_and_read_back(cls: type[e.Event]) -> None:
    event = filled(cls)
    record = as_record(event)
    assert set(record) == {field.name for field in fields(cls)}
    assert from_record(cls.TYPE, record) == event


@pytest.mark.parametrize("cls", EVENT_TYPES.values(), ids=EVENT_TYPES)
def test_fields_that_came_later_have_a_default_so_that_old_journals_load(cls: type[e.Event]) -> None:
    required = {f.name for f in fields(cls) if f.default is MISSING and f.default_factory is MISSING}
    first = {
        "workflow",
        "template",
        "version",
        "queued_at",
        "due_at",
        "step",
        "attempt",
        "percent",
        "retry_at",
        "reason",
    }
    assert not required - first


def test_only_types_have_words_and_each_its_own() -> None:
    assert "" not in EVENT_TYPES
    assert {word: cls.TYPE for word, cls in EVENT_TYPES.items()} == {word: word for word in EVENT_TYPES}


def test_an_unknown_word_is_a_key_error_and_an_unknown_field_a_type_error() -> None:
    with pytest.raises(KeyError):
        from_record("workflow_teleported", {})
    with pytest.raises(TypeError):
        from_record("workflow_started", {"mood": "good"})


def test_two_events_never_share_what_is_in_them() -> None:
    assert created().params is not created().params
    assert e.StepFailed("a", 1).error is not e.StepFailed("a", 1).error

"""Templates: what an author writes, checked field by field, and the frozen form a workflow keeps for life.

`Template.author` takes the author's data, fills in `defaults`, and gives each step without `needs` the one above it.
`to_frozen` writes canonical JSON and `from_frozen` reads it back; `version` names those bytes.
What takes more than one step to see (cycles, unknown names, expressions) is in `rules.linting`.
Keep: frozen bytes leave defaults out, so a new field changes no version, and a changed default needs a new FORMAT.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from functools import cached_property
from hashlib import sha256
from typing import Annotated, Any, Literal, Self

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from hybrid_engine.errors import TemplateError
from hybrid_engine.model.explain import problems_of, unknown_key
from hybrid_engine.model.fields import Condition, Duration, Environment, FunctionName, Name, Number
from hybrid_engine.model.ids import is_name
from hybrid_engine.model.patterns import check_pattern
from hybrid_engine.model.words import Json

FORMAT = 1
STEP_KINDS = ("run", "call")
"""The keys that say what a step does; a step has exactly one of them."""
MAX_STEPS = 20_000
MAX_SCRIPT = 100_000
"""Bytes of `run`. Linux refuses a single argument of 128 KiB."""

SHELL_VALUES = (
    "${{ }} is not pasted into shell commands, because its value would be run as code; hand it over by the environment:"
    ' env: {VALUE: "${{ … }}"}, and write "$VALUE" in the command'
)

ParamType = Literal["string", "number", "integer", "boolean", "object", "array"]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, populate_by_name=True, allow_inf_nan=False)


class Retry(_Model):
    """When an attempt is followed by another. `lost` counts those that died with the engine or the machine, apart."""

    attempts: int = Field(default=1, ge=1, le=1000)
    delay: Duration = timedelta(seconds=1)
    factor: float = Field(default=2.0, ge=1, le=1000)
    max_delay: Duration | None = timedelta(minutes=1)
    jitter: bool = True
    on: tuple[Annotated[int, Field(ge=1, le=255)], ...] | None = Field(default=None, strict=False)
    lost: int = Field(default=5, ge=0, le=1000)

    @field_validator("on")
    @classmethod
    def _some_codes(cls, on: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if on == ():
            raise ValueError("must have at least one exit code; leave it out for all of them")
        return on


class Concurrency(_Model):
    """At most `limit` at once of all that name this pool. `concurrency: name` is short for a limit of 1."""

    pool: Name
    limit: int = Field(default=1, ge=1, le=100_000)

    @model_validator(mode="before")
    @classmethod
    def _short(cls, data: Any) -> Any:
        return {"pool": data} if isinstance(data, str) else data


class ParamSpec(_Model):
    """What a parameter may be. It must be given unless it has a default or says `required: false` (then it is null)."""

    type: ParamType = "string"
    default: Json = None
    required: bool = True
    minimum: Number | None = None
    maximum: Number | None = None
    min_length: int | None = Field(default=None, ge=0)
    max_length: int | None = Field(default=None, ge=0)
    pattern: str | None = Field(default=None, max_length=1000)
    choices: tuple[Json, ...] | None = Field(
        default=None, validation_alias=AliasChoices("choices", "enum"), strict=False, min_length=1, max_length=1000
    )
    description: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _required_without_default(cls, data: Any) -> Any:
        if data is None:
            return {}
        if isinstance(data, Mapping) and "default" in data and "required" not in data:
            return {**data, "required": False}
        return data

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, pattern: str | None) -> str | None:
        return pattern if pattern is None else check_pattern(pattern)

    @model_validator(mode="after")
    def _limits_make_sense(self) -> Self:
        for name, types in _LIMITS.items():
            if getattr(self, name) is not None and self.type not in types:
                raise ValueError(f"{name} is for type {' or '.join(types)}, and this is {self.type}")
        for low, high in (("minimum", "maximum"), ("min_length", "max_length")):
            least, most = getattr(self, low), getattr(self, high)
            if least is not None and most is not None and least > most:
                raise ValueError(f"{low} is greater than {high}")
        if self.required and "default" in self.model_fields_set:
            raise ValueError("has a default, so it cannot be required")
        return self


_LIMITS: dict[str, tuple[str, ...]] = {
    "minimum": ("number", "integer"),
    "maximum": ("number", "integer"),
    "min_length": ("string", "array"),
    "max_length": ("string", "array"),
    "pattern": ("string",),
}


class Step(_Model):
    """One node: what it does (`run` or `call`), what it waits for, and how it is tried."""

    name: Name = Field(exclude=True)
    run: str | None = Field(default=None, min_length=1)
    call: FunctionName | None = None
    with_: dict[str, Json] = Field(default={}, alias="with")
    env: Environment = {}
    needs: tuple[Name, ...] = Field(default=(), strict=False)
    if_: Condition | None = Field(default=None, alias="if")
    retry: Retry = Retry()
    timeout: Duration | None = None
    continue_on_error: bool = False
    concurrency: Concurrency | None = None
    description: str | None = None

    @field_validator("run")
    @classmethod
    def _script(cls, run: str | None) -> str | None:
        if run is None:
            return None
        if "${{" in run:
            raise ValueError(SHELL_VALUES)
        if "\0" in run:
            raise ValueError("a command cannot contain a NUL character")
        if len(run) * 4 > MAX_SCRIPT and len(run.encode(errors="replace")) > MAX_SCRIPT:
            raise ValueError(f"is longer than {MAX_SCRIPT} bytes: put it into a file and run that")
        return run

    @field_validator("timeout")
    @classmethod
    def _positive(cls, timeout: timedelta | None) -> timedelta | None:
        if timeout is not None and not timeout:
            raise ValueError("must be longer than zero; leave it out for no limit")
        return timeout

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if (self.run is None) == (self.call is None):
            found = "both" if self.run is not None else "neither"
            raise ValueError(f"a step has exactly one of {' and '.join(STEP_KINDS)}; this one has {found}")
        if self.with_ and self.call is None:
            raise ValueError("`with` is for `call`; hand values to a shell command by `env`")
        return self


class Defaults(_Model):
    """What every step has that does not say otherwise; `retry` is merged field by field."""

    timeout: Duration | None = None
    retry: Retry = Retry()


class Template(_Model):
    """A checked, complete definition. Steps stand in the order they were written, and their `needs` are explicit."""

    name: Name
    description: str | None = None
    params: dict[Name, ParamSpec] = Field(default={}, max_length=1000)
    priority: int = Field(default=0, ge=0, le=9)
    concurrency: Concurrency | None = None
    labels: dict[Name, Annotated[str, Field(max_length=256)]] = Field(default={}, max_length=64)
    env: Environment = {}
    steps: dict[Name, Step] = Field(min_length=1, max_length=MAX_STEPS)

    @classmethod
    def author(cls, data: object, name: str | None = None) -> Template:
        """The template of an author's data; `name` is used when the data has none.

        Raises TemplateError with all `problems`; each `path` is the dotted path of a field in `data`.
        """
        problems: list[TemplateError] = []
        if isinstance(data, Mapping):
            steps = data.get("steps")
            data = {**data, "steps": _named_in_order(steps, problems) if isinstance(steps, Mapping) else steps}
            if name is not None:
                data.setdefault("name", name)
        try:
            written = _Written.model_validate(data)
        except ValidationError as error:
            problems += problems_of(error, _Written)
        if problems:
            raise TemplateError.of(problems)
        fields = {field: getattr(written, field) for field in cls.model_fields}
        fields["steps"] = {name: _complete(step, written.defaults) for name, step in written.steps.items()}
        return cls.model_construct(**fields)

    @classmethod
    def from_frozen(cls, data: bytes) -> Template:
        """The template of `to_frozen`'s bytes. Raises TemplateError when they are damaged or of a newer format."""
        try:
            fields = json.loads(data)
            written_by = fields.pop("format")
            if written_by > FORMAT:
                raise TemplateError(
                    f"a frozen template of format {written_by}; this program knows up to {FORMAT}",
                    code="newer_format",
                    hint="a newer hybrid wrote it: update",
                )
            for name, step in fields["steps"].items():
                step["name"] = name
            return cls.model_validate(fields)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise TemplateError(f"a damaged frozen template: {error!r:.300}", code="damaged") from error

    def to_frozen(self) -> bytes:
        """Canonical JSON: the same definition always gives the same bytes."""
        fields = self.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        text = json.dumps({"format": FORMAT, **fields}, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        return text.encode()

    @cached_property
    def version(self) -> str:
        return version_of(self.to_frozen())


def version_of(frozen: bytes) -> str:
    """The version that frozen bytes are: 12 hex digits."""
    return sha256(frozen).hexdigest()[:12]


class _Written(Template):
    """A template as an author writes it."""

    defaults: Defaults = Defaults()


def author_schema() -> dict[str, Any]:
    """The JSON Schema of the models of what an author writes, without the short forms that `author` knows."""
    return _Written.model_json_schema(by_alias=True)


def _named_in_order(steps: Mapping[Any, Any], problems: list[TemplateError]) -> dict[Any, Any]:
    """Each step with its name and with its `needs` in full."""
    named: dict[Any, Any] = {}
    above: list[Any] = []
    for name, step in steps.items():
        if isinstance(step, Mapping):
            for key in step.keys() & {"name", "with_", "if_"}:
                problems.append(unknown_key(f"steps.{name}.{key}", key, Step))
            needs = step.get("needs", above)
            step = {**step, "name": name, "needs": [needs] if isinstance(needs, str) else needs}
        named[name] = step
        above = [name] if is_name(name) else []
    return named


def _complete(step: Step, defaults: Defaults) -> Step:
    """`step` with what it leaves open taken from `defaults`."""
    changes: dict[str, Any] = {}
    if "timeout" not in step.model_fields_set and defaults.timeout is not None:
        changes["timeout"] = defaults.timeout
    if defaults.retry.model_fields_set:
        own = {field: getattr(step.retry, field) for field in step.retry.model_fields_set}
        changes["retry"] = defaults.retry.model_copy(update=own)
    return step.model_copy(update=changes) if changes else step

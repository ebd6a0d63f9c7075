"""Templates on disk: the files in `templates/`, and the frozen definitions in `.hybrid/templates/`.

A changed file is seen at the next use. A broken edit is reported and the last good version stays in use, also after
a restart: a pointer by name leads to the frozen bytes. Frozen files are written once and never changed.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from hybrid_engine.errors import JobError, TemplateError
from hybrid_engine.files import atomic
from hybrid_engine.files.layout import Layout
from hybrid_engine.files.strict import Places, YamlLimits, guarded, parse_document, read_plain_file
from hybrid_engine.model.explain import BAD_KEY, UNKNOWN_KEY
from hybrid_engine.model.ids import is_name
from hybrid_engine.model.nearest import did_you_mean
from hybrid_engine.model.template import Template, version_of
from hybrid_engine.model.words import Json
from hybrid_engine.rules.linting import Problem, Signature, lint
from hybrid_engine.rules.unbroken import all_problems, quote_hint

SUFFIXES = (".yaml", ".yml", ".json")
BASE_BYTES = 1024 * 1024
STEP_BYTES = 1024
EDGE_BYTES = 80
"""A file may have so many bytes, and so many more for each step and for each need of a step: the most that their names
take, with what stands around them. A generated graph is as large as it has edges."""
MAX_BYTES = 16 * 1024 * 1024
"""Read of any template."""
YAML = YamlLimits(4 * 1024 * 1024, 400_000)
"""Read of one in YAML: some ten seconds' work. JSON is read a hundred times faster."""
MAX_THAWED = 500
_SETTLED_NS = 100_000_000
"""A file changed this recently may change again without its times showing it (they come from a coarse clock)."""

_Stamp = tuple[str, int, int, int, int]


class _Loaded(NamedTuple):
    """What came of reading a file: a template, or the error that kept it from being one."""

    stamp: _Stamp
    settled: bool
    data: bytes
    template: Template | None
    error: TemplateError | None


class TemplateStore:
    """The templates of one home. Methods may be called from any thread; at worst a file is read twice."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.problems: dict[str, TemplateError] = {}
        """Of the templates asked for by `current`: what is wrong with the file now, while an older version is used."""
        self._loaded: dict[str, _Loaded] = {}
        self._good: dict[str, Template] = {}
        self._thawed: dict[str, Template] = {}
        self._pointers: dict[str, _Stamp] = {}

    # --- the files

    def names(self) -> list[str]:
        """The names of all template files, sorted; files whose names cannot be template names are `strays`."""
        return sorted({stem for stem, suffix in self._files() if suffix in SUFFIXES and is_name(stem)})

    def strays(self) -> list[TemplateError]:
        """Files in `templates/` that look like templates and can never be found by a name."""
        return [
            TemplateError(
                f"{stem!r} is not a name: use letters, digits, '_' and '-', at most 64",
                file=os.path.join("templates", stem + suffix),
                code="bad_name",
                hint="rename the file",
            )
            for stem, suffix in sorted(self._files())
            if suffix in SUFFIXES and not is_name(stem) and not stem.startswith(".")
        ]

    def load(self, name: str) -> Template:
        """The template in the file of this name, as it is now.

        Raises TemplateError with all its `problems`, or JobError when there is no such file.
        """
        path = self._find(name)
        known = self._loaded.get(name)
        if known is None or not _is_current(known, path):
            known = self._loaded[name] = self._read(name, path)
        if known.template is None:
            assert known.error is not None
            raise known.error.with_traceback(None)
        return known.template

    def current(self, name: str, *, keep: bool = True) -> Template:
        """The template to start workflows with: as `load`, but while the file is broken, its last good version.

        What is returned is frozen, unless `keep` is false: then nothing is written. `problems` says what is wrong when
        an older version is in use.
        """
        try:
            template = self.load(name)
        except TemplateError as error:
            self.problems[name] = error
            last = self._good.get(name) or self._last_good(name)
            if last is None:
                raise
            if keep:
                self.freeze(last)
            return last
        except JobError:
            self.problems.pop(name, None)
            raise
        self.problems.pop(name, None)
        self._good[name] = template
        if keep:
            self.freeze(template)
            self._point(name, self._loaded[name].stamp, template.version)
        return template

    def findings(self, name: str, functions: Mapping[str, Signature] | None = None) -> list[Problem]:
        """Everything that can be said about a template file, warnings too, each in its place."""
        path = self._find(name)
        file = self._told(path)
        try:
            template = self.load(name)
        except TemplateError as error:
            return [Problem.of(problem) for problem in error.problems or (error,)]
        positions = _parse(self._loaded[name].data, path, file)[1]
        return [problem.at(file, _place(problem, positions)) for problem in lint(template, functions)]

    def _files(self) -> list[tuple[str, str]]:
        try:
            return [os.path.splitext(name) for name in os.listdir(self.layout.templates)]
        except FileNotFoundError:
            return []

    def _find(self, name: str) -> str:
        if not is_name(name):
            raise JobError(f"{name!r:.80} is not a template name", path="template", code="unknown_template")
        found = [
            path for suffix in SUFFIXES if os.path.lexists(path := os.path.join(self.layout.templates, name + suffix))
        ]
        if not found:
            names = self.names()
            hint = did_you_mean(name, names) or ("there are none in templates/" if not names else None)
            raise JobError(f"there is no template {name!r}", path="template", code="unknown_template", hint=hint)
        if len(found) > 1:
            told = " and ".join(self._told(path) for path in found)
            raise TemplateError(f"{told} are both there", file=self._told(found[0]), code="ambiguous", hint="keep one")
        return found[0]

    def _told(self, path: str) -> str:
        return os.path.relpath(path, self.layout.home)

    def _read(self, name: str, path: str) -> _Loaded:
        file = self._told(path)
        data, stamp, settled = b"", (path, 0, 0, 0, 0), False
        try:
            data, status = read_plain_file(path, MAX_BYTES, links=None, error=TemplateError)
            stamp = _stamp(path, status)
            settled = time.clock_gettime_ns(time.CLOCK_REALTIME) - status.st_ctime_ns > _SETTLED_NS
            return _Loaded(stamp, settled, data, _template(name, data, path, file), None)
        except TemplateError as error:
            error.file = file
            error.hint = error.hint or quote_hint(error, data)
            return _Loaded(stamp, settled, data, None, error)

    # --- frozen definitions

    def freeze(self, template: Template) -> str:
        """The path of the template's frozen bytes, written and durable."""
        path = self.layout.frozen_template(template.version)
        if not os.path.exists(path):
            self._write(path, template.to_frozen())
        self._keep(template.version, template)
        return path

    def thaw(self, version: str) -> Template:
        """The template of a version. Raises TemplateError when its file is gone or is not what it was."""
        known = self._thawed.get(version)
        if known is None:
            path = self.layout.frozen_template(version)
            try:
                data = atomic.read(path)
            except FileNotFoundError:
                raise TemplateError(
                    "this version is not kept any more", file=self._told(path), code="missing"
                ) from None
            known = self.thaw_bytes(data, version, self._told(path))
        return known

    def thaw_bytes(self, data: bytes, version: str, file: str | None = None) -> Template:
        """As `thaw`, from bytes that were found elsewhere (a workflow's own `template.json`)."""
        if version_of(data) != version:
            raise TemplateError(f"is not version {version}: the file was changed", file=file, code="damaged")
        try:
            template = Template.from_frozen(data)
        except TemplateError as error:
            error.file = file
            raise
        self._keep(version, template)
        return template

    def _write(self, path: str, data: bytes) -> None:
        """Durably, and safe against another process that writes the same (`hybrid enqueue` beside the daemon)."""
        # Its pid comes first: a start removes what those left behind who do not live any more.
        own = f"{os.getpid()}-{threading.get_ident()}-{os.path.basename(path)}"
        atomic.replace(path, data, tmp=os.path.join(self.layout.tmp, own))
        atomic.sync_folder(os.path.dirname(path))

    def _keep(self, version: str, template: Template) -> None:
        if len(self._thawed) >= MAX_THAWED:
            self._thawed.clear()
        self._thawed[version] = template

    # --- pointers by name: what `hybrid enqueue` reads instead of the YAML, and where the last good version is found

    def _point(self, name: str, stamp: _Stamp, version: str) -> None:
        """Note which version the file is. Only a good file is pointed at: the pointer keeps the last good version."""
        if self._pointers.get(name) == stamp:
            return
        pointer = {"path": self._told(stamp[0]), "mtime_ns": stamp[1], "size": stamp[2], "version": version}
        path = self.layout.frozen_name(name)
        if self._pointer(name) != pointer:
            self._write(path, json.dumps(pointer, separators=(",", ":")).encode())
        self._pointers[name] = stamp

    def _pointer(self, name: str) -> dict[str, Any] | None:
        try:
            pointer = json.loads(atomic.read(self.layout.frozen_name(name)))
        except (OSError, ValueError, RecursionError):
            return None
        return pointer if isinstance(pointer, dict) else None

    def _last_good(self, name: str) -> Template | None:
        """The version that was in use before the daemon was started."""
        pointer = self._pointer(name) or {}
        version = pointer.get("version")
        if not is_name(version):
            return None
        try:
            template = self.thaw(str(version))
        except (TemplateError, OSError):
            return None
        if template.name != name:
            return None
        self._good[name] = template
        return template


def _stamp(path: str, status: os.stat_result) -> _Stamp:
    return path, status.st_mtime_ns, status.st_size, status.st_ino, status.st_ctime_ns


def _is_current(known: _Loaded, path: str) -> bool:
    """Is the file still what was read? Of one that had just changed, the bytes are compared, not only the times."""
    try:
        if _stamp(path, os.stat(path)) != known.stamp:
            return False
        return known.settled or read_plain_file(path, MAX_BYTES, links=None)[0] == known.data
    except (OSError, JobError):
        return False


def _template(name: str, data: bytes, path: str, file: str) -> Template:
    """The checked template of a file's content. Raises TemplateError, whatever the content does to the checks."""
    return guarded(lambda: _checked(name, data, path, file), "a template", file, TemplateError)


def _checked(name: str, data: bytes, path: str, file: str) -> Template:
    value, positions = _parse(data, path, file)
    _check_size(value, len(data), file)
    try:
        template = Template.author(value, name)
        if template.name != name:
            hint = f"write name: {name}, leave it out, or rename the file"
            raise TemplateError(f"is {template.name!r} in the file of {name!r}", path="name", code="name", hint=hint)
    except TemplateError as error:
        raise _placed(all_problems(value, name, error), positions, file) from None
    errors = [problem for problem in lint(template) if problem.severity == "error"]
    if errors:
        raise _placed(errors, positions, file)
    return template


def _check_size(value: Json, size: int, file: str) -> None:
    """Is the file no larger than its steps and edges account for? Asked before they are known to be right."""
    if size <= BASE_BYTES:
        return
    steps = value.get("steps") if isinstance(value, dict) else None
    bodies = list(steps.values()) if isinstance(steps, dict) else []
    needs = [step.get("needs") for step in bodies if isinstance(step, dict)]
    edges = sum(len(need) for need in needs if isinstance(need, list))
    limit = BASE_BYTES + STEP_BYTES * len(bodies) + EDGE_BYTES * edges
    if size > limit:
        told = f"a template of {len(bodies)} steps and {edges} needs may have {limit}"
        hint = "put long commands into files and run those"
        raise TemplateError(f"is {size} bytes; {told}", file=file, code="too_large", hint=hint)


def _parse(data: bytes, path: str, file: str) -> tuple[Json, Places]:
    return parse_document(data, path, file=file, error=TemplateError, limits=YAML)


def _placed(problems: list[Problem], positions: Places, file: str) -> TemplateError:
    positions.look_up([problem.path for problem in problems])
    placed = [problem.at(file, _place(problem, positions)) for problem in problems]
    placed.sort(key=lambda problem: (problem.line or 0, problem.column or 0))
    return TemplateError.of([problem.as_error() for problem in placed])


def _place(problem: Problem, positions: Places) -> tuple[int, int] | None:
    return positions.locate(problem.path, key=problem.code in (UNKNOWN_KEY, BAD_KEY))

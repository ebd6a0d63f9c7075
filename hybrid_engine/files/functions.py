"""The catalogue of `functions/`: what can be called, found by reading the source and never by running it.

A function counts when it stands at the top of a module and is decorated with `function` of this package, plain or with
`name=`. A file that cannot be read or parsed is reported and hides nothing but itself.
"""

from __future__ import annotations

import ast
import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

from hybrid_engine.errors import InputError, TemplateError
from hybrid_engine.files.layout import Layout
from hybrid_engine.files.strict import read_plain_file

MAX_SOURCE = 4 * 1024 * 1024
MAX_FILES = 1_000

_Function = ast.FunctionDef | ast.AsyncFunctionDef
_Stamp = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class FunctionInfo:
    """A callable: `name` is what templates write. `open` when it takes any argument by name (`**`)."""

    name: str
    file: str
    line: int
    params: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    doc: str | None = None
    is_async: bool = False
    open: bool = False


class Catalogue(dict[str, FunctionInfo]):
    """The functions by name, and the `problems` of the files that could not be read."""

    def __init__(self) -> None:
        super().__init__()
        self.problems: list[TemplateError] = []


def catalogue(layout: Layout) -> Catalogue:
    """What is in `functions/` now. Unchanged files are not read again."""
    found = Catalogue()
    for module, path in _modules(layout.functions):
        told = os.path.relpath(path, layout.home)
        try:
            infos = _infos(module, path, told)
        except TemplateError as problem:
            found.problems.append(problem)
            continue
        for info in infos:
            if info.name in found:
                message = f"{info.name} is there twice, first in {found[info.name].file}"
                found.problems.append(TemplateError(message, file=info.file, line=info.line, code="duplicate_function"))
            else:
                found[info.name] = info
    return found


def _modules(folder: str) -> Iterator[tuple[str, str]]:
    """(module, path) of every importable file, packages too, in a stable order."""
    count = 0
    for root, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if name.isidentifier() and name != "__pycache__")
        package = os.path.relpath(root, folder).replace(os.sep, ".")
        for name in sorted(files):
            stem, suffix = os.path.splitext(name)
            if suffix != ".py" or not stem.isidentifier():
                continue
            count += 1
            if count > MAX_FILES:
                return
            parts = [part for part in (package, stem) if part not in (".", "__init__")]
            if parts:
                yield ".".join(parts), os.path.join(root, name)


_seen: dict[str, tuple[_Stamp, tuple[FunctionInfo, ...] | TemplateError]] = {}


def _infos(module: str, path: str, told: str) -> tuple[FunctionInfo, ...]:
    try:
        status = os.stat(path)
    except OSError as failure:
        raise TemplateError(f"cannot be read: {failure.strerror}", file=told, code="unreadable") from None
    stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
    known = _seen.get(path)
    if known is None or known[0] != stamp:
        known = _seen[path] = (stamp, _read(module, path, told))
    if isinstance(known[1], TemplateError):
        raise known[1]
    return known[1]


def _read(module: str, path: str, told: str) -> tuple[FunctionInfo, ...] | TemplateError:
    try:
        source, _ = read_plain_file(path, MAX_SOURCE, links=None, error=TemplateError)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(source)
    except SyntaxError as error:
        return TemplateError(
            f"is not Python: {error.msg}", file=told, line=error.lineno, column=error.offset, code="syntax"
        )
    except (ValueError, RecursionError, MemoryError) as error:
        return TemplateError(f"is not Python: {error}", file=told, code="syntax")
    except InputError as error:
        return TemplateError(error.message, file=told, code=error.code)
    names = _decorator_names(tree)
    return tuple(
        _info(module, node, name, told)
        for node in tree.body
        if isinstance(node, _Function) and (name := _marked_as(node, names)) is not None
    )


def _decorator_names(tree: ast.Module) -> set[str]:
    """How `function` is called in this file: `from hybrid_engine import function as step` counts."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "hybrid_engine":
            names |= {alias.asname or alias.name for alias in node.names if alias.name == "function"}
            names |= {f"{alias.asname or alias.name}.function" for alias in node.names if alias.name == "authoring"}
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "hybrid_engine":
                    names.add(f"{alias.asname or alias.name}.function")
    return names


def _marked_as(node: _Function, names: set[str]) -> str | None:
    """The name under which the function is offered, or None when it is not."""
    for decorator in node.decorator_list:
        call = decorator if isinstance(decorator, ast.Call) else None
        if ast.unparse(call.func if call else decorator) not in names:
            continue
        for keyword in call.keywords if call else ():
            if (
                keyword.arg == "name"
                and isinstance(keyword.value, ast.Constant)
                and isinstance(keyword.value.value, str)
            ):
                return keyword.value.value
        return node.name
    return None


def _info(module: str, node: _Function, name: str, file: str) -> FunctionInfo:
    given = node.args
    plain = [argument.arg for argument in given.args]
    by_name = [argument.arg for argument in given.kwonlyargs]
    required = plain[: len(plain) - len(given.defaults)] if given.defaults else plain
    required = required + [arg for arg, default in zip(by_name, given.kw_defaults) if default is None]
    return FunctionInfo(
        name=f"{module}.{name}",
        file=file,
        line=node.lineno,
        params=tuple(plain + by_name),
        required=tuple(required),
        doc=ast.get_docstring(node),
        is_async=isinstance(node, ast.AsyncFunctionDef),
        open=given.kwarg is not None,
    )

"""Templates on disk: errors in their place, changes seen, broken edits survived, frozen versions kept."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from hybrid_engine.errors import JobError, TemplateError
from hybrid_engine.files.functions import catalogue
from hybrid_engine.files.layout import Layout
from hybrid_engine.files.templates import TemplateStore
from hybrid_engine.model.template import Template

GOOD = "steps: {a: {run: 'true'}}\n"


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(str(tmp_path))
    for folder in layout.folders():
        os.makedirs(folder, exist_ok=True)
    return layout


def write(layout: Layout, name: str, text: str | bytes, folder: str = "templates") -> str:
    path = os.path.join(layout.home, folder, name)
    Path(path).write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def refused(store: TemplateStore, name: str) -> TemplateError:
    with pytest.raises(TemplateError) as caught:
        store.load(name)
    return caught.value


def layers(steps: int, width: int) -> dict[str, object]:
    """A graph in which each step needs all of the layer above."""
    return {
        f"step-{i}": {
            "run": "true",
            "needs": [f"step-{j}" for j in range((i // width - 1) * width, i // width * width)],
        }
        for i in range(width, steps)
    } | {f"step-{i}": {"run": "true", "needs": []} for i in range(width)}


def test_size_follows_from_steps_and_edges(layout: Layout) -> None:
    text = json.dumps({"steps": layers(1_500, 100)})
    assert len(text) > 1.5 * (1 << 20)
    write(layout, "wide.json", text)
    store = TemplateStore(layout)
    template = store.current("wide")
    assert len(template.steps) == 1_500
    assert len(template.to_frozen()) > 1 << 20
    assert TemplateStore(layout).thaw(template.version) == template


def test_a_wide_graph_may_be_yaml_too(layout: Layout) -> None:
    steps = layers(700, 100)
    rows = [f"  {name}:\n    run: 'true'\n    needs: {json.dumps(step['needs'])}\n" for name, step in steps.items()]  # type: ignore[index]
    pad = "".join(f"# {'=' * 998}\n" for _ in range(600))
    write(layout, "wide.yaml", "steps:\n" + "".join(rows) + pad)
    assert len(TemplateStore(layout).load("wide").steps) == 700


def test_what_no_steps_account_for_is_too_large(layout: Layout) -> None:
    steps = {f"s{i}": {"run": "true " + "x" * 2_000} for i in range(1_100)}
    write(layout, "fat.json", json.dumps({"steps": steps}))
    error = refused(TemplateStore(layout), "fat")
    assert (error.code, error.file) == ("too_large", "templates/fat.json")
    assert "a template of 1100 steps and 0 needs may have 2174976" in error.message
    write(layout, "none.json", " " * (17 << 20))
    assert refused(TemplateStore(layout), "none").code == "too_large"


# --- reading ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".yaml", ".yml", ".json"])
def test_a_template_is_found_by_its_name(layout: Layout, suffix: str) -> None:
    text = GOOD if suffix != ".json" else '{"steps": {"a": {"run": "true"}}}'
    write(layout, "report" + suffix, text)
    store = TemplateStore(layout)
    assert store.names() == ["report"]
    assert store.load("report").name == "report"


def test_an_unknown_template_is_told_with_the_nearest_one(layout: Layout) -> None:
    write(layout, "data_processing.yaml", GOOD)
    with pytest.raises(JobError) as caught:
        TemplateStore(layout).load("data-procesing")
    assert (caught.value.code, caught.value.hint) == ("unknown_template", "did you mean 'data_processing'?")


@pytest.mark.parametrize("name", ["../secret", "a/b", "", ".", "x" * 65, "a\0b"])
def test_a_name_never_leads_out_of_the_folder(layout: Layout, name: str) -> None:
    with pytest.raises(JobError):
        TemplateStore(layout).load(name)


def test_every_error_is_in_its_place_and_all_are_told(layout: Layout) -> None:
    write(
        layout,
        "x.yaml",
        "priority: 77\nsteps:\n  a:\n    run: x\n    retries: 3\n"
        "  b:\n    run: echo ${{ params.x }}\n    retry: {attempts: 0}\n",
    )
    error = refused(TemplateStore(layout), "x")
    assert [str(problem).split(": ")[0] for problem in error.problems] == [
        "templates/x.yaml:1:11", "templates/x.yaml:5:5", "templates/x.yaml:7:10", "templates/x.yaml:8:23",
    ]  # fmt: skip
    assert "steps.a.retries: unknown key 'retries' (did you mean 'retry'?)" in str(error)


def test_errors_in_json_templates_are_in_their_place_too(layout: Layout) -> None:
    write(layout, "x.json", '{"steps": {"a": {\n "run": "x",\n "timeout": "soon"}}}')
    assert str(refused(TemplateStore(layout), "x")).startswith("templates/x.json:3:13: steps.a.timeout: ")


def test_what_only_the_whole_shows_is_refused_when_loaded(layout: Layout) -> None:
    write(layout, "x.yaml", "steps:\n  a: {run: x}\n  b:\n    run: x\n    env: {X: '${{ params.nope }}'}\n")
    error = refused(TemplateStore(layout), "x")
    assert (error.line, error.column, error.code) == (5, 14, "unknown_param")
    write(layout, "y.yaml", "steps:\n  a: {run: x, needs: b}\n  b: {run: x}\n")
    assert "a -> b -> a" in str(refused(TemplateStore(layout), "y"))


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (b"", "empty"),
        (b"steps: [\n", "syntax"),
        (b"\xef\xbb\xbf" + GOOD.encode(), "bom"),
        (b"\0", "syntax"),
        (b"a: &a [*a]", "circle"),
        (b"name: other\n" + GOOD.encode(), "name"),
        (b"- a", "model_type"),
        (b"x: " + b"y" * (1 << 20), "too_large"),
    ],
)
def test_a_file_that_is_no_template_is_refused(layout: Layout, text: bytes, code: str) -> None:
    write(layout, "x.yaml", text)
    error = refused(TemplateStore(layout), "x")
    assert (error.code, error.file) == (code, "templates/x.yaml")


@pytest.mark.parametrize(
    ("name", "content"),
    [("x.yaml", b"%YAML 1.3\n---\nsteps: {}"), ("x.yaml", b'description: "\\UFFFFFFFF"'),
    ("x.json", b'{"priority":1e9999x}')],
)  # fmt: skip
def test_what_no_parser_documents_is_an_error_of_the_template(layout: Layout, name: str, content: bytes) -> None:
    write(layout, name, content)
    store = TemplateStore(layout)
    for ask in (store.load, store.current):
        with pytest.raises(TemplateError) as caught:
            ask("x")
        assert (caught.value.file, caught.value.line) == (f"templates/{name}", 1)
    (problem,) = store.findings("x")
    assert problem.severity == "error"


def test_a_fifo_in_the_place_of_a_template_does_not_block(layout: Layout) -> None:
    os.mkfifo(os.path.join(layout.templates, "x.yaml"))
    assert refused(TemplateStore(layout), "x").code == "not_a_plain_file"


def test_an_authors_own_link_is_followed(layout: Layout, tmp_path: Path) -> None:
    os.symlink(write(layout, "elsewhere.yaml", GOOD, "."), os.path.join(layout.templates, "x.yaml"))
    assert TemplateStore(layout).load("x").name == "x"


def test_two_files_of_one_name_are_refused(layout: Layout) -> None:
    write(layout, "x.yaml", GOOD)
    write(layout, "x.json", "{}")
    assert refused(TemplateStore(layout), "x").code == "ambiguous"


def test_files_that_no_name_can_find_are_told(layout: Layout) -> None:
    write(layout, "my template.yaml", GOOD)
    write(layout, "README.md", "")
    store = TemplateStore(layout)
    assert store.names() == []
    assert [problem.file for problem in store.strays()] == ["templates/my template.yaml"]


def test_findings_include_warnings_and_functions(layout: Layout) -> None:
    write(layout, "x.yaml", "steps:\n  a:\n    if: false\n    call: quality.profle\n")
    write(layout, "quality.py", "from hybrid_engine import function\n@function\ndef profile(): ...\n", "functions")
    store = TemplateStore(layout)
    assert [(p.severity, p.line, p.column) for p in store.findings("x", catalogue(layout))] == [
        ("error", 4, 11),
        ("warning", 3, 9),
    ]
    assert [p.severity for p in store.findings("x")] == ["warning"]


# --- changes ------------------------------------------------------------------------------------------------------


def test_a_changed_file_is_seen_at_once_even_within_one_tick_of_the_clock(layout: Layout) -> None:
    store = TemplateStore(layout)
    path = write(layout, "x.yaml", "steps: {a: {run: '1'}}\n")
    before = os.stat(path)
    assert store.current("x").steps["a"].run == "1"
    write(layout, "x.yaml", "steps: {a: {run: '2'}}\n")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert store.current("x").steps["a"].run == "2"


def test_an_unchanged_file_is_not_read_again(layout: Layout) -> None:
    store = TemplateStore(layout)
    write(layout, "x.yaml", GOOD)
    assert store.current("x") is store.current("x")


def test_a_broken_edit_keeps_the_last_good_version_also_after_a_restart(layout: Layout) -> None:
    store = TemplateStore(layout)
    write(layout, "x.yaml", GOOD)
    good = store.current("x")
    assert not store.problems
    write(layout, "x.yaml", "steps: [\n")
    for running in (store, TemplateStore(layout)):
        assert running.current("x").version == good.version
        assert running.problems["x"].line == 2
        with pytest.raises(TemplateError):
            running.load("x")
    write(layout, "x.yaml", "steps: {b: {run: x}}\n")
    assert list(store.current("x").steps) == ["b"]
    assert not store.problems


def test_a_template_that_was_never_good_is_an_error(layout: Layout) -> None:
    write(layout, "x.yaml", "steps: [\n")
    with pytest.raises(TemplateError):
        TemplateStore(layout).current("x")


def test_a_template_that_was_taken_away_is_unknown(layout: Layout) -> None:
    store = TemplateStore(layout)
    path = write(layout, "x.yaml", GOOD)
    store.current("x")
    os.unlink(path)
    with pytest.raises(JobError):
        store.current("x")


# --- frozen -------------------------------------------------------------------------------------------------------


def test_current_freezes_and_points(layout: Layout) -> None:
    store = TemplateStore(layout)
    path = write(layout, "x.yaml", GOOD)
    template = store.current("x")
    frozen = Path(layout.frozen_template(template.version))
    assert frozen.read_bytes() == template.to_frozen()
    assert frozen.stat().st_mode & 0o777 == 0o600
    status = os.stat(path)
    assert json.loads(Path(layout.frozen_name("x")).read_text()) == {
        "path": "templates/x.yaml", "mtime_ns": status.st_mtime_ns, "size": status.st_size,
        "version": template.version,
    }  # fmt: skip
    assert TemplateStore(layout).thaw(template.version) == template
    assert os.listdir(layout.tmp) == []


def test_a_frozen_version_is_written_once(layout: Layout) -> None:
    store = TemplateStore(layout)
    template = Template.author({"name": "x", "steps": {"a": {"run": "true"}}})
    inode = os.stat(store.freeze(template)).st_ino
    assert os.stat(TemplateStore(layout).freeze(template)).st_ino == inode


def test_a_frozen_version_that_went_missing_is_written_again(layout: Layout) -> None:
    store = TemplateStore(layout)
    write(layout, "x.yaml", GOOD)
    path = layout.frozen_template(store.current("x").version)
    os.unlink(path)
    store.current("x")
    assert os.path.exists(path)


@pytest.mark.parametrize("damage", [b"", b"{}", b'{"format":1}'])
def test_damaged_frozen_bytes_are_refused(layout: Layout, damage: bytes) -> None:
    template = Template.author({"name": "x", "steps": {"a": {"run": "true"}}})
    Path(TemplateStore(layout).freeze(template)).write_bytes(damage)
    with pytest.raises(TemplateError) as caught:
        TemplateStore(layout).thaw(template.version)
    assert caught.value.code == "damaged"


def test_a_version_that_is_not_kept_is_told(layout: Layout) -> None:
    with pytest.raises(TemplateError) as caught:
        TemplateStore(layout).thaw("0123456789ab")
    assert caught.value.code == "missing"


@pytest.mark.parametrize(
    "pointer", [b"", b"[]", b'{"version":"../../x"}', b'{"version":5}', b'{"version":"0123456789ab"}']
)
def test_a_damaged_pointer_is_as_good_as_none(layout: Layout, pointer: bytes) -> None:
    Path(layout.frozen_name("x")).write_bytes(pointer)
    write(layout, "x.yaml", "steps: [\n")
    with pytest.raises(TemplateError):
        TemplateStore(layout).current("x")
    write(layout, "x.yaml", GOOD)
    assert TemplateStore(layout).current("x").version == TemplateStore(layout).load("x").version


# --- functions ----------------------------------------------------------------------------------------------------


def test_functions_are_found_without_being_run(layout: Layout) -> None:
    write(
        layout,
        "quality.py",
        "import hybrid_engine as he\n"
        "from hybrid_engine import function as step\n"
        "open('ran', 'w')\n"
        "@step\n"
        "def profile(path, limit=5, *, strict, loose=1):\n    'Look at a file.'\n"
        "@he.function(name='other')\n"
        "async def wait(**anything): ...\n"
        "def helper(): ...\n"
        "@unknown\ndef neither(): ...\n",
        "functions",
    )
    os.mkdir(os.path.join(layout.functions, "pack"))
    write(layout, "inner.py", "from hybrid_engine import function\n@function\ndef f(): ...\n", "functions/pack")
    found = catalogue(layout)
    assert sorted(found) == ["pack.inner.f", "quality.other", "quality.profile"]
    profile, other = found["quality.profile"], found["quality.other"]
    assert (profile.params, profile.required) == (("path", "limit", "strict", "loose"), ("path", "strict"))
    assert (profile.file, profile.line, profile.doc) == ("functions/quality.py", 5, "Look at a file.")
    assert (other.is_async, other.open) == (True, True)
    assert not os.path.exists("ran")


def test_a_file_that_is_not_python_hides_nothing_but_itself(layout: Layout) -> None:
    write(layout, "good.py", "from hybrid_engine import function\n@function\ndef f(): ...\n", "functions")
    write(layout, "bad.py", "def (\n", "functions")
    write(layout, "deep.py", "(" * 5000, "functions")
    write(layout, "binary.py", b"\0\xff", "functions")
    os.mkfifo(os.path.join(layout.functions, "pipe.py"))
    found = catalogue(layout)
    assert list(found) == ["good.f"]
    assert {str(problem.file) for problem in found.problems} == {
        "functions/bad.py", "functions/deep.py", "functions/binary.py", "functions/pipe.py",
    }  # fmt: skip
    assert next(problem.line for problem in found.problems if problem.file == "functions/bad.py") == 1


def test_a_changed_function_is_seen(layout: Layout) -> None:
    write(layout, "m.py", "from hybrid_engine import function\n@function\ndef f(): ...\n", "functions")
    assert list(catalogue(layout)) == ["m.f"]
    write(layout, "m.py", "from hybrid_engine import function\n@function\ndef gg(a): ...\n", "functions")
    assert list(catalogue(layout)) == ["m.gg"]

"""Job files from strangers, on a real file system: every kind of file that is not one, and lines one by one."""

from __future__ import annotations

import errno
import json
import os
import socket
import time
from pathlib import Path

import pytest

from hybrid_engine.errors import JobError, TemplateError
from hybrid_engine.files.jobfile import MAX_FILE, MAX_LINE, JobFile, read_job_file
from hybrid_engine.files.strict import jsontext, read_plain_file
from hybrid_engine.rules.params import check_params
from hybrid_engine.rules.requests import check_request


def a_file(folder: Path, name: str, content: str | bytes) -> str:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


def refused(path: str | Path) -> JobError:
    started = time.perf_counter()
    with pytest.raises(JobError) as caught:
        read_job_file(str(path))
    assert time.perf_counter() - started < 2
    assert caught.value.file == os.path.basename(path)
    return caught.value


# --- files that are not plain -------------------------------------------------------------------------------------


def test_a_symbolic_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "x.json").symlink_to(a_file(tmp_path, "target.json", "{}"))
    assert refused(tmp_path / "x.json").code == "symlink"


def test_a_dangling_link_is_a_link(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").symlink_to("/nowhere")
    assert refused(tmp_path / "x.jsonl").code == "symlink"


def test_a_hard_link_to_a_foreign_file_is_refused(tmp_path: Path) -> None:
    os.link(a_file(tmp_path, "secret", "{}"), tmp_path / "x.json")
    assert refused(tmp_path / "x.json").code == "hard_link"
    assert read_job_file(str(tmp_path / "x.json"), links=2)[0].raw == {}


@pytest.mark.parametrize("name", ["x.yaml", "x.jsonl"])
def test_a_named_pipe_does_not_block(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    assert refused(tmp_path / name).code == "not_a_plain_file"


def test_a_folder_a_socket_and_a_device_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.json").mkdir()
    assert refused(tmp_path / "x.json").code == "not_a_plain_file"
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("s.json")
        assert refused(tmp_path / "s.json").code == "not_a_plain_file"
    with pytest.raises(JobError) as caught:
        read_plain_file("/dev/zero", 100)
    assert caught.value.code == "not_a_plain_file"


@pytest.mark.parametrize("name", ["x.json", "x.yaml", "x.jsonl"])
def test_a_sparse_file_of_a_hundred_gigabytes_costs_nothing(tmp_path: Path, name: str) -> None:
    with open(tmp_path / name, "wb") as file:
        try:
            file.truncate(100 << 30)
        except OSError:
            pytest.skip("this file system has no files of that size")
    assert refused(tmp_path / name).code == "too_large"


def test_a_file_at_the_limit_is_read_and_one_above_is_not(tmp_path: Path) -> None:
    padding = b" " * (MAX_FILE - 2)
    assert read_job_file(a_file(tmp_path, "x.json", b"{}" + padding))[0].raw == {}
    assert refused(a_file(tmp_path, "y.json", b"{}" + padding + b" ")).code == "too_large"


def test_a_vanished_file_is_told_as_such(tmp_path: Path) -> None:
    assert refused(tmp_path / "x.json").code == "vanished"


@pytest.mark.parametrize("call", ["open", "read"])
def test_an_unreadable_file_is_told_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    def fail(*_: object) -> int:
        raise OSError(errno.EACCES, os.strerror(errno.EACCES))

    path = a_file(tmp_path, "x.json", "{}")
    monkeypatch.setattr(os, call, fail)
    error = refused(path)
    assert (error.code, "Permission denied" in str(error)) == ("unreadable", True)


def test_a_file_that_grows_while_it_is_read_is_refused_not_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = a_file(tmp_path, "x.json", "0123456789")
    honest = os.read

    def read_while_it_grows(fd: int, size: int) -> bytes:
        with open(path, "ab") as file:
            file.write(b"0123456789")
        return honest(fd, size)

    monkeypatch.setattr(os, "read", read_while_it_grows)
    with pytest.raises(JobError) as caught:
        read_plain_file(path, 15)
    assert caught.value.code == "too_large"


@pytest.mark.parametrize("name", ["x.txt", "x", "x.json.tmp", ".json"])
def test_a_file_of_another_kind_is_no_job_file(tmp_path: Path, name: str) -> None:
    assert refused(a_file(tmp_path, name, "{}")).code == "unknown_suffix"


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    path = a_file(tmp_path, "x.jsonl", "{}\n{}\n")
    os.symlink(path, tmp_path / "l.jsonl")
    before = len(os.listdir("/proc/self/fd"))
    JobFile(path).close()
    with JobFile(path):
        pass
    read_job_file(path)
    refused(tmp_path / "l.jsonl")
    with pytest.raises(JobError):
        read_plain_file(str(tmp_path), 10)
    assert len(os.listdir("/proc/self/fd")) == before


# --- one job ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.yaml", "template: t\npriority: 5\n"),
        ("x.yml", "{template: t, priority: 5}"),
        ("X.JSON", '{"template":"t","priority":5}'),
    ],
)
def test_one_job_is_read_with_the_status_of_its_file(tmp_path: Path, name: str, content: str) -> None:
    path = a_file(tmp_path, name, content)
    with JobFile(path) as file:
        (entry,) = file
        assert file.status.st_ino == os.stat(path).st_ino
    assert (entry.raw, entry.line, entry.error) == ({"template": "t", "priority": 5}, None, None)
    assert entry.data == content.encode()


@pytest.mark.parametrize(
    ("name", "content", "line", "column"),
    [
        ("x.yaml", "template: t\nparams:\n  threshold: high\n", 3, 14),
        ("x.json", '{"template": "t",\n "params": {\n "threshold": "high"}}', 3, 15),
    ],
)
def test_what_is_wrong_with_a_job_is_told_in_its_place(
    tmp_path: Path, name: str, content: str, line: int, column: int
) -> None:
    (entry,) = read_job_file(a_file(tmp_path, name, content))
    with pytest.raises(JobError) as caught:
        check_params({"threshold": {"type": "number"}}, check_request(entry.raw)["params"])
    error = entry.explain(caught.value)
    assert str(error).startswith(f"{name}:{line}:{column}: params.threshold: must be a number")


def test_an_unknown_template_is_told_at_its_value(tmp_path: Path) -> None:
    (entry,) = read_job_file(a_file(tmp_path, "x.yaml", "template: nope\n"))
    error = entry.explain(JobError("there is none", path="template", code="unknown_template"))
    assert (error.line, error.column) == (1, 11)


@pytest.mark.parametrize("among", ["fields", "params"])
def test_very_many_problems_are_cut_and_placed_in_one_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, among: str
) -> None:
    many = {f"parm{n}": 1 for n in range(30_000)}
    content = {"template": "t", **many} if among == "fields" else {"template": "t", "params": many}
    (entry,) = read_job_file(a_file(tmp_path, "x.json", json.dumps(content)))
    with pytest.raises(JobError) as caught:
        check_params({"param": {}}, check_request(entry.raw)["params"])
    passes = []
    monkeypatch.setattr(jsontext, "_walk", lambda text, walk=jsontext._walk: (passes.append(text), walk(text))[1])
    error = entry.explain(caught.value)
    assert len(passes) == 1
    assert [problem.code for problem in error.problems][99:101] == ["unknown_field" if among == "fields" else
                                                                    "unknown_param", "too_many_problems"]  # fmt: skip
    assert len({(problem.line, problem.column) for problem in error.problems[:100]}) == 100


@pytest.mark.parametrize(("name", "text"), [("x.yaml", "template: t\n"), ("x.jsonl", '{"template": "t"}\n')])
def test_a_broken_template_is_told_at_the_job_that_names_it(tmp_path: Path, name: str, text: str) -> None:
    (entry,) = read_job_file(a_file(tmp_path, name, text))
    broken = TemplateError.of([
        TemplateError("is missing", path="steps", file="templates/t.yaml", line=3, column=1),
        TemplateError("unknown key", path="stps", file="templates/t.yaml", line=4, column=2),
    ])  # fmt: skip
    error = entry.explain(broken)
    assert (error.file, error.line, error.path, error.code) == (name, 1, "template", "bad_template")
    assert error.as_dict()["file"] == name
    assert "templates/t.yaml:3:1: 2 problems: line 3: steps: is missing; line 4: stps: unknown key" in error.message
    assert (broken.file, broken.line) == ("templates/t.yaml", 3)


def test_an_unknown_field_is_told_at_its_name_and_several_problems_each_in_place(tmp_path: Path) -> None:
    (entry,) = read_job_file(a_file(tmp_path, "x.yaml", "template: t\nparms: {}\npriority: 77\n"))
    with pytest.raises(JobError) as caught:
        check_request(entry.raw)
    error = entry.explain(caught.value)
    assert [(p.line, p.column) for p in error.problems] == [(2, 1), (3, 11)]
    assert (error.file, error.line, error.column) == ("x.yaml", 2, 1)


@pytest.mark.parametrize(
    "content", [b"", b"\0" * 100, b"\x7fELF\x02\x01", b"\xef\xbb\xbf{}", b"[" * 500, b'{"a":1,"a":2}', b"[1e999]"]
)
@pytest.mark.parametrize("name", ["x.json", "x.yaml"])
def test_nonsense_is_refused_as_a_whole(tmp_path: Path, name: str, content: bytes) -> None:
    refused(a_file(tmp_path, name, content))


UNFORESEEN = [
    ("x.yaml", b"%YAML 1.3\n---\ntemplate: t", 1), ("x.yaml", b'template: t\nkey: "\\UFFFFFFFF"', 2),
    ("x.yaml", b'template: t\nkey: "\\U80000000"', 2), ("x.json", b'{"template": "t",\n"priority":1e9999x}', 2),
]  # fmt: skip
"""Content at which a parser raises something else than it documents."""


@pytest.mark.parametrize(("name", "content", "line"), UNFORESEEN)
def test_what_no_parser_documents_is_an_error_of_the_file(tmp_path: Path, name: str, content: bytes, line: int) -> None:
    error = refused(a_file(tmp_path, name, content))
    assert (error.file, error.line) == (name, line)


def test_in_a_line_it_hurts_that_line_only(tmp_path: Path) -> None:
    content = b'{"template":"a"}\n{"priority":1e9999x}\n{"template":"b"}\n'
    entries = read_job_file(a_file(tmp_path, "x.jsonl", content))
    assert [entry.error and (entry.error.code, entry.error.line) for entry in entries] == [
        None,
        ("not_finite", 2),
        None,
    ]


# --- many jobs ----------------------------------------------------------------------------------------------------


def test_a_bad_line_hurts_only_itself_and_is_handed_on_verbatim(tmp_path: Path) -> None:
    content = b'{"template":"a"}\n\n{"template":\n{"template":"b"}\r\n  \n\xff\xfe\nnot json\n[1]\n{"template":"c"}'
    entries = read_job_file(a_file(tmp_path, "x.jsonl", content))
    assert [(entry.line, entry.raw) for entry in entries if entry.error is None] == [
        (1, {"template": "a"}), (4, {"template": "b"}), (8, [1]), (9, {"template": "c"}),
    ]  # fmt: skip
    bad = [entry for entry in entries if entry.error is not None]
    assert [(entry.line, entry.data) for entry in bad] == [(3, b'{"template":'), (6, b"\xff\xfe"), (7, b"not json")]
    assert [(entry.error.file, entry.error.line) for entry in bad if entry.error] == [("x.jsonl", n) for n in (3, 6, 7)]


def test_an_error_in_a_line_is_told_with_the_line_of_the_file(tmp_path: Path) -> None:
    entries = read_job_file(a_file(tmp_path, "x.jsonl", '{"template":"t"}\n{"template":"t","priority":77}\n'))
    with pytest.raises(JobError) as caught:
        check_request(entries[1].raw)
    assert str(entries[1].explain(caught.value)).startswith("x.jsonl:2:28: priority: ")


def test_a_line_that_is_too_long_is_skipped_without_being_held_in_memory(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    with open(path, "wb") as file:
        file.write(b'{"template":"a"}\n')
        file.seek(64 << 20, os.SEEK_CUR)
        file.write(b'\n{"template":"b"}\n')
    entries = read_job_file(str(path))
    assert [entry.raw for entry in entries] == [{"template": "a"}, None, {"template": "b"}]
    assert entries[1].error is not None
    assert (entries[1].error.code, entries[1].error.line, len(entries[1].data)) == ("too_large", 2, MAX_LINE)


def test_a_line_at_the_limit_is_read(tmp_path: Path) -> None:
    line = b'"' + b"x" * (MAX_LINE - 2) + b'"'
    assert [entry.error for entry in read_job_file(a_file(tmp_path, "x.jsonl", line + b"\n" + line))] == [None, None]
    (entry,) = read_job_file(a_file(tmp_path, "y.jsonl", line + b" "))
    assert entry.error is not None


def test_lines_are_streamed(tmp_path: Path) -> None:
    with JobFile(a_file(tmp_path, "x.jsonl", '{"template":"a"}\n' * 100_000)) as file:
        assert next(iter(file)).raw == {"template": "a"}

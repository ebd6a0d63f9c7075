"""What is said of a script by looking at it: too little costs a folder, too much would cost somebody's file."""

from __future__ import annotations

import pytest

from hybrid_engine.execution.scripts import is_plain, may_use_artifacts


@pytest.mark.parametrize(
    "script",
    ["echo hello", 'echo "$NAME is done"', "true", "sleep 1\necho a; echo b && test -f x || exit 3", "date | wc -l",
     "printf '%s\\n' $X", "  echo a\n\n", "echo a > b", 'echo a >>"$OUT" 2>&1; true', "/bin/true",
     "/usr/bin/sort a | /bin/head"],
)  # fmt: skip
def test_a_script_of_nothing_but_quiet_commands_uses_no_artifacts(script: str) -> None:
    assert not may_use_artifacts(script)


@pytest.mark.parametrize(
    "script",
    ["./publish.sh", 'cp x "$HYBRID_ARTIFACTS"', "echo $(make)", "echo `make`", "echo a\nmake", "python -c 1", "env",
     "if true; then ./x; fi", "x=echo; $x a", "echo a & ./b", ". ./more", "(./a)", "echo a\\\n; ./b", "echo <(./a)",
     "echo a >workflows/$HYBRID_WORKFLOW/artifacts/a", "echo a >(./b)", "echo a > b ./c&./d", "./true",
     "/opt/bin/true", "bin/true", "/usrtrue", "/bin/make"],
)  # fmt: skip
def test_whatever_may_start_another_program_may_use_them(script: str) -> None:
    assert may_use_artifacts(script)


@pytest.mark.parametrize(("script", "plain"), [("make all", True), ("echo a", False), ("make; make", False)])
def test_one_command_with_plain_arguments_is_plain(script: str, plain: bool) -> None:
    assert is_plain(script) is plain

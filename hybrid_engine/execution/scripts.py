"""What can be said of a shell script by looking at it: whether it is one plain command, and what it does not use.

Both only spare work (a process, a folder). Whatever is not recognised is taken for a script that may do anything.
"""

from __future__ import annotations

import re

_WORD = r"""(?:[\w./~+:@%,=-]+|"[^"`$\\]*"|"?\$\w+"?|'[^']*')"""
_PLAIN_SCRIPT = re.compile(rf"[\w./+@%-]+(?:[ \t]+{_WORD})*\s*")
_BUILTINS = frozenset(
    re.findall(
        r"\S+",
        ". : alias bg break builtin cd command continue do done echo elif else esac eval exec exit export false fg fi "
        "for function getopts hash if in jobs kill local read readonly return set shift source test then time times "
        "trap true type typeset ulimit umask unalias unset until wait while",
    )
)
"""Words that are more to a shell than the name of a program."""

_QUIET = frozenset(
    [
        "echo",
        "printf",
        "true",
        "false",
        ":",
        "exit",
        "sleep",
        "test",
        "[",
        "wc",
        "head",
        "tail",
        "sort",
        "uniq",
        "date",
        "seq",
        "expr",
    ]
)
"""Commands that look at no variable but those in their arguments."""
_QUIET_WORD = r"""(?:[\w./~+:@%,=\]-]+|"[^"`\\]*"|\$\w+|'[^']*')"""
_REDIRECTION = rf"(?:[0-9]?>{{1,2}}[ \t]*{_QUIET_WORD}|[0-9]?>&[0-9])"
_QUIET_COMMAND = re.compile(rf"\s*(?:exec[ \t]+)?([^\s<>&(]+)(?:[ \t]*{_REDIRECTION}|[ \t]+{_QUIET_WORD})*\s*")
_SYSTEM = re.compile(r"^(?:/usr)?/bin/")
"""The folders of the system's own programs: what lies elsewhere may be anything of the same name."""
_BETWEEN = re.compile(r"\|\||&&|[;|\n]")


def is_plain(script: str) -> bool:
    """Is this script one command with plain arguments, and the command a program?"""
    return _PLAIN_SCRIPT.fullmatch(script) is not None and script.split(None, 1)[0] not in _BUILTINS


def may_use_artifacts(script: str) -> bool:
    """May this script, or a program that it starts, put something into the folder for artifacts?"""
    if "artifacts" in script.lower() or "$(" in script:
        return True
    commands = [part for part in _BETWEEN.split(script) if part.strip()]
    return not all(
        (found := _QUIET_COMMAND.fullmatch(part)) and _SYSTEM.sub("", found[1]) in _QUIET for part in commands
    )

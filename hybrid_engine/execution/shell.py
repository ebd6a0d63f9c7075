"""Shell steps: one `/bin/sh` in a session of its own, straight on the log files, with no process of ours in between.

The shell writes its pid into the lease, runs the script, and writes the status to `exit`, however the script ends
short of a signal: whoever comes later, this engine or the next, can read how it ended.
"""

from __future__ import annotations

import errno
import os
import re
import signal
from collections.abc import Callable

from hybrid_engine.execution import processes, results
from hybrid_engine.files import atomic
from hybrid_engine.model.attempt import Attempt, Outcome
from hybrid_engine.ports.reactor import Reactor, Timer

_SHELTERED = 'echo $$ >&9; (umask "$3"; set -e; eval "$2"); r=$?; echo $r >"$1"; exit $r'
"""The script runs in a subshell, so that nothing in it can keep the outer shell from writing the status down."""

_PLAIN = 'echo $$ >&9; umask "$3"; eval "$2"; r=$?; umask 077; echo $r >"$1"; exit $r'
"""For a single plain command, which can do nothing to the shell that runs it: spares a process."""

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

LEASE_FD = 9
READ_AGAIN = 0.1
MOURNING = 0.1
"""Seconds between a death by an outsider's SIGKILL and calling it a failure: such a kill often takes us with it, and
then the attempt is lost, not failed."""

_DEFAULT_SIGNALS = (signal.SIGPIPE, signal.SIGIO, signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGXFSZ)


def is_plain(script: str) -> bool:
    """Is this script one command with plain arguments, and the command a program?"""
    return _PLAIN_SCRIPT.fullmatch(script) is not None and script.split(None, 1)[0] not in _BUILTINS


class ShellAttempt:
    """One running shell attempt, started by us or taken over. `ended(outcome)` is called once, from the reactor."""

    def __init__(
        self,
        reactor: Reactor,
        attempt: Attempt,
        folder: str,
        strays: Callable[[str], list[int]],
        ended: Callable[[Outcome], None],
    ) -> None:
        self.attempt = attempt
        self.pid: int | None = None
        self.folder = folder
        self._reactor = reactor
        self._strays = strays
        self._ended = ended
        self._lease = os.path.join(folder, "lease")
        self._pidfd = -1
        self._ours = False
        self._timer: Timer | None = None
        self._verdict: Outcome | None = None
        self._ending = False

    def start(self, env: dict[str, str], umask: int) -> None:
        """Spawn. Raises OSError when the machine cannot (out of processes, descriptors, disk)."""
        exit_file = os.path.join(self.folder, "exit")
        wrapper = _PLAIN if is_plain(self.attempt.script or "") else _SHELTERED
        atomic.make_folders(self.folder)
        lease = processes.take_lease(self._lease)
        try:
            self.pid = os.posix_spawn(
                "/bin/sh",
                ["sh", "-c", wrapper, "hybrid-step", exit_file, self.attempt.script or "", f"{umask:04o}"],
                env,
                file_actions=self._file_actions(lease),
                setsid=True,
                setsigmask=(),
                setsigdef=_DEFAULT_SIGNALS,
            )
        finally:
            os.close(lease)
        self._ours = True
        self._set_timeout(self.attempt.timeout)
        self._watch_own()

    def _watch_own(self) -> None:
        """It runs: from here on nothing may look as if it had not been started."""
        try:
            if self.pid is not None and not self._ending:
                self._watch(self.pid)
        except OSError:
            self._reactor.call_later(READ_AGAIN, self._watch_own)

    def _file_actions(self, lease: int) -> list[tuple[object, ...]]:
        log = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
        return [
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, os.path.join(self.folder, "stdout.log"), log, atomic.FILE_MODE),
            (os.POSIX_SPAWN_OPEN, 2, os.path.join(self.folder, "stderr.log"), log, atomic.FILE_MODE),
            (os.POSIX_SPAWN_DUP2, lease, LEASE_FD),
        ]

    def adopt(self, remaining: float | None) -> bool:
        """Take over an attempt of an engine that is gone. False when nothing of it lives and it left no status."""
        if not processes.lease_is_held(self._lease):
            outcome = results.of_exit_file(self.attempt, self.folder)
            if outcome is None:
                return False
            self._reactor.post(lambda: self._ended(outcome))
            return True
        self._set_timeout(remaining)
        self._find()
        return True

    def _find(self) -> None:
        """The lease is held: wait until its pid can be watched, or everything is over."""
        if self._ending:
            return
        self.pid = self.pid or processes.lease_pid(self._lease)
        if self.pid is not None and self._watch_quietly(self.pid):
            return
        self.pid = None  # not surely the step's: from here on only the lease tells who belongs to it
        if processes.lease_is_held(self._lease) and not os.path.exists(os.path.join(self.folder, "exit")):
            self._reactor.call_later(0.05, self._find)
        else:
            self._over()

    def _watch_quietly(self, pid: int) -> bool:
        try:
            self._watch(pid)
        except OSError as error:
            if error.errno in (errno.ESRCH, errno.EINVAL):
                return False
            raise
        # The pid was written by the step and may since have been given to somebody else: only while the lease is
        # held by a live step is it surely the step's. `exit` present means that its shell has gone.
        if os.path.exists(os.path.join(self.folder, "exit")) or not processes.lease_is_held(self._lease):
            self._unwatch()
            return False
        return True

    def _watch(self, pid: int) -> None:
        self._pidfd = os.pidfd_open(pid)
        self._reactor.watch(self._pidfd, self._over)

    def _unwatch(self) -> None:
        if self._pidfd >= 0:
            self._reactor.unwatch(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = -1

    def _set_timeout(self, seconds: float | None) -> None:
        if seconds is not None:
            self._timer = self._reactor.call_later(max(0.0, seconds), self._time_out)

    def _time_out(self) -> None:
        limit = self.attempt.timeout
        self.end(results.ended_by(self.attempt, "timeout", f"ran longer than its timeout of {limit:g} s"))

    def cancel(self) -> None:
        self.end(results.ended_by(self.attempt, "cancelled", "cancelled"))

    def end(self, verdict: Outcome) -> None:
        """End all its processes; when nothing is left, the outcome is `verdict`."""
        if self._ending:
            return
        self._verdict = verdict
        self._finish_off()

    # --- the end

    def _over(self) -> None:
        """The shell has ended. Whatever it left running is ended before the outcome is told."""
        self._unwatch()
        if not self._ending:
            self._ending = True
            self._read_outcome(self._reap())

    def _read_outcome(self, code: int | None) -> None:
        try:
            self._verdict = results.of_exit(self.attempt, self.folder, code) if code is not None else self._from_file()
        except OSError:  # the machine is short of something, or the disk fails: the step is not at fault
            self._reactor.call_later(READ_AGAIN, lambda: self._read_outcome(code))
            return
        if code == -signal.SIGKILL:
            self._reactor.call_later(MOURNING, self._clean_up)
        else:
            self._clean_up()

    def _clean_up(self) -> None:
        self._ending = False
        group_lives = self.pid is not None and processes.group_lives(self.pid)
        if group_lives or processes.lease_is_held(self._lease) or self._strays(self.attempt.key):
            self._finish_off()
        else:
            self._tell()

    def _reap(self) -> int | None:
        if not self._ours or self.pid is None:
            return None
        try:
            _, status = os.waitpid(self.pid, 0)
        except ChildProcessError:
            return None
        self._ours = False
        return os.waitstatus_to_exitcode(status)

    def _from_file(self) -> Outcome:
        outcome = results.of_exit_file(self.attempt, self.folder)
        return outcome or results.ended_by(self.attempt, "lost", "it ended without leaving an exit status")

    def _finish_off(self) -> None:
        self._ending = True
        processes.Ending(self._reactor, self.pid, self._lease, self.attempt.grace, self._others, self._tell)

    def _others(self) -> list[int]:
        """What else belongs to the attempt. The leader is reaped on the way: as a zombie it would keep its group."""
        if self._ours and self.pid is not None:
            try:
                if os.waitpid(self.pid, os.WNOHANG)[0]:
                    self._ours = False
            except ChildProcessError:
                self._ours = False
        return self._strays(self.attempt.key)

    def _tell(self) -> None:
        self._unwatch()
        if self._timer is not None:
            self._timer.cancel()
        if self._verdict is not None:
            verdict, self._verdict = self._verdict, None
            self._ended(verdict)

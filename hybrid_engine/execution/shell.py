"""Shell steps: one `/bin/sh` in a session of its own, straight on the log files, with no process of ours in between.

The shell writes its pid into the lease, runs the script, and writes its status behind the pid, however the script ends
short of a signal: whoever comes later, this engine or the next, can read how it ended.
"""

from __future__ import annotations

import errno
import os
import signal

from hybrid_engine.execution import leases, processes, results
from hybrid_engine.execution.handles import MOURNING, READ_AGAIN, EndedHandle, Handle
from hybrid_engine.execution.host import Host
from hybrid_engine.execution.scripts import is_plain, may_use_artifacts
from hybrid_engine.files import atomic
from hybrid_engine.model.attempt import Attempt, Outcome

_SHELTERED = 'echo "$$ $3" >&9; (umask "$2"; set -e; eval "$1"); r=$?; echo "exit $r" >&9; exit $r'
"""The script runs in a subshell, so that nothing in it can keep the outer shell from writing the status down."""

_PLAIN = 'echo "$$ $3" >&9; umask "$2"; eval "$1"; r=$?; echo "exit $r" >&9; exit $r'
"""For a single plain command, which can do nothing to the shell that runs it: spares a process."""

LEASE_FD = 9
FIND_AGAIN = 0.05
REMEMBERED = 10_000
"""Workflows whose folder of artifacts need not be asked for again."""

_DEFAULT_SIGNALS = (
    signal.SIGPIPE, signal.SIGIO, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP, signal.SIGXFSZ,
)  # fmt: skip
"""What our starter ignored (a shell does so with a command in the background) the steps do not."""


class ShellRunner:
    """Starts shell attempts, and takes over those of an engine that is gone."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._with_artifacts: set[str] = set()

    def start(self, attempt: Attempt) -> Handle:
        folder = self._host.folder(attempt)
        env = {**self._host.base, **self._host.variables(attempt, folder)}
        self._make_folders(attempt, folder)
        handle = ShellHandle(self._host, attempt, folder)
        handle.start(env)
        return handle

    def adopt(self, attempt: Attempt) -> Handle | None:
        folder = self._host.folder(attempt)
        if leases.is_held(os.path.join(folder, "lease")):
            handle = ShellHandle(self._host, attempt, folder)
            handle.take_over()
            return handle
        outcome = results.of_record(attempt, folder)
        return None if outcome is None else EndedHandle(self._host, outcome, attempt)

    def close(self) -> None:
        """Shell steps need nobody."""

    def _make_folders(self, attempt: Attempt, folder: str) -> None:
        """The attempt's folder, and that of the workflow's artifacts where the script may use it unasked."""
        is_first = attempt.number == 1 and _make_step_folder(os.path.dirname(folder))
        try:
            atomic.make_folder(folder)
        except FileNotFoundError:
            atomic.make_folders(folder)
        if not may_use_artifacts(attempt.script or ""):
            return
        if is_first or attempt.workflow not in self._with_artifacts:
            if len(self._with_artifacts) >= REMEMBERED:
                self._with_artifacts.clear()
            atomic.make_folder(self._host.layout.artifacts(attempt.workflow))
            self._with_artifacts.add(attempt.workflow)


def _make_step_folder(path: str) -> bool:
    """Top down, because a new step's folder is missing, and each call that fails costs as much as one that does not.
    True when it is the first of its workflow."""
    try:
        atomic.make_folder(path)
        return False
    except FileNotFoundError:
        atomic.make_folders(os.path.dirname(path))
        atomic.make_folder(path)
        return True


class ShellHandle(Handle):
    """One running shell attempt. `_ours`: its shell is our child and was not collected yet."""

    def __init__(self, host: Host, attempt: Attempt, folder: str) -> None:
        super().__init__(host, attempt)
        self._folder = folder
        self._lease = os.path.join(folder, "lease")
        self._pid: int | None = None
        self._pidfd = -1
        self._ours = False

    def start(self, env: dict[str, str]) -> None:
        """Spawn. Raises OSError when the machine cannot (out of processes, descriptors, disk)."""
        script = self.attempt.script or ""
        began = f"{self._host.boot_clock():.2f}"
        wrapper = _PLAIN if is_plain(script) else _SHELTERED
        lease = leases.take(self._lease)
        try:
            pid = os.posix_spawn(
                "/bin/sh",
                ["sh", "-c", wrapper, "hybrid-step", script, f"{self._host.umask:04o}", began],
                env,
                file_actions=self._file_actions(lease),
                setsid=True,
                setsigmask=(),
                setsigdef=_DEFAULT_SIGNALS,
            )
        finally:
            os.close(lease)
        self._pid = pid
        self._ours = True
        self._host.children.add(pid)
        self._set_timeout(self.attempt.timeout)
        self._watch_own()

    def _file_actions(self, lease: int) -> list[tuple[object, ...]]:
        log = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
        return [
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, os.path.join(self._folder, "stdout.log"), log, atomic.FILE_MODE),
            (os.POSIX_SPAWN_OPEN, 2, os.path.join(self._folder, "stderr.log"), log, atomic.FILE_MODE),
            (os.POSIX_SPAWN_DUP2, lease, LEASE_FD),
        ]

    def take_over(self) -> None:
        """Its lease is held: watch it, for what is left of its time-out."""
        began = leases.read(self._lease).began
        self._set_timeout(self._host.remaining(self.attempt, began))
        self._reactor.post(self._find)

    # --- watching

    def _watch_own(self) -> None:
        """It runs: from here on nothing may look as if it had not been started."""
        try:
            if self._pid is not None and not self._is_decided:
                self._watch(self._pid)
        except OSError:
            if processes.is_dead_child(self._pid):
                self._reactor.post(self._over)
            else:
                self._reactor.call_later(READ_AGAIN, self._watch_own)

    def _find(self) -> None:
        """Taken over: wait until the pid in the lease can be watched, or everything is over."""
        if self._is_decided:
            return
        try:
            pid = leases.read(self._lease).pid
            if pid is not None and self._watch_quietly(pid):
                return
            is_over = self._has_left()
        except OSError:
            self._reactor.call_later(READ_AGAIN, self._find)
            return
        # The pid is not surely the step's: from here on only the lease tells who belongs to it.
        if is_over:
            self._over()
        else:
            self._reactor.call_later(FIND_AGAIN, self._find)

    def _has_left(self) -> bool:
        """Has the shell of an attempt that was taken over gone? It has when it wrote its status."""
        return results.status_of(self._folder) is not None or not leases.is_held(self._lease)

    def _watch_quietly(self, pid: int) -> bool:
        """Watch a pid that the lease names, if it is the step's. It was written by the step and may since have been
        given to somebody else: it is surely the step's only while its lease is held and says of no end."""
        try:
            self._watch(pid)
            if not self._has_left():
                self._pid = pid
                return True
        except OSError as error:
            self._unwatch()
            if error.errno not in (errno.ESRCH, errno.EINVAL):
                raise
        self._unwatch()
        return False

    def _watch(self, pid: int) -> None:
        self._pidfd = os.pidfd_open(pid)
        try:
            self._reactor.watch(self._pidfd, self._pid_event)
        except OSError:
            self._unwatch()
            raise

    def _unwatch(self) -> None:
        if self._pidfd >= 0:
            self._reactor.unwatch(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = -1

    # --- the end

    def _pid_event(self) -> None:
        """The event may have been meant for an earlier descriptor. Whether a child has ended, its reaping tells."""
        if self._ours or processes.has_ended(self._pidfd):
            self._over()

    def _has_ended(self) -> bool:
        if self._pidfd >= 0:
            ended = processes.has_ended(self._pidfd)
        elif self._ours:
            ended = processes.is_dead_child(self._pid)
        else:
            ended = self._has_left()
        if ended:
            self._over()
        return ended

    def _over(self) -> None:
        """The shell has ended. Whatever it left running is ended before the outcome is told."""
        code = self._reap()
        if self._ours:
            return
        self._unwatch()
        if self._decide():
            killed = code == -signal.SIGKILL
            self._read_verdict(
                lambda: self._outcome(code),
                lambda: self._mourn() if killed else self._clean_up(),
            )

    def _outcome(self, code: int | None) -> Outcome:
        if code is not None:
            return results.of_exit(self.attempt, self._folder, code)
        outcome = results.of_record(self.attempt, self._folder)
        return outcome or results.ended_by(self.attempt, "lost", "it ended without leaving an exit status")

    def _mourn(self) -> None:
        self._reactor.call_later(MOURNING, self._clean_up)

    def _clean_up(self) -> None:
        group_lives = self._pid is not None and processes.group_lives(self._pid)
        is_left = group_lives or leases.is_held(self._lease)
        orphans = self._host.orphans(self.attempt.key)  # at last: whoever ended meanwhile left his children to us
        if is_left or orphans.pids:
            self._finish_off()
        elif orphans.is_certain:
            self._tell()
        else:
            self._reactor.call_later(processes.POLL, self._clean_up)

    def _reap(self) -> int | None:
        """The status of our own shell, once it has ended and until it was collected."""
        if not self._ours or self._pid is None:
            return None
        try:
            pid, status = os.waitpid(self._pid, os.WNOHANG)
        except ChildProcessError:
            pid, status = self._pid, None
        if not pid:
            return None
        self._ours = False
        self._host.children.discard(self._pid)
        return None if status is None else os.waitstatus_to_exitcode(status)

    def _finish_off(self) -> None:
        processes.Ending(self._reactor, self._pid, self._lease, self.attempt.grace, self._others, self._tell)

    def _others(self) -> processes.Orphans:
        """What else belongs to the attempt. The leader is reaped on the way: as a zombie it would keep its group."""
        self._reap()
        return self._host.orphans(self.attempt.key)

    def _tell(self) -> None:
        self._unwatch()
        super()._tell()

"""Mutants of what is on disk: replacing files, the inbox, the trash and pruning. The log and its checkpoints follow."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_PRUNE = ("tests/integration/test_prune.py",)
_INBOX = ("tests/integration/test_intake.py", "tests/integration/test_dropbox.py")
_ATOMIC = ("tests/integration/test_queue_folder.py", "tests/integration/test_journal.py")

_POWER = (
    "tests/crash/test_engine.py::test_every_legal_disk_after_a_power_cut_beside_a_commit_is_recovered_from",
    "tests/crash/test_engine.py::test_what_a_failed_sync_left_behind_is_not_counted_on",
)

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "a file is not synced before its rename",
        "hybrid_engine/files/atomic.py",
        "        if durable:\n            os.fsync(fd)",
        "        if not durable:\n            os.fsync(fd)",
        _POWER,
    ),
    Mutant(
        "a folder is not synced",
        "hybrid_engine/files/atomic.py",
        "    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)\n    try:\n        os.fsync(fd)",
        "    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)\n    try:\n        pass",
        _POWER,
    ),
    Mutant(
        "a short write is not continued",
        "hybrid_engine/files/atomic.py",
        "    while written < len(data):",
        "    while written < 0:",
        _ATOMIC,
    ),
    Mutant(
        "a file is replaced in place",
        "hybrid_engine/files/atomic.py",
        '    temporary = tmp or path + ".tmp"',
        "    temporary = path",
        _ATOMIC,
    ),
    Mutant(
        "an interrupted rename is not looked at again",
        "hybrid_engine/files/atomic.py",
        "        except InterruptedError:\n            if not os.path.lexists(source):\n                return",
        "        except InterruptedError:\n            return",
        _ATOMIC,
    ),
    Mutant(
        "a link is followed when our own files are read",
        "hybrid_engine/files/atomic.py",
        "READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK",
        "READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK",
        (*_ATOMIC, *_INBOX),
    ),
    Mutant(
        "pruned folders' old and new places are not synced before their files go",
        "hybrid_engine/files/prune.py",
        "            atomic.sync_folder(folder)\n        forgotten",
        "            pass\n        forgotten",
        _PRUNE,
    ),
    Mutant(
        "a workflow in the queue is pruned",
        "hybrid_engine/files/prune.py",
        '    if workflow in queued:\n        return "it is in the queue"',
        "    if workflow in queued:\n        pass",
        _PRUNE,
    ),
    Mutant(
        "a workflow with a waiting signal is pruned",
        "hybrid_engine/files/prune.py",
        "    if trash.has_signals(layout.signals(workflow)):",
        "    if False:",
        _PRUNE,
    ),
    Mutant(
        "a workflow whose job file lies in the inbox is pruned",
        "hybrid_engine/files/prune.py",
        "    if isinstance(source, str) and source and os.path.lexists(",
        "    if False and os.path.lexists(",
        _PRUNE,
    ),
    Mutant(
        "files are removed before the index forgets",
        "hybrid_engine/files/prune.py",
        "            if forgotten:\n                freed",
        "            if True:\n                freed",
        _PRUNE,
    ),
    Mutant(
        "nobody asks whether a thrown workflow was to go on",
        "hybrid_engine/files/trash.py",
        '    return os.path.lexists(layout.queued(name)) or has_signals(os.path.join(path, "signals"))',
        "    return os.path.lexists(layout.queued(name))",
        _PRUNE,
    ),
    Mutant(
        "a workflow is put back over another life of it",
        "hybrid_engine/files/trash.py",
        "    if os.path.lexists(target):\n        return False",
        "    if os.path.lexists(target):\n        pass",
        _PRUNE,
    ),
    Mutant(
        "job.json does not go first",
        "hybrid_engine/files/trash.py",
        "        return _unlink_job(fd) + _clear(fd, path, tell)",
        "        return _clear(fd, path, tell)",
        _PRUNE,
    ),
    Mutant(
        "a file that changed since it was read is removed",
        "hybrid_engine/files/inbox.py",
        "        if (status.st_ino, status.st_size, status.st_mtime_ns) != (found.inode, found.size, found.mtime_ns):",
        "        if False:",
        _INBOX,
    ),
    Mutant(
        "rejected/ is not synced",
        "hybrid_engine/files/inbox.py",
        "        atomic.sync_folder(self._layout.rejected)",
        "        pass",
        _INBOX,
    ),
    Mutant(
        "an unfinished file is taken",
        "hybrid_engine/files/inbox.py",
        "                elif not entry.name.endswith(UNFINISHED):",
        "                else:",
        _INBOX,
    ),
)

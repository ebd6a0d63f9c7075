"""Mutants of files: replacing them, views, frozen definitions, the quarantine, the inbox, the trash and pruning."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_PRUNE = ("tests/integration/test_prune.py",)
_ORDER = ("tests/integration/test_log_order.py", "tests/integration/test_prune_order.py")
_ATOMIC = ("tests/integration/test_atomic.py", "tests/integration/test_journal.py")

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "a file is not synced before its rename",
        "hybrid_engine/files/atomic.py",
        "        if durable:\n            os.fsync(fd)",
        "        if not durable:\n            os.fsync(fd)",
        _ORDER,
    ),
    Mutant(
        "a folder is not synced",
        "hybrid_engine/files/atomic.py",
        "    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)\n    try:\n        os.fsync(fd)",
        "    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)\n    try:\n        pass",
        _ORDER,
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
        _ATOMIC,
    ),
    Mutant(
        "pruned folders' old and new places are not synced before their files go",
        "hybrid_engine/files/prune.py",
        "            atomic.sync_folder(folder)\n        forgotten",
        "            pass\n        forgotten",
        _ORDER,
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
        "    if isinstance(source, str) and source and _lies_in_the_inbox(",
        "    if False and _lies_in_the_inbox(",
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
        _ORDER,
    ),
    Mutant(
        "the journal does not go first",
        "hybrid_engine/files/trash.py",
        "        return _unlink_records(fd) + _clear(fd, path, tell)",
        "        return _clear(fd, path, tell)",
        _ORDER,
    ),
    Mutant(
        "a workflow that was put back is not synced",
        "hybrid_engine/files/trash.py",
        "        atomic.sync_folder(layout.workflows)\n    except OSError:",
        "    except OSError:",
        (*_PRUNE, *_ORDER),
    ),
    Mutant(
        "the bytes of a frozen definition are not synced",
        "hybrid_engine/files/templates.py",
        "        atomic.replace(path, data, tmp=os.path.join(self.layout.tmp, own))",
        "        atomic.replace(path, data, tmp=os.path.join(self.layout.tmp, own), durable=False)",
        _ORDER,
    ),
    Mutant(
        "the name of a frozen definition is not synced",
        "hybrid_engine/files/templates.py",
        "        atomic.sync_folder(os.path.dirname(path))",
        "        pass",
        _ORDER,
    ),
    Mutant(
        "a view is written in place",
        "hybrid_engine/files/viewstore.py",
        "            atomic.replace(path, data, tmp=self._layout.temporary(workflow), durable=False)",
        "            atomic.write_new(path, data, durable=False)",
        (*_ORDER, "tests/integration/test_projector.py"),
    ),
    Mutant(
        "a torn tail is cut before its copy is synced",
        "hybrid_engine/files/journal.py",
        "    atomic.write_new(copy, reading.tail)",
        "    atomic.write_new(copy, reading.tail, durable=False)",
        _ORDER,
    ),
    Mutant(
        "the cut of a torn tail is not synced",
        "hybrid_engine/files/journal.py",
        "        os.ftruncate(fd, reading.good)\n        atomic.sync(fd)",
        "        os.ftruncate(fd, reading.good)",
        _ORDER,
    ),
    Mutant(
        "what goes into quarantine is not synced",
        "hybrid_engine/files/quarantine.py",
        "    for folder in (target, layout.quarantine, layout.workflows):\n        atomic.sync_folder(folder)",
        "    pass",
        _ORDER,
    ),
    Mutant(
        "a workflow goes into quarantine before its name has left the queue for good",
        "hybrid_engine/files/quarantine.py",
        "        atomic.sync_folder(source)\n        atomic.sync_folder(layout.queue)",
        "        pass",
        _ORDER,
    ),
)

"""Mutants of the commit log: commits, segments, checkpoints, replay, and what depends on their order."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_COMMITS = ("tests/contracts/test_commit_log.py", "tests/integration/test_log_order.py")
_REPLAY = ("tests/integration/test_replay.py", "tests/integration/test_log_order.py")
_ALONE = ("tests/integration/test_queue_folder.py", "tests/integration/test_log_order.py")
_FRAMES = ("tests/unit/test_frames.py", "tests/integration/test_replay.py")
_ROUNDS = ("tests/integration/test_rounds.py",)

_LOG = "hybrid_engine/files/log/commit_log.py"
_SEGMENTS = "hybrid_engine/files/log/segments.py"
_REPLAYING = "hybrid_engine/files/log/replay.py"
_SINGLE = "hybrid_engine/files/log/single.py"
_PLACES = "hybrid_engine/files/log/places.py"
_REWRITING = "hybrid_engine/files/log/rewriting.py"

MUTANTS: tuple[Mutant, ...] = (
    # --- commits
    Mutant(
        "a commit returns before its sync",
        _SEGMENTS,
        "        self._write(data)\n        self.sync()\n        self.end",
        "        self._write(data)\n        self.end",
        _COMMITS,
    ),
    Mutant(
        "a round is acted on before its commit",
        "hybrid_engine/engine/recorder.py",
        "        try:\n            sizes = self._log.commit(",
        "        self._committed(runs, accepted, answers)\n        try:\n            sizes = self._log.commit(",
        _ROUNDS,
    ),
    Mutant(
        "what a round decided is forgotten when its commit fails",
        "hybrid_engine/engine/recorder.py",
        "            self._reactor.call_later(self._delay, lambda: self.commit(runs, accepted, removed, answers))\n",
        "            self._reactor.call_later(self._delay, lambda: self.commit([], (), (), ()))\n",
        _ROUNDS,
    ),
    Mutant(
        "a signal is removed before its commit",
        "hybrid_engine/engine/driver.py",
        "        self.dispatcher.release(run)\n        self.dispatcher.offer_steps(run)\n        if run.events",
        "        self.dispatcher.release(run)\n        self.dispatcher.offer_steps(run)\n"
        "        for name in run.signals:\n            self._store.drop_signal(run.id, name)\n        if run.events",
        _ROUNDS,
    ),
    Mutant(
        "a batch whose sync failed is not committed again",
        _LOG,
        "                self._write_elsewhere(payload)\n                self._trouble(error)",
        "                self._trouble(error)",
        _COMMITS,
    ),
    Mutant(
        "a segment that failed is written to again",
        _LOG,
        "        if self._segment is not None and self._segment.sound:",
        "        if self._segment is not None:",
        _COMMITS,
    ),
    Mutant(
        "the segment after one that failed does not say where that one ends",
        _LOG,
        "            self._begin(segment, failed.number, failed.end)",
        "            self._begin(segment, failed.number, 1 << 60)",
        _COMMITS,
    ),
    Mutant(
        "the name of a segment that takes the place of a failed one is not synced",
        _LOG,
        "            atomic.sync_folder(self._layout.log)\n        except OSError:",
        "        except OSError:",
        _COMMITS,
    ),
    Mutant(
        "the name of a segment that is made ahead is not synced",
        _SEGMENTS,
        "                atomic.sync(fd)\n                atomic.sync_folder(folder)",
        "                atomic.sync(fd)",
        _COMMITS,
    ),
    Mutant(
        "the reserved space is not synced",
        _SEGMENTS,
        "                atomic.sync(fd)\n                atomic.sync_folder(folder)",
        "                atomic.sync_folder(folder)",
        _COMMITS,
    ),
    Mutant(
        "a reserved segment of a lower number is used",
        _LOG,
        "        if segment is None or self._segment is None or segment.number > self._segment.number:",
        "        if True:",
        _COMMITS,
    ),
    Mutant(
        "the numbers of frames begin anew with each start",
        _REPLAYING,
        "Replayed(next_number=found.next, ",
        "Replayed(next_number=1, ",
        _COMMITS,
    ),
    Mutant(
        "the numbers of segments begin anew with each start",
        _REPLAYING,
        "next_segment=max(found.numbers, default=0) + 1)",
        "next_segment=1)",
        _COMMITS,
    ),
    Mutant(
        "the checksum of a frame is not looked at",
        "hybrid_engine/files/log/frames.py",
        " or len(payload) < size or crc32(payload, crc32(data[at + 1 : at + 26], SEED)) != crc:",
        " or len(payload) < size:",
        _FRAMES,
    ),
    Mutant(
        "a frame that was cut short counts",
        "hybrid_engine/files/log/frames.py",
        "    if not payload or len(payload) < size or crc32(",
        "    if len(payload) == size and crc32(",
        _FRAMES,
    ),
    Mutant(
        "who looks beside an engine sees what is not synced yet",
        "hybrid_engine/files/log/overlay.py",
        "        if pulse is not None and (number, frame.end) > pulse.durable:",
        "        if False:",
        ("tests/integration/test_log_order.py",),
    ),
    # --- what is written behind
    Mutant(
        "a journal is appended to behind what an earlier try left",
        _PLACES,
        "        if size is not None and size != status.st_size:",
        "        if False:",
        _COMMITS,
    ),
    Mutant(
        "what a failed append left is not cut off",
        _PLACES,
        "            try:\n                os.ftruncate(fd, known)\n            except",
        "            try:\n                pass\n            except",
        _COMMITS,
    ),
    Mutant(
        "a workflow that goes into quarantine stays in the log",
        "hybrid_engine/files/store.py",
        "        self._log.commit((), [workflow])\n",
        "",
        ("tests/contracts/test_store.py", "tests/integration/test_recovery.py", *_REPLAY),
    ),
    # --- checkpoints
    Mutant(
        "segments are dropped before what they hold is synced",
        _LOG,
        "        self._background.submit(systems.sync, synced)",
        "        self._background.submit(lambda: None, synced)",
        _COMMITS,
    ),
    Mutant(
        "a checkpoint does not wait for what is not in its place",
        _LOG,
        " and not self._behind.holds(self._retired[-1].number):",
        ":",
        _COMMITS,
    ),
    Mutant(
        "the descriptor of syncfs is opened when it is needed",
        "hybrid_engine/files/log/filesystems.py",
        "        for fd in self._fds.values():",
        '        for fd in [os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC) for fd in self._fds.values()]:',
        _COMMITS,
    ),
    Mutant(
        "only the first of several file systems is synced",
        "hybrid_engine/files/log/filesystems.py",
        "        for fd in self._fds.values():",
        "        for fd in list(self._fds.values())[:1]:",
        _COMMITS,
    ),
    Mutant(
        "an error of one file system is lost behind the success of the next",
        "hybrid_engine/files/log/filesystems.py",
        "                failed = failed or ctypes.get_errno()",
        "                failed = ctypes.get_errno()\n            else:\n                failed = 0",
        _COMMITS,
    ),
    Mutant(
        "the folder of the log is not synced when segments were dropped",
        _LOG,
        "        # COMMIT: dropped – no old segment comes back and tells of a workflow that was removed since\n"
        "        atomic.sync_folder(self._layout.log)\n",
        "",
        _COMMITS,
    ),
    Mutant(
        "the header of a fresh segment is not synced before the old ones go",
        _LOG,
        "            self._begin(segment, current.number, current.end)\n            segment.sync()",
        "            self._begin(segment, current.number, current.end)",
        _COMMITS,
    ),
    Mutant(
        "the first segment of an engine is not synced before it counts",
        _LOG,
        "        self._begin(segment, 0, 0)\n        segment.sync()",
        "        self._begin(segment, 0, 0)",
        _COMMITS,
    ),
    Mutant(
        "after a failed syncfs the log is dropped all the same",
        _LOG,
        "                error = self._rewrite(retired)",
        "                error = None",
        _COMMITS,
    ),
    Mutant(
        "after a failed syncfs new files are not synced",
        _REWRITING,
        "            atomic.replace(target, content, tmp=temporary)",
        "            atomic.replace(target, content, tmp=temporary, durable=False)",
        _COMMITS,
    ),
    Mutant(
        "after a failed syncfs the folders of workflows are not synced",
        _REWRITING,
        "    atomic.sync_folder(layout.workflow(workflow))",
        "    pass",
        _COMMITS,
    ),
    Mutant(
        "after a failed syncfs the folders of the home are not synced",
        _REWRITING,
        "        atomic.sync_folder(folder)",
        "        pass",
        _COMMITS,
    ),
)

"""The commit log of a home: one write and one sync make all that happened in a round durable.

`commit` returns when the batch is durable. A segment that failed is never written to again: the same batch goes, byte
for byte, into the next one, whose space is reserved ahead, so that even a full disk takes the end of what already ran.
What follows from a commit on disk is written behind it (`behind`); a `checkpoint` makes that durable and drops the
segments that are no longer needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from hybrid_engine.files import atomic, journal
from hybrid_engine.files.layout import Layout
from hybrid_engine.files.log import frames
from hybrid_engine.files.log.behind import Batch, WriteBehind
from hybrid_engine.files.log.filesystems import FileSystems
from hybrid_engine.files.log.rewriting import rewrite_all
from hybrid_engine.files.log.segments import Segment
from hybrid_engine.model.events import WorkflowCreated
from hybrid_engine.model.ids import queue_name
from hybrid_engine.ports.storage import Syncer, Turn

SPACE_LEAST = 1 << 18
SPACE_MOST = 1 << 24
"""Bytes reserved ahead in a segment: twice what the one before held, within these."""
Done = Callable[[BaseException | None], None]


class FileLog:
    """`ports.storage.CommitLog`. `next_number` and `next_segment` are one above all that were ever used.

    `about_to_commit` is called before the disk is asked, `durable(segment, end)` hears how far the log is known to be
    durable after that; `trouble` of a disk that failed although the
    batch was saved.
    """

    def __init__(
        self,
        layout: Layout,
        behind: WriteBehind,
        background: Syncer,
        durable: Callable[[int, int], None] = lambda *_: None,
        about_to_commit: Callable[[], None] = lambda: None,
        trouble: Callable[[OSError], None] = lambda error: None,
    ) -> None:
        self._layout = layout
        self._behind = behind
        self._background = background
        self._durable = durable
        self._about_to_commit = about_to_commit
        self._trouble = trouble
        self._systems: FileSystems | None = None
        self._segment: Segment | None = None
        self._retired: list[Segment] = []
        self._reserve: Segment | None = None
        self._reserving = False
        self._next_number = 1
        self._next_segment = 1
        self._checkpointing: list[Done] = []
        self._switched = False
        self._syncing = False
        self._is_touched = False

    # --- its life

    def open(self, systems: FileSystems, next_number: int, next_segment: int, rest: str | None = None) -> None:
        """Begin the first segment of this engine; the one that was left to count on from may go. Raises OSError."""
        self._systems = systems
        self._next_number, self._next_segment = next_number, next_segment
        segment = self._create(SPACE_LEAST)
        self._begin(segment, 0, 0)
        segment.sync()
        if rest is not None:
            atomic.unlink_quietly(rest)
        self._segment = segment
        self._tell_durable()
        self.reserve()

    def close(self) -> None:
        for segment in (*self._retired, self._segment, self._reserve):
            if segment is not None:
                segment.close()
        if self._systems is not None:
            self._systems.close()

    @property
    def size(self) -> int:
        """Bytes that wait for a checkpoint."""
        current = self._segment.end - self._segment.start if self._segment is not None else 0
        return current + sum(segment.end - segment.start for segment in self._retired)

    @property
    def position(self) -> int:
        """The number of the last frame."""
        return self._next_number - 1

    # --- commits

    def commit(self, turns: Sequence[Turn], removed: Iterable[str] = ()) -> Sequence[int]:
        removed = list(removed)
        encoded = [(turn, journal.encode_lines(turn.first, turn.at, turn.events)) for turn in turns]
        parts: list[bytes] = []
        for turn, lines in encoded:
            name = turn.workflow.encode()
            for line in lines:
                parts += (name, b" ", line)
        parts += [b"%b %b\n" % (workflow.encode(), frames.REMOVED) for workflow in removed]
        self._write(b"".join(parts))
        segment = self._segment.number if self._segment is not None else 0
        for workflow in removed:
            self._behind.forget(workflow)
        for turn, lines in encoded:
            pending = self._behind.of(turn.workflow, segment)
            pending.lines += lines
            if turn.first == 1 and isinstance(created := turn.events[0], WorkflowCreated):
                pending.template = created.version
                pending.queued = queue_name(created.priority, created.due_at, created.workflow)
        return [sum(map(len, lines)) for _, lines in encoded]

    def _write(self, payload: bytes) -> None:
        self._about_to_commit()
        try:
            self._commit(payload)
        finally:
            self._tell_durable()

    def _commit(self, payload: bytes) -> None:
        # COMMIT: log – the facts of this round exist from here on
        if self._segment is not None and self._segment.sound:
            try:
                self._segment.append(frames.encode(self._next_number, payload))
            except OSError as error:
                self._write_elsewhere(payload)
                self._trouble(error)
        else:
            self._write_elsewhere(payload)
        self._next_number += 1

    def _write_elsewhere(self, payload: bytes) -> None:
        """The segment failed: the same batch goes into the next one, which says where the failed one validly ends."""
        failed = self._segment
        assert failed is not None
        segment = self._take_reserve() or self._create(0)
        number = self._next_number
        try:
            self._begin(segment, failed.number, failed.end)
            segment.append(frames.encode(self._next_number, payload))
            # The name of one that was reserved is durable already; that of another must be before anybody is answered.
            atomic.sync_folder(self._layout.log)
        except OSError:
            self._next_number = number
            segment.close()
            atomic.unlink_quietly(segment.path)
            raise
        self._retired.append(failed)
        self._segment = segment
        self.reserve()

    def _begin(self, segment: Segment, previous: int, previous_end: int) -> None:
        segment.begin(self._next_number, previous, previous_end)
        self._next_number += 1

    def _create(self, space: int) -> Segment:
        number = self._next_segment
        self._next_segment += 1
        return Segment.create(self._layout.log, number, space, durable=space > 0)

    def _take_reserve(self) -> Segment | None:
        """The reserved segment; None when there is none, or it came too late: a lower number would be read first."""
        segment, self._reserve = self._reserve, None
        if segment is None or self._segment is None or segment.number > self._segment.number:
            return segment
        segment.close()
        atomic.unlink_quietly(segment.path)
        return None

    def reserve(self) -> None:
        """See that the next segment lies ready, its space reserved, when there is room for it."""
        if self._reserve is not None or self._reserving or self._segment is None:
            return
        self._reserving = True
        space = min(SPACE_MOST, max(SPACE_LEAST, 2 * self._segment.end))
        number = self._next_segment
        self._next_segment += 1
        made: list[Segment] = []

        def work() -> None:
            made.append(Segment.create(self._layout.log, number, space, durable=True))

        def done(error: BaseException | None) -> None:
            self._reserving = False
            if error is None:
                self._reserve = made[0]
                self._go_on()
            elif self._checkpointing and not self._switched:
                self._end_checkpoint(error)

        self._background.submit(work, done)

    def _tell_durable(self) -> None:
        if self._segment is not None:
            self._durable(self._segment.number, self._segment.end)

    # --- what follows

    def when_placed(self, workflows: Sequence[str], done: Callable[[], None]) -> None:
        """Call `done` when all of these, committed just now, have their folders and their names in the queue."""
        if not workflows:
            done()
            return
        batch = Batch(len(workflows), done)
        segment = self._segment.number if self._segment is not None else 0
        for workflow in workflows:
            self._behind.of(workflow, segment).batch = batch

    def settle(self, workflow: str) -> None:
        """Put everything of one workflow in its place now. Raises OSError."""
        self._behind.settle(workflow)

    def lines_behind(self, workflow: str) -> bytes:
        """The committed lines of a workflow that are not in its journal yet."""
        return self._behind.lines(workflow)

    def finish(self, workflow: str, name: str, view: bytes) -> None:
        """The workflow has ended: its last view, then out of the queue."""
        pending = self._behind.of(workflow, self._segment.number if self._segment is not None else 0)
        pending.view, pending.leaves, pending.queued = view, name, None

    def requeue(self, workflow: str, name: str) -> None:
        """The workflow goes on again: back into the queue."""
        pending = self._behind.of(workflow, self._segment.number if self._segment is not None else 0)
        pending.queued, pending.leaves, pending.view = name, None, None

    def touch(self) -> None:
        """Something was written that the next checkpoint shall make durable."""
        self._is_touched = True

    @property
    def is_dirty(self) -> bool:
        """Is there anything for a checkpoint to do?"""
        return self._is_touched or self.size > 0

    def write_behind(self, seconds: float, min_age: float = 0.0) -> bool:
        left = self._behind.flush(seconds, min_age)
        if self._checkpointing:
            self._go_on()
        return left

    @property
    def is_behind(self) -> bool:
        return len(self._behind) > 0

    # --- checkpoints

    def checkpoint(self, done: Done) -> None:
        """Make all that was committed durable in its place, and drop the log of it. One at a time: a second call while
        one is under way is answered with it."""
        self._checkpointing.append(done)
        if len(self._checkpointing) == 1:
            self._switched = False
            self._go_on()

    def _go_on(self) -> None:
        """The next part of a checkpoint: a fresh segment; then, when nothing of the old ones is left to be put in its
        place, the sync in the background."""
        if not self._checkpointing or self._segment is None:
            return
        if not self._switched:
            self._switch()
        if self._switched and not self._syncing and not self._behind.holds(self._retired[-1].number):
            self._sync_in_background()

    def _switch(self) -> None:
        """Go on in a fresh segment. Its header is synced here, in the thread that commits: a sync of the same file in
        another thread could take an error away that a commit must see."""
        current = self._segment
        assert current is not None
        segment = self._take_reserve()
        if segment is None:
            self.reserve()
            return  # `_go_on` is called again when it is there
        number = self._next_number
        try:
            self._begin(segment, current.number, current.end)
            segment.sync()
        except OSError as error:
            self._next_number = number
            segment.close()
            atomic.unlink_quietly(segment.path)
            self._end_checkpoint(error)
            return
        self._retired.append(current)
        self._segment = segment
        self._switched = True
        self._is_touched = False
        self._tell_durable()
        self.reserve()

    def _sync_in_background(self) -> None:
        self._syncing = True
        retired, systems = list(self._retired), self._systems
        assert systems is not None

        def synced(error: BaseException | None) -> None:
            if isinstance(error, OSError):
                error = self._rewrite(retired)
            if error is None:
                self._background.submit(lambda: self._drop(retired), dropped)
            else:
                dropped(error)

        def dropped(error: BaseException | None) -> None:
            self._syncing = False
            if error is None:
                for segment in retired:
                    self._retired.remove(segment)
                    segment.close()
            self._end_checkpoint(error)

        # COMMIT: checkpoint – all that the old segments hold is durable in its place
        self._background.submit(systems.sync, synced)

    def _rewrite(self, retired: list[Segment]) -> OSError | None:
        """The sync failed, and a second one would prove nothing: write what the old segments name into new files. In
        this thread, because no journal may be appended to meanwhile."""
        try:
            rewrite_all(self._layout, [segment.path for segment in retired])
            return None
        except OSError as error:
            return error

    def _drop(self, retired: list[Segment]) -> None:
        for segment in retired:
            atomic.unlink(segment.path)
        # COMMIT: dropped – no old segment comes back and tells of a workflow that was removed since
        atomic.sync_folder(self._layout.log)

    def _end_checkpoint(self, error: BaseException | None) -> None:
        waiting, self._checkpointing = self._checkpointing, []
        for done in waiting:
            done(error)

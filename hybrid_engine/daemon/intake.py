"""The intake: what lies in the inbox becomes accepted jobs. Wakes when something is dropped, and every few seconds.

A file goes through: look → open → complete? → read → accept (durably) → leave the inbox. It may be read twice (after a
crash, or when it was not complete yet): ids are made so that the second reading finds the first one's jobs. Reading is
cut into slices, so that ten thousand dropped files do not keep running steps waiting.

What is not here: signals (daemon.signals), how jobs become durable (daemon.acceptance).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from loguru import logger

from hybrid_engine.daemon.acceptance import Acceptance
from hybrid_engine.daemon.reading import Reading, replay
from hybrid_engine.daemon.repeats import Repeats
from hybrid_engine.daemon.scanning import Scanner
from hybrid_engine.daemon.signals import SignalIntake
from hybrid_engine.errors import InputError, JobError
from hybrid_engine.model.job import Job
from hybrid_engine.model.stamps import stamp
from hybrid_engine.ports.intake import Found, Inbox, Opened, Parsed
from hybrid_engine.ports.reactor import Reactor
from hybrid_engine.ports.storage import Syncer

SLICE_SECONDS = 0.01
"""So long the intake reads before it lets others have a turn."""
BATCH = 256
"""So many jobs are made durable together."""
BATCH_BYTES = 16 * 1024 * 1024
"""Together they come from about so many bytes of files, which stay in memory until they are durable."""
RESTART_SECONDS = 1.0


class Intake:
    """`settle` and `reject_after`: seconds a file that looked incomplete must be unchanged to be taken, or refused."""

    def __init__(
        self,
        inbox: Inbox[Any],
        acceptance: Acceptance,
        signals: SignalIntake,
        syncer: Syncer,
        reactor: Reactor,
        clock: Callable[[], datetime],
        *,
        settle: float,
        reject_after: float,
    ) -> None:
        self.signals = signals
        self._inbox = inbox
        self._acceptance = acceptance
        self._syncer = syncer
        self._reactor = reactor
        self._clock = clock
        self._settle = settle
        self._reject_after = reject_after
        self._scanner = Scanner(inbox, reactor, settle, self.look, signals.answer)
        self._settling = self._scanner.settling
        self._repeats = Repeats(acceptance.is_unfinished)
        self._reading: Reading | None = None
        self._slice_posted = False
        self._batch: list[tuple[Reading, Job]] = []
        self._batch_bytes = 0
        self._loading = False

    @property
    def is_idle(self) -> bool:
        """Nothing in the inbox is being looked at or waited for."""
        parts = self._reading, self._loading, self._acceptance.is_busy, self.signals.is_busy
        return self._scanner.is_idle and not any(parts)

    def look(self) -> None:
        """Look into the inbox, or do so soon when it is full. Cheap to call too often."""
        self._guarded(self._look)

    def _look(self) -> None:
        self._scanner.scan()
        self._go_on()

    def _guarded(self, work: Callable[[], None]) -> None:
        """A failure that nobody foresaw must not end the intake: it says so and starts afresh after a moment."""
        try:
            work()
        except Exception as error:
            logger.opt(exception=error).error("the intake failed and is started again: {}", error)
            if self._reading is not None:
                self._reading.close()
            self._reading = None
            self._take_batch(give_up=True)
            self._scanner.start_afresh()
            self._reactor.call_later(RESTART_SECONDS, self.look)

    def _go_on(self) -> None:
        if self._slice_posted:
            return
        can_accept = self._batch and not self._acceptance.is_accepting
        if can_accept or self._reading or self._scanner.has_files or self._scanner.is_due:
            self._slice_posted = True
            self._reactor.post(lambda: self._guarded(self._slice))

    def _slice(self) -> None:
        self._slice_posted = False
        if self._loading:
            return
        if self._scanner.is_due:
            self._scanner.scan()
        end = self._reactor.monotonic() + SLICE_SECONDS
        while self._reactor.monotonic() < end and not self._batch_is_full:
            if self._reading is None and not self._open_next():
                break
            reading = self._reading
            if reading is not None and not self._read_one(reading):
                self._reading = None
        if self._batch and not self._acceptance.is_accepting:
            self._accept()
        if not self._batch_is_full:
            self._go_on()

    @property
    def _batch_is_full(self) -> bool:
        return len(self._batch) >= BATCH or self._batch_bytes >= BATCH_BYTES

    def _open_next(self) -> bool:
        """Begin the next file that is ready to be read; False when there is none."""
        while self._scanner.has_files and not self._loading:
            found = self._scanner.next()
            opened = self._open(found)
            if opened is None:
                continue
            jobs = self._inbox.jobs(opened, stamp(self._clock()))
            if opened.is_slow:
                self._load(found, opened, jobs)
                return False
            self._reading = Reading(found, opened, jobs)
            return True
        return False

    def _open(self, found: Found) -> Opened | None:
        """The file, when it can be read now. One that may not be complete must first come to rest."""
        try:
            opened: Opened = self._inbox.open(found)
        except InputError as error:
            self._whole_file_is_bad(Reading(found, None, iter(())), error)
            return None
        except OSError as error:
            self._not_readable(found, error)
            return None
        if self._is_complete(opened):
            return opened
        opened.close()
        self._scanner.later(found.name)
        return None

    def _is_complete(self, opened: Opened) -> bool:
        now = self._reactor.monotonic()
        if opened.has_writer:
            self._settling.changes(opened.name, opened.mark, now)
            return False
        if opened.has_writer is None or opened.may_grow or opened.name in self._settling:
            return not self._settling.must_wait(opened.name, opened.mark, self._settle, now)
        return True

    def _load(self, found: Found, opened: Opened, jobs: Iterator[Parsed]) -> None:
        """Understand a large YAML file in a thread: it can take seconds, and steps that end must not wait for it."""
        loaded: list[Parsed] = []

        def done(error: BaseException | None) -> None:
            self._loading = False
            self._reading = Reading(found, opened, replay(loaded, error))
            self._go_on()

        self._loading = True
        self._syncer.submit(lambda: loaded.extend(jobs), done)

    def _not_readable(self, found: Found, error: OSError) -> None:
        logger.warning("{} cannot be read now: {}", found.name, error.strerror)
        self._scanner.later(found.name)

    def _read_one(self, reading: Reading) -> bool:
        """Take one job of the file; False when there are no more, or the file must wait."""
        try:
            parsed = next(reading.jobs, None)
        except InputError as error:
            return self._whole_file_is_bad(reading, error)
        except OSError as error:
            self._not_readable(reading.found, error)
            reading.close()
            return False
        if parsed is None:
            return self._end_of(reading)
        if parsed.job is not None:
            self._take(reading, parsed)
            return True
        if (not reading.accepted or not parsed.is_terminated) and self._may_still_change(reading):
            reading.is_cut_short = True
            return self._end_of(reading)
        reading.bad.append(parsed)
        return True

    def _end_of(self, reading: Reading) -> bool:
        reading.is_read = True
        self._settle_accounts(reading)
        return False

    def _may_still_change(self, reading: Reading) -> bool:
        """A bad file is given time to become a good one."""
        return self._settling.must_wait(reading.found.name, reading.mark, self._reject_after, self._reactor.monotonic())

    def _whole_file_is_bad(self, reading: Reading, error: InputError) -> bool:
        if error.code == "vanished":
            self._forget(reading)
        elif self._may_still_change(reading):
            reading.close()
            self._scanner.later(reading.found.name)
        else:
            self._reject(reading, error)
        return False

    def _take(self, reading: Reading, parsed: Parsed) -> None:
        job = parsed.job
        assert job is not None
        name = reading.found.name
        if self._acceptance.is_known(job.id):
            self._known_already(reading, parsed, job)
            return
        if parsed.line is None and not (parsed.is_own or parsed.has_key):
            first = self._repeats.first(name, parsed.data)
            if first:
                text = f"the same file was dropped before and is not finished yet: it is workflow {first}"
                hint = "drop it again when that one has finished, or under another name"
                reading.refuse(parsed, JobError(text, file=name, code="duplicate", hint=hint))
                return
            self._repeats.remember(name, parsed.data, job.id)
        self._batch_bytes += len(parsed.data)
        reading.accepted += 1
        reading.under_way += 1
        self._acceptance.begin(job)
        self._batch.append((reading, job))

    def _known_already(self, reading: Reading, parsed: Parsed, job: Job) -> None:
        name = reading.found.name
        if parsed.is_own and not parsed.has_key and self._acceptance.contradicts(job):
            text = f"workflow {job.id} is known already, and asked for something else"
            reading.refuse(parsed, JobError(text, file=name, line=parsed.line, path="id", code="duplicate"))
        elif not name.startswith(job.id):
            logger.bind(workflow=job.id).info("{} asks for a workflow that is known already", name)

    def _accept(self) -> None:
        """One batch at a time; while it is on its way to the disk the next one grows."""
        batch = self._take_batch()
        files = len({id(reading) for reading, _ in batch})
        self._acceptance.accept([job for _, job in batch], files, self._next_batch, lambda: self._accepted(batch))

    def _next_batch(self) -> None:
        """In the next round: what can start now starts first."""
        self._reactor.post(lambda: self._guarded(self._go_on_accepting))

    def _go_on_accepting(self) -> None:
        if self._batch and not self._acceptance.is_accepting:
            self._accept()
        self._go_on()

    def _take_batch(self, *, give_up: bool = False) -> list[tuple[Reading, Job]]:
        batch, self._batch, self._batch_bytes = self._batch, [], 0
        for _, job in batch if give_up else ():
            self._acceptance.give_up(job)
        return batch

    def _accepted(self, batch: list[tuple[Reading, Job]]) -> None:
        for reading, _ in batch:
            reading.under_way -= 1
        # In the next round: what can start now starts first.
        self._reactor.post(lambda: self._guarded(lambda: self._settle_all(batch)))

    def _settle_all(self, batch: list[tuple[Reading, Job]]) -> None:
        for reading in dict.fromkeys(reading for reading, _ in batch):
            self._settle_accounts(reading)
        self._go_on_accepting()

    def _settle_accounts(self, reading: Reading) -> None:
        """When all of a file is read and durable, it leaves the inbox; what was bad in it goes to `rejected/`."""
        if not reading.is_read or reading.under_way or reading.is_settled:
            return
        reading.is_settled = True
        if reading.is_cut_short:
            reading.close()
            self._scanner.later(reading.found.name)
        elif reading.bad:
            self._reject(reading, reading.summary())
        else:
            self._leave(reading, lambda opened: self._inbox.remove(opened))

    def _reject(self, reading: Reading, error: InputError) -> None:
        """Put a file, or its bad lines, aside."""
        lines, found, now = reading.bad_lines, reading.found, stamp(self._clock())

        def put(opened: Opened | None) -> bool:
            if lines and opened is not None:
                name = self._inbox.remove_but(opened, lines, error, now)
            else:
                name = self._inbox.reject(found, opened, error, now)
            if name is not None:
                logger.warning("rejected {} (see inbox/rejected/{}.reason.json): {}", found.name, name, error)
            return name is not None

        self._leave(reading, put)

    def _leave(self, reading: Reading, how: Callable[..., bool]) -> None:
        """The file leaves the inbox in some way; when it has changed, or the disk does not let it, it is read again."""
        name = reading.found.name
        try:
            if how(reading.opened):
                self._forget(reading)
                return
            logger.info("{} has changed since it was read; it is read again", name)
            self._settling.changes(name, reading.mark, self._reactor.monotonic())
        except OSError as failure:
            logger.error("{} cannot leave the inbox now: {}", name, failure.strerror)
            self._reactor.call_later(1.0, self.look)
        reading.close()
        self._scanner.later(reading.found.name)

    def _forget(self, reading: Reading) -> None:
        reading.close()
        self._scanner.forget(reading.found.name)

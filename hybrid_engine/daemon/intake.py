"""The intake: what lies in the inbox becomes accepted jobs. Wakes when something is dropped, and every few seconds.

A file goes through: look → complete? → read → accept (durably) → leave the inbox. It may be read twice (after a crash,
or when it was not complete yet): ids are made so that the second reading finds the first one's jobs. Reading is cut
into slices, so that ten thousand dropped files do not keep running steps waiting.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from functools import partial

from loguru import logger

from hybrid_engine.engine.driver import Driver
from hybrid_engine.engine.run import Signal
from hybrid_engine.errors import InputError, JobError
from hybrid_engine.model.job import Job
from hybrid_engine.model.stamps import stamp
from hybrid_engine.ports.intake import Found, Inbox, Parsed
from hybrid_engine.ports.reactor import Reactor
from hybrid_engine.ports.storage import CommitLog, Syncer

SLICE_SECONDS = 0.01
"""So long the intake reads before it lets others have a turn."""
BATCH = 256
"""So many jobs are made durable together."""
SLOW_BYTES = 16_384
"""A YAML file larger than this is read away from the reactor."""
LANES = 4
"""Into so many pieces a batch is cut for the sync threads."""
RESTART_SECONDS = 1.0
DROPS_REMEMBERED = 10_000
"""Of so many unfinished drops name and content are remembered, to tell a second drop of the same."""
VERBS = ("cancel", "pause", "resume", "retry")


class Intake:
    """`settle` and `reject_after` are seconds: how long a file that looked incomplete must be unchanged to be taken, or
    refused."""

    def __init__(
        self,
        inbox: Inbox,
        driver: Driver,
        log: CommitLog,
        syncer: Syncer,
        reactor: Reactor,
        clock: Callable[[], datetime],
        *,
        settle: float,
        reject_after: float,
    ) -> None:
        self._inbox = inbox
        self._log = log
        self._driver = driver
        self._syncer = syncer
        self._reactor = reactor
        self._clock = clock
        self._settle = settle
        self._reject_after = reject_after
        self._files: deque[Found] = deque()
        self._at_work: set[str] = set()
        self._reading: Reading | None = None
        self._watched: dict[str, tuple[tuple[int, int, int], float]] = {}
        self._accepting: set[str] = set()
        self._drops: dict[str, tuple[int, str]] = {}
        self._slice_posted = False
        self._loading = False
        self._look_again = False

    @property
    def is_idle(self) -> bool:
        """Nothing in the inbox is being looked at or waited for."""
        under_way = self._files or self._at_work or self._reading or self._watched or self._accepting
        return not (under_way or self._loading)

    def look(self) -> None:
        """Look into the inbox. Cheap to call too often."""
        self._guarded(self._look)

    def _guarded(self, work: Callable[[], None]) -> None:
        """A failure that nobody foresaw must not end the intake: it says so and starts afresh after a moment."""
        try:
            work()
        except Exception as error:
            logger.opt(exception=error).error("the intake failed and is started again: {}", error)
            if self._reading is not None:
                self._reading.close()
            self._reading = None
            self._files.clear()
            self._at_work.clear()
            self._reactor.call_later(RESTART_SECONDS, self.look)

    def _look(self) -> None:
        try:
            found, bells = self._inbox.scan()
        except OSError as error:
            logger.error("the inbox cannot be read: {}", error.strerror)
            return
        for workflow in bells:
            self._answer(workflow)
        present = {item.name for item in found}
        for name in self._watched.keys() - present:
            del self._watched[name]
        for item in found:
            if item.name not in self._at_work:
                self._at_work.add(item.name)
                self._files.append(item)
        self._go_on()

    # --- signals

    def _answer(self, workflow: str) -> None:
        """A bell was rung: hand on what lies in the workflow's `signals/`.

        The bell stays until the signals are gone, which is when they are committed: should we be killed before that,
        it is what makes the next engine look.
        """
        if self._inbox.has_signals(workflow):
            is_told = self.read_signals(workflow)
            if not is_told or workflow in self._driver.runs:
                return
        self._inbox.answer_bell(workflow)

    def read_signals(self, workflow: str) -> bool:
        """False when the disk did not let the driver take them, and they must be read again."""
        is_told = True
        for name, verb, content in self._inbox.signals(workflow):
            if verb not in VERBS:
                logger.bind(workflow=workflow).warning("signal {!r} is unknown; there are {}", name, ", ".join(VERBS))
            try:
                signal = Signal.of(verb, name, content)
            except JobError as error:  # left where it is: nothing that cannot be understood is deleted
                logger.bind(workflow=workflow).warning("signal {!r} cannot be done: {}", name, error)
                continue
            is_told &= self._driver.signal(workflow, signal)
        return is_told

    def read_signals_of(self, workflows: Iterable[str]) -> None:
        """At the start: a bell is only a hint, and may be gone while the signal is not."""
        for workflow in workflows:
            if self._inbox.has_signals(workflow):
                self.read_signals(workflow)

    def read_lost_signals(self) -> None:
        """Signals that were dropped by hand, without a bell."""
        for workflow in self._driver.runs:
            if self._inbox.has_signals(workflow):
                self._reactor.post(partial(self._answer, workflow))

    # --- reading

    def _go_on(self) -> None:
        if not self._slice_posted and (self._files or self._reading):
            self._slice_posted = True
            self._reactor.post(lambda: self._guarded(self._slice))

    def _slice(self) -> None:
        self._slice_posted = False
        if self._accepting or self._loading:
            return  # one batch at a time; `_accepted` goes on
        end = self._reactor.monotonic() + SLICE_SECONDS
        batch: list[tuple[Reading, Job]] = []
        while self._reactor.monotonic() < end and len(batch) < BATCH:
            if self._reading is None and not self._open_next():
                break
            reading = self._reading
            if reading is not None and not self._read_one(reading, batch):
                self._reading = None
        if batch:
            self._accept(batch)
        else:
            self._go_on()

    def _open_next(self) -> bool:
        """Begin the next file that is ready to be read; False when there is none."""
        while self._files and not self._loading:
            found = self._files.popleft()
            if self._is_ready(found):
                jobs = self._inbox.read(found, stamp(self._clock()))
                if found.size > SLOW_BYTES and found.name.endswith((".yaml", ".yml")):
                    self._load(found, jobs)
                    return False
                self._reading = Reading(found, jobs)
                return True
        return False

    def _load(self, found: Found, jobs: Iterator[Parsed]) -> None:
        """Read a large YAML file in a thread: it can take seconds, and steps that end must not wait for it."""
        loaded: list[Parsed] = []

        def done(error: BaseException | None) -> None:
            self._loading = False
            self._reading = Reading(found, _replay(loaded, error))
            self._go_on()

        self._loading = True
        self._syncer.submit(lambda: loaded.extend(jobs), done)

    def _is_ready(self, found: Found) -> bool:
        """May this file be read now? One that is being written, or was seen incomplete, must first come to rest."""
        mark = (found.size, found.mtime_ns, found.inode)
        writer = self._inbox.has_writer(found.name)
        watched = self._watched.get(found.name)
        if writer is False and watched is None:
            return True
        now = self._reactor.monotonic()
        if watched is None or watched[0] != mark or writer:
            watched = self._watched[found.name] = (mark, now)
        if not writer and now - watched[1] >= self._settle:
            return True
        self._later(found)
        return False

    def _later(self, found: Found) -> None:
        """Look at this file again when it has had time to change."""
        self._at_work.discard(found.name)
        if not self._look_again:
            self._look_again = True
            self._reactor.call_later(self._settle / 2, self._look_later)

    def _look_later(self) -> None:
        self._look_again = False
        self.look()

    def _read_one(self, reading: Reading, batch: list[tuple[Reading, Job]]) -> bool:
        """Take one job of the file; False when there are no more, or the file must wait."""
        try:
            parsed = next(reading.jobs, None)
        except InputError as error:
            return self._whole_file_is_bad(reading, error)
        except OSError as error:
            logger.warning("{} cannot be read now: {}", reading.found.name, error.strerror)
            reading.close()
            self._later(reading.found)
            return False
        if parsed is None:
            reading.is_read = True
            self._settle_accounts(reading)
            return False
        if parsed.error is not None:
            if not reading.accepted and self._may_still_change(reading.found):
                reading.close()
                return False
            reading.bad.append(parsed)
        elif parsed.job is not None:
            if not parsed.has_id and _may_grow(reading.found, parsed) and self._must_settle(reading.found):
                reading.close()
                return False
            self._take(reading, parsed, batch)
        return True

    def _must_settle(self, found: Found) -> bool:
        """A stranger's file may be written by many appends, with nobody at it in between."""
        if found.name in self._watched:
            return False
        self._watched[found.name] = ((found.size, found.mtime_ns, found.inode), self._reactor.monotonic())
        self._later(found)
        return True

    def _may_still_change(self, found: Found) -> bool:
        """A bad file is given time to become a good one."""
        mark, now = (found.size, found.mtime_ns, found.inode), self._reactor.monotonic()
        watched = self._watched.get(found.name)
        if watched is None or watched[0] != mark:
            watched = self._watched[found.name] = (mark, now)
        if now - watched[1] >= self._reject_after:
            return False
        self._later(found)
        return True

    def _whole_file_is_bad(self, reading: Reading, error: InputError) -> bool:
        reading.close()
        if error.code == "vanished":
            self._forget(reading.found)
        elif not self._may_still_change(reading.found):
            self._reject(reading, error, None)
        return False

    # --- accepting

    def _take(self, reading: Reading, parsed: Parsed, batch: list[tuple[Reading, Job]]) -> None:
        job = parsed.job
        assert job is not None
        if job.id in self._accepting or self._driver.knows(job.id):
            if not reading.found.name.startswith(job.id):
                logger.bind(workflow=job.id).info("{} asks for a workflow that is known already", reading.found.name)
            return
        if parsed.line is None and not parsed.has_id and (first := self._dropped_before(reading.found.name, parsed)):
            error = JobError(
                f"the same file was dropped before and is not finished yet: it is workflow {first}",
                file=reading.found.name,
                code="duplicate",
                hint="drop it again when that one has finished, or under another name",
            )
            reading.bad.append(Parsed(None, None, error, parsed.data))
            return
        if parsed.line is None and not parsed.has_id:
            self._remember_drop(reading.found.name, parsed, job.id)
        reading.accepted += 1
        reading.under_way += 1
        self._accepting.add(job.id)
        batch.append((reading, job))

    def _dropped_before(self, name: str, parsed: Parsed) -> str | None:
        """The unfinished workflow of an earlier drop with this name and content."""
        content, first = self._drops.get(name, (0, ""))
        if first and first not in self._driver.backlog and first not in self._accepting:
            del self._drops[name]
            return None
        return first if first and content == hash(parsed.data) else None

    def _remember_drop(self, name: str, parsed: Parsed, workflow: str) -> None:
        if len(self._drops) >= DROPS_REMEMBERED:
            known = self._driver.backlog
            self._drops = {key: value for key, value in self._drops.items() if value[1] in known}
        if len(self._drops) < DROPS_REMEMBERED:
            self._drops[name] = (hash(parsed.data), workflow)

    def _accept(self, batch: list[tuple[Reading, Job]]) -> None:
        """Hand a batch to the driver; when its jobs are committed and in their places, their files may leave."""
        jobs = [job for _, job in batch]
        ids = [job.id for job in jobs]
        self._driver.accept(jobs, lambda: self._log.when_placed(ids, lambda: self._accepted(batch)))

    def _accepted(self, batch: list[tuple[Reading, Job]]) -> None:
        for reading, job in batch:
            self._accepting.discard(job.id)
            reading.under_way -= 1
        self._reactor.post(lambda: self._guarded(lambda: self._settle_all(batch)))

    def _settle_all(self, batch: list[tuple[Reading, Job]]) -> None:
        for reading in {id(reading): reading for reading, _ in batch}.values():
            self._settle_accounts(reading)
        self._go_on()

    def _settle_accounts(self, reading: Reading) -> None:
        """When all of a file is read and durable, it leaves the inbox; what was bad in it goes to `rejected/`."""
        if reading.failed and not reading.is_read:
            reading.close()
            if self._reading is reading:
                self._reading = None
            reading.is_read = True
        if not reading.is_read or reading.under_way or reading.is_settled:
            return
        reading.is_settled = True
        if reading.failed:
            self._at_work.discard(reading.found.name)
            return
        if reading.bad:
            whole = reading.bad[0].line is None
            if not self._reject(reading, _summary(reading), None if whole else reading.bad) or whole:
                return  # gone with its reason, or kept until it can be put aside
        try:
            if not self._inbox.remove(reading.found):
                logger.info("{} has changed while it was read; it is read again", reading.found.name)
        except OSError as error:
            logger.error("{} is accepted but cannot be removed: {}", reading.found.name, error.strerror)
        self._forget(reading.found)

    def _reject(self, reading: Reading, error: InputError, lines: list[Parsed] | None) -> bool:
        """Put a file, or its bad lines, aside; False when the disk does not let us, and it is tried again."""
        name = reading.found.name
        try:
            put = self._inbox.reject(reading.found, error, stamp(self._clock()), lines)
        except OSError as failure:
            logger.error("{} cannot be put aside now: {}", name, failure.strerror)
            self._at_work.discard(name)
            self._reactor.call_later(1.0, self.look)
            return False
        logger.warning("rejected {} (see inbox/rejected/{}.reason.json): {}", name, put, error)
        if lines is None:
            self._forget(reading.found)
        return True

    def _forget(self, found: Found) -> None:
        self._at_work.discard(found.name)
        self._watched.pop(found.name, None)


class Reading:
    """A file that is being read: how many of its jobs are on their way, and which of its lines were bad."""

    __slots__ = ("accepted", "bad", "failed", "found", "is_read", "is_settled", "jobs", "under_way")

    def __init__(self, found: Found, jobs: Iterator[Parsed]) -> None:
        self.found = found
        self.jobs = jobs
        self.bad: list[Parsed] = []
        self.accepted = 0
        self.under_way = 0
        self.is_read = False
        self.is_settled = False
        self.failed = False

    def close(self) -> None:
        close = getattr(self.jobs, "close", None)
        if close is not None:
            close()


def _may_grow(found: Found, parsed: Parsed) -> bool:
    """Could this be a job only so far? The first half of a file of lines, or of a YAML file, is one of its kind, too.

    A file that was moved into its place, and not written there, is whole.
    """
    return parsed.line is not None or (found.in_place and found.name.lower().endswith((".yaml", ".yml")))


def _replay(loaded: list[Parsed], error: BaseException | None) -> Iterator[Parsed]:
    yield from loaded
    if error is not None:
        raise error


def _summary(reading: Reading) -> InputError:
    first = reading.bad[0].error or JobError("bad", file=reading.found.name)
    if len(reading.bad) > 1 or reading.bad[0].line is not None:
        text = f"{len(reading.bad)} of its lines cannot be accepted; the others were"
        return JobError(text, file=reading.found.name, code="bad_lines", hint=f"the first: {first}")
    return first

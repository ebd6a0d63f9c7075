"""The roof beam: the only place that chooses adapters and joins rooms. Read it to see what the daemon is made of."""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from loguru import logger

from hybrid_engine import __version__, logs
from hybrid_engine.daemon.acceptance import Acceptance
from hybrid_engine.daemon.intake import Intake
from hybrid_engine.daemon.keeper import Keeper
from hybrid_engine.daemon.reactor import EpollReactor
from hybrid_engine.daemon.signals import SignalIntake
from hybrid_engine.daemon.supervisor import Supervisor
from hybrid_engine.engine.driver import Driver
from hybrid_engine.engine.recovery import Recovery
from hybrid_engine.errors import HomeError, HybridError
from hybrid_engine.execution import processes
from hybrid_engine.execution.local import LocalExecutor
from hybrid_engine.files import atomic, queue, queueview
from hybrid_engine.files.home import open_home
from hybrid_engine.files.inbox import FileInbox
from hybrid_engine.files.layout import Layout
from hybrid_engine.files.lock import EngineLock
from hybrid_engine.files.records import Records
from hybrid_engine.files.signals import SignalFolders
from hybrid_engine.files.store import FileStore
from hybrid_engine.files.syncer import SyncPool
from hybrid_engine.files.templates import TemplateStore
from hybrid_engine.files.viewstore import FileAcceptor, FileViews
from hybrid_engine.files.watcher import InboxWatcher
from hybrid_engine.model.job import Job
from hybrid_engine.model.stamps import stamp
from hybrid_engine.model.state import WorkflowState
from hybrid_engine.settings import Settings
from hybrid_engine.sql.index import Index
from hybrid_engine.sql.rows import row_of, row_of_job
from hybrid_engine.sql.writer import IndexWriter

SWITCH_INTERVAL = 0.0005
"""Seconds a thread may keep the interpreter: the sync threads need it for microseconds, and often."""


BACKGROUND_THREADS = 3
"""For views, acceptance and finishing: what no commit should queue behind."""


class Indexed:
    """The index's writer, as the keeper speaks to it."""

    def __init__(self, writer: IndexWriter, layout: Layout) -> None:
        self._writer = writer
        self._layout = layout

    def put_state(self, state: WorkflowState) -> None:
        self._writer.put(state.id, row_of(state))

    def put_job(self, job: Job) -> None:
        self._writer.put(job.id, row_of_job(job))

    def put_missing(self, workflows: list[str]) -> None:
        with Index.open_reader(self._layout.index) as reader:
            known = reader.statuses(workflows)
        for workflow in workflows:
            if workflow not in known:
                self.put_job(queue.read_job(self._layout.job(workflow)))


def boot_id() -> str | None:
    """Which start of the machine this is, shortened; None when the kernel does not say."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read(8)
    except OSError:
        return None


def now() -> datetime:
    """The wall clock."""
    return datetime.now(UTC)


def run_daemon(settings: Settings, *, until_idle: bool = False, ready: Callable[[], None] | None = None) -> None:
    """Be the engine of this home until told to stop. Raises HomeError, LockHeldError before anything is touched.

    `ready` is called once the home is recovered and jobs are taken.
    """
    layout = settings.layout
    warnings = open_home(layout)
    steps_umask = os.umask(0o077)  # modes are given at every open; this guards against one that would take them away
    about = {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "started_at": stamp(now()),
        "version": __version__,
    }
    lock = EngineLock(layout)
    lock.acquire(about)
    try:
        os.chdir(layout.home)
        logs.configure(
            settings.log_level, layout.daemon_log, max_bytes=settings.log_file_size, keep=settings.log_file_keep
        )
        for warning in warnings:
            logger.warning(warning)
        logger.info("engine {} of {} starts, pid {}", __version__, layout.home, os.getpid())
        aside = queueview.put_foreign_aside(layout)
        if aside is not None:
            logger.warning("{} was not a view of the queue and is now {}", layout.queue_state, aside)
        _serve(settings, layout, lock, about, until_idle, ready, steps_umask)
        logger.info("engine ends")
    except OSError as error:
        raise HomeError(f"the daemon cannot go on: {error}") from error
    finally:
        lock.describe({})
        lock.release()


def _serve(
    settings: Settings,
    layout: Layout,
    lock: EngineLock,
    about: dict[str, Any],
    until_idle: bool,
    ready: Callable[[], None] | None,
    umask: int,
) -> None:
    prepare_process()
    reactor = EpollReactor(_report)
    syncer = SyncPool(reactor, settings.sync_threads, "commit")
    background = SyncPool(reactor, BACKGROUND_THREADS, "background")
    templates = TemplateStore(layout)
    store = FileStore(layout, templates)
    boot = boot_id()
    executor = LocalExecutor(reactor, layout, settings.worker_idle, umask, boot)
    keeper_box: list[Keeper] = []
    writer = IndexWriter(
        layout.index,
        Records(layout),
        lambda text: reactor.post(lambda: keeper_box[0].problem("index", text)),
    )
    views = FileViews(layout)
    keeper = Keeper(views, Indexed(writer, layout), background, reactor, now, about, lambda: _probe(layout))
    keeper_box.append(keeper)
    _sweep(layout)
    driver = Driver(
        store,
        syncer,
        background,
        executor,
        reactor,
        keeper,
        now,
        slots=settings.max_parallel_nodes,
        grace=settings.grace,
        boot=boot,
    )

    def put_aside(workflow: str, why: str) -> None:
        keeper.problem(f"quarantine {workflow}", why)
        writer.put(workflow, None)

    recovery = Recovery(store, driver, put_aside)
    keeper.driver, keeper.reopener, keeper.running = driver, recovery.reopen, lambda: executor.running
    inbox = FileInbox(layout, templates)
    intake = Intake(
        inbox,
        Acceptance(FileAcceptor(layout), inbox, driver, background, keeper.queued),
        SignalIntake(SignalFolders(layout), driver, background, reactor, now),
        background,
        reactor,
        now,
        settle=settings.settle,
        reject_after=settings.reject_after,
    )
    supervisor = Supervisor(
        reactor,
        driver,
        intake,
        keeper,
        recovery,
        lambda wake: InboxWatcher(reactor, layout.inbox, wake),
        lambda: _look_after(layout, lock, settings.min_free),
        rescan=settings.rescan,
        until_idle=until_idle,
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: supervisor.stop())
    reactor.post(lambda: _warm_up(templates))
    if ready is not None:
        reactor.post(ready)
    try:
        supervisor.run()
    finally:
        executor.close()
        syncer.close()
        background.close()
        keeper.write_queue(driver, engine=False)
        background.close()
        writer.close()
        reactor.close()


def prepare_process() -> None:
    """What the engine's process is, whoever started it."""
    sys.setswitchinterval(SWITCH_INTERVAL)
    signal.signal(signal.SIGIO, signal.SIG_IGN)  # sent when somebody opens a file whose lease we are asking for
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    if hasattr(signal, "SIGXFSZ"):
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a file over the limit is an error of that write, not our end
    processes.become_subreaper()
    processes.keep_descriptors()
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


def _warm_up(templates: TemplateStore) -> None:
    """Read the templates before the first job needs one: it loads the YAML reader, too."""
    for name in templates.names():
        try:
            templates.current(name)
        except (HybridError, OSError) as error:
            logger.warning("{}", error)


def _sweep(layout: Layout) -> None:
    """Remove what dropping programs that were killed left half written. Those that live are left alone."""
    for name in os.listdir(layout.tmp):
        pid = name.partition("-")[0]
        if not (pid.isdigit() and os.path.exists(f"/proc/{pid}")):
            atomic.unlink_quietly(os.path.join(layout.tmp, name))


def _report(error: BaseException) -> None:
    """A callback of the reactor raised: it is a bug, or the machine in trouble; the loop goes on."""
    unforeseen = None if isinstance(error, HybridError | OSError) else error
    logger.opt(exception=unforeseen).error("a part of the daemon failed, and it goes on: {!r}", error)


def _look_after(layout: Layout, lock: EngineLock, wanted: int) -> tuple[int, int]:
    """Is the home still ours? Make folders again that somebody removed. Bytes free, and wanted: at most a fiftieth."""
    lock.check()
    for folder in layout.folders():
        if not os.path.isdir(folder):
            atomic.make_folders(folder)
            logger.warning("{} was gone and is made again", folder)
    found = os.statvfs(layout.workflows)
    return found.f_bavail * found.f_frsize, min(wanted, found.f_blocks * found.f_frsize // 50)


def _probe(layout: Layout) -> None:
    """Does the disk take what it is given? Writes and syncs a page."""
    path = os.path.join(layout.tmp, "probe")
    atomic.write_new(path, b"\0" * 65536)
    atomic.unlink_quietly(path)

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
from hybrid_engine.daemon.checkpointer import Checkpointer
from hybrid_engine.daemon.health import Health
from hybrid_engine.daemon.intake import Intake
from hybrid_engine.daemon.projector import Projector
from hybrid_engine.daemon.reactor import EpollReactor
from hybrid_engine.daemon.signals import SignalIntake
from hybrid_engine.daemon.supervisor import Supervisor
from hybrid_engine.engine.driver import Driver
from hybrid_engine.engine.gate import Gate
from hybrid_engine.engine.recovery import Recovery
from hybrid_engine.engine.work import Work
from hybrid_engine.errors import HomeError, HybridError
from hybrid_engine.execution import processes
from hybrid_engine.execution.local import LocalExecutor
from hybrid_engine.files import atomic, queue, queueview
from hybrid_engine.files.heartbeat import Heartbeat
from hybrid_engine.files.home import open_home
from hybrid_engine.files.inbox import FileInbox
from hybrid_engine.files.layout import Layout
from hybrid_engine.files.lock import EngineLock
from hybrid_engine.files.log.behind import WriteBehind
from hybrid_engine.files.log.commit_log import FileLog
from hybrid_engine.files.log.filesystems import FileSystems
from hybrid_engine.files.log.formats import take_up
from hybrid_engine.files.log.replay import Replayed, replay
from hybrid_engine.files.records import Records
from hybrid_engine.files.signals import SignalFolders
from hybrid_engine.files.store import FileStore
from hybrid_engine.files.syncer import SyncPool
from hybrid_engine.files.templates import TemplateStore
from hybrid_engine.files.viewstore import FileViews
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


BACKGROUND_THREADS = 2
"""For what no commit should wait for: checkpoints, the view of the queue, large YAML files."""


class Indexed:
    """The index's writer, as the keeper speaks to it."""

    def __init__(self, writer: IndexWriter, layout: Layout) -> None:
        self._writer = writer
        self._layout = layout

    def put_state(self, state: WorkflowState) -> None:
        self._writer.put(state.id, row_of(state))

    def put_job(self, job: Job) -> None:
        self._writer.put(job.id, row_of_job(job))

    def remove(self, workflow: str) -> None:
        self._writer.put(workflow, None)

    def put_missing(self, workflows: list[str]) -> None:
        with Index.open_reader(self._layout.index) as reader:
            known = reader.statuses(workflows)
        for workflow in workflows:
            if workflow not in known:
                self.put_job(queue.read_job(self._layout.journal(workflow)))


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
    take_up(layout)
    systems = FileSystems((layout.log, layout.workflows, layout.inbox, layout.queue))
    _sweep(layout)
    replayed = replay(layout, systems)
    reactor = EpollReactor(_report)
    background = SyncPool(reactor, BACKGROUND_THREADS, "background")
    heartbeat = Heartbeat(layout)
    gate, work = Gate(), Work(settings.max_parallel_nodes)
    health = Health(reactor, background, now, gate, lambda: _probe(layout))
    templates = TemplateStore(layout)
    boot = boot_id()
    executor = LocalExecutor(reactor, layout, settings.worker_idle, umask, boot)
    writer = IndexWriter(
        layout.index, Records(layout), lambda text: reactor.post(lambda: health.problem("index", text))
    )

    def lost(workflow: str, error: OSError) -> None:
        """What was committed of a workflow cannot be written into its folder."""
        if not os.path.isdir(layout.workflows):
            health.disk(error)
        elif not os.path.isdir(layout.workflow(workflow)):
            reactor.post(lambda: driver.removed(workflow))
        else:
            reactor.post(lambda: put_aside(workflow, f"its journal cannot be written: {error}"))

    behind = WriteBehind(layout, lost, health.disk)
    log = FileLog(layout, behind, background, heartbeat.durable, heartbeat.commit_begins, health.disk)
    store = FileStore(layout, templates, log)
    projector = Projector(
        FileViews(layout, log), Indexed(writer, layout), background, reactor, now, work, health, about,
        lambda: executor.running,
    )  # fmt: skip
    driver = Driver(
        store,
        log,
        executor,
        reactor,
        projector,
        now,
        gate,
        work,
        grace=settings.grace,
        boot=boot,
        background=background,
    )

    def put_aside(workflow: str, why: str) -> None:
        driver.put_aside(workflow, why)
        tell_put_aside(workflow, why)

    def tell_put_aside(workflow: str, why: str) -> None:
        health.problem(f"quarantine {workflow}", why)
        writer.put(workflow, None)

    recovery = Recovery(store, driver, tell_put_aside)
    inbox = FileInbox(layout, templates)
    intake = Intake(
        inbox,
        Acceptance(driver, log, gate),
        SignalIntake(SignalFolders(layout), driver, background, reactor, now),
        background,
        reactor,
        now,
        settle=settings.settle,
        reject_after=settings.reject_after,
    )
    checkpointer = Checkpointer(log, reactor, health, lambda: driver.recorder.commits, lambda: _is_asked_for(layout))
    supervisor = Supervisor(
        reactor,
        driver,
        gate,
        intake,
        projector,
        health,
        checkpointer,
        recovery,
        lambda wake: InboxWatcher(reactor, layout.inbox, wake),
        lambda: _look_after(layout, lock, health, settings.min_free),
        rescan=settings.rescan,
        until_idle=until_idle,
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: supervisor.stop())

    log.open(systems, replayed.next_number, replayed.next_segment, replayed.rest)
    _tell(replayed, tell_put_aside)
    reactor.post(lambda: _warm_up(templates))
    if ready is not None:
        reactor.post(ready)
    try:
        supervisor.run()
    finally:
        executor.close()
        background.close()
        projector.write_queue(engine=False)
        background.close()
        writer.close()
        log.close()
        heartbeat.close()
        reactor.close()


def _tell(replayed: Replayed, put_aside: Callable[[str, str], None]) -> None:
    if replayed.workflows:
        logger.info("recovered what was committed of {} workflows from the log", replayed.workflows)
    for path in replayed.evidence:
        logger.warning("a part of the log cannot be read; a copy is kept as {}", path)
    for workflow, why in replayed.put_aside:
        logger.bind(workflow=workflow).error("it was put into quarantine: {}", why)
        put_aside(workflow, why)


def _is_asked_for(layout: Layout) -> bool:
    """Does somebody (a `prune`) wait for a checkpoint?"""
    return atomic.unlink_quietly(layout.checkpoint_bell)


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
        pid = name.lstrip(".").partition("-")[0]
        if not (pid.isdigit() and os.path.exists(f"/proc/{pid}")):
            atomic.unlink_quietly(os.path.join(layout.tmp, name))


def _report(error: BaseException) -> None:
    """A callback of the reactor raised: it is a bug, or the machine in trouble; the loop goes on."""
    unforeseen = None if isinstance(error, HybridError | OSError) else error
    logger.opt(exception=unforeseen).error("a part of the daemon failed, and it goes on: {!r}", error)


def _look_after(layout: Layout, lock: EngineLock, health: Health, wanted: int) -> None:
    """Is the home still ours? Folders that somebody removed are made again, but for `workflows/`: there a file system
    may have gone, and what would be written into the empty folder below it would be lost to sight."""
    lock.check()
    for folder in layout.folders():
        if folder != layout.workflows and not os.path.isdir(folder):
            atomic.make_folders(folder)
            atomic.sync_folder(os.path.dirname(folder))
            logger.warning("{} was gone and is made again", folder)
    is_there = os.path.isdir(layout.workflows)
    health.problem(
        "workflows", None if is_there else f"{layout.workflows} is gone; nothing is started until it is back"
    )
    health.gate.shut("workflows", not is_there)
    if is_there:
        found = os.statvfs(layout.workflows)
        health.space(found.f_bavail * found.f_frsize, min(wanted, found.f_blocks * found.f_frsize // 50))
        health.inodes(found.f_favail, found.f_files)


def _probe(layout: Layout) -> None:
    """Does the disk take what it is given? Writes and syncs a page."""
    path = os.path.join(layout.tmp, "probe")
    atomic.write_new(path, b"\0" * 65536)
    atomic.unlink_quietly(path)

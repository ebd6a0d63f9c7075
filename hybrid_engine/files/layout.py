"""Every path of a home, one property or method each. Nobody else joins paths.

Ids and names are checked where they enter (model.ids); a method here that takes one checks it again, because a path
is where a bad one would do harm. Light module: imported by `hybrid enqueue`.
"""

from __future__ import annotations

import os

from hybrid_engine.model.ids import check_id, check_name

FORMAT = 2
"""Of the home. A larger number in `.hybrid/format` comes from a newer program and is refused. Homes of format 1 have no
commit log; they are taken up as they are, and are of format 2 before the first commit to the log."""


class Layout:
    """The paths of one home. All are absolute; `workflows_dir` and `queue_state_file` may lie outside of the home."""

    def __init__(self, home: str, workflows_dir: str = "workflows", queue_state_file: str = "queue-state.json") -> None:
        self._near: str | None = None
        self.home = os.path.abspath(home)
        self.workflows = os.path.join(self.home, workflows_dir)
        self._in_workflows = os.path.join(self.workflows, "")  # asked for a dozen times a workflow: joined once
        self.queue_state = os.path.join(self.home, queue_state_file)
        self.lock = self.queue_state + ".lock"
        self.inbox = os.path.join(self.home, "inbox")
        self.rejected = os.path.join(self.inbox, "rejected")
        self.queue = os.path.join(self.home, "queue")
        self.templates = os.path.join(self.home, "templates")
        self.functions = os.path.join(self.home, "functions")
        self.logs = os.path.join(self.home, "logs")
        self.private = os.path.join(self.home, ".hybrid")
        self.format = os.path.join(self.private, "format")
        self.home_lock = os.path.join(self.private, "lock")
        self.tmp = os.path.join(self.private, "tmp")
        self.log = os.path.join(self.private, "log")
        self.checkpoint_bell = os.path.join(self.tmp, "checkpoint")
        self.heartbeat = os.path.join(self.private, "heartbeat")
        self.taken = os.path.join(self.private, "taken")
        self.taken_nearby = os.path.join(self.inbox, ".taken")
        self.frozen = os.path.join(self.private, "templates")
        self.frozen_names = os.path.join(self.frozen, "by-name")
        self.schemas = os.path.join(self.private, "schemas")
        self.workers = os.path.join(self.private, "workers")
        self.index = os.path.join(self.private, "index.sqlite")
        self.quarantine = os.path.join(self.private, "quarantine")
        self.trash = os.path.join(self.private, "trash")
        self.daemon_log = os.path.join(self.logs, "daemon.jsonl")
        self.settings_file = os.path.join(self.home, "hybrid.toml")
        self.env_file = os.path.join(self.home, ".env")

    def misplaced(self) -> str | None:
        """Why the two paths that a setting may move cannot be where they are; None when they can.

        The view is written over and workflows are made and removed: neither may lie where something else does.
        """
        own = [
            self.private, self.inbox, self.queue, self.templates, self.functions, self.logs,
        ]  # fmt: skip
        for folder in (*own, self.workflows):
            if is_inside(self.queue_state, folder):
                return f"QUEUE_STATE_FILE {self.queue_state} lies in {folder}, which is for something else"
        if not self.queue_state.endswith(".json"):
            return f"QUEUE_STATE_FILE {self.queue_state} must end in .json: what stands there is written over"
        for folder in own:
            if is_inside(self.workflows, folder):
                return f"WORKFLOWS_DIR {self.workflows} lies in {folder}, which is for something else"
        if is_inside(self.home, self.workflows):
            return f"WORKFLOWS_DIR {self.workflows} holds the home itself"
        return None

    def folders(self) -> list[str]:
        """All folders of a complete home, parents first."""
        return [
            self.home, self.private, self.tmp, self.log, self.frozen, self.frozen_names, self.workers, self.quarantine,
            self.trash, self.inbox, self.rejected, self.queue, self.workflows, self.templates, self.functions,
            self.logs,
        ]  # fmt: skip

    # --- of the queue and the inbox

    def queued(self, name: str) -> str:
        return os.path.join(self.queue, name)

    def bell(self, workflow: str) -> str:
        """An empty file that wakes the engine: `workflow` has a signal waiting."""
        return os.path.join(self.inbox, BELL_PREFIX + check_id(workflow))

    def frozen_template(self, version: str) -> str:
        return os.path.join(self.frozen, check_name(version, "template version") + ".json")

    def frozen_name(self, template: str) -> str:
        return os.path.join(self.frozen_names, check_name(template, "template") + ".json")

    def temporary(self, workflow: str) -> str:
        """A temporary name for a file of a workflow, on its file system and out of reach of its steps."""
        if self._near is None:
            is_near = os.stat(self.tmp).st_dev == os.stat(self.workflows).st_dev
            self._near = self.tmp if is_near else self.workflows
        return os.path.join(self._near, f".{os.getpid()}-{check_id(workflow)}.tmp")

    # --- of one workflow

    def workflow(self, workflow: str) -> str:
        return self._in_workflows + check_id(workflow)

    def job(self, workflow: str) -> str:
        return os.path.join(self.workflow(workflow), "job.json")

    def template(self, workflow: str) -> str:
        return f"{self.workflow(workflow)}/template.json"

    def journal(self, workflow: str) -> str:
        return f"{self.workflow(workflow)}/journal.jsonl"

    def state(self, workflow: str) -> str:
        return f"{self.workflow(workflow)}/state.json"

    def snapshot(self, workflow: str) -> str:
        return os.path.join(self.workflow(workflow), "snapshot.json")

    def progress(self, workflow: str) -> str:
        return os.path.join(self.workflow(workflow), "progress.json")

    def signals(self, workflow: str) -> str:
        return os.path.join(self.workflow(workflow), "signals")

    def artifacts(self, workflow: str) -> str:
        return os.path.join(self.workflow(workflow), "artifacts")

    def attempt(self, workflow: str, step: str, number: int) -> str:
        """The folder of one attempt. `step` is an address: a name, then `.turn` and `.item` where there are any."""
        return os.path.join(self.workflow(workflow), "steps", check_id(step), str(int(number)))


def is_inside(path: str, folder: str) -> bool:
    """Is `path` the folder, or in it, as the names go?"""
    path, folder = os.path.normpath(path), os.path.normpath(folder)
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


BELL_PREFIX = ".signal-"

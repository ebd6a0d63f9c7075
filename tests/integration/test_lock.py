"""The engine's lock on a real home: it keeps a second one out, and notices when it keeps nobody out any more."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from hybrid_engine.errors import LockHeldError
from hybrid_engine.files.layout import Layout
from hybrid_engine.files.lock import BriefLock, EngineLock, holder


@pytest.fixture
def lock(home: Layout) -> Iterator[EngineLock]:
    lock = EngineLock(home)
    lock.acquire({"pid": os.getpid(), "host": "here", "started_at": "now"})
    yield lock
    lock.release()


def test_who_holds_the_lock_is_told_and_nobody_else_gets_it(home: Layout, lock: EngineLock) -> None:
    assert (holder(home) or {})["pid"] == os.getpid()
    with BriefLock(home) as mine:
        assert not mine
    with pytest.raises(LockHeldError, match=str(os.getpid())):
        EngineLock(home).acquire({"pid": 2})
    lock.check()


@pytest.mark.parametrize("which", ["lock", "home_lock"])
@pytest.mark.parametrize("is_replaced", [True, False])
def test_a_lock_file_that_was_removed_is_noticed(home: Layout, lock: EngineLock, which: str, is_replaced: bool) -> None:
    path = getattr(home, which)
    os.rename(path, f"{path}.old")  # its inode must not be given to the new file
    if is_replaced:
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
    with pytest.raises(LockHeldError, match="removed or replaced"):
        lock.check()


def test_what_the_lock_file_says_may_change_while_it_is_held(home: Layout, lock: EngineLock) -> None:
    lock.describe({"pid": os.getpid(), "host": "here", "started_at": "later"})
    lock.check()
    assert (holder(home) or {})["started_at"] == "later"

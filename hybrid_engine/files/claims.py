"""Taking files out of the inbox without touching a successor: first out of reach, then a look, then gone or put back.

Between a look at a name and its removal somebody may rename another file over it. So a file is first renamed into a
private folder; there nobody changes what the name means, and what was moved can be compared with what was read. A
rename out of the inbox is no event that its watcher asks for.

A kill in between leaves the file in the private folder; `sweep` puts it back, and who reads it knows its jobs already.
"""

from __future__ import annotations

import errno
import os

from hybrid_engine.files import atomic
from hybrid_engine.files.freename import free_name

_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS, errno.EISDIR)


class Claims:
    """`taken` is the private folder; `nearby` the one inside of the inbox, where that is a file system of its own.

    Only the holder of the home's lock uses them.
    """

    def __init__(self, inbox: str, taken: str, nearby: str) -> None:
        self._inbox = inbox
        self._taken = taken
        self._nearby = nearby

    def claim(self, name: str) -> str | None:
        """Take what has this name now out of the inbox; returns where it is, None when nothing has it."""
        if os.path.lexists(os.path.join(self._taken, name)):
            self.put_back(name)  # a removal failed, or putting back did
        try:
            return self._move_in(name)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno != errno.EXDEV or self._taken == self._nearby:
                raise
        self._taken = self._nearby
        return self.claim(name)

    def _move_in(self, name: str) -> str:
        source, target = os.path.join(self._inbox, name), os.path.join(self._taken, name)
        try:
            atomic.rename(source, target)
        except FileNotFoundError:
            if not atomic.make_folder(self._taken):
                raise
            atomic.rename(source, target)
        return target

    def put_back(self, name: str) -> str:
        """Undo `claim`; returns the name it has now, which is another one when a successor has taken its own."""
        return self._put_back(os.path.join(self._taken, name), name)

    def _put_back(self, source: str, name: str) -> str:
        while True:
            target = os.path.join(self._inbox, name)
            try:
                _move_to_new_name(source, target)
                return name
            except FileExistsError:
                if _same_file(source, target):  # killed between giving the one name and taking the other
                    os.unlink(source)
                    return name
                name = free_name(self._inbox, name)

    def sweep(self) -> list[str]:
        """Put back what a killed engine has left; returns the names."""
        names: list[str] = []
        for folder in (self._taken, self._nearby):
            try:
                left = sorted(os.listdir(folder))
            except FileNotFoundError:
                continue
            names += [self._put_back(os.path.join(folder, name), name) for name in left]
        return names


def _move_to_new_name(source: str, target: str) -> None:
    """Rename without writing over anything: FileExistsError when there is something."""
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        # A folder, or a file system without hard links: there is a moment between the look and the move.
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target) from None
        atomic.rename(source, target)
        return
    os.unlink(source)


def _same_file(one: str, other: str) -> bool:
    try:
        return os.path.samestat(os.lstat(one), os.lstat(other))
    except FileNotFoundError:
        return False

"""Taking files out of the inbox without touching a successor: first out of reach, then a look, then gone or put back.

Between a look at a name and its removal somebody may rename another file over it. So a file is first renamed into a
private folder inside of the inbox, on whatever file system that is; there nobody changes what the name means, and what
was moved can be compared with what was read. A rename out of a watched folder is no event of it.

A kill in between leaves the file in the private folder; `sweep` puts it back, and who reads it knows its jobs already.
"""

from __future__ import annotations

import errno
import os

from hybrid_engine.files import atomic
from hybrid_engine.files.freename import free_name

_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS, errno.EISDIR)


class Claims:
    """The private folder `taken` of `inbox`. Only the holder of the home's lock uses it."""

    def __init__(self, inbox: str, taken: str) -> None:
        self._inbox = inbox
        self._taken = taken

    def claim(self, name: str) -> str | None:
        """Take what has this name now out of the inbox; returns where it is, None when nothing has it."""
        target = os.path.join(self._taken, name)
        if os.path.lexists(target):
            self.put_back(name)  # a removal failed, or putting back did
        try:
            self._move_in(name, target)
        except FileNotFoundError:
            return None
        return target

    def _move_in(self, name: str, target: str) -> None:
        try:
            atomic.rename(os.path.join(self._inbox, name), target)
        except FileNotFoundError:
            if not atomic.make_folder(self._taken):
                raise
            atomic.rename(os.path.join(self._inbox, name), target)

    def put_back(self, name: str) -> str:
        """Undo `claim`; returns the name it has now, which is another one when a successor has taken its own."""
        source = os.path.join(self._taken, name)
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
        try:
            left = sorted(os.listdir(self._taken))
        except FileNotFoundError:
            return []
        return [self.put_back(name) for name in left]


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

"""The bare loop, as a process of its own: inotify, a synced record, a spawned shell. `<folder> <script>`.

It keeps nothing but a line per file, checks nothing and recovers nothing: it is what a drop folder costs at least.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys

MOVED_TO = 0x00000080
EVENT = struct.Struct("iIII")


def main() -> None:
    folder, script = sys.argv[1:]
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.inotify_init1(os.O_CLOEXEC)
    if fd < 0 or libc.inotify_add_watch(fd, os.fsencode(folder), MOVED_TO) < 0:
        raise OSError(ctypes.get_errno(), "inotify")
    journal = os.open(folder + ".journal", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    print("ready", flush=True)
    while True:
        data = os.read(fd, 65536)
        while data:
            size = EVENT.size + EVENT.unpack_from(data)[3]
            name = data[EVENT.size : size].rstrip(b"\0")
            data = data[size:]
            os.write(journal, name.ljust(199) + b"\n")
            os.fsync(journal)
            pid = os.posix_spawn("/bin/sh", ["sh", "-c", script], os.environ)
            os.waitpid(pid, 0)


if __name__ == "__main__":
    main()

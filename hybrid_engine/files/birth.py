"""When a file was made, as its file system remembers it. The only place that calls `statx`, which Python lacks.

The moment of birth tells a file from a later one that got the same inode number, and, unlike the time of the last
change, it stays the same when the file grows, is touched, or gets another name.
"""

from __future__ import annotations

import ctypes

_AT_EMPTY_PATH = 0x1000
_STATX_BTIME = 0x800


class _Statx(ctypes.Structure):
    """The beginning of the kernel's `struct statx`; the whole has 256 bytes."""

    _fields_ = [
        ("mask", ctypes.c_uint32),
        ("up_to_btime", ctypes.c_uint8 * 76),
        ("btime_sec", ctypes.c_int64),
        ("btime_nsec", ctypes.c_uint32),
        ("rest", ctypes.c_uint8 * 164),
    ]


def birth_ns(fd: int) -> int | None:
    """Nanoseconds since the epoch at which the open file was made; None when the file system does not keep it."""
    found = _Statx()
    try:
        failed = _libc.statx(fd, b"", _AT_EMPTY_PATH, _STATX_BTIME, ctypes.byref(found))
    except AttributeError:  # a C library without it
        return None
    if failed or not found.mask & _STATX_BTIME:
        return None
    return int(found.btime_sec) * 1_000_000_000 + int(found.btime_nsec)


_libc = ctypes.CDLL(None)

"""Memory that is free again goes back to the system, where the C library is glibc.

By itself glibc keeps what lies between pieces in use, and in each thread up to 64 MB of large ones. A collector of
fifty markets held a quarter more than it used: each second brings pieces of all sizes, of which some stay for minutes.
"""

from __future__ import annotations

import asyncio
import ctypes
import time

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # glibc's malloc.h
_LARGE_BYTES = 4 << 20

_EACH_S = 10.0
_SHARE = 0.001
"""Of a core, at most, goes into it: where there is much to look through, it is done less often."""


def without_large_leftovers() -> None:
    """From now on, pieces above 4 MB go back to the system once they are free. For commands that own their process."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, _LARGE_BYTES)
        mallopt(_TRIM_THRESHOLD, _LARGE_BYTES)


def give_back() -> float:
    """Gives every free page to the system; gives the seconds of CPU time that it took.

    Some milliseconds, in which other threads may have to wait for memory.
    """
    began_s = time.thread_time()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
    return time.thread_time() - began_s


async def keep_giving_back() -> None:
    """`give_back` each ten seconds, until cancelled."""
    took_s = 0.0
    while True:
        await asyncio.sleep(max(_EACH_S, took_s / _SHARE))
        took_s = await asyncio.to_thread(give_back)

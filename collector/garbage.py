"""When Python looks for circles of objects that nobody else holds.

What a message leaves is freed by counting references, so hardly any circles are there to be found. Looking for them
each 700 objects, as Python does, is a tenth of the cost of a message, each 20,000 still a fiftieth. But few objects may
hold much: an error and the frames that it came through, with the rows that they worked on. So a run looks by the clock.
"""

from __future__ import annotations

import asyncio
import gc

_OBJECTS = 100_000
_INTERVAL_S = 60.0


def look_rarely() -> None:
    """What is there by now stays for good, and is never looked at again; for when all that a run needs is made."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_OBJECTS, 10, 10)


async def look_each_minute() -> None:
    """Until cancelled. One look at what fifty markets hold takes 2 to 13 ms."""
    while True:
        await asyncio.sleep(_INTERVAL_S)
        gc.collect()

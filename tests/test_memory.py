"""What is free goes back to the system. All of it is measured from outside of glibc, in /proc."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from collector import memory

ROOT = Path(__file__).parents[1]

RETAINED = """
import re, sys, threading
import numpy as np
from pathlib import Path

def held_mb():
    return int(re.search(r"RssAnon:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024

def work():
    for size_mb in (20, 19, 18):
        np.ones(size_mb << 17)

before = held_mb()
thread = threading.Thread(target=work)
thread.start()
thread.join()
assert (held_mb() - before > 15) is (sys.argv[1] == "kept"), held_mb() - before
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="of glibc, measured in /proc")
@pytest.mark.parametrize("lean", [True, False])
def test_large_pieces_go_back_to_the_system(lean: bool) -> None:
    code = (
        "from collector.memory import without_large_leftovers\nwithout_large_leftovers()\n" if lean else ""
    ) + RETAINED
    subprocess.run([sys.executable, "-c", code, "gone" if lean else "kept"], cwd=ROOT, timeout=60, check=True)


SCATTERED = """
import re
import numpy as np
from pathlib import Path
from collector.memory import give_back

def held_mb():
    return int(re.search(r"RssAnon:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024

pieces = [np.ones(4096) for _ in range(2000)]  # 32 kB each
full = held_mb()
del pieces[::2]
assert full - held_mb() < 5, (full, held_mb())
give_back()
assert full - held_mb() > 20, (full, held_mb())
assert all(piece.sum() == 4096 for piece in pieces)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="of glibc, measured in /proc")
def test_what_lies_between_pieces_in_use_goes_back() -> None:
    subprocess.run([sys.executable, "-c", SCATTERED], cwd=ROOT, timeout=60, check=True)


def test_it_takes_a_small_share_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long it takes to look through all that is held."""
    waits_s = list[float]()

    def give_back() -> float:
        return 0.002 if len(waits_s) < 3 else 0.5

    async def sleep(wait_s: float) -> None:
        waits_s.append(wait_s)
        if len(waits_s) == 6:
            raise asyncio.CancelledError

    monkeypatch.setattr(memory, "give_back", give_back)
    monkeypatch.setattr(asyncio, "sleep", sleep)
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(memory.keep_giving_back())
    assert waits_s == pytest.approx([10, 10, 10, 500, 500, 500])

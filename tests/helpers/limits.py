"""Time limits that tell a hang from a slow CPU."""

from __future__ import annotations

import functools
import hashlib
import time

# CPU seconds for the unit of work on the machine that the limits in the tests were chosen on
# (2 cores with AVX512_BF16).
REFERENCE = 0.028
REPEATS = 3


def _work() -> None:
    """A fixed amount of Python and of C."""
    sum(number * number for number in range(400_000))
    hashlib.pbkdf2_hmac("sha256", b"unit", b"work", 40_000)


@functools.cache
def slowness() -> float:
    """How much slower this CPU is than the reference; 1 for a faster one."""
    seconds = []
    for _ in range(REPEATS):
        start = time.process_time()
        _work()
        seconds.append(time.process_time() - start)
    return max(1.0, min(seconds) / REFERENCE)


def scaled(seconds: float) -> float:
    """A limit in seconds of the reference machine, in seconds of this one."""
    return seconds * slowness()

"""CPU time and memory of processes, from the kernel's own accounts."""

from __future__ import annotations

import os
import resource
import time
from dataclasses import asdict, dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Cost:
    """Seconds of CPU (user and system) and of the clock on the wall; peak memory in bytes."""

    cpu: float
    wall: float
    peak: int

    def to_dict(self) -> dict[str, float]:
        """As JSON has it."""
        return asdict(self)


class Meter:
    """What this process and its children use from now on. Children count once waited for."""

    def __init__(self) -> None:
        self._cpu = _cpu()
        self._wall = time.perf_counter()

    def stop(self) -> Cost:
        """What was used since the meter was made."""
        return Cost(_cpu() - self._cpu, time.perf_counter() - self._wall, peak())


def _cpu() -> float:
    usages = (
        resource.getrusage(resource.RUSAGE_SELF),
        resource.getrusage(resource.RUSAGE_CHILDREN),
    )
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def peak() -> int:
    """The most memory this process, or any one of its children that ended, ever held: bytes."""
    own = 0
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            own = int(line.split()[1]) * 1024
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    return max(own, children)


def busy(pid: int) -> float:
    """Seconds of CPU that another, living process has used so far, to 10 ms."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS

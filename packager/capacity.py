"""Measured capacity and use of this process: cores, memory, bandwidth, milliseconds of part work."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from packager import memory
from schemas.records import Load

# Bandwidth to assume where no interface tells its speed: 10 Gb/s.
BANDWIDTH_BYTES_PER_S = 1_250_000_000
# How much a new instant of part work counts against those before it.
PART_WEIGHT = 0.2


def cores(configured: float, *, cgroup: Path = Path("/sys/fs/cgroup")) -> float:
    """
    CPU cores this process may use: those configured, else the fewest of affinity and cgroup quota.

    >>> cores(1.5)
    1.5
    """
    if configured:
        return configured
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _words(cgroup / "cpu.max")
    limit = int(quota[0]) / int(quota[1]) if len(quota) == 2 and quota[0].isdigit() else float(affinity)
    return min(float(affinity), limit)


def bandwidth_bytes_per_s() -> int:
    """Bytes per second of the fastest interface that is up and tells its speed."""
    speeds = [stats.speed for stats in psutil.net_if_stats().values() if stats.isup and stats.speed > 0]
    return max(speeds) * 125_000 if speeds else BANDWIDTH_BYTES_PER_S


def capacity(configured_cores: float, part_ms_per_core: float, *, fetch_bytes_max: int) -> Load:
    """
    What this process can carry.

    Args:
        configured_cores: Cores it may use; 0: those measured.
        part_ms_per_core: Part work it may have at one instant, for each of its cores.
        fetch_bytes_max: What a Kafka client of it fetches ahead: memory that chunks in hand do not have.
    """
    bandwidth, count = bandwidth_bytes_per_s(), cores(configured_cores)
    return Load(
        cores=count,
        memory_bytes=memory.room_bytes(memory.limit_bytes(), memory.used_bytes(), fetch_bytes_max),
        in_bytes_per_s=bandwidth,
        out_bytes_per_s=bandwidth,
        part_ms=part_ms_per_core * count,
    )


class Meter:
    """Use of this process, between one reading and the next."""

    def __init__(self, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        """
        Args:
            monotonic: Seconds.
        """
        self.in_bytes = 0
        self.out_bytes = 0
        self._monotonic = monotonic
        self._process = psutil.Process()
        self._part_ms: dict[str, float] = {}
        self._last = (monotonic(), self._cpu_s(), 0, 0)
        self._empty_bytes = memory.used_bytes()

    def add_part(self, slice_key: str, work_ms: float) -> None:
        """Counts the work of all parts of a slice that fell due at one instant."""
        held = self._part_ms.get(slice_key, work_ms)
        self._part_ms[slice_key] = held + PART_WEIGHT * (work_ms - held)

    def drop(self, slice_key: str) -> None:
        """Forgets a slice."""
        self._part_ms.pop(slice_key, None)

    def read(self) -> Load:
        """Use since the last reading."""
        now, cpu_s = self._monotonic(), self._cpu_s()
        then, cpu_then, in_then, out_then = self._last
        self._last = (now, cpu_s, self.in_bytes, self.out_bytes)
        span = max(now - then, 1e-3)
        return Load(
            cores=(cpu_s - cpu_then) / span,
            memory_bytes=max(0, memory.used_bytes() - self._empty_bytes),
            in_bytes_per_s=int((self.in_bytes - in_then) / span),
            out_bytes_per_s=int((self.out_bytes - out_then) / span),
            part_ms=sum(self._part_ms.values()),
        )

    def _cpu_s(self) -> float:
        times = self._process.cpu_times()
        return float(times.user + times.system)


def _words(path: Path) -> list[str]:
    return path.read_text().split() if path.is_file() else []

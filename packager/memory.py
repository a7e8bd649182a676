"""How much memory chunks may take: what this process may use, less what it uses without any."""

import ctypes
import resource
from collections.abc import Iterator
from pathlib import Path

import psutil

from schemas.errors import UserError

CGROUPS = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")
# `M_MMAP_THRESHOLD` of malloc.h, and what it is at first.
MMAP_THRESHOLD = -3
LARGE_BYTES = 128 * 1024
# Two Kafka clients read, each with a queue and an answer that is on its way.
FETCHED_TIMES = 4
# Beside what is held is what is just written, and what allocators keep of what was freed.
TAIL_SHARE = 2
# The largest record of an open GOP and the one behind it.
RECORDS_MIN = 2
MIB = 2**20


def keep_large_apart() -> bool:
    """
    Whether large buffers will be given back to the system when they are freed.

    Left to itself, glibc raises the bound with every one that is freed, and takes the next from the heap, where what stays is strewn
    among them: what Kafka's client fetches made it grow by megabytes an hour, of which nothing was in use.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and mallopt(MMAP_THRESHOLD, LARGE_BYTES) == 1


def limit_bytes(*, root: Path = CGROUPS, own: Path = OWN) -> int:
    """Bytes of memory this process may use: those of the machine, its cgroups (of version 1 or 2) or its rlimits, whichever are fewest."""
    limits = [int(text) for file in _files(root, own) if file.is_file() and (text := file.read_text().strip()).isdigit()]
    limits += [
        soft for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA) if (soft := resource.getrlimit(kind)[0]) != resource.RLIM_INFINITY
    ]
    return min([int(psutil.virtual_memory().total), *limits])


def used_bytes() -> int:
    """Bytes that this process holds now."""
    return int(psutil.Process().memory_info().rss)


def room_bytes(limit: int, used: int, fetch_bytes_max: int) -> int:
    """
    What chunks may take, in all that is held of slices: 0 if nothing.

    Args:
        limit: What the process may use.
        used: What it uses without chunks.
        fetch_bytes_max: What a Kafka client fetches ahead.

    >>> room_bytes(256 * MIB, used=80 * MIB, fetch_bytes_max=8 * MIB) // MIB
    144
    """
    return max(0, limit - used - FETCHED_TIMES * fetch_bytes_max)


def tail_bytes(wanted: int, room: int, message_bytes_max: int) -> int:
    """
    Bytes of chunks at which reading waits: those wanted, or fewer if there is no room for them.

    Args:
        wanted: By the settings.
        room: What chunks may take.
        message_bytes_max: The largest record.

    Raises:
        UserError: Not even a GOP of large records could be held.

    >>> tail_bytes(64 * MIB, 10_000 * MIB, 4 * MIB) // MIB, tail_bytes(64 * MIB, 60 * MIB, 4 * MIB) // MIB
    (64, 30)
    """
    bound, least = min(wanted, room // TAIL_SHARE), RECORDS_MIN * message_bytes_max
    if room // TAIL_SHARE < least:
        short = TAIL_SHARE * least - room
        raise UserError(
            f"the memory that this packager may use leaves {room // MIB} MiB for chunks: too little to hold a GOP of records of "
            f"{message_bytes_max // MIB} MiB",
            do=f"allow it {-(-short // MIB)} MiB more (memory.max of its cgroup, ulimit), or lower FINECUT_PACKAGER__FETCH_BYTES_MAX or "
            "FINECUT_KAFKA__MESSAGE_BYTES_MAX",
        )
    return bound


def _files(root: Path, own: Path) -> Iterator[Path]:
    """Where the limits of our cgroup and those around it stand."""
    yield root / "memory.max"
    for line in own.read_text().splitlines() if own.is_file() else []:
        _, controllers, path = line.split(":", 2)
        if controllers not in {"", "memory"}:
            continue
        base, name = (root / "memory", "memory.limit_in_bytes") if controllers else (root, "memory.max")
        group = base / path.lstrip("/")
        yield from (folder / name for folder in (group, *group.parents) if folder.is_relative_to(base))

"""What of the memory that a packager may use is for chunks, and what becomes of it without."""

import ctypes
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest

import packager.__main__ as process
from packager import memory
from packager.capacity import Meter
from packager.clock import BrokerClock
from packager.memory import MIB, limit_bytes, tail_bytes
from schemas.errors import Exit, UserError
from schemas.records import PackagerState
from schemas.settings import Settings, StoreSettings
from schemas.units import UnixMs

# Threads take more of the address space than they use.
ROOM = 2_048 * MIB


def write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


@pytest.mark.parametrize("file", ["memory.max", "pool/memory.max", "pool/packager/memory.max"])
def test_the_limit_of_any_cgroup_around_a_process_holds_for_it(tmp_path: Path, file: str) -> None:
    write(tmp_path / "own", "0::/pool/packager\n")
    write(tmp_path / "root/pool/packager/memory.max", "max\n")
    write(tmp_path / "root" / file, "100000000\n")
    assert limit_bytes(root=tmp_path / "root", own=tmp_path / "own") == 100_000_000


def test_the_limit_of_a_cgroup_of_version_1_holds(tmp_path: Path) -> None:
    write(tmp_path / "own", "9:cpu:/else\n4:memory:/pool/packager\n0::/\n")
    write(tmp_path / "root/memory/memory.limit_in_bytes", "9223372036854771712\n")
    write(tmp_path / "root/memory/pool/packager/memory.limit_in_bytes", "100000000\n")
    assert limit_bytes(root=tmp_path / "root", own=tmp_path / "own") == 100_000_000


def test_without_cgroups_the_machine_limits(tmp_path: Path) -> None:
    assert limit_bytes(root=tmp_path, own=tmp_path / "none") >= limit_bytes() > 0


def test_a_limit_that_holds_no_gop_is_refused_in_words() -> None:
    with pytest.raises(UserError, match=r"leaves 10 MiB for chunks.*\n.*allow it 6 MiB more"):
        tail_bytes(64 * MIB, 10 * MIB, 4 * MIB)


def test_a_packager_with_too_little_memory_refuses_to_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "limit_bytes", lambda: memory.used_bytes() + 40 * MIB)
    with pytest.raises(UserError, match="too little to hold a GOP"):
        process.run(Settings(store=StoreSettings(directory=tmp_path, free_bytes_min=1)), pool=0, packager_id="p1")


class Greedy:
    """A client that hands out nothing and holds ever more."""

    life, state, has_tail = "l1", PackagerState.READY, False

    def __init__(self, *_: object, **__: object) -> None:
        self.meter = Meter()
        self.clock = BrokerClock(monotonic_s=lambda: 0.0, wall=lambda: UnixMs(0))
        self.held: list[bytes] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def poll(self, timeout_s: float, *, read_live: bool, read_past: bool) -> Iterator[object]:
        self.held.append(bytes(64 * MIB))  # of which nothing is touched
        return iter(())


def test_a_packager_that_is_out_of_memory_ends_with_a_status_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "Client", Greedy)
    monkeypatch.setattr(memory, "limit_bytes", lambda: 2**40)
    child = os.fork()
    if not child:
        status = 99
        try:
            now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (now + ROOM, resource.RLIM_INFINITY))
            status = process.run(Settings(store=StoreSettings(directory=tmp_path, free_bytes_min=1)), pool=0, packager_id="p1")
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == Exit.MEMORY


# A large buffer is freed, which raises glibc's bound, and then one between the first bound and that: from where?
LARGE = """
import ctypes
from packager.memory import keep_large_apart
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
class Held(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in "arena ordblks smblks count size usmblks fsmblks uordblks fordblks keepcost".split()]
libc.mallinfo2.restype = Held
assert keep_large_apart() if {is_kept} else True
libc.free(libc.malloc(4 << 20))
before = libc.mallinfo2().count
libc.malloc(1 << 20)
print(libc.mallinfo2().count - before)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="only glibc tells what its heap holds")
@pytest.mark.parametrize("is_kept", [False, True])
def test_large_buffers_stay_apart_from_the_heap_also_after_one_was_freed(is_kept: bool) -> None:
    found = subprocess.run([sys.executable, "-c", LARGE.format(is_kept=is_kept)], capture_output=True, text=True, check=True)
    assert int(found.stdout) == is_kept

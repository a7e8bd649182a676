"""Child processes that cannot outlive us, and telling a process from a later one with the same id."""

import ctypes
import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

_PR_SET_PDEATHSIG = 1
# Loaded before any fork: between fork and exec a child must not import or allocate more than it has to.
_LIBC = ctypes.CDLL(None, use_errno=True)


def spawn(
    command: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdout: IO[bytes] | int | None = None,
    stderr: IO[bytes] | int | None = None,
    death_signal: signal.Signals = signal.SIGKILL,
) -> subprocess.Popen[bytes]:
    """
    A child in its own session, which the kernel signals when this process dies, however it dies.

    Its own session keeps Ctrl-C on the terminal with us, so that we stop our children in order.

    Args:
        death_signal: What the child gets when we die; SIGKILL, since nobody is left to insist.

    Raises:
        RuntimeError: Called off the main thread: the kernel watches the thread that forked, so the child would die with that thread.
    """
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("spawn children from the main thread: they die with the thread that started them")
    parent = os.getpid()

    def bind_to_parent() -> None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0)
        if os.getppid() != parent:  # we died before the kernel was told
            os.kill(os.getpid(), signal.SIGKILL)

    return subprocess.Popen(
        [str(word) for word in command],
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        start_new_session=True,
        preexec_fn=bind_to_parent,  # noqa: PLW1509 - it takes no lock and allocates next to nothing
    )


def started_at(pid: int) -> int | None:
    """
    Start of a living process in clock ticks since boot, None if there is none; with the id it names one process for good.

    >>> started_at(os.getpid()) == started_at(os.getpid())
    True
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # proc(5): the fields after the name, which is in brackets and may hold anything; state is the 3rd field, starttime the 22nd.
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] == "Z" else int(fields[19])


def terminate(process: subprocess.Popen[bytes], *, timeout_s: float) -> int:
    """Exit status after SIGTERM, and after SIGKILL if it did not obey within the time."""
    process.terminate()
    try:
        return process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()

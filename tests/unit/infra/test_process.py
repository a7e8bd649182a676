"""Children that cannot outlive us."""

import os
import select
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from infra.process import spawn, started_at, terminate


def test_a_child_that_ignores_sigterm_is_killed() -> None:
    child = spawn(["sh", "-c", "trap '' TERM; echo ready; while :; do read line || sleep 1; done"], stdout=subprocess.PIPE)
    assert child.stdout is not None
    with child.stdout:
        child.stdout.readline()
        assert terminate(child, timeout_s=0.1) == -signal.SIGKILL


def test_a_child_that_obeys_ends_by_sigterm() -> None:
    assert terminate(spawn(["sleep", "60"]), timeout_s=10) == -signal.SIGTERM


def test_a_child_dies_with_its_killed_parent() -> None:
    script = "import sys\nfrom infra.process import spawn\nprint(spawn(['sleep', '60']).pid, flush=True)\nsys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        grandchild = int(parent.stdout.readline())
        watch = os.pidfd_open(grandchild)
        assert started_at(grandchild) is not None
        parent.kill()
    with os.fdopen(watch):
        assert select.select([watch], [], [], 10)[0], "the grandchild lives"


def test_a_child_is_not_started_off_the_main_thread() -> None:
    with ThreadPoolExecutor(1) as pool, pytest.raises(RuntimeError, match="main thread"):
        pool.submit(spawn, ["true"]).result()


def test_a_process_that_ended_has_no_start() -> None:
    child = spawn(["true"])
    child.wait()
    assert started_at(child.pid) is None

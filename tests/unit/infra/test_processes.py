"""Processes of a run: ready, dead, stopped, and gone with their parent."""

import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from infra.processes import BACKOFF_S, SETTLED_S, Child, ProcessDiedError, Readiness, Supervisor, Usage, bound, measure
from schemas.errors import Exit

SUPERVISING = """
import sys
from pathlib import Path
from infra.processes import Supervisor
child = Supervisor(Path(sys.argv[1]), {}).start("doctor", "doctor", ["topics", "tail", "plans"])
print(child.popen.pid, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    supervisor = Supervisor(tmp_path / "logs", {"FINECUT_STATE_DIR": str(tmp_path)})
    yield supervisor
    supervisor.stop(timeout_s=1)


@contextmanager
def metrics(text: str) -> Iterator[str]:
    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            del format, args

    server = HTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/metrics"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def unready(supervisor: Supervisor, name: str = "tail") -> Child:
    """A command that ends with a mistake of the user's, after a moment."""
    readiness = Readiness(metrics_url="http://127.0.0.1:9/metrics", gauge="finecut_never_ready")
    return supervisor.start(name, "tail", ["topics", "tail", "plans"], readiness=readiness)


def test_ready_is_what_the_gauge_says() -> None:
    with metrics("# HELP x\nfinecut_origin_ready 1.0\nfinecut_origin_ready_other 0.0\n") as url:
        assert Readiness(metrics_url=url, gauge="finecut_origin_ready").holds()
        assert not Readiness(metrics_url=url, gauge="finecut_origin_ready_other").holds()
        assert not Readiness(metrics_url=url, gauge="finecut_control_ready").holds()
    assert not Readiness(metrics_url=url, gauge="finecut_origin_ready").holds()


def test_a_process_that_ends_before_it_is_ready_is_told_with_the_end_of_its_log(supervisor: Supervisor) -> None:
    with pytest.raises(ProcessDiedError, match=r"(?s)tail ended with status 2.*tail\.log.*no Kafka cluster is named"):
        supervisor.wait_ready([unready(supervisor)])


def test_a_process_that_ends_by_itself_is_missed_unless_it_may(supervisor: Supervisor) -> None:
    child = unready(supervisor)
    child.popen.wait(20)
    assert supervisor.dead() == (child,)
    child.may_end_with = (2,)
    supervisor.check()


def test_a_process_that_was_stopped_or_killed_is_not_missed(supervisor: Supervisor) -> None:
    first, second = unready(supervisor, "first"), unready(supervisor, "second")
    supervisor.kill("first")
    supervisor.stop(["second"])
    assert (first.is_alive, second.is_alive) == (False, False)
    supervisor.check()


def test_a_process_that_is_released_takes_its_time_and_is_not_missed(supervisor: Supervisor) -> None:
    child = unready(supervisor)
    supervisor.release("tail")
    assert not child.is_wanted
    assert child.popen.wait(20) in {-signal.SIGTERM, 2}
    supervisor.check()


def test_what_ended_by_itself_is_started_again_each_time_after_a_longer_wait(supervisor: Supervisor) -> None:
    child, told = unready(supervisor), list[str]()
    for wait_s in BACKOFF_S[:2]:
        child.popen.wait(20)
        assert not supervisor.tend(told.append)
        assert told[-1] == f"tail ended with status 2 (see {child.log}): it is started again in {wait_s:g} s"
        child.due_s = time.monotonic()
        assert supervisor.tend(told.append)
        child = supervisor.children["tail"]


def test_what_ran_long_enough_is_started_again_at_once_whatever_was_before(supervisor: Supervisor) -> None:
    child = unready(supervisor)
    child.revived, child.began_s = 4, child.began_s - SETTLED_S
    child.popen.wait(20)
    told: list[str] = []
    supervisor.tend(told.append)
    assert told[0].endswith(f"in {BACKOFF_S[0]:g} s")


def test_a_writer_that_was_superseded_is_not_started_against_its_successor(supervisor: Supervisor) -> None:
    child = unready(supervisor)
    child.popen.wait(20)
    child.popen.returncode = Exit.SUPERSEDED
    told: list[str] = []
    assert supervisor.tend(told.append)
    assert told == [f"tail was superseded (see {child.log}): it stays ended"]
    assert supervisor.dead() == ()
    assert not supervisor.tend(told.append)


def test_a_log_begins_anew_when_it_is_long_and_its_process_writes_on(tmp_path: Path) -> None:
    log = tmp_path / "control.log"
    with log.open("ab", buffering=0) as out:
        out.write(b"1" * 100)
        bound(log, 100)
        assert log.stat().st_size == 100
        out.write(b"2")
        bound(log, 100)
        out.write(b"3")
    assert log.read_bytes() == b"3"
    assert (tmp_path / "control.previous.log").read_bytes() == b"1" * 100 + b"2"


def test_a_process_that_ended_is_started_again_as_it_was(supervisor: Supervisor) -> None:
    child = unready(supervisor)
    child.popen.wait(20)
    again = supervisor.revive(child)
    assert again.popen.args == child.popen.args
    assert supervisor.children["tail"] is again


def test_what_a_process_used_is_remembered_when_it_is_gone() -> None:
    used = measure(os.getpid(), Usage())
    assert used.cpu_s > 0
    assert used.rss_mb > 10
    with subprocess.Popen(["true"]) as gone:
        gone.wait()
    assert measure(gone.pid, used) == used


def test_no_process_outlives_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    # A tail that waits for a cluster which accepts connections and never answers.
    import socket

    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        environment = {**os.environ, "FINECUT_KAFKA__BOOTSTRAP_SERVERS": f"127.0.0.1:{silent.getsockname()[1]}"}
        command = [sys.executable, "-c", SUPERVISING, str(tmp_path)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as parent:
            assert parent.stdout is not None
            watch = os.pidfd_open(int(parent.stdout.readline()))
            assert not select.select([watch], [], [], 0.3)[0], "the child ended by itself"
            parent.send_signal(signal.SIGKILL)
        with os.fdopen(watch):
            assert select.select([watch], [], [], 10)[0], "the child lives"

"""Processes of a local run: logs in files, ready when their metrics say so, stopped in order, missed when they die."""

import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from infra.process import spawn
from schemas.errors import Exit, FinecutError

CLI = "infra.cli"
READY_S = 40.0
STOP_S = 12.0
# Between two looks at a process that starts.
POLL_S = 0.05
SCRAPE_S = 2.0
TAIL_LINES = 15
# Waits before a process that ended by itself is started again: the first is short, since what it did waits, too.
BACKOFF_S = (0.2, 1.0, 2.0, 5.0, 10.0, 30.0)
# One that ran so long has got over what ended the one before it.
SETTLED_S = 60.0
# Of each process as much is kept twice: the log, and the one before it. A demo writes a tenth of it.
LOG_BYTES_MAX = 16 * 2**20
# Exit status of an audience that was given something wrong; told apart from that of a crash.
FAULTS_SEEN = 3


class ProcessDiedError(FinecutError):
    """A process of a run ended by itself, or was never ready; carries the end of its log."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Usage:
    """
    What a process used so far.

    Attributes:
        cpu_s: CPU seconds, its own and the kernel's.
        rss_mb: Largest resident memory seen, MB.
    """

    cpu_s: float = 0.0
    rss_mb: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Readiness:
    """A gauge that becomes 1 when a process does its work, and where it is scraped."""

    metrics_url: str
    gauge: str

    def holds(self) -> bool:
        """The gauge is there and not 0."""
        try:
            with urllib.request.urlopen(self.metrics_url, timeout=SCRAPE_S) as answer:  # noqa: S310  # always our own http address
                lines = answer.read().decode().splitlines()
        except OSError:
            return False
        return any(line.startswith(f"{self.gauge} ") and float(line.split()[1]) > 0 for line in lines)


class Child:
    """One running process."""

    def __init__(self, name: str, role: str, popen: subprocess.Popen[bytes], log: Path, readiness: Readiness | None) -> None:
        self.name = name
        self.role = role
        self.popen = popen
        self.began_s = time.monotonic()
        self.log = log
        self.readiness = readiness
        self.is_wanted = True
        self.may_end_with: tuple[int, ...] = ()
        self.revived = 0
        self.due_s: float | None = None
        self.usage = Usage()

    @property
    def is_alive(self) -> bool:
        """It runs."""
        return self.popen.poll() is None

    def measure(self) -> Usage:
        """What it used so far; of one that is gone, what was seen last."""
        self.usage = measure(self.popen.pid, self.usage)
        return self.usage

    def died(self, how: str) -> ProcessDiedError:
        """The error that tells of its end."""
        return ProcessDiedError(f"{self.name} {how}; the end of {self.log}:\n{tail(self.log)}")


class Supervisor:
    """
    Starts our own commands as children, watches them, stops them; the kernel kills them if this process is killed.

    Args:
        logs: Folder of their logs.
        environment: Added to ours for all of them.
    """

    def __init__(self, logs: Path, environment: Mapping[str, str]) -> None:
        self.children: dict[str, Child] = {}
        self._logs = logs
        self._started: dict[str, tuple[Sequence[str], dict[str, str], str]] = {}
        self._environment = dict(environment)
        logs.mkdir(parents=True, exist_ok=True)

    def start(
        self,
        name: str,
        role: str,
        arguments: Sequence[str],
        *,
        readiness: Readiness | None = None,
        environment: Mapping[str, str] | None = None,
        may_end_with: tuple[int, ...] = (),
        module: str = CLI,
    ) -> Child:
        """
        A child that runs ``finecut`` with these arguments.

        Args:
            name: Unique among the children.
            role: Those of one role are stopped together.
            arguments: Words after ``finecut``.
            readiness: How it tells that it does its work.
            environment: Added to that of all.
            may_end_with: Exit statuses with which it may end by itself.
            module: What is run with the words instead of ``finecut``.
        """
        log = self._logs / f"{name}.log"
        with log.open("ab") as out:
            popen = spawn(
                [sys.executable, "-m", module, *arguments],
                env={**os.environ, **self._environment, **(environment or {})},
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        child = self.children[name] = Child(name, role, popen, log, readiness)
        child.may_end_with = may_end_with
        self._started[name] = (arguments, dict(environment or {}), module)
        return child

    def revive(self, child: Child) -> Child:
        """Start one that ended again, as it was started."""
        arguments, environment, module = self._started[child.name]
        return self.start(child.name, child.role, arguments, readiness=child.readiness, environment=environment, module=module)

    def tend(self, say: Callable[[str], object]) -> bool:
        """
        Start again what ended by itself, each time after a longer wait, and keep logs short; whether anything changed.

        One that was superseded stays ended: another does its work, and would be superseded in turn.
        """
        changed = False
        for child in self.dead():
            now, status = time.monotonic(), child.popen.returncode
            if status == Exit.SUPERSEDED:
                child.is_wanted, changed = False, True
                say(f"{child.name} was superseded (see {child.log}): it stays ended")
            elif child.due_s is None:
                child.revived = 0 if now - child.began_s > SETTLED_S else child.revived
                wait_s = BACKOFF_S[min(child.revived, len(BACKOFF_S) - 1)]
                child.due_s = now + wait_s
                say(f"{child.name} ended with status {status} (see {child.log}): it is started again in {wait_s:g} s")
            elif now >= child.due_s:
                self.revive(child).revived = child.revived + 1
                changed = True
        for child in self.children.values():
            bound(child.log)
        return changed

    def wait_ready(self, children: Iterable[Child], *, timeout_s: float = READY_S) -> None:
        """
        Return when all of them are ready.

        Raises:
            ProcessDiedError: One ended, or was not ready in time.
        """
        deadline = time.monotonic() + timeout_s
        for child in children:
            while child.readiness is not None and not child.readiness.holds():
                if time.monotonic() > deadline:
                    raise child.died(f"was not ready within {timeout_s:.0f} s")
                wait(child.popen, POLL_S)
                self.check()

    def check(self) -> None:
        """
        Nothing, if all run that should.

        Raises:
            ProcessDiedError: One ended by itself.
        """
        for child in self.dead():
            raise child.died(f"ended with status {child.popen.returncode}")

    def dead(self) -> tuple[Child, ...]:
        """Children that ended though they should run."""
        ended = (child for child in self.children.values() if child.is_wanted and not child.is_alive)
        return tuple(child for child in ended if child.popen.returncode not in child.may_end_with)

    def kill(self, name: str) -> None:
        """End one at once, as a crash would."""
        child = self.children[name]
        child.measure()
        child.is_wanted = False
        child.popen.kill()
        child.popen.wait()

    def release(self, name: str) -> None:
        """Tell one to finish and leave, SIGTERM, and go on: it takes the time it needs, and nobody misses it."""
        child = self.children[name]
        child.measure()
        child.is_wanted = False
        child.popen.send_signal(signal.SIGTERM)

    def stop(self, names: Iterable[str] | None = None, *, timeout_s: float = STOP_S) -> None:
        """End some or all, SIGTERM first, SIGKILL after the time; of all, those started last go first, each role together."""
        chosen = [child for child in self.children.values() if names is None or child.name in set(names)]
        for role in dict.fromkeys(child.role for child in reversed(chosen)):
            _stop([child for child in chosen if child.role == role and child.is_alive], timeout_s)

    def usage(self) -> dict[str, Usage]:
        """What each used so far, those gone included."""
        return {name: child.measure() for name, child in self.children.items()}


def wait(popen: subprocess.Popen[bytes], seconds: float) -> None:
    """Return when the process ended, or after this time."""
    try:
        popen.wait(seconds)
    except subprocess.TimeoutExpired:
        return


def tail(log: Path, lines: int = TAIL_LINES) -> str:
    """The last lines of a log."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:]) if log.exists() else ""


def bound(log: Path, bytes_max: int = LOG_BYTES_MAX) -> None:
    """
    Let a log that has grown too long begin anew; what it held stays beside it, in place of what did before.

    The process goes on to write to the same file, at its end: what it writes between the copy and the cut, milliseconds, is lost.
    """
    if log.exists() and log.stat().st_size > bytes_max:
        shutil.copyfile(log, log.with_suffix(".previous.log"))
        os.truncate(log, 0)


def measure(pid: int, seen: Usage) -> Usage:
    """What a process used so far, given what was seen of it before."""
    try:
        process = psutil.Process(pid)
        times = process.cpu_times()
        rss_mb = process.memory_info().rss / 2**20
    except psutil.Error:
        return seen
    return Usage(cpu_s=round(times.user + times.system, 2), rss_mb=round(max(seen.rss_mb, rss_mb), 1))


def _stop(children: Sequence[Child], timeout_s: float) -> None:
    for child in children:
        child.measure()
        child.is_wanted = False
        child.popen.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + timeout_s
    for child in children:
        try:
            child.popen.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            child.popen.kill()
            child.popen.wait()

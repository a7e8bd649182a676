"""One real Apache Kafka broker (KRaft) as a child process: format, start, wait until it answers, stop."""

import base64
import json
import os
import shutil
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from infra.process import spawn, started_at, terminate

from .config import JVM_FLAGS, LOG4J2, server_properties
from .errors import BrokerDiedError, DataDirInUseError, DiskFullError, PortTakenError
from .java import Java
from .ports import free_ports, is_free

# Two seconds on a free machine; one that ended is noticed at once.
START_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 15.0
# Between two looks at a starting broker.
POLL_S = 0.02
# A broker that starts with less than this would die on its first log segments.
FREE_BYTES_MIN = 256 * 1024**2
TAIL_LINES = 30
NO_SPACE = "No space left on device"


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """What it takes to run a broker on this machine."""

    java: Java
    jars: Path
    """Directory of the jars."""
    archive_flags: Sequence[str] = ()
    """JVM flags that load classes from an archive; empty is right too, only slower."""


@dataclass(frozen=True, kw_only=True)
class _Identity:
    """What a data directory remembers of its broker."""

    port: int
    controller_port: int
    pid: int | None = None
    started_at: int | None = None


class LocalBroker:
    """
    A broker on loopback with its log in ``data_dir``; a context manager that starts and stops it.

    The directory keeps the log and the ports: a broker started on it again, also after a kill, has the same address and records.
    The broker dies with this process, whatever ends it. Start it from the main thread.

    Args:
        data_dir: Made if absent; one broker at a time.
        runtime: From `infra.kafka.prepare`.
        port: Port for clients; by default the one the directory had, or a free one.
        controller_port: The same for controllers.
        log_dir: Where Kafka keeps its log; by default inside ``data_dir``.
        overrides: Broker settings that win over ours, by Kafka's names.
        jvm_flags: Added to ours for the broker process; of two that contradict each other the JVM obeys these.
        format_as: How a new log is formatted: as a member of a cluster; by default as a whole one.
    """

    def __init__(
        self,
        data_dir: Path,
        runtime: Runtime,
        *,
        port: int | None = None,
        controller_port: int | None = None,
        log_dir: Path | None = None,
        overrides: Mapping[str, str] | None = None,
        jvm_flags: Sequence[str] = (),
        format_as: Sequence[str] = (),
    ) -> None:
        self.data_dir = data_dir.absolute()
        self.log_dir = self.data_dir / "data" if log_dir is None else log_dir.absolute()
        self.log = self.data_dir / "broker.log"
        self._runtime = runtime
        self._overrides = dict(overrides or {})
        self._jvm_flags = tuple(jvm_flags)
        self._format_as = tuple(format_as) or ("--standalone", f"--cluster-id={new_id()}")
        self._identity_file = self.data_dir / "broker.json"
        self._process: subprocess.Popen[bytes] | None = None
        self.data_dir.mkdir(parents=True, exist_ok=True)
        self._check_space()
        self._identity = self._identify(port, controller_port)
        self._remember(self._identity)

    @property
    def bootstrap(self) -> str:
        """Address for clients, ``host:port``; known before the start and the same after each."""
        return f"127.0.0.1:{self._identity.port}"

    @property
    def pid(self) -> int | None:
        """Process id while started."""
        return None if self._process is None else self._process.pid

    @property
    def is_alive(self) -> bool:
        """The process runs; `check` says why it does not."""
        return self._process is not None and self._process.poll() is None

    def start(self, timeout_s: float = START_TIMEOUT_S) -> None:
        """
        Format the directory if it is new, start the broker, return when it answers clients.

        Raises:
            PortTakenError: Another process listens on one of its ports.
            DiskFullError: Too little space, before or while starting.
            DataDirInUseError: A broker of another process, or an earlier one of this, still runs here.
            BrokerDiedError: It ended, or did not answer in time; carries the tail of its log.
        """
        deadline = time.monotonic() + timeout_s
        self.launch()
        self.await_answer(deadline)

    def launch(self) -> None:
        """
        The first half of `start`: returns while the broker starts.

        Raises:
            As `start`.
        """
        self._check_place()
        (self.data_dir / "log4j2.properties").write_text(LOG4J2)
        self._properties().write_text(
            server_properties(
                self.log_dir, port=self._identity.port, controller_port=self._identity.controller_port, overrides=self._overrides
            )
        )
        if self.log.exists():
            self.log.replace(self.data_dir / "broker.previous.log")
        if not (self.log_dir / "meta.properties").exists():
            self._format()
        self._process = self._run(self._jvm_flags, "kafka.Kafka", self._properties())
        self._remember(replace(self._identity, pid=self._process.pid, started_at=started_at(self._process.pid)))

    def await_answer(self, deadline: float) -> None:
        """
        The second half of `start`: returns when the broker answers clients.

        Args:
            deadline: On the monotonic clock.

        Raises:
            As `start`.
        """
        try:
            self._wait_until_it_answers(deadline)
        except BaseException:
            self.kill()
            raise

    def check(self) -> None:
        """
        Nothing, if the broker runs.

        Raises:
            DiskFullError: It ended for want of space.
            BrokerDiedError: It ended for another reason; carries the tail of its log.
        """
        if self._process is None:
            raise BrokerDiedError("is not running", self.log, self.log_tail())
        status = self._process.poll()
        if status is None:
            return
        raise self._died(f"ended with status {status}")

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """End it in order, by force after the time; harmless when it does not run."""
        if self._process is not None:
            terminate(self._process, timeout_s=timeout_s)
        self._process = None

    def send_signal(self, number: signal.Signals) -> None:
        """Send it a signal; harmless when it does not run."""
        if self._process is not None:
            self._process.send_signal(number)

    def kill(self) -> None:
        """End it at once, as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._process = None

    def log_tail(self, lines: int = TAIL_LINES) -> str:
        """The last lines it logged."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:]) if self.log.exists() else ""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def _identify(self, port: int | None, controller_port: int | None) -> _Identity:
        free = free_ports()
        kept = self._recall() or _Identity(port=port or next(free), controller_port=controller_port or next(free))
        return replace(kept, port=port or kept.port, controller_port=controller_port or kept.controller_port)

    def _check_place(self) -> None:
        held = self._recall() or self._identity
        if held.pid is not None and held.started_at == started_at(held.pid):
            raise DataDirInUseError(self.data_dir, held.pid)
        for port in (held.port, held.controller_port):
            if not is_free(port):
                raise PortTakenError(port)
        self._check_space()

    def _check_space(self) -> None:
        free = shutil.disk_usage(self.data_dir).free
        if free < FREE_BYTES_MIN:
            raise DiskFullError(self.data_dir, f"{free // 1024**2} MiB free, {FREE_BYTES_MIN // 1024**2} needed")

    def _format(self) -> None:
        tool = self._run([], "kafka.tools.StorageTool", "format", "--ignore-formatted", *self._format_as, "-c", self._properties())
        if tool.wait(START_TIMEOUT_S):
            raise self._died("could not format its log")

    def _died(self, how: str) -> DiskFullError | BrokerDiedError:
        # The reason may stand far above the end: a broker that finds its disk full logs many consequences.
        if self.log.exists() and NO_SPACE in self.log.read_text(errors="replace"):
            return DiskFullError(self.data_dir, NO_SPACE)
        return BrokerDiedError(how, self.log, self.log_tail())

    def _run(self, jvm_flags: Sequence[str], main: str, *arguments: str | Path) -> subprocess.Popen[bytes]:
        # Sorted and spelt out: the class archive is only used for exactly the class path it was trained with.
        class_path = os.pathsep.join(sorted(str(jar) for jar in self._runtime.jars.resolve().glob("*.jar")))
        with self.log.open("ab") as log:
            return spawn(
                [
                    self._runtime.java.path,
                    *JVM_FLAGS,
                    *self._runtime.archive_flags,
                    *jvm_flags,
                    f"-Dlog4j2.configurationFile={self.data_dir / 'log4j2.properties'}",
                    "-cp",
                    class_path,
                    main,
                    *arguments,
                ],
                cwd=self.data_dir,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def _wait_until_it_answers(self, deadline: float) -> None:
        while not self._accepts():
            self._pause(deadline)
        admin = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})
        while not _knows_a_broker(admin):
            self._pause(deadline)

    def _accepts(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self._identity.port), timeout=1).close()
        except OSError:
            return False
        return True

    def _pause(self, deadline: float) -> None:
        if self._process is None:
            raise BrokerDiedError("was stopped while it started", self.log, self.log_tail())
        try:
            self._process.wait(POLL_S)
        except subprocess.TimeoutExpired:
            if time.monotonic() > deadline:
                raise BrokerDiedError("did not answer in time", self.log, self.log_tail()) from None
        self.check()

    def _properties(self) -> Path:
        return self.data_dir / "server.properties"

    def _recall(self) -> _Identity | None:
        return _Identity(**json.loads(self._identity_file.read_text())) if self._identity_file.exists() else None

    def _remember(self, identity: _Identity) -> None:
        self._identity = identity
        part = self._identity_file.with_suffix(".part")
        part.write_text(json.dumps(asdict(identity)))
        part.replace(self._identity_file)


def new_id() -> str:
    """
    An id as Kafka makes them, for a cluster or a log directory; it may begin with "-": one word with the option that it is for.

    >>> len(new_id())
    22
    """
    return base64.urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()


def _knows_a_broker(admin: AdminClient) -> bool:
    try:
        return bool(admin.list_topics(timeout=1).brokers)
    except KafkaException:
        return False

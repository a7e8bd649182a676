"""
Several real brokers as one cluster on this machine (KRaft, every node broker and controller), to be killed and paused one by one.

    with LocalCluster(directory, prepare(cache_dir)) as kafka:
        kafka.bootstrap                  # "127.0.0.1:a,127.0.0.1:b,127.0.0.1:c", known before the start, the same after each
        number = kafka.leader(topic, 0)
        kafka.kill(number)               # SIGKILL; the log stays
        kafka.restart(number)            # back, also after kill or by itself ended; returns when it answers
        kafka.await_in_sync()            # every replica of every partition is in sync
        kafka.pause(number)              # SIGSTOP
        kafka.resume(number)             # SIGCONT

Nodes are numbered as Kafka does, from 1.
"""

import json
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from .broker import POLL_S, START_TIMEOUT_S, STOP_TIMEOUT_S, LocalBroker, Runtime, new_id
from .errors import LocalKafkaError
from .ports import free_ports

SIZE = 3
# Three of them share the memory of a small machine; a node that holds a few hundred partitions needs about 200 MB.
HEAP_MB = 320
REPLICAS_MAX = 3
ANSWER_S = 5.0
SEATS = "cluster.json"


@dataclass(frozen=True, kw_only=True)
class _Seat:
    """What a directory remembers of one node."""

    port: int
    controller_port: int
    directory_id: str


class LocalCluster:
    """
    Brokers on loopback with their logs below ``data_dir``; a context manager that starts and stops them.

    Topics that do not say otherwise have three copies, of which two must be written before a record is acknowledged.
    The directory keeps logs and ports. The brokers die with this process, whatever ends it. Start them from the main thread.

    Args:
        data_dir: Made if absent; node ``n`` lives in ``broker-n``.
        runtime: From `infra.kafka.prepare`.
        size: How many nodes, when the directory is new.
        log_dirs: Where chosen nodes keep their log instead of below ``data_dir``, by number.
        overrides: Broker settings that win over ours, by Kafka's names.
    """

    def __init__(
        self,
        data_dir: Path,
        runtime: Runtime,
        *,
        size: int = SIZE,
        log_dirs: Mapping[int, Path] | None = None,
        overrides: Mapping[str, str] | None = None,
    ) -> None:
        self.data_dir = data_dir.absolute()
        self.data_dir.mkdir(parents=True, exist_ok=True)
        cluster_id, seats = self._seats(size)
        quorum = ",".join(f"127.0.0.1:{seat.controller_port}" for seat in seats.values())
        voters = ",".join(f"{n}@127.0.0.1:{seat.controller_port}:{seat.directory_id}" for n, seat in seats.items())
        shared = {**_replication(len(seats)), "controller.quorum.bootstrap.servers": quorum, **(overrides or {})}
        self.brokers = {
            number: LocalBroker(
                self.data_dir / f"broker-{number}",
                runtime,
                port=seat.port,
                controller_port=seat.controller_port,
                log_dir=(log_dirs or {}).get(number),
                overrides={"node.id": str(number), **shared},
                jvm_flags=(f"-Xmx{HEAP_MB}m",),
                format_as=(f"--initial-controllers={voters}", f"--cluster-id={cluster_id}"),
            )
            for number, seat in seats.items()
        }
        self._admin: AdminClient | None = None

    @property
    def bootstrap(self) -> str:
        """Addresses for clients, known before the start and the same after each."""
        return ",".join(broker.bootstrap for broker in self.brokers.values())

    @property
    def pids(self) -> dict[int, int]:
        """Process ids of the nodes that were started and not killed, by number."""
        return {number: broker.pid for number, broker in self.brokers.items() if broker.pid is not None}

    def start(self, timeout_s: float = START_TIMEOUT_S) -> None:
        """
        Start every node that does not run; returns when all of them know each other.

        Raises:
            LocalKafkaError: As `LocalBroker.start`; none runs then.
        """
        deadline = time.monotonic() + timeout_s
        try:
            # One alone has no quorum and does not answer.
            starting = [broker for broker in self.brokers.values() if not broker.is_alive]
            for broker in starting:
                broker.launch()
            for broker in starting:
                broker.await_answer(deadline)
            self._await(lambda: len(self._known_brokers()) == len(self.brokers), deadline, "not all nodes joined")
        except BaseException:
            for broker in self.brokers.values():
                broker.kill()
            raise

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """End all at once, by force after the time; one after the other, the last would wait for a quorum that is gone."""
        deadline = time.monotonic() + timeout_s
        for number in (signal.SIGTERM, signal.SIGCONT):
            for broker in self.brokers.values():
                broker.send_signal(number)
        for broker in self.brokers.values():
            broker.stop(max(0.0, deadline - time.monotonic()))

    def kill(self, number: int) -> None:
        """End a node at once, as a crash would."""
        self.brokers[number].kill()

    def pause(self, number: int) -> None:
        """Stand a node still: its connections stay open and nothing answers."""
        self.brokers[number].send_signal(signal.SIGSTOP)

    def resume(self, number: int) -> None:
        """Let a paused node go on."""
        self.brokers[number].send_signal(signal.SIGCONT)

    def restart(self, number: int, timeout_s: float = START_TIMEOUT_S) -> None:
        """
        End a node in order, if it runs, and start it; returns when it answers clients.

        Raises:
            LocalKafkaError: As `LocalBroker.start`.
        """
        self.resume(number)
        self.brokers[number].stop()
        self.brokers[number].start(timeout_s)

    def is_alive(self, number: int) -> bool:
        """The process of a node runs, maybe paused."""
        return self.brokers[number].is_alive

    def check(self) -> None:
        """
        Nothing, if every node runs that was not killed.

        Raises:
            LocalKafkaError: As `LocalBroker.check`.
        """
        for broker in self.brokers.values():
            if broker.pid is not None:
                broker.check()

    def leader(self, topic: str, partition: int) -> int:
        """Number of the node that leads a partition; -1 if none does."""
        return int(self._client().list_topics(topic, timeout=ANSWER_S).topics[topic].partitions[partition].leader)

    def await_in_sync(self, timeout_s: float = START_TIMEOUT_S) -> None:
        """
        Returns when every replica of every partition is in sync.

        Raises:
            LocalKafkaError: That did not come about.
        """
        self._await(lambda: not self.out_of_sync(), time.monotonic() + timeout_s, "not all replicas came into sync")

    def out_of_sync(self) -> set[tuple[str, int]]:
        """Partitions without a leader or with a replica that is not in sync, as the cluster says now."""
        topics = self._client().list_topics(timeout=ANSWER_S).topics
        return {
            (name, number)
            for name, topic in topics.items()
            for number, partition in topic.partitions.items()
            if partition.leader < 0 or set(partition.isrs) != set(partition.replicas)
        }

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def _seats(self, size: int) -> tuple[str, dict[int, _Seat]]:
        file = self.data_dir / SEATS
        if not file.exists():
            free = free_ports()
            seats = [_Seat(port=next(free), controller_port=next(free), directory_id=new_id()) for _ in range(size)]
            part = file.with_suffix(".part")
            part.write_text(json.dumps({"cluster_id": new_id(), "seats": [asdict(seat) for seat in seats]}))
            part.replace(file)
        kept = json.loads(file.read_text())
        return kept["cluster_id"], {number: _Seat(**seat) for number, seat in enumerate(kept["seats"], start=1)}

    def _client(self) -> AdminClient:
        if self._admin is None:
            self._admin = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0, "socket.timeout.ms": 5_000})
        return self._admin

    def _known_brokers(self) -> set[int]:
        return set(self._client().list_topics(timeout=ANSWER_S).brokers)

    def _await(self, holds: Callable[[], bool], deadline: float, otherwise: str) -> None:
        while not self._answers(holds):
            self.check()
            if time.monotonic() > deadline:
                raise LocalKafkaError(f"Kafka: {otherwise} in time", do=f"read the ends of {self.data_dir}/broker-*/broker.log")
            self._client().poll(POLL_S)

    @staticmethod
    def _answers(holds: Callable[[], bool]) -> bool:
        try:
            return holds()
        except KafkaException:  # a node that is away answers nothing
            return False


def kept(directory: Path, runtime: Runtime, *, overrides: Mapping[str, str]) -> LocalBroker | LocalCluster:
    """Whatever ran on a directory before, not started."""
    if (directory / SEATS).exists():
        return LocalCluster(directory, runtime, overrides=overrides)
    return LocalBroker(directory, runtime, overrides=overrides)


def _replication(size: int) -> dict[str, str]:
    """Broker settings by which the loss of one node of three loses nothing and stops nothing."""
    copies, in_sync = str(min(size, REPLICAS_MAX)), str(min(2, size))
    inner = ("offsets.topic", "transaction.state.log", "share.coordinator.state.topic")
    return {
        "default.replication.factor": copies,
        "min.insync.replicas": in_sync,
        **{f"{topic}.replication.factor": copies for topic in inner},
        **{f"{topic}.min.isr": in_sync for topic in inner[1:]},
        "unclean.leader.election.enable": "false",
        # A follower that lives but reads nothing holds up every acknowledgement for so long: 30 s by default, as long as producers try.
        "replica.lag.time.max.ms": "10000",
        # A leader that is gone is missed after 2 s by default; on one machine nothing but the processor keeps nodes from answering.
        "controller.quorum.election.timeout.ms": "500",
        "controller.quorum.fetch.timeout.ms": "1500",
    }

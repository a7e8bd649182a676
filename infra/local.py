"""Everything on one machine: started in order on free ports of the loopback, stopped in reverse, known to other commands."""

import os
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import NoReturn

from infra import state, sweep, topics
from infra.kafka import LocalBroker, LocalCluster, prepare
from infra.kafka.ports import free_ports, is_free
from infra.process import started_at
from infra.processes import BACKOFF_S, Child, ProcessDiedError, Readiness, Supervisor, Usage, measure
from infra.scaler import NAME, Scaler
from infra.state import CACHE, Process, Run
from schemas.errors import UserError
from schemas.records import Level, Scaling
from schemas.settings import MINUTE_MS, KafkaSettings, OriginSettings, ScalingSettings, Settings, load
from streams.replay.entries import Entry

# On one machine one worker decides, and a handful of channels needs no 64 partitions.
POOLS = 1
POOL = 0
MEDIA_PARTITIONS = 16
# A record is on so many brokers, where there are so many.
COPIES_MAX = 3
# At 5 MB/s a quarter of an hour of chunks is 5 GB; Kafka deletes whole files only, so that small ones keep to it.
MEDIA_RETENTION_MS = 15 * MINUTE_MS
LOG_FILE_BYTES = 64 * 2**20
# Runs whose logs are kept: this one, and the one before it to compare with.
RUNS_MAX = 2
# A packager is one process and keeps about one core busy: beyond this they only take it from each other.
PACKAGERS_PER_CORE = 2
# The demo writes about 5 MB/s to its log and 3 MB/s to its store.
FREE_BYTES_MIN = 2**30
Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class LiveInput:
    """
    What one encoder process makes.

    Attributes:
        name: Name of the process.
        source: What `finecut encode` is given.
        channels: Channels it is written to.
        idle_level: What they get while nobody watches.
        thumbnails: Whether they get a picture of each segment; else as the settings say.
    """

    name: str
    source: Path
    channels: tuple[str, ...]
    idle_level: Level
    thumbnails: bool = False


class LocalRun:
    """
    A whole finecut on this machine.

    Args:
        settings: As loaded; what they leave open is chosen for one machine.
        packagers: How many at the start.
        say: Told each step, in a few words.
        scales: Whether there are then as many as the planner wants; else the number stays.
        brokers: How many, unless the settings name a cluster; of three, two must have a record before it counts as written.
    """

    def __init__(self, settings: Settings, *, packagers: int, say: Say, scales: bool = False, brokers: int = 1) -> None:
        self.run_id = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
        self.directory = settings.state_dir.absolute() / "run" / self.run_id
        self.began_s = time.monotonic()
        self.startup_s = 0.0
        self.packagers = tuple(f"{NAME}{number}" for number in range(1, packagers + 1))
        self._asked = settings
        self._say = say
        self._brokers = brokers
        self.kafka: LocalBroker | LocalCluster | None = None
        self._kafka_usage: dict[str, Usage] = {}
        self._broker_ends = Counter[int]()
        self._broker_due_s: dict[int, float] = {}
        self._ports = free_ports()
        self._origin_port = _origin_port(settings.origin)
        self.environment = {
            **_shape(settings.kafka, brokers),
            **_retention(settings),
            "FINECUT_SCALING__PACKAGERS_MAX": str(_packagers_max(settings.scaling)),
            "FINECUT_KAFKA__BOOTSTRAP_SERVERS": settings.kafka.bootstrap_servers,
            "FINECUT_STATE_DIR": str(settings.state_dir.absolute()),
            "FINECUT_STORE__DIRECTORY": str(_chosen(settings.store, "directory", self.directory / "store")),
            "FINECUT_CONTROL__DATA_DIR": str(_chosen(settings.control, "data_dir", self.directory / "control")),
            "FINECUT_CONTROL__PORT": str(_chosen(settings.control, "port", next(self._ports))),
            "FINECUT_ORIGIN__PORT": str(self._origin_port),
        }
        self.supervisor = Supervisor(self.directory / "logs", {})
        self.settings = settings
        self._swept_s = self.began_s
        self.scaler: Scaler | None = None
        if scales:
            bounds = settings.scaling.model_copy(update={"packagers_max": _packagers_max(settings.scaling)})
            self.scaler = Scaler(self, bounds, pool=POOL, since_unix_ms=time.time_ns() // 1_000_000, say=say)

    @property
    def origin_url(self) -> str:
        """Address of the origin and its watch page."""
        return f"http://{self._asked.origin.host}:{self._origin_port}"

    def start(self) -> None:
        """
        Kafka, topics, control plane, origin and packagers, each ready.

        Raises:
            UserError: The machine or the settings do not allow it.
            ProcessDiedError: A process did not come up.
        """
        _forget_old_runs(self.directory.parent)
        _check_disk(self.directory)
        self._start_kafka()
        self.settings = self._settings()
        self._make_topics()
        self.supervisor = Supervisor(self.directory / "logs", self.environment)
        control = self.supervisor.start("control", "control", ["control"], readiness=self._readiness("control", self.settings.control.port))
        origin = self.supervisor.start(
            "origin",
            "origin",
            ["origin", "--id", "origin-1"],
            readiness=Readiness(metrics_url=f"{self.origin_url}/metrics", gauge="finecut_origin_ready"),
        )
        packagers = [self.start_packager(name) for name in self.packagers]
        self.leave_word()
        for child in (control, origin, *packagers):
            self.supervisor.wait_ready([child])
            self._say(f"{child.name} is ready")
        self.startup_s = round(time.monotonic() - self.began_s, 2)

    def go_live(self, live: LiveInput) -> Child:
        """Start an encoder, which feeds its source in real time and for ever; who wrote its channels before ends."""
        named = [word for channel in live.channels for word in ("--channel", channel)]
        words = ["encode", str(live.source), *named, "--realtime", "--loop", "--take-over", "--idle-level", live.idle_level.value]
        words += ["--thumbnails"] if live.thumbnails else []
        child = self.supervisor.start(live.name, "encode", words)
        self.leave_word()
        return child

    def members(self) -> Mapping[str, bool]:
        """Packagers that live or are to be started again, and whether each was told to drain."""
        packagers = (child for child in self.supervisor.children.values() if child.role == "packager")
        return {child.name: not child.is_wanted for child in packagers if child.is_wanted or child.is_alive}

    def start_packager(self, name: str) -> Child:
        """One more packager; it takes work as soon as it is ready."""
        port = next(self._ports)
        return self.supervisor.start(
            name, "packager", ["packager", "--pool", str(POOL), "--id", name],
            readiness=self._readiness("packager", port), environment={"FINECUT_PACKAGER__METRICS_PORT": str(port)},
        )  # fmt: skip

    def drain_packager(self, name: str) -> None:
        """A packager hands over what it has and leaves."""
        self.supervisor.release(name)

    def scale(self, entry: Entry | None) -> None:
        """Take a record of the log, None: nothing new, and one step towards as many packagers as are wanted, if this run follows that."""
        if self.scaler is None:
            return
        if entry is not None and isinstance(entry.record, Scaling):
            self.scaler.hear(entry.record, at_unix_ms=entry.at_unix_ms)
        if self.scaler.act():
            self.leave_word()

    def sweep(self) -> None:
        """Delete from the store what is no longer listed, if it is time; what hinders that is told, and the run goes on."""
        if (time.monotonic() - self._swept_s) * 1_000 < self.settings.store.sweep_every_ms:
            return
        self._swept_s = time.monotonic()
        try:
            sweep.run(self.settings)
        except UserError as error:
            self._say(f"[red]{error}[/]")

    def check(self) -> None:
        """
        Nothing, if all run that should.

        Raises:
            ProcessDiedError: One ended by itself.
            UserError: The broker did.
        """
        if self.kafka is not None:
            self.kafka.check()
        self.supervisor.check()

    def tend(self, say: Callable[[str], object]) -> None:
        """
        Start again what ended by itself, unless it was superseded, and keep logs short; a broker only if it is one of several.

        Raises:
            UserError: The only broker ended, or one of several cannot be started.
        """
        is_changed = self._tend_brokers(say)
        if self.supervisor.tend(say) or is_changed:
            self.leave_word()

    def usage(self) -> dict[str, Usage]:
        """CPU and memory of each process so far."""
        for name, broker in self._own_brokers().items():
            if broker.pid is not None:
                self._kafka_usage[name] = measure(broker.pid, self._kafka_usage.get(name, Usage()))
        return {**self._kafka_usage, **self.supervisor.usage()}

    def stop(self) -> None:
        """End all processes, Kafka last; the log stays on disk."""
        self.supervisor.stop()
        if self.kafka is not None:
            self.kafka.stop()

    def leave_word(self) -> None:
        """Tell other commands of the run."""
        children = [child for child in self.supervisor.children.values() if child.is_alive]
        processes = [
            Process(name=child.name, pid=child.popen.pid, role=child.role, log=str(child.log), drains=not child.is_wanted)
            for child in children
        ]
        processes = [
            *(
                Process(name=name, pid=broker.pid, role="kafka", log=str(broker.log))
                for name, broker in self._own_brokers().items()
                if broker.pid is not None
            ),
            *processes,
        ]
        addresses = {"kafka": self.settings.kafka.bootstrap_servers, "origin": self.origin_url, "watch": f"{self.origin_url}/"}
        addresses |= {f"{c.name} metrics": c.readiness.metrics_url for c in children if c.readiness}
        run = Run(
            run_id=self.run_id, pid=os.getpid(), started_at=started_at(os.getpid()), directory=str(self.directory),
            environment=self.environment, addresses=addresses, processes=tuple(processes),
            packagers_wanted=self.scaler.wanted if self.scaler else None,
        )  # fmt: skip
        state.write(self._asked.state_dir, run)

    def _start_kafka(self) -> None:
        if self._asked.kafka.bootstrap_servers:
            self._say(f"Kafka is at {self._asked.kafka.bootstrap_servers}")
            return
        files = {"log.segment.bytes": str(LOG_FILE_BYTES), "log.retention.check.interval.ms": str(MINUTE_MS)}
        folder, runtime = self.directory / "kafka", prepare(CACHE, self._tell_fetching)
        if self._brokers > 1:
            self.kafka = LocalCluster(folder, runtime, size=self._brokers, overrides=files)
        else:
            self.kafka = LocalBroker(folder, runtime, overrides=files)
        self.kafka.start()
        self.environment["FINECUT_KAFKA__BOOTSTRAP_SERVERS"] = self.kafka.bootstrap
        self._say(f"Apache Kafka is up at {self.kafka.bootstrap}")

    def _tend_brokers(self, say: Callable[[str], object]) -> bool:
        """Start again which of several brokers ended; whether one was."""
        if not isinstance(self.kafka, LocalCluster):
            if self.kafka is not None:
                self.kafka.check()
            return False
        brokers, now = self.kafka.brokers, time.monotonic()
        is_changed = False
        for number, broker in brokers.items():
            if broker.pid is None or broker.is_alive:
                continue
            if number not in self._broker_due_s:
                wait_s = BACKOFF_S[min(self._broker_ends[number], len(BACKOFF_S) - 1)]
                self._broker_due_s[number] = now + wait_s
                self._broker_ends[number] += 1
                left = sum(other.is_alive for other in brokers.values())
                go_on = "the others go on" if left > len(brokers) // 2 else f"nothing is written while {left} of {len(brokers)} are left"
                say(f"kafka-{number} ended (see {broker.log}): it is started again in {wait_s:g} s; {go_on}")
            elif now >= self._broker_due_s[number]:
                del self._broker_due_s[number]
                broker.kill()  # it is gone: only forgotten
                broker.launch()
                is_changed = True
        return is_changed

    def _own_brokers(self) -> Mapping[str, LocalBroker]:
        if isinstance(self.kafka, LocalCluster):
            return {f"kafka-{number}": broker for number, broker in self.kafka.brokers.items()}
        return {"kafka": self.kafka} if self.kafka is not None else {}

    def _tell_fetching(self, have: int, wanted: int) -> None:
        if have < wanted:
            self._say(f"fetching Apache Kafka: {have} of {wanted} files")

    def _settings(self) -> Settings:
        os.environ.update(self.environment)
        return load()

    def _make_topics(self) -> None:
        wanted = topics.wanted_topics(self.settings)
        made = topics.ensure(topics.reach(self.settings.kafka), wanted, replication_factor=self.settings.kafka.replication_factor)
        self._say(f"{len(made)} topics created" if made else f"{len(wanted)} topics are there and right")

    def _readiness(self, part: str, port: int) -> Readiness:
        return Readiness(metrics_url=f"http://127.0.0.1:{port}/metrics", gauge=f"finecut_{part}_ready")


@contextmanager
def running(settings: Settings, *, packagers: int, say: Say, scales: bool = False, brokers: int = 1) -> Iterator[LocalRun]:
    """
    A local run that is stopped in order whatever happens, Ctrl-C and SIGTERM included.

    Raises:
        UserError: Another one lives in this folder.
    """
    held = state.read(settings.state_dir)
    if held is not None and held.is_alive:
        raise UserError(f"a run of this folder lives already, as process {held.pid}", do="stop it with Ctrl-C, or set FINECUT_STATE_DIR")
    run = LocalRun(settings, packagers=packagers, say=say, scales=scales, brokers=brokers)
    handlers = {number: signal.signal(number, _interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        run.start()
        yield run
    finally:
        run.stop()
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _chosen(section: OriginSettings | object, field: str, otherwise: object) -> object:
    """The setting if somebody set it, else what suits one machine."""
    is_set = field in getattr(section, "model_fields_set", ())
    return getattr(section, field) if is_set else otherwise


def _packagers_max(scaling: ScalingSettings) -> int:
    suits = max(scaling.packagers_min, PACKAGERS_PER_CORE * len(os.sched_getaffinity(0)))
    return int(str(_chosen(scaling, "packagers_max", suits)))


def _shape(kafka: KafkaSettings, brokers: int) -> Mapping[str, str]:
    copies = kafka.replication_factor if kafka.bootstrap_servers else min(brokers, COPIES_MAX)
    return {
        "FINECUT_KAFKA__REPLICATION_FACTOR": str(_chosen(kafka, "replication_factor", copies)),
        "FINECUT_KAFKA__POOL_COUNT": str(_chosen(kafka, "pool_count", POOLS)),
        "FINECUT_KAFKA__MEDIA_PARTITION_COUNT": str(_chosen(kafka, "media_partition_count", MEDIA_PARTITIONS)),
    }


def _retention(settings: Settings) -> Mapping[str, str]:
    """How long chunks stay in a log of our own; that of a cluster is its owners' business."""
    if settings.kafka.bootstrap_servers:
        return {}
    enough = max(MEDIA_RETENTION_MS, 2 * settings.media.time_shift_ms)
    return {"FINECUT_KAFKA__MEDIA_RETENTION_MS": str(_chosen(settings.kafka, "media_retention_ms", enough))}


def _origin_port(origin: OriginSettings) -> int:
    if is_free(origin.port) and origin.port:
        return origin.port
    if "port" in origin.model_fields_set and origin.port:
        raise UserError(
            f"port {origin.port} of the origin is taken",
            do=f"stop what listens there (`ss -ltnp 'sport = :{origin.port}'` names it), or set FINECUT_ORIGIN__PORT=0 for a free one",
        )
    return next(free_ports())


def _check_disk(directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(directory).free
    if free < FREE_BYTES_MIN:
        raise UserError(
            f"disk full at {directory}: {free // 2**20} MiB free, {FREE_BYTES_MIN // 2**20} needed",
            do="free some space, or set FINECUT_STATE_DIR to a folder on another disk",
        )


def _forget_old_runs(folder: Path) -> None:
    for old in sorted(path for path in folder.glob("*") if path.is_dir())[: -RUNS_MAX + 1]:
        shutil.rmtree(old)


__all__ = ["LiveInput", "LocalRun", "ProcessDiedError", "running"]

"""Who plays in a chaos run: brokers, control planes, packagers, origins, encoders and an audience, all children of this process."""

import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from infra.kafka import LocalCluster, prepare
from infra.kafka.ports import free_ports
from infra.processes import Child, Readiness
from schemas.records import Level
from streams.ingest import end
from tests.chaos.audience import Audience, now_ms
from tests.chaos.stagehand import VARIABLE
from tests.line import CACHE, WAIT_S, Ended, Line, last_words, whole_line
from tests.unit.ingest.fakes import make_clip

# Viewers of parts: two packagers make the same; viewers of whole segments alone: one does; nobody: none, until somebody asks.
HOT, PLAIN, ASKED = "arena", "news", "garden"
VIEWERS: Mapping[str, tuple[int, int]] = {HOT: (1, 3), PLAIN: (2, 1), ASKED: (1, 0)}
POLLED = tuple(f"/{channel}/{kind}/{track}.m3u8" for channel in (HOT, PLAIN) for kind in ("hls", "ll") for track in ("v0", "a0"))
STAGEHAND = "tests.chaos.stagehand"
# Of a problem so much is told.
PROBLEM_CHARS = 4_000
# Until the channels are published on a busy machine.
LIVE_S = 180.0
# Encoded in real time, and over again: a small picture, so that two of a pair do not take each other's time.
ENCODED, ENCODED_S = (320, 180), 8.0
# Of a second a slow process runs so much.
SLOW_STOPPED_S, SLOW_RUNS_S = 0.2, 0.05


@dataclass(frozen=True, kw_only=True, slots=True)
class Size:
    """How many of each; without encoders the hot channel is played from a recording like the others, at little cost."""

    brokers: int = 3
    controls: int = 2
    packagers: int = 4
    origins: int = 2
    encoders: int = 0
    pools: int = 1


@dataclass(slots=True)
class Cast:
    """
    A line with several of everything.

    Attributes:
        cluster: Its brokers.
        line: Its first control plane and origin, and what the log says.
        packagers: Pool of each of its packagers.
        controls: Names of its control planes.
        origins: Address of each origin by name.
        encoders: Channels of each encoder process.
        harmed: What something is being done to.
        spared: What nothing may be done to.
        problems: What went wrong with the run itself.
    """

    cluster: LocalCluster
    line: Line
    folder: Path
    packagers: Mapping[str, int]
    controls: tuple[str, ...]
    origins: dict[str, str]
    encoders: dict[str, tuple[str, ...]] = field(default_factory=dict)
    harmed: set[str] = field(default_factory=set)
    spared: set[str] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)
    paused: set[int] = field(default_factory=set)

    def child(self, name: str) -> Child:
        """A process by its name."""
        return self.line.run.supervisor.children[name]

    def words(self, name: str) -> Path:
        """File that tells a packager's store how to fail."""
        return self.folder / f"{name}.store"

    def holders(self) -> list[str]:
        """Packagers that hold a slice, as the log says."""
        return sorted({a.packager_id for a in self.line.tally.holders.values()})

    def kill(self, name: str) -> None:
        """End a process at once; it is not missed until `revive`."""
        self.line.run.supervisor.kill(name)

    def revive(self, name: str) -> None:
        """Start a process again that was ended."""
        self.line.run.supervisor.revive(self.child(name))

    def pause(self, pid: int) -> None:
        """Stand a process still."""
        self.paused.add(pid)
        os.kill(pid, signal.SIGSTOP)

    def resume(self, pid: int) -> None:
        """Let it go on, if it is still there."""
        self.paused.discard(pid)
        try:
            os.kill(pid, signal.SIGCONT)
        except ProcessLookupError:
            return

    def hear(self) -> None:
        """Take what the log says now; what ended by itself is started again, and told."""
        self.line.hear()
        for number, broker in self.cluster.brokers.items():
            if broker.pid is not None and not broker.is_alive and not self.harmed & {f"broker {number}", "broker all"}:
                told = last_words(broker.log)
                broker.kill()
                broker.launch()
                # Its own parent knows its status.
                self.line.ended.append(Ended(name=f"broker-{number}", status=-1, at_unix_ms=now_ms(), log=broker.log, told=told))

    def start_packager(self, name: str, *, process: str = "") -> Child:
        """A packager whose store can be made to fail."""
        port = next(free_ports())
        return self.line.run.supervisor.start(
            process or name, "packager", [name, str(self.packagers[name])], module=STAGEHAND,
            readiness=_readiness(f"http://127.0.0.1:{port}", "packager"),
            environment={"FINECUT_PACKAGER__METRICS_PORT": str(port), VARIABLE: str(self.words(name))},
        )  # fmt: skip

    def play(self, *channels: str) -> None:
        """One process that plays a recording into some channels."""
        self.encoders[self.line.play(*channels, idle=Level.PARTS).name] = channels

    def encode(self, channel: str, *, count: int) -> None:
        """One process that encodes in real time, or a pair of them, of which one follows the other."""
        clip = make_clip(self.folder / "small.mp4", seconds=ENCODED_S, size=ENCODED)
        words = ["encode", str(clip), "--channel", channel, "--realtime", "--loop", "--idle-level", Level.PARTS.value]
        words.append("--standby" if count > 1 else "--take-over")
        for number in range(1, count + 1):
            child = self.line.run.supervisor.start(f"encode-{channel}-{number}", "encode", words)
            self.encoders[child.name] = (channel,)

    def end(self) -> None:
        """End the encoders and the channels; returns when the packagers finished what is in the log."""
        supervisor = self.line.run.supervisor
        supervisor.stop([name for name in self.encoders if supervisor.children[name].is_alive])
        in_pairs = Counter(channel for channels in self.encoders.values() for channel in channels)
        for channel in (channel for channel, count in in_pairs.items() if count > 1):
            end.run(self.line.run.settings, channel)  # one of a pair does not
        self.line.end()

    def leave(self) -> None:
        """Everybody but the brokers goes, at once: a verdict is read from the log and the store, and needs the machine."""
        for name, child in self.line.run.supervisor.children.items():
            if child.is_alive:
                self.kill(name)

    def audience(self) -> Audience:
        """The usual one."""
        return Audience(self.origins, dict(VIEWERS), POLLED)

    def wake(self) -> None:
        """Nothing stands still any more."""
        for pid in list(self.paused):
            self.resume(pid)


class Slower:
    """A thread that stops a process most of the time, until it is told to end."""

    def __init__(self, cast: Cast, pid: int) -> None:
        self._cast, self._pid = cast, pid
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def end(self) -> None:
        """The process runs as it can."""
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            while not self._over.is_set():
                self._cast.pause(self._pid)
                self._over.wait(SLOW_STOPPED_S)
                self._cast.resume(self._pid)
                self._over.wait(SLOW_RUNS_S)
        except ProcessLookupError:
            self._cast.paused.discard(self._pid)


@contextmanager
def on_stage(folder: Path, size: Size, **settings: Any) -> Iterator[Cast]:
    """A whole cast that is ready and whose channels are live; all of it ends with the context, however it ends."""
    chosen: dict[str, Any] = {
        "KAFKA__REPLICATION_FACTOR": min(3, size.brokers),
        "KAFKA__POOL_COUNT": size.pools,
        "GRANULARITY__COPIES_VIEWERS": 2,
        "GRANULARITY__DEAL_HOLD_MS": 2_000,
        "GRANULARITY__HOLD_MS": 4_000,
    }
    with (
        LocalCluster(folder / "kafka", prepare(CACHE), size=size.brokers) as cluster,
        whole_line(cluster, folder, packagers=0, revives=True, **(chosen | settings)) as line,
    ):
        run = line.run
        cast = Cast(
            cluster=cluster, line=line, folder=folder, packagers={f"packager-{n}": n % size.pools for n in range(1, size.packagers + 1)},
            controls=("control", *(f"control-{n}" for n in range(2, size.controls + 1))), origins={"origin": run.origin_url},
        )  # fmt: skip
        for name in cast.controls[1:]:
            port = str(next(free_ports()))
            own = {"FINECUT_CONTROL__PORT": port, "FINECUT_CONTROL__DATA_DIR": str(folder / name)}
            run.supervisor.start(name, "control", ["control"], environment=own)
        waited = [cast.start_packager(name) for name in cast.packagers]
        for number in range(2, size.origins + 1):
            port, name = str(next(free_ports())), f"origin-{number}"
            cast.origins[name] = f"http://127.0.0.1:{port}"
            waited.append(
                run.supervisor.start(
                    name, "origin", ["origin", "--id", name], environment={"FINECUT_ORIGIN__PORT": port},
                    readiness=_readiness(cast.origins[name], "origin"),
                )
            )  # fmt: skip
        run.supervisor.wait_ready(waited, timeout_s=WAIT_S)
        if size.encoders:
            cast.encode(HOT, count=size.encoders)
        else:
            cast.play(HOT)
        cast.play(PLAIN, ASKED)
        line.until(lambda _: min(line.published(HOT), line.published(PLAIN)) >= 1, what="segments", timeout_s=LIVE_S)
        try:
            yield cast
        finally:
            cast.wake()


def names_of(cast: Cast, role: str) -> Sequence[str]:
    """Processes of a role that may be harmed, in an order of their own."""
    if role == "broker":
        return [str(number) for number in cast.cluster.brokers]
    if role == "encoder":
        return sorted(cast.encoders)
    packagers = tuple(cast.packagers)
    return {
        "packager": packagers,
        "store": packagers,
        "control": cast.controls,
        "origin": tuple(name for name in cast.origins if name not in cast.spared),
    }[role]


def _readiness(url: str, part: str) -> Readiness:
    return Readiness(metrics_url=f"{url}/metrics", gauge=f"finecut_{part}_ready")

"""
How long a control plane of 1,000 channels and 200 packagers takes, once killed, from its start to the first decision of each pool.

    python -m tests.bench.restart [--channels 1000] [--packagers 200] [--pools 2] [--kills 3]

Real Kafka, one worker for all pools. Before the first kill it has folded 24 s of history; while it is away and comes back, GOPs, reports,
heartbeats and demand go on at their rates. Wall time is told beside CPU time of the worker, which a loaded machine changes less.
"""

import argparse
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from threading import Event, Thread
from typing import Any

import psutil

from infra.kafka import LocalBroker, prepare
from schemas import topics
from schemas.records import Assignment, ChannelDemand, Level, Reports, SliceProgress
from schemas.units import Msn, UnixMs
from tests.broker.control_plane import CODEC, ROOT, ControlPlane, Installation, until
from tests.broker.obeyed import chain
from tests.builders_control import a_demand, a_gop, a_heartbeat, a_period, a_segment_report

HISTORY_S = 24
SEGMENT_S = 4
WAIT_S = 300.0


class Feed:
    """What encoders, packagers and origins of an installation write, second by second."""

    def __init__(self, installation: Installation, *, channels: int, packagers: int) -> None:
        self._installation, self._pools = installation, installation.kafka.pool_count
        self._channels = {pool: [f"c{n:04}" for n in range(channels) if n % self._pools == pool] for pool in range(self._pools)}
        self._packagers = {pool: [f"p{n:03}" for n in range(packagers) if n % self._pools == pool] for pool in range(self._pools)}
        self.held: dict[int, dict[str, Assignment]] = {pool: {} for pool in range(self._pools)}
        self.second = 0
        self.sent = 0
        self._beats = 0
        self._ended = Event()
        self._thread = Thread(target=self._go_on)

    def open(self) -> None:
        """Every channel goes live, packaged though nobody watches."""
        self.beat()
        for pool, channels in self._channels.items():
            for channel in channels:
                period = a_period(channel, idle_level=Level.PARTS, at=_now(), pool=pool)
                self._send(topics.CHANNELS, topics.period_key(channel, 0), period, pool=pool)
        self._flush()

    def learn(self) -> bool:
        """Whether every channel has a holder now; who it is, is remembered."""
        for pool in self._channels:
            for message in self._installation.read(topics.ASSIGNMENTS, pool=pool):
                record = CODEC.decode(message.value()) if message.value() else None
                self.held[pool].pop(message.key().decode(), None)
                if record is not None and record.life:
                    self.held[pool][message.key().decode()] = record
        return all(len(self.held[pool]) >= len(channels) for pool, channels in self._channels.items())

    def beat(self) -> None:
        """A heartbeat of every packager, with its slices."""
        for pool, packagers in self._packagers.items():
            hands: dict[str, list[SliceProgress]] = defaultdict(list)
            for held in self.held[pool].values():
                at = Msn(self.second // SEGMENT_S)
                hands[held.packager_id].append(SliceProgress(slice_id=held.slice_id, copy=held.copy, epoch=held.epoch, next_msn=at))
            for name in packagers:
                self._send(topics.HEARTBEATS, name, a_heartbeat(name, number=self._beats, slices=tuple(hands[name])), pool=pool)
        self._beats += 1

    def go_on(self) -> None:
        """A GOP of every channel, what origins say, and the reports of the segments that became whole."""
        msn, second = self.second // SEGMENT_S, self.second
        self.second += 1
        for pool, channels in self._channels.items():
            for name in channels:
                gop = a_gop(name, gop=second, msn=msn, first_gop=msn * SEGMENT_S, durable=_now())
                self._send(topics.GOPS, name, gop, pool=pool)
            watched = [ChannelDemand(channel=name, whole_sessions=5, requests=9) for name in channels]
            self._send(topics.DEMAND, "o1", a_demand(channels=watched, at=_now()), pool=pool)
            if self.second % SEGMENT_S == 0:
                self._report(pool, msn)
        self._flush()

    def _report(self, pool: int, msn: int) -> None:
        made: dict[tuple[str, str], list[Any]] = defaultdict(list)
        for held in self.held[pool].values():
            made[held.packager_id, held.life] += [
                a_segment_report(held.channel, msn=msn, track=track, epoch=held.epoch, durable=_now(), slice_id=held.slice_id)
                for track in held.tracks
            ]
        for (packager, life), segments in made.items():
            self._send(topics.REPORTS, packager, Reports(packager_id=packager, life=life, segments=tuple(segments)), pool=pool)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _go_on(self) -> None:
        due = time.monotonic()
        while not self._ended.wait(max(0.0, due - time.monotonic())):
            self.beat()
            if self._beats % 2:
                self.go_on()
            due += 0.5

    def _send(self, topic: topics.Topic, key: str, record: Any, *, pool: int) -> None:
        self.sent += 1
        while True:
            try:
                self._installation.producer.produce(
                    topic.name(self._installation.kafka), CODEC.encode(record), key.encode(), partition=pool
                )
                return
            except BufferError:
                self._installation.producer.poll(0.1)

    def _flush(self) -> None:
        left = self._installation.producer.flush(WAIT_S)
        assert left == 0, left


def _now() -> UnixMs:
    return UnixMs(int(time.time() * 1_000))


def restart(installation: Installation, folder: Path, number: int) -> ControlPlane:
    """Start a worker whose predecessor was killed, tell how it came back, and return it."""
    pools = range(installation.kafka.pool_count)
    before = {pool: chain(installation, pool)[-1].number for pool in pools}
    began, took = time.monotonic(), dict[int, float]()
    control = ControlPlane(installation, folder)
    process = psutil.Process(control.process.pid)
    while len(took) < len(pools):
        assert time.monotonic() - began < WAIT_S, "no decision"
        for pool in set(pools) - set(took):
            if _decisions_since(installation, pool, before[pool]):
                took[pool] = time.monotonic() - began
        time.sleep(0.05)
    times = process.cpu_times()
    ready = control.ready(timeout_s=WAIT_S)
    told = "  ".join(f"pool {pool} {seconds:.1f} s" for pool, seconds in sorted(took.items()))
    print(
        f"restart {number}: to the first decision: {told}; ready {ready:.1f} s; CPU until then {times.user + times.system:.1f} s",
        flush=True,
    )
    return control


def _decisions_since(installation: Installation, pool: int, number: int) -> bool:
    return bool(installation.tail(topics.DECISIONS, pool=pool).number > number)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("--channels", 1_000), ("--packagers", 200), ("--pools", 2), ("--kills", 3)):
        parser.add_argument(name, type=int, default=default)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, LocalBroker(Path(name) / "kafka", prepare(ROOT / ".cache")) as broker:
        folder = Path(name) / "control"
        installation = Installation(broker, folder, pool_count=arguments.pools)
        feed = Feed(installation, channels=arguments.channels, packagers=arguments.packagers)
        control = ControlPlane(installation, folder)
        with control:
            control.ready(timeout_s=WAIT_S)
            feed.open()
            until(feed.learn, what="holder of every channel", timeout_s=WAIT_S)
            for _ in range(HISTORY_S):
                feed.beat()
                feed.go_on()
            # Forecasts are counted, too, and are not ours: a few records of the end may still wait.
            until(lambda: (control.metric("finecut_control_records_total") or 0) >= feed.sent, what="end of the history", timeout_s=WAIT_S)
            with feed:
                time.sleep(SEGMENT_S)
                control.kill()
                for number in range(arguments.kills):
                    with restart(installation, folder, number) as control:
                        time.sleep(SEGMENT_S)
                        ticks = control.metric("finecut_control_decide_seconds_count") or 1.0
                        mean = (control.metric("finecut_control_decide_seconds_sum") or 0.0) / ticks
                        rss = psutil.Process(control.process.pid).memory_info().rss / 2**20
                        print(f"  then {mean * 1_000:.0f} ms per tick, {rss:.0f} MiB", flush=True)
                        control.kill()
        size = len(installation.read(topics.DECISIONS)[0].value())
        largest = max(len(message.value()) for message in installation.read(topics.DECISIONS))
        print(f"decisions of pool 0: largest {largest / 2**10:.0f} KiB, first {size} B")


if __name__ == "__main__":
    main()

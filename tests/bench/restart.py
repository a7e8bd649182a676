"""
How long a control plane of 1,000 channels and 200 packagers takes, once killed, from its start to the first decision of each pool.

    python -m tests.bench.restart [--channels 1000] [--packagers 200] [--pools 2] [--kills 3] [--history 24] [--limit 220]

Real Kafka, one worker for all pools. GOPs, reports, heartbeats and demand go on at their rates, also while a worker is away. A first
worker places every channel and is killed; after the seconds of the history another begins, told as restart 0, which has all of them to
fold. Wall time is told beside CPU time of the worker, which a loaded machine changes less, and the machine's load. After the limit, in
seconds, no other restart begins.
"""

import argparse
import os
import tempfile
import time
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path
from threading import Event, Thread
from typing import Any

import psutil
from confluent_kafka import Consumer, TopicPartition

from infra.kafka import LocalBroker, prepare
from schemas import topics
from schemas.records import Assignment, ChannelDemand, Level, Reports, SliceProgress
from schemas.units import Msn, UnixMs
from streams.tables import changelog_topics
from tests.broker.control_plane import CODEC, ROOT, ControlPlane, Installation
from tests.builders_control import a_demand, a_gop, a_heartbeat, a_period, a_segment_report

SEGMENT_S = 4
WAIT_S = 90.0
BEGAN_S = time.monotonic()
# What a worker says of itself while it starts, and what that means.
STEPS = {"metrics_served": "imported", "pools_assigned": "tables recovered", "planner_took_over": "decided"}


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

    def is_placed(self, control: ControlPlane) -> bool:
        """Whether every channel has a holder."""
        return (control.metric("finecut_control_plan_slices") or 0) >= sum(map(len, self._channels.values())) and self._learn()

    def _learn(self) -> bool:
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

    def _second(self) -> None:
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
                self._second()
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


def restart(installation: Installation, folder: Path, title: str) -> ControlPlane:
    """Start a worker, tell how it came to its first decision in each pool, what follows from it acknowledged, and return it."""
    before = (folder / "control.log").stat().st_size
    began, seen = time.monotonic(), list[str]()
    control = ControlPlane(installation, folder)
    process = psutil.Process(control.process.pid)
    wanted = len(STEPS) - 1 + installation.kafka.pool_count
    while len(seen) < wanted:
        control.tend()
        with control.log_path.open() as log:
            log.seek(before)
            said = [STEPS[word] for line in log for word in STEPS if word in line]
        if len(said) > len(seen):
            times = process.cpu_times()
            at = f"{time.monotonic() - began:.1f} s (CPU {times.user + times.system:.1f})"
            seen += [f"{what} {at}" for what in said[len(seen) :]]
        assert time.monotonic() - began < WAIT_S, f"no decision; so far {seen}"
        time.sleep(0.02)
    say(f"{title}: {', '.join(seen)}")
    return control


def say(text: str) -> None:
    """A line, with the time and the load of the machine."""
    print(f"[{time.monotonic() - BEGAN_S:5.1f} s, load {os.getloadavg()[0]:.1f}] {text}", flush=True)


def changelog_size(installation: Installation) -> int:
    """Records that the tables of all pools are recovered from."""
    consumer = Consumer(installation.kafka.client() | {"group.id": "unused"})
    try:
        bounds = [
            consumer.get_watermark_offsets(TopicPartition(topic.name, pool), timeout=10)
            for topic in changelog_topics(installation.kafka)
            for pool in range(installation.kafka.pool_count)
        ]
        return sum(end - first for first, end in bounds)
    finally:
        consumer.close()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("channels", 1_000), ("packagers", 200), ("pools", 2), ("kills", 3), ("history", 24), ("limit", 220)):
        parser.add_argument(f"--{name}", type=int, default=default)
    arguments = parser.parse_args()
    ends = time.monotonic() + arguments.limit
    with ExitStack() as stack:
        name = stack.enter_context(tempfile.TemporaryDirectory())
        broker = stack.enter_context(LocalBroker(Path(name) / "kafka", prepare(ROOT / ".cache")))
        folder = Path(name) / "control"
        installation = Installation(broker, folder, pool_count=arguments.pools)
        feed = Feed(installation, channels=arguments.channels, packagers=arguments.packagers)
        feed.open()
        stack.enter_context(feed)
        say(f"{arguments.channels} channels and {arguments.packagers} packagers in {arguments.pools} pools: told")
        with ControlPlane(installation, folder) as control:
            while not feed.is_placed(control):
                assert time.monotonic() < ends, "not every channel has a holder"
                time.sleep(0.5)
            control.kill()
        say("every channel is placed; the worker was killed")
        goes_on = feed.second + arguments.history
        while feed.second < goes_on:
            time.sleep(0.1)
        say(f"{arguments.history} s went by without it: {feed.sent} records in all")
        for number in range(arguments.kills + 1):
            if time.monotonic() > ends:
                say("no time for another restart")
                break
            with restart(installation, folder, f"restart {number}") as control:
                time.sleep(2 * SEGMENT_S)
                ticks = control.metric("finecut_control_decide_seconds_count") or 1.0
                mean = (control.metric("finecut_control_decide_seconds_sum") or 0.0) / ticks
                rss = psutil.Process(control.process.pid).memory_info().rss / 2**20
                say(f"  then {mean * 1_000:.0f} ms per tick, {rss:.0f} MiB, changelogs up to {changelog_size(installation)} records")
                control.kill()


if __name__ == "__main__":
    main()

"""
How long a control plane of 1,000 channels and 200 packagers takes, once killed, to the first decision of each pool.

    python -m tests.bench.restart [--channels 1000] [--packagers 200] [--pools 2] [--workers 2] [--kills 3] [--steady 60] [--away 20]

Real Kafka, and as many workers as pools unless told otherwise. GOPs, reports, heartbeats and demand go on at their rates, also while
workers are away. Once every channel has a holder, what workers fold in a while is measured; then all of them are killed at once and
started at once, several times, and at last after some seconds without any, which is told apart. CPU time of the workers is told beside
wall time: a loaded machine changes it less. It takes three to four minutes.
"""

import argparse
import os
import re
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from threading import Event, Thread
from typing import Any

import psutil
from confluent_kafka import Consumer, TopicPartition

from infra.kafka import LocalBroker, prepare
from schemas import topics
from schemas.records import Assignment, ChannelDemand, Level, Reports, SliceProgress
from schemas.settings import ControlSettings
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
        self._held: dict[int, dict[str, Assignment]] = {pool: {} for pool in range(self._pools)}
        self._told = Consumer(installation.kafka.client() | {"group.id": "unused", "enable.auto.commit": False})
        self._told.assign([TopicPartition(topics.ASSIGNMENTS.name(installation.kafka), pool, 0) for pool in range(self._pools)])
        self.sent = 0
        self.late_s = 0.0
        self._beats = self._seconds = 0
        self._ended = Event()
        self._thread = Thread(target=self._go_on)

    def open(self) -> None:
        """Every channel goes live, packaged though nobody watches."""
        self._beat()
        for pool, channels in self._channels.items():
            for channel in channels:
                period = a_period(channel, idle_level=Level.PARTS, at=_now(), pool=pool)
                self._send(topics.CHANNELS, topics.period_key(channel, 0), period, pool=pool)
        self._flush()

    @property
    def is_placed(self) -> bool:
        """Whether every channel has a holder."""
        return all(
            len({held.channel for held in list(self._held[pool].values())}) == len(channels) for pool, channels in self._channels.items()
        )

    def _hear(self) -> None:
        """What packagers are to do."""
        while messages := self._told.consume(1_000, timeout=0):
            for message in messages:
                assert message.error() is None, message.error()
                key, value, held = (message.key() or b"").decode(), message.value(), self._held[message.partition() or 0]
                record = CODEC.decode(value) if value else None
                held.pop(key, None)
                if record is not None and record.life:
                    held[key] = record

    def _beat(self) -> None:
        """A heartbeat of every packager, with its slices."""
        at = Msn(self._seconds // SEGMENT_S)
        for pool, packagers in self._packagers.items():
            hands: dict[str, list[SliceProgress]] = defaultdict(list)
            for held in self._held[pool].values():
                hands[held.packager_id].append(SliceProgress(slice_id=held.slice_id, copy=held.copy, epoch=held.epoch, next_msn=at))
            for name in packagers:
                self._send(topics.HEARTBEATS, name, a_heartbeat(name, number=self._beats, slices=tuple(hands[name])), pool=pool)
        self._beats += 1

    def _second(self) -> None:
        """A GOP of every channel, what origins say, and the reports of the segments that became whole."""
        second, msn = self._seconds, self._seconds // SEGMENT_S
        self._seconds += 1
        for pool, channels in self._channels.items():
            for name in channels:
                gop = a_gop(name, gop=second, msn=msn, first_gop=msn * SEGMENT_S, durable=_now())
                self._send(topics.GOPS, name, gop, pool=pool)
            watched = [ChannelDemand(channel=name, whole_sessions=5, requests=9) for name in channels]
            self._send(topics.DEMAND, "o1", a_demand(channels=watched, at=_now()), pool=pool)
            if self._seconds % SEGMENT_S == 0:
                self._report(pool, msn)
        self._flush()

    def _report(self, pool: int, msn: int) -> None:
        made: dict[tuple[str, str], list[Any]] = defaultdict(list)
        for held in self._held[pool].values():
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
        self._told.close()

    def _go_on(self) -> None:
        due = time.monotonic()
        while not self._ended.wait(max(0.0, due - time.monotonic())):
            self.late_s = time.monotonic() - due
            self._hear()
            self._beat()
            if self._beats % 2:
                self._second()
            due += 0.5

    def _send(self, topic: topics.Topic, key: str, record: Any, *, pool: int) -> None:
        self.sent += 1
        self._installation.queue(topic, key, record, pool=pool)

    def _flush(self) -> None:
        left = self._installation.producer.flush(WAIT_S)
        assert left == 0, left


def _now() -> UnixMs:
    return UnixMs(int(time.time() * 1_000))


class Workers:
    """All workers of the control plane, each with a folder and so a name of its own."""

    def __init__(self, installation: Installation, folder: Path, count: int) -> None:
        self._installation, self._folders = installation, [folder / f"control{number}" for number in range(count)]
        self._running: list[ControlPlane] = []

    def start(self) -> None:
        """All at once."""
        self._running = [ControlPlane(self._installation, folder) for folder in self._folders]

    def kill(self) -> None:
        """All at once, with SIGKILL."""
        for control in self._running:
            control.process.kill()
        for control in self._running:
            control.process.wait()

    def tend(self) -> None:
        """See that they run."""
        for control in self._running:
            control.tend()

    def metric(self, name: str) -> float:
        """Summed over workers."""
        return sum(control.metric(name) or 0.0 for control in self._running)

    def cpu_s(self) -> list[float]:
        """CPU seconds of each."""
        times = [psutil.Process(control.process.pid).cpu_times() for control in self._running]
        return [each.user + each.system for each in times]

    def memory_mib(self) -> float:
        """Of the largest."""
        return float(max(psutil.Process(control.process.pid).memory_info().rss for control in self._running)) / 2**20

    def restart(self, *, away_s: float = 0.0) -> dict[str, tuple[float, float]]:
        """
        Kill all and start all, after a while.

        Returns:
            For each step, when the last worker or pool had done it: seconds since the start, and CPU seconds of all workers until then.
        """
        self.kill()
        time.sleep(away_s)
        marks = [folder.joinpath("control.log").stat().st_size for folder in self._folders]
        began, seen = time.monotonic(), dict[str, tuple[float, float]]()
        self.start()
        wanted = dict.fromkeys(STEPS, len(self._folders)) | {"planner_took_over": self._installation.kafka.pool_count}
        while len(seen) < len(STEPS):
            self.tend()
            said = "".join(self._said(folder, mark) for folder, mark in zip(self._folders, marks, strict=True))
            for word, count in wanted.items():
                if word not in seen and len(re.findall(word, said)) >= count:
                    seen[word] = (time.monotonic() - began, sum(self.cpu_s()))
            assert time.monotonic() - began < WAIT_S, f"no decision; so far {seen}"
            time.sleep(0.02)
        return {STEPS[word]: at for word, at in seen.items()}

    @staticmethod
    def _said(folder: Path, since: int) -> str:
        with (folder / "control.log").open() as log:
            log.seek(since)
            return log.read()


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


def steady(feed: Feed, workers: Workers, seconds: float) -> str:
    """What the workers do in a while."""
    before, ticks = workers.metric("finecut_control_records_total"), workers.metric("finecut_control_decide_seconds_count")
    fed, cpu, took = feed.sent, workers.cpu_s(), workers.metric("finecut_control_decide_seconds_sum")
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        workers.tend()
        time.sleep(0.2)
    spent = time.monotonic() - began
    folded = max(1.0, workers.metric("finecut_control_records_total") - before) / spent
    ticks, took = (
        workers.metric("finecut_control_decide_seconds_count") - ticks,
        workers.metric("finecut_control_decide_seconds_sum") - took,
    )
    cores = [(now - then) / spent for now, then in zip(workers.cpu_s(), cpu, strict=True)]
    return (
        f"{(feed.sent - fed) / spent:.0f} records a second written (by {feed.late_s:.1f} s late), {folded:.0f} folded; "
        f"cores {' + '.join(f'{each:.2f}' for each in cores)}, {1e6 * sum(cores) / folded:.0f} us a record with all else; "
        f"{1e3 * took / max(1.0, ticks):.0f} ms a tick, {ticks / spent:.1f} ticks a second; {workers.memory_mib():.0f} MiB"
    )


def table(rows: Sequence[tuple[str, dict[str, tuple[float, float]]]]) -> str:
    """Restarts, and the median and worst of those in which nobody was away."""
    columns = list(STEPS.values())
    lines = [
        "| restart | " + " | ".join(f"{name}, s" for name in columns) + " | CPU of all workers, s |",
        "|---" * (len(columns) + 2) + "|",
    ]
    for title, seen in rows:
        lines.append(f"| {title} | " + " | ".join(f"{seen[name][0]:.1f}" for name in columns) + f" | {seen['decided'][1]:.1f} |")
    for title, of in (("median", statistics.median), ("max", max)):
        cells = [of([seen[name][0] for _, seen in rows[:-1]]) for name in columns] + [of([seen["decided"][1] for _, seen in rows[:-1]])]
        lines.append(f"| {title}, without the last | " + " | ".join(f"{cell:.1f}" for cell in cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (
        ("channels", 1_000),
        ("packagers", 200),
        ("pools", 2),
        ("workers", 0),
        ("kills", 3),
        ("steady", 60),
        ("away", 20),
    ):
        parser.add_argument(f"--{name}", type=int, default=default)
    arguments = parser.parse_args()
    count = arguments.workers or arguments.pools
    with ExitStack() as stack:
        name = stack.enter_context(tempfile.TemporaryDirectory())
        broker = stack.enter_context(LocalBroker(Path(name) / "kafka", prepare(ROOT / ".cache")))
        installation = Installation(
            broker, Path(name) / "control", pool_count=arguments.pools, rows_every_ms=ControlSettings().rows_every_ms
        )
        feed = Feed(installation, channels=arguments.channels, packagers=arguments.packagers)
        feed.open()
        stack.enter_context(feed)
        say(f"{arguments.channels} channels and {arguments.packagers} packagers in {arguments.pools} pools, {count} workers")
        workers = Workers(installation, Path(name), count)
        stack.callback(workers.kill)
        workers.start()
        began = time.monotonic()
        while not feed.is_placed:
            say(steady(feed, workers, 5.0))
            assert time.monotonic() - began < WAIT_S, "not every channel has a holder"
        say(f"every channel has a holder {time.monotonic() - began:.1f} s after the start")
        rows = []
        for number in range(arguments.kills + 1):
            say(steady(feed, workers, arguments.steady if number == 0 else 4 * SEGMENT_S))
            away_s = arguments.away if number == arguments.kills else 0
            say(f"  changelogs of {changelog_size(installation)} records; killed")
            rows.append((f"{number + 1}, after {away_s} s" if away_s else f"{number + 1}, at once", workers.restart(away_s=away_s)))
            say(", ".join(f"{step} {at:.1f} s (CPU {cpu:.1f})" for step, (at, cpu) in rows[-1][1].items()))
        say(steady(feed, workers, 2 * SEGMENT_S))
        print(table(rows))


if __name__ == "__main__":
    main()

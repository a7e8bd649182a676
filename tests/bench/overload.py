"""
Twice the load that a pool can carry: who is late, by how much, what is lost, what memory it takes, and how long it takes to recover.

    python -m tests.bench.overload [--channels 20] [--seconds 120]

A whole line on a real Kafka, twice. First all channels are played to packagers that may use what they want: that says how much takes how
many cores when each chunk is cut as it comes. In the second line packagers have what half of all channels take so, are held to it
(`tests.bench.throttle`: stopped for the rest of each tenth of a second in which they have used it up, as a cgroup does), and their settings
say so. A quarter of the channels is played (half of what they can carry), all of them (twice), a quarter again; each has many viewers, few,
or none. Who is late cuts more in one turn and so takes less for the same, which is why twice the load may be made all the same, but late.
In the end the limits are lifted, so that it can be counted what is lost.
Late is a segment as long as its report is appended after its last chunk was (both times are the broker's).
"""

import argparse
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from infra.kafka import LocalBroker, prepare
from infra.processes import Usage
from infra.processes import measure as measure_process
from infra.summary import quantiles
from schemas.records import Decision, Level, Outcome, Reports, Scaling, Void
from schemas.topics import DECISIONS, REPORTS, SCALING
from schemas.units import UnixMs
from tests.bench.throttle import cpu_s, throttled
from tests.line import CACHE, Line, fetch, whole_line

PACKAGERS = 2
# Viewers of each third of the channels.
CLASSES = {"many": 12, "few": 2, "none": 0}
# Sessions end 10 s after their last request.
ASK_S = 3.0
ASKING_MAX = 16
IDLE_S = 5.0
SETTLE_S = 5.0
LOAD_S = 8.0
BASE_S = 12.0
RECOVERY_S = 60.0
# A chunk for each frame: work that is large beside what packagers take for nothing.
CHUNKS_PER_PART = 13
# Late by less than a target duration is in time: plain players hold back three.
ALLOWANCE_MS = 4_000
# In time for so long is recovered.
STEADY_S = 8.0


def names(count: int) -> dict[str, str]:
    """
    The class of each channel.

    >>> names(4)
    {'c00-many': 'many', 'c01-few': 'few', 'c02-none': 'none', 'c03-many': 'many'}
    """
    kinds = list(CLASSES)
    return {f"c{number:02}-{kinds[number % 3]}": kinds[number % 3] for number in range(count)}


@contextmanager
def audience(line: Line, channels: Mapping[str, str]) -> Iterator[None]:
    """Viewers ask for their channels every few seconds; whether they are answered is not waited for long."""
    stopped = threading.Event()

    def ask(path: str) -> None:
        try:
            fetch(line.run.origin_url, path, timeout_s=1.0)
        except OSError:
            return  # it waits for what is not there yet; that it asked is counted

    def go_on() -> None:
        with ThreadPoolExecutor(ASKING_MAX) as pool:
            while not stopped.is_set():
                began = time.monotonic()
                for channel, kind in channels.items():
                    for number in range(CLASSES[kind]):
                        report = quote(f'ot=m,sf=h,sid="{channel}-{number}",st=l')
                        pool.submit(ask, f"/{channel}/hls/v0.m3u8?CMCD={report}")
                stopped.wait(max(0.5, began + ASK_S - time.monotonic()))

    thread = threading.Thread(target=go_on, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()


def pids(line: Line) -> list[int]:
    """Packagers that run."""
    running = list(line.run.supervisor.children.values())  # asked in a thread, while others start
    return [child.popen.pid for child in running if child.role == "packager" and child.is_alive]


def limits(line: Line, cores: float) -> dict[int, float]:
    """So many cores for each packager that runs."""
    return dict.fromkeys(pids(line), cores)


def used_s(line: Line) -> float:
    """CPU seconds of all packagers so far."""
    return sum(cpu_s(pid) for pid in pids(line))


@dataclass(slots=True)
class Watch:
    """What is seen of a line from outside: memory of its processes, by stretch, at the most."""

    line: Line
    rss_mb: dict[str, dict[str, float]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(float)))

    def over(self, stretch: str, seconds: float) -> None:
        """Lets time pass."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.line.hear()
            for child in self.line.run.supervisor.children.values():
                seen = self.rss_mb[child.role]
                seen[stretch] = max(seen[stretch], measure_process(child.popen.pid, Usage()).rss_mb)


@dataclass(frozen=True, kw_only=True, slots=True)
class Made:
    """A segment of a track that was made: when it could be, and by how much later its report was there."""

    kind: str
    durable: UnixMs
    late_ms: int
    chunks: int


class Told:
    """What the log says of the whole run."""

    def __init__(self, line: Line, channels: Mapping[str, str]) -> None:
        self.made: dict[tuple[str, int, str], Made] = {}
        self.voids: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        self.scaling: list[tuple[UnixMs, Scaling]] = []
        self.queued: list[tuple[UnixMs, Counter[str]]] = []
        self.deaths: Counter[str] = Counter()
        for entry in line.entries(REPORTS, DECISIONS, SCALING):
            match entry.record:
                case Reports() as reports:
                    for one in reports.segments:
                        if one.outcome is not Outcome.PUBLISHED:
                            self.failures[one.error] += 1
                        else:
                            late = entry.at_unix_ms - one.durable_unix_ms
                            made = Made(kind=channels[one.channel], durable=one.durable_unix_ms, late_ms=late, chunks=one.chunk_count)
                            self.made.setdefault((one.channel, one.msn, one.track), made)
                case Void() as void:
                    self.voids[str(void.reason)] += 1
                case Decision() as decision:
                    waiting = Counter(channels.get(queued.slice_id.split("/")[0], "?") for queued in decision.queued)
                    self.queued.append((decision.at_unix_ms, waiting))
                    self.deaths += Counter(str(dead.reason) for dead in decision.dead if not decision.whole)
                case Scaling() as scaling:
                    self.scaling.append((entry.at_unix_ms, scaling))

    def made_chunks(self, began: int, ended: int) -> int:
        """Chunks of the segments that were reported in a stretch of time."""
        return sum(made.chunks for made in self.made.values() if began <= made.durable + made.late_ms < ended)

    def between(self, kind: str, began: int, ended: int) -> list[int]:
        """Lateness of what became durable in a stretch of time."""
        return [made.late_ms for made in self.made.values() if made.kind == kind and began <= made.durable < ended]

    def steady_s(self, kind: str, since: int, until: int) -> float | None:
        """Seconds from a time until all that became durable from then on was made in time; None if it never was."""
        late = [made.durable for made in self.made.values() if made.kind == kind and made.durable >= since and made.late_ms > ALLOWANCE_MS]
        at = max(late, default=since)
        return (at - since) / 1_000 if until - at >= STEADY_S * 1_000 else None

    def backlog_s(self, since: int) -> float:
        """Seconds from a time until all that was durable before was made."""
        return max((made.durable + made.late_ms - since) / 1_000 for made in self.made.values() if made.durable < since)

    def waited(self, began: int, ended: int) -> Counter[str]:
        """Slices of each class that waited for capacity, at the most at once."""
        most: Counter[str] = Counter()
        for at, waiting in self.queued:
            if began <= at < ended:
                most |= waiting
        return most

    def wanted(self, began: int, ended: int) -> str:
        """Packagers wanted at the most, and the price of capacity."""
        words = [scaling for at, scaling in self.scaling if began <= at < ended]
        return f"{max(word.wanted for word in words)}, price up to {max(word.price for word in words):.1f}" if words else "no change"


def calibrate(broker: LocalBroker, folder: Path, channels: Mapping[str, str]) -> float:
    """Cores that packagers, together, take to make half of all channels as they come."""
    with whole_line(broker, folder, packagers=PACKAGERS, **settings(channels)) as line:
        watch = Watch(line)
        idle = cores_over(watch, IDLE_S)
        with audience(line, channels):
            line.play(*channels, idle=Level.PARTS)
            line.goes_on(*channels, segments=1)
            watch.over("settles", SETTLE_S)
            load = cores_over(watch, LOAD_S)
    print(f"{len(channels)} channels take {load:.3f} cores of {PACKAGERS} packagers, which take {idle:.3f} for nothing", flush=True)
    return idle + (load - idle) / 2


def cores_over(watch: Watch, seconds: float) -> float:
    """Cores that all packagers use, while time passes."""
    used, at = used_s(watch.line), time.monotonic()
    watch.over("calibrates", seconds)
    return (used_s(watch.line) - used) / (time.monotonic() - at)


def settings(channels: Mapping[str, str]) -> dict[str, Any]:
    """Of both lines."""
    return {
        "KAFKA__MEDIA_PARTITION_COUNT": len(channels), "GRANULARITY__COPIES_MAX": 1, "GRANULARITY__LEVEL": "parts",
        "MEDIA__CHUNKS_PER_PART": CHUNKS_PER_PART,
    }  # fmt: skip


def now() -> UnixMs:
    """Time of the broker, which runs on this machine."""
    return UnixMs(time.time_ns() // 1_000_000)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--channels", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--cores", type=float, default=0.0, help="of each packager; 0: calibrated")
    arguments = parser.parse_args()
    channels = names(arguments.channels)
    with tempfile.TemporaryDirectory() as folder, LocalBroker(Path(folder) / "kafka", prepare(CACHE)) as broker:
        first, second = Path(folder) / "calibrate", Path(folder) / "overload"
        first.mkdir()
        second.mkdir()
        cores = arguments.cores or calibrate(broker, first, channels) / PACKAGERS
        limited = settings(channels) | {"PACKAGER__CORES": round(cores, 4)}
        with whole_line(broker, second, packagers=PACKAGERS, revives=True, **limited) as line:
            measure(line, channels, arguments.seconds, cores)


def measure(line: Line, channels: Mapping[str, str], seconds: float, cores: float) -> None:
    """The three stretches, and the table."""
    quarter = list(channels)[: max(3, len(channels) // 4)]
    others = [channel for channel in channels if channel not in quarter]
    watch = Watch(line)
    with audience(line, channels):
        with throttled(partial(limits, line, cores)):
            line.play(*quarter, idle=Level.PARTS)
            line.goes_on(*quarter, segments=1)
            watch.over("before", BASE_S)
            began = now()
            more = line.play(*others, idle=Level.PARTS)
            watch.over("overload", seconds)
            ended = now()
            line.run.supervisor.stop([more.name])
            watch.over("after", RECOVERY_S)
            done = now()
        line.end()  # with what they want again, so that it can be counted what is lost
    tell(line, channels, (began, ended, done), watch, cores)


def tell(line: Line, channels: Mapping[str, str], at: tuple[int, int, int], watch: Watch, cores: float) -> None:
    """Prints the table."""
    told, (began, ended, done) = Told(line, channels), at
    print(f"{len(channels)} channels, {PACKAGERS} packagers of {cores:.3f} cores")
    print(f"{'viewers':<8} {'stretch':<9} {'segments':>8} {'p50 s':>8} {'p99 s':>8} {'waiting':>8}")
    stretches = (("before", 0, began), ("overload", began, ended), ("after", ended, done))
    for kind, viewers in CLASSES.items():
        for what, start, end in stretches:
            found = told.between(kind, start, end)
            ranks = quantiles(found)
            p50, p99 = ("-" if (rank := ranks[name]) is None else f"{rank / 1_000:.1f}" for name in ("p50", "p99"))
            print(f"{viewers:<8} {what:<9} {len(found):>8} {p50:>8} {p99:>8} {told.waited(start, end)[kind]:>8}")
    tally = line.tally
    lost = [one for one in tally.lost() if one not in tally.published]
    given = sum(made.chunks for made in told.made.values() if began <= made.durable < ended)
    print(f"load in the overload: {given / max(1, told.made_chunks(began, ended)):.1f} x what was made in it")
    print(f"chunks in {tally.chunks}, segments made {len(tally.published)}, lost {len(lost)}, other bytes {len(tally.conflicts)}, ", end="")
    print(f"rejects {tally.rejects}, failures {dict(told.failures.most_common(5)) or 0}, lives that died {dict(told.deaths) or 0}")
    print(f"later than the hold back of plain players, so a gap to them, though made: {told.voids['late']}; other voids: ", end="")
    print({why: count for why, count in told.voids.items() if why != "late"} or 0)
    print(f"packagers wanted: before {told.wanted(0, began)}; overload {told.wanted(began, ended)}; after {told.wanted(ended, done)}")
    for kind, viewers in CLASSES.items():
        took = told.steady_s(kind, ended, done)
        print(f"{viewers:>3} viewers: {'not in time again' if took is None else f'in time again {took:.1f} s after the load fell'}")
    caught_up_s, lifted_s = told.backlog_s(ended), (done - ended) / 1_000
    print(f"all that had waited was made {caught_up_s:.0f} s after the load fell (limits were lifted after {lifted_s:.0f} s)")
    for role, seen in watch.rss_mb.items():
        print(f"memory of {role}, MB: " + ", ".join(f"{stretch} {mb:.0f}" for stretch, mb in seen.items()))


if __name__ == "__main__":
    main()

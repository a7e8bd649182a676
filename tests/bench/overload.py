"""
Twice the load that a pool can carry: who is late, by how much, what is lost, what memory it takes, and how long it takes to recover.

    python -m tests.bench.overload [--channels 8] [--seconds 60] [--cores 0.05]

A whole line on a real Kafka, whose packagers may use only so much by their settings: the pool is what is short, not the machine. A
recording is played into half of the channels, each with viewers who ask again and again; then into all of them; then half of them end.
Late is a segment as long as its report is appended after its last chunk was (both times are the broker's).
"""

import argparse
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from infra.kafka import LocalBroker, prepare
from infra.processes import Usage
from infra.summary import quantiles
from schemas.records import Level, Outcome, Reports, Void
from schemas.topics import REPORTS
from schemas.units import UnixMs
from streams.core.standing import NOBODY
from tests.line import CACHE, Line, fetch, whole_line

PACKAGERS = 2
VIEWERS_MAX = 12
# Sessions end 10 s after their last request.
ASK_S = 3.0
ASKING_MAX = 16
BASE_S = 15.0
RECOVERY_S = 60.0
ROLES = ("packager", "origin", "encode", "control")


def names(count: int) -> tuple[str, ...]:
    """
    Channels in the order of their viewers, most first.

    >>> names(2)
    ('c00', 'c01')
    """
    return tuple(f"c{number:02}" for number in range(count))


def viewers(place: int, count: int) -> int:
    """
    Viewers of the channel at a place in that order: the second half has a sixth of the first.

    >>> [viewers(place, 4) for place in range(4)]
    [12, 12, 2, 2]
    """
    return VIEWERS_MAX if place < count // 2 else VIEWERS_MAX // 6


@contextmanager
def audience(line: Line, channels: Sequence[str]) -> Iterator[None]:
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
                for place, channel in enumerate(channels):
                    for number in range(viewers(place, len(channels))):
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


class Lateness:
    """How late every segment was, from the reports."""

    def __init__(self, line: Line) -> None:
        self.of: dict[tuple[str, int, str], tuple[UnixMs, int]] = {}
        self.voids: dict[str, int] = defaultdict(int)
        for entry in line.entries(REPORTS):
            if isinstance(entry.record, Reports):
                for made in entry.record.segments:
                    if made.outcome is Outcome.PUBLISHED:
                        late_ms = entry.at_unix_ms - made.durable_unix_ms
                        self.of.setdefault((made.channel, made.msn, made.track), (made.durable_unix_ms, late_ms))
            elif isinstance(entry.record, Void):
                self.voids[f"{entry.record.reason}"] += 1

    def between(self, channels: Sequence[str], began: int, ended: int) -> list[int]:
        """Of some channels, what became durable in a stretch of time."""
        return [late for (channel, _, _), (durable, late) in self.of.items() if channel in channels and began <= durable < ended]

    def recovered(self, channels: Sequence[str], since: int, allowed_ms: int) -> float | None:
        """Seconds from a time until everything that was late then was made; None if nothing was late."""
        made = [durable + late for (channel, _, _), (durable, late) in self.of.items() if channel in channels and late > allowed_ms]
        return max(0.0, (max(made) - since) / 1_000) if made else None


def waiting(line: Line) -> tuple[int, int]:
    """Slices that a packager holds, and those that wait for one."""
    held = [a.packager_id != NOBODY for a in line.tally.holders.values()]
    return sum(held), len(held) - sum(held)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--channels", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--cores", type=float, default=0.05, help="what each of two packagers may use")
    arguments = parser.parse_args()
    channels = names(arguments.channels)
    with tempfile.TemporaryDirectory() as folder, LocalBroker(Path(folder) / "kafka", prepare(CACHE)) as broker:
        place = Path(folder) / "line"
        place.mkdir()
        settings = {
            "PACKAGER__CORES": arguments.cores,
            "KAFKA__MEDIA_PARTITION_COUNT": len(channels),
            "GRANULARITY__LEVEL": "segments",
            "GRANULARITY__COPIES_MAX": 1,
        }
        with whole_line(broker, place, packagers=PACKAGERS, revives=True, **settings) as line:
            measure(line, channels, arguments.seconds)


def measure(line: Line, channels: Sequence[str], seconds: float) -> None:
    """The three stretches, and the table."""
    half = len(channels) // 2
    # Half of the most watched and half of the least: what ends later are others of both kinds.
    first, second = channels[::2], channels[1::2]
    with audience(line, channels):
        line.play(*first, idle=Level.SEGMENTS)
        line.goes_on(*first[: len(first) // 2], segments=1)
        stretch(line, BASE_S)
        began = now()
        more = line.play(*second, idle=Level.SEGMENTS)
        most = stretch(line, seconds)
        usage = line.run.usage()
        ended = now()
        line.run.supervisor.stop([more.name])
        stretch(line, RECOVERY_S, until_nobody_waits=True)
        done = now()
        line.end()
        usage = {name: max(used, usage.get(name, used), key=lambda use: use.rss_mb) for name, used in line.run.usage().items()}
    tell(line, channels, (began, ended, done), most, usage, half)


def now() -> UnixMs:
    """Time of the broker, which runs on this machine."""
    return UnixMs(time.time_ns() // 1_000_000)


def stretch(line: Line, seconds: float, *, until_nobody_waits: bool = False) -> tuple[int, int]:
    """Lets time pass, or less if that is all that is waited for; the slices held and waiting when most waited."""
    deadline = time.monotonic() + seconds
    most = (0, 0)
    while time.monotonic() < deadline:
        line.hear()
        seen = waiting(line)
        most = max(most, seen, key=lambda pair: pair[1])
        if until_nobody_waits and not seen[1]:
            break
    return most


def tell(
    line: Line, channels: Sequence[str], at: tuple[int, int, int], most: tuple[int, int], usage: Mapping[str, Usage], half: int
) -> None:
    """Prints the table."""
    late, (began, ended, done) = Lateness(line), at
    target_ms = line.run.settings.media.target_duration_ms
    cores = line.run.settings.packager.cores
    print(f"{len(channels)} channels of {viewers(0, 2)} or {viewers(1, 2)} viewers, {PACKAGERS} packagers of {cores} cores")
    print(f"{'viewers':<9} {'stretch':<10} {'segments':>8} {'p50 s':>8} {'p99 s':>8}")
    for kind, of in (("many", channels[:half]), ("few", channels[half:])):
        for what, start, end in (("before", 0, began), ("overload", began, ended), ("after", ended, sys.maxsize)):
            found = late.between(of, start, end)
            ranks = quantiles(found)
            told = ["       -" if (rank := ranks[name]) is None else f"{rank / 1_000:8.1f}" for name in ("p50", "p99")]
            print(f"{kind:<9} {what:<10} {len(found):>8} {' '.join(told)}")
    lost = [one for one in line.tally.lost() if one not in line.tally.voids]
    print(f"slices held and waiting at the worst: {most[0]} and {most[1]}")
    print(f"lost: {len(lost)}; void: {dict(late.voids) or 0}; other bytes: {len(line.tally.conflicts)}; rejects: {line.tally.rejects}")
    took = late.recovered(channels, ended, target_ms)
    print(f"recovered {took if took is None else round(took, 1)} s after the overload; nobody waited {(done - ended) / 1e3:.1f} s after it")
    for role in ROLES:
        print(f"most memory of one {role}: {max((use.rss_mb for name, use in usage.items() if role in name), default=0):.0f} MB")


if __name__ == "__main__":
    main()

"""
Takeover between the two encoders of a pair: how long the log is silent, and how much media is missing.

    python -m tests.bench.pair [--kills 8]

Two processes write one channel in real time as `finecut encode --standby` does, with frames that are made up, so that the takeover is
measured and not the encoder. The leading one is killed (SIGKILL) between two GOPs and within one, in turn, and started again. Silence lies
between the broker times of its last chunk and of the other's first, missing media between the end of one and the start of the other.
"""

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import count
from pathlib import Path

from confluent_kafka import TopicPartition

from infra.kafka import LocalBroker, prepare
from infra.process import spawn
from infra.topics import ensure, reach, wanted_topics
from schemas.codec import Codec
from schemas.records import Chunk, Level, MediaMark
from schemas.settings import KafkaSettings, Settings, load
from schemas.topics import MEDIA
from schemas.units import Ticks
from streams.ingest.reading import make_consumer, read_to_end
from streams.ingest.samples import Sample
from streams.ingest.standby import Standby
from tests.line import CACHE
from tests.unit.ingest.fakes import IDR, OTHER, RATE, make_tracks

ROOT = Path(__file__).parents[2]
GOP = 25
SOUND_S = Fraction(1_024, 48_000)
# A takeover is looked at once both have been well for this long.
SETTLED_S = 4.0
# After the third of four chunks of a GOP: the fourth is 0.28 s later, the next GOP's first 0.24 s after that.
BETWEEN_S, WITHIN_S = 0.38, 0.1
WAIT_S = 60.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Takeover:
    """What one kill did."""

    is_between: bool
    same_period: bool
    silence_ms: int
    missing_ms: int


def feed(settings: Settings) -> None:
    """One encoder: frames of grey on the UTC grid, in real time, until it is killed."""
    with Standby(settings, channel="news", tracks=make_tracks(), frame_rate=RATE, gop_frames=GOP, idle_level=Level.PARTS) as writer:
        start = int(time.time()) + 1
        heard = -(-start * 48_000 // 1_024)
        for number in count(start * 25):
            while time.time() < number / 25:
                writer.poll(0.005)
            while heard * SOUND_S <= number / RATE:
                writer.write("a0", Sample(Ticks(heard * 1_024), b"sound", sync=True))
                heard += 1
            is_key = number % GOP == 0
            writer.write("v0", Sample(Ticks(number * 1_000), IDR if is_key else OTHER, is_key))


def follow(kafka: KafkaSettings) -> Iterator[tuple[int, Chunk] | None]:
    """Broker time and chunk, as they come; None when nothing came for a moment."""
    consumer, codec = make_consumer(kafka), Codec()
    consumer.assign([TopicPartition(MEDIA.name(kafka), 0, 0)])
    while True:
        message = consumer.poll(0.02)
        if message is None:
            yield None
        elif message.error() is None and isinstance(record := codec.decode_chunk_header(message.value() or b""), Chunk):
            yield message.timestamp()[1], record


def kill(log: Iterator[tuple[int, Chunk] | None], leader: subprocess.Popen[bytes], *, is_between: bool) -> None:
    """Kill the leading encoder at such a place of a GOP, as well as can be aimed."""
    settled = time.monotonic() + SETTLED_S
    at = 0
    for item in log:
        if item is None:
            continue
        at, chunk = item
        if time.monotonic() > settled and chunk.track == "v0" and chunk.index % 4 == (2 if is_between else 0):
            break
    time.sleep(max(0.0, at / 1_000 + (BETWEEN_S if is_between else WITHIN_S) - time.time()))
    leader.send_signal(signal.SIGKILL)
    leader.wait()


def takeover(kafka: KafkaSettings, log: Iterator[tuple[int, Chunk] | None], life: str) -> tuple[Takeover, str]:
    """What came of a kill, once another life writes, and that life."""
    deadline = time.monotonic() + WAIT_S
    for item in log:
        assert time.monotonic() < deadline, "nobody went on"
        if item and item[1].life != life:
            break
    records = [(read.at_unix_ms, Codec().decode_chunk_header(read.value)) for read in read_to_end(kafka, MEDIA, {0: 0})]
    chunks = [(at, chunk) for at, chunk in records if not isinstance(chunk, MediaMark)]
    old = [(at, chunk) for at, chunk in chunks if chunk.life == life]
    last = {chunk.track: chunk for _, chunk in old}
    after = max(at for at, _ in old)
    at, first = next((at, chunk) for at, chunk in chunks if chunk.life != life and at >= after and chunk.track == "v0")
    done = Takeover(
        is_between=len({chunk.gop for chunk in last.values()}) == 1 and all(chunk.ends_gop for chunk in last.values()),
        same_period=first.period == last["v0"].period,
        silence_ms=at - after,
        missing_ms=round((first.start_ticks - last["v0"].start_ticks - last["v0"].duration_ticks) / 25),
    )
    return done, first.life


def measure(broker: LocalBroker, folder: Path, kills: int) -> list[Takeover]:
    """The takeovers after so many kills."""
    kafka = KafkaSettings(bootstrap_servers=broker.bootstrap, topic_prefix="pair.", pool_count=1, media_partition_count=1)
    ensure(reach(kafka), wanted_topics(Settings(kafka=kafka)), replication_factor=1)
    environment = os.environ | {
        "FINECUT_KAFKA__BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
        "FINECUT_KAFKA__TOPIC_PREFIX": kafka.topic_prefix,
        "FINECUT_KAFKA__POOL_COUNT": "1",
        "FINECUT_KAFKA__MEDIA_PARTITION_COUNT": "1",
    }
    logs = count()

    def start() -> tuple[subprocess.Popen[bytes], Path]:
        path = folder / f"{next(logs)}.log"
        with path.open("wb") as out:
            return spawn([sys.executable, "-m", "tests.bench.pair", "--feed"], cwd=ROOT, env=environment, stdout=out, stderr=out), path

    log, done = follow(kafka), []
    leader, _ = start()
    for item in log:
        assert leader.poll() is None, (folder / "0.log").read_text()
        if item:
            life = item[1].life
            break
    for number in range(kills):
        other, path = start()
        for _ in log:
            if "encoder_follows" in path.read_text():
                break
        kill(log, leader, is_between=number % 2 == 0)
        made, life = takeover(kafka, log, life)
        done.append(made)
        leader = other
    leader.kill()
    leader.wait()
    return done


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=8)
    parser.add_argument("--feed", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.feed:
        feed(load())
        return
    with tempfile.TemporaryDirectory() as folder, LocalBroker(Path(folder) / "kafka", prepare(CACHE)) as broker:
        done = measure(broker, Path(folder), arguments.kills)
    sys.stdout.write(
        f"{'killed':<16}{'kills':>6}{'same period':>13}{'silence ms: median':>20}{'max':>7}{'missing media ms: median':>26}{'max':>7}\n"
    )
    for is_between, name in ((True, "between GOPs"), (False, "within a GOP")):
        mine = [made for made in done if made.is_between is is_between]
        if mine:
            silence, missing = sorted(made.silence_ms for made in mine), sorted(made.missing_ms for made in mine)
            same = sum(made.same_period for made in mine)
            sys.stdout.write(f"{name:<16}{len(mine):>6}{same:>13}{statistics.median(silence):>20.0f}{silence[-1]:>7}"
                             f"{statistics.median(missing):>26.0f}{missing[-1]:>7}\n")  # fmt: skip


if __name__ == "__main__":
    main()

"""
What a backlog does to the live edge of its packager, on a real Kafka: `python -m tests.bench.catchup [SECONDS]`.

One packager follows a channel that is sent in real time. Alone; while it catches up with a long log of another channel at the share of
its time that is the default; and without that bound. Told are the times from a part's last chunk being durable to its announcement
being durable (broker time), and how fast the past was made.
"""

import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, TopicPartition

from infra.kafka import LocalBroker, prepare
from infra.summary import quantiles
from schemas import topics
from schemas.records import Chunk, MediaMark, Period
from schemas.topics import Topic
from schemas.units import Msn
from tests.broker.packaging import WAIT_S, Hall, until
from tests.builders import make_chunks, make_period, make_start

ROOT = Path(__file__).parents[2]
TRACKS = ("v0", "v1", "v2", "a0")
FRAME_BYTES = 4_000
SEGMENT_GOPS = 4
PAST_S = 600
INSTANT_S = 0.24  # a chunk of 6 frames at 25 fps
SHARES = {"alone": 0.0, "catching up, half of its time": 0.5, "catching up, all of its time": 1.0}


def main(seconds: int) -> None:
    """Prints one line per case."""
    with tempfile.TemporaryDirectory() as folder, LocalBroker(Path(folder) / "kafka", prepare(ROOT / ".cache")) as kafka:
        for number, (what, share) in enumerate(SHARES.items()):
            place = Path(folder) / str(number)
            place.mkdir()
            _case(kafka, place, what, seconds, share)


def _case(kafka: LocalBroker, folder: Path, what: str, seconds: int, share: float) -> None:
    hall = Hall(kafka, folder, catch_up_share=share or 1.0)
    try:
        _measure(hall, what, seconds, has_past=share > 0)
    finally:
        hall.close()


def _measure(hall: Hall, what: str, seconds: int, *, has_past: bool) -> None:
    live, past = make_period("live", tracks=TRACKS), replace(make_period("past", tracks=TRACKS), media_partition=1)
    chunks = make_chunks(live, (SEGMENT_GOPS,) * (seconds // SEGMENT_GOPS), frame_bytes=FRAME_BYTES)
    for period in (live, past):
        hall.configure(period)
    if has_past:
        hall.fill(past, [make_start(past), *make_chunks(past, (SEGMENT_GOPS,) * (PAST_S // SEGMENT_GOPS), frame_bytes=FRAME_BYTES)])
    hall.start("p1")
    holder = hall.registered("p1")
    hall.encode(live, [make_start(live)])
    hall.assign(live, holder)
    until(lambda: hall.beats("p1")[-1].slices, what="slice in hand")
    if has_past:
        hall.assign(past, holder)
    _send_in_time(hall, live, chunks)
    told = [(at, [r.msn for r in record.segments if r.channel == "past"]) for at, record in _stamped(hall, topics.REPORTS)]
    times = [at for at, made in told if made]
    first, last = min(times, default=0), max(times, default=sys.maxsize)
    late_ms = [
        at - part.durable_unix_ms
        for at, record in _stamped(hall, topics.PARTS)
        for part in record.parts
        if part.channel == "live" and first <= part.durable_unix_ms <= last
    ]
    ranks = quantiles(late_ms)
    speed = f"; {PAST_S} s of the past at {PAST_S * 1e3 / (last - first):.0f} times their length" if times else ""
    print(
        f"{what:<30}{len(late_ms):5d} live parts: p50 {ranks['p50']} ms, p99 {ranks['p99']} ms, most {max(late_ms)} ms{speed}", flush=True
    )


def _send_in_time(hall: Hall, period: Period, chunks: list[Chunk]) -> None:
    """As an encoder does: the chunks of one instant together."""
    began, instants = time.monotonic(), len(chunks) // len(TRACKS)
    for number in range(instants):
        records: list[Chunk | MediaMark] = [*chunks[number * len(TRACKS) : (number + 1) * len(TRACKS)]]
        time.sleep(max(0.0, began + number * INSTANT_S - time.monotonic()))
        hall.fill(period, records)
    until(lambda: max((r.msn for r in hall.reports() if r.channel == period.channel), default=Msn(-1)) == chunks[-1].msn, what="the end")


def _stamped(hall: Hall, topic: Topic) -> list[tuple[int, Any]]:
    """Records of a control topic with their broker time."""
    name = topic.name(hall.settings.kafka)
    consumer = Consumer(hall.settings.kafka.client() | {"group.id": "stamped", "enable.auto.commit": False})
    try:
        end = consumer.get_watermark_offsets(TopicPartition(name, 0), timeout=WAIT_S)
        assert end
        consumer.assign([TopicPartition(name, 0, 0)])
        found: list[tuple[int, Any]] = []
        while len(found) < end[1]:
            message = consumer.poll(WAIT_S)
            assert message is not None
            found.append((message.timestamp()[1], hall.codec.decode(message.value() or b"")))
        return found
    finally:
        consumer.close()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 24)

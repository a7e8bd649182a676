"""One channel dealt in groups, turns, copies and ranges to two packagers on a real Kafka: together they publish what the log says."""

from collections import Counter
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any, cast

import av
import pytest
from av.container.input import InputContainer
from confluent_kafka import Consumer, TopicPartition

from infra.kafka import LocalBroker
from schemas import topics
from schemas.records import Fault, Heartbeat, Level, Outcome, Period, Plan, SegmentReport, Thumbnails
from schemas.settings import MediaSettings
from schemas.timeline import PART_SUFFIX, THUMBNAIL_SUFFIX
from schemas.units import Msn
from streams.ingest.encode import run
from tests.broker.packaging import WAIT_S, Hall, until
from tests.builders import make_chunks, make_period, make_start
from tests.unit.ingest.fakes import make_clip
from tests.validator.recut import Recut, recut

pytestmark = pytest.mark.timeout(60)
SCHEMAS = Path(__file__).parents[2] / "schemas" / "avro"
CHANNEL = "news"
SEGMENTS = 6
PACKAGERS = ("p1", "p2")
Tracks = tuple[str, ...]


@pytest.fixture
def hall(kafka: LocalBroker, tmp_path: Path) -> Iterator[Hall]:
    """A channel of some real segments that ended, in the log alone, and two packagers without work."""
    made = Hall(kafka, tmp_path, media=MediaSettings(thumbnails=True, thumbnail_height=48))
    made.send(topics.PLANS, CHANNEL, Plan(channel=CHANNEL, level=Level.PARTS, gops_per_segment=1))
    assert run(made.settings, str(make_clip(tmp_path / "clip.mp4", seconds=SEGMENTS)), [CHANNEL], preset="ultrafast") == 0
    for name in PACKAGERS:
        made.start(name)
    yield made
    made.close()


def period_of(hall: Hall) -> Period:
    (period,) = [record for record in hall.read(topics.CHANNELS) if isinstance(record, Period)]
    return period


def expected(hall: Hall, period: Period) -> Recut:
    """What an independent reader makes of the log."""
    name = topics.MEDIA.name(hall.settings.kafka)
    consumer = Consumer(hall.settings.kafka.client() | {"group.id": "recut", "enable.auto.commit": False})
    try:
        end = consumer.get_watermark_offsets(TopicPartition(name, period.media_partition), timeout=WAIT_S)
        assert end
        consumer.assign([TopicPartition(name, period.media_partition, 0)])
        media: list[tuple[int, bytes]] = []
        while len(media) < end[1]:
            message = consumer.poll(WAIT_S)
            assert message is not None
            assert message.error() is None
            media.append((message.offset() or 0, message.value() or b""))
    finally:
        consumer.close()
    return recut(media, [hall.codec.encode(record) for record in hall.read(topics.CHANNELS)], SCHEMAS)


def give(
    hall: Hall, period: Period, holder: Heartbeat, group: str, tracks: Tracks, *, turn: int = 0, turns: int = 1, **fields: Any
) -> None:
    name = f"{CHANNEL}/{group}/{turn}of{turns}" if turns > 1 else f"{CHANNEL}/{group}/0"
    hall.assign(period, holder, slice_id=name, tracks=tracks, turn=turn, turns=turns, **fields)


def published(hall: Hall, count: int) -> list[SegmentReport]:
    reports = hall.wait_for_reports(count)
    assert {report.outcome for report in reports} == {Outcome.PUBLISHED}
    return reports


def media(hall: Hall) -> dict[str, bytes]:
    return {name: data for name, data in hall.objects().items() if not name.endswith(THUMBNAIL_SUFFIX)}


def is_done(hall: Hall, slices: int) -> Callable[[], bool]:
    """Whether the heartbeats say of so many slices that they are at the end."""

    def look() -> bool:
        told = [now.next_msn for name in PACKAGERS for now in hall.beats(name)[-1].slices]
        return len(told) == slices and min(told) >= SEGMENTS

    return look


def test_groups_turns_and_copies_publish_what_the_log_says_and_a_picture_of_each_segment(hall: Hall) -> None:
    period = period_of(hall)
    assert period.thumbnails is not None
    first, second = (hall.registered(name) for name in PACKAGERS)
    pairs = (first, second), (second, first)
    for group, (tracks, holders) in enumerate(zip((("v0",), ("a0",)), pairs, strict=True)):
        for turn in range(2):
            for copy, holder in enumerate(holders):
                give(hall, period, holder, f"{group}of2", tracks, turn=turn, turns=2, copy=copy)
    give(hall, period, second, "thumbs", (period.thumbnails.track,), after=f"{CHANNEL}/0of2/0of2")
    reports = published(hall, 5 * SEGMENTS)
    until(is_done(hall, 9), what="heartbeats that say all is done")
    assert media(hall) == expected(hall, period).objects
    assert Counter((r.track, r.msn) for r in reports) == {
        (track, msn): copies for track, copies in (("v0", 2), ("a0", 2), ("thumb0", 1)) for msn in range(SEGMENTS)
    }
    assert all(r.msn % 2 == int(r.slice_id[-4]) for r in reports if r.track != "thumb0")
    pictures = [hall.store.get(f"{CHANNEL}/0/thumb0/{r.start_ticks}{THUMBNAIL_SUFFIX}") for r in reports if r.track == "thumb0"]
    for picture in pictures:
        with cast(InputContainer, av.open(BytesIO(picture), format="jpeg_pipe")) as image:
            frame = next(image.decode(video=0))
        assert (frame.width, frame.height) == (period.thumbnails.width, period.thumbnails.height)
    assert len(set(pictures)) == SEGMENTS, "the clip moves"
    assert hall.rejects() == []


def test_ranges_of_a_backlog_are_made_beside_each_other_and_without_parts_where_none_are_wanted(hall: Hall) -> None:
    period, border = period_of(hall), Msn(3)
    tracks = tuple(track.track for track in period.tracks)
    first, second = (hall.registered(name) for name in PACKAGERS)
    give(hall, period, first, "back0-all", tracks, until_msn=border, level=Level.SEGMENTS)
    give(hall, period, second, "all", tracks, from_msn=border)
    reports = published(hall, len(tracks) * SEGMENTS)
    assert {(r.slice_id, r.msn < border) for r in reports} == {(f"{CHANNEL}/back0-all/0", True), (f"{CHANNEL}/all/0", False)}
    parts = {(part.track, part.msn) for part in hall.parts()}
    assert parts == {(track, msn) for track in tracks for msn in range(border, SEGMENTS)}
    whole = expected(hall, period)
    starts = {(r.track, r.start_ticks + r.duration_ticks) for r in reports if r.msn == border - 1}
    early = {name for name in whole.objects if any(_is_before(name, track, end) for track, end in starts)}
    assert media(hall) == {name: data for name, data in whole.objects.items() if name not in early or not name.endswith(PART_SUFFIX)}


def test_pictures_that_cannot_be_made_are_told_and_cost_no_media(kafka: LocalBroker, tmp_path: Path) -> None:
    hall, wanted = Hall(kafka, tmp_path), Thumbnails(track="thumb0", source="v0", width=160, height=90)
    period = make_period(CHANNEL, thumbnails=wanted)
    try:
        hall.configure(period)
        hall.encode(period, [make_start(period), *make_chunks(period, (1, 1))])
        hall.start("p1")
        holder = hall.registered("p1")
        give(hall, period, holder, "all", ("v0", "a0"))
        give(hall, period, holder, "thumbs", (wanted.track,), after=f"{CHANNEL}/all/0")
        told = {(r.track, r.msn): (r.outcome, r.fault) for r in hall.wait_for_reports(6)}
        until(lambda: [now.next_msn for now in hall.beats("p1")[-1].slices] == [2, 2], what="progress of both")
        assert told == {
            **{(track, msn): (Outcome.PUBLISHED, None) for track in ("v0", "a0") for msn in (0, 1)},
            **{("thumb0", msn): (Outcome.FAILED, Fault.INPUT) for msn in (0, 1)},
        }
    finally:
        hall.close()


def _is_before(name: str, track: str, ticks: int) -> bool:
    _, _, of, file = name.split("/")
    return of == track and int(file.partition(".")[0]) < ticks

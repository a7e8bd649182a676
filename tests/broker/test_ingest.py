"""Writers on a real Kafka: killed, cut off from it, overtaken; nothing is lost, no number is used twice."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from confluent_kafka import OFFSET_END, TopicPartition
from confluent_kafka.admin import AdminClient
from structlog.testing import capture_logs

from infra.kafka import LocalBroker
from infra.process import spawn
from infra.topics import ensure, reach, wanted_topics
from schemas.codec import Codec
from schemas.errors import RetryableError, SupersededError, UserError
from schemas.records import Chunk, Gop, Level, MarkKind, MediaMark, Period, PeriodEnd, Plan, Track
from schemas.settings import IngestSettings, KafkaSettings, Settings
from schemas.topics import CHANNELS, GOPS, MEDIA, PLANS, REJECTS, Topic
from schemas.units import UnixMs
from streams.ingest import end, metrics, registry
from streams.ingest.bridge import Bridge
from streams.ingest.encode import run
from streams.ingest.history import Past
from streams.ingest.link import Acked, Link
from streams.ingest.periods import PeriodLog
from streams.ingest.producer import ChannelWriter
from streams.ingest.reading import read_to_end
from streams.ingest.recording import make_recording
from tests.unit.ingest.fakes import RATE, feed, make_clip, make_tracks, pictures, sound
from tests.unit.ingest.test_encoder import SMALL

ROOT = Path(__file__).parents[2]
# More seconds of pictures than a writer needs to be told that another took over.
TOLD_WITHIN_S = 30
PLAYER = """
import sys
from schemas.settings import load
from streams.ingest.encode import run
from streams.ingest.history import Past
sys.exit(run(load(), sys.argv[1], sys.argv[2:]))
"""


class Log:
    """The topics of one test, and what stands in them."""

    def __init__(self, kafka: LocalBroker, **ingest: Any) -> None:
        self.settings = Settings(
            kafka=KafkaSettings(
                bootstrap_servers=kafka.bootstrap, topic_prefix=f"t{uuid4().hex[:8]}.", pool_count=2, media_partition_count=4
            ),
            ingest=IngestSettings(**ingest),
        )
        ensure(reach(self.settings.kafka), wanted_topics(self.settings), replication_factor=1)

    def read(self, topic: Topic) -> list[tuple[int, int, Any]]:
        """Partition order, offset and record of everything in a topic."""
        kafka, codec = self.settings.kafka, Codec()
        found = []
        for partition in range(topic.partition_count(kafka)):
            found += [(partition, read.offset, codec.decode(read.value)) for read in read_to_end(kafka, topic, {partition: 0})]
        return found

    def all(self, topic: Topic, kind: type[Any], channel: str = "news") -> list[Any]:
        return [record for _, _, record in self.read(topic) if isinstance(record, kind) and record.channel == channel]

    def writer(self, channel: str = "news", link: Link | None = None, *, is_paired: bool = False) -> ChannelWriter:
        return ChannelWriter(
            self.settings, channel=channel, tracks=TRACKS, frame_rate=RATE, gop_frames=25, idle_level=Level.PARTS, link=link,
            is_paired=is_paired,
        )  # fmt: skip


TRACKS: tuple[Track, ...] = make_tracks()


@pytest.fixture
def log(kafka: LocalBroker) -> Log:
    return Log(kafka)


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("media")
    make_recording(str(make_clip(folder / "clip.mp4", seconds=1.3)), folder / "kept", 8, ladder=SMALL, preset="ultrafast")
    return folder / "kept"


def environment_of(log: Log, **ingest: int) -> dict[str, str]:
    """Of a process that writes to these topics."""
    kafka = log.settings.kafka
    return {
        **os.environ,
        "FINECUT_KAFKA__BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
        "FINECUT_KAFKA__TOPIC_PREFIX": kafka.topic_prefix,
        "FINECUT_KAFKA__POOL_COUNT": "2",
        "FINECUT_KAFKA__MEDIA_PARTITION_COUNT": "4",
        **{f"FINECUT_INGEST__{name}": str(value) for name, value in ingest.items()},
    }


def play(log: Log, recording: Path, *channels: str) -> subprocess.Popen[bytes]:
    return spawn([sys.executable, "-c", PLAYER, str(recording), *channels], cwd=ROOT, env=environment_of(log))


def until(holds: Callable[[], bool], *, timeout_s: float = 30) -> None:
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def check_unbroken(log: Log, channel: str = "news") -> None:
    """Every promise that readers of a channel rely on."""
    periods: dict[int, Period] = {p.period: p for p in log.all(CHANNELS, Period, channel)}
    ends: dict[int, PeriodEnd] = {e.period: e for e in log.all(CHANNELS, PeriodEnd, channel)}
    media = [(offset, r) for _, offset, r in log.read(MEDIA) if r.channel == channel]
    assert sorted(periods) == sorted(ends) == list(range(len(periods)))
    for number, period in periods.items():
        marks = [(offset, r) for offset, r in media if isinstance(r, MediaMark) and r.kind is MarkKind.PERIOD_START and r.period == number]
        assert [offset for offset, _ in marks] == [period.first_offset]
        following = next((p.first_offset for n, p in periods.items() if n == number + 1), 2**63)
        every = [(offset, r) for offset, r in media if isinstance(r, Chunk) and r.period == number and offset < following]
        assert all(offset > period.first_offset for offset, _ in every)
        # A GOP belongs to the writer of its first chunk by offset (media rule 9).
        owners: dict[int, str] = {}
        for _, chunk in every:
            owners.setdefault(chunk.gop, chunk.life)
        chunks = [(offset, chunk) for offset, chunk in every if chunk.life == owners[chunk.gop]]
        for track in period.tracks:
            own = [c for _, c in chunks if c.track == track.track]
            assert [c.index for c in own] == list(range(len(own)))
            assert all(c.start_ticks == track.start_ticks for c in own[:1])
            assert all(a.start_ticks + a.duration_ticks == b.start_ticks for a, b in pairwise(own))
        reached = min(sum(c.ends_part for _, c in chunks if c.track == t.track) for t in period.tracks)
        assert ends[number].parts_reached == reached
        numbers = sorted({c.msn for _, c in chunks if c.gop * len(period.grid) < reached})
        assert numbers == list(range(period.first_msn, ends[number].next_msn))
        # Who is overtaken within a GOP may end it, and index it, before it learns that; nobody counts what stands behind the mark.
        gops: list[Gop] = [g for g in log.all(GOPS, Gop, channel) if g.period == number and g.last_offset < following]
        assert all(gop.life == owners[gop.gop] for gop in gops)
        whole = min(sum(c.ends_gop for _, c in chunks if c.track == t.track) for t in period.tracks)
        assert [g.gop for g in gops] == list(range(whole))
        for gop in gops:
            offsets = [offset for offset, c in chunks if c.gop == gop.gop]
            assert (gop.first_offset, gop.last_offset) == (min(offsets), max(offsets))
        if number + 1 in periods:
            after = periods[number + 1]
            assert (after.first_msn, after.media_partition, after.pool) == (ends[number].next_msn, period.media_partition, period.pool)
            assert after.zero_unix_ms == period.zero_unix_ms
            assert after.discontinuity == period.discontinuity + (reached > 0)
            assert after.anchor_unix_ms >= period.anchor_unix_ms + reached * 480


def test_a_killed_writer_is_continued_in_a_new_period_with_the_next_number(log: Log, recording: Path) -> None:
    first = play(log, recording, "news")
    until(lambda: len(log.all(GOPS, Gop)) >= 3)
    first.send_signal(signal.SIGKILL)
    first.wait()
    second = play(log, recording, "news")
    until(lambda: len(log.all(GOPS, Gop)) >= 6)
    second.send_signal(signal.SIGTERM)
    assert second.wait() == 0
    assert [p.period for p in log.all(CHANNELS, Period)] == [0, 1]
    assert log.all(CHANNELS, PeriodEnd)[-1].channel_ended
    check_unbroken(log)


def test_gops_that_a_crash_left_unindexed_are_indexed(log: Log) -> None:
    class Crashing(Link):
        def send(self, topic: Topic, partition: int, key: str, record: Any, acked: Acked = lambda *_: None) -> None:
            if not (isinstance(record, Gop) and record.gop >= 1):
                super().send(topic, partition, key, record, acked)

    link = Crashing(log.settings)
    feed(log.writer(link=link), pictures(0, 90), sound(0, 4))
    link.flush()
    link.close()
    assert [g.gop for g in log.all(GOPS, Gop)] == [0]
    with log.writer() as writer:
        feed(writer, pictures(0, 30), sound(0, 2))
    gops = log.all(GOPS, Gop)
    assert [(g.period, g.gop) for g in gops] == [(0, 0), (0, 1), (0, 2), (1, 0)]
    check_unbroken(log)


def test_a_channel_whose_media_retention_took_goes_on_beyond_any_number_it_used(log: Log) -> None:
    link = Link(log.settings)
    feed(log.writer(link=link), pictures(0, 200), sound(0, 8))
    link.flush()
    [before] = log.all(CHANNELS, Period)
    used = max(c.msn for c in log.all(MEDIA, Chunk))
    until(lambda: time.time() * 1_000 > before.anchor_unix_ms + 3_000)
    everything = TopicPartition(MEDIA.name(log.settings.kafka), before.media_partition, OFFSET_END)
    admin = AdminClient({"bootstrap.servers": log.settings.kafka.bootstrap_servers})
    for done in admin.delete_records([everything]).values():
        done.result(30)
    with log.writer(link=link) as writer:
        feed(writer, pictures(0, 30), sound(0, 2))
    link.close()
    after = log.all(CHANNELS, Period)[-1]
    assert (after.period, after.discontinuity, after.zero_unix_ms) == (1, 1, before.zero_unix_ms)
    assert after.first_msn > used
    assert log.all(CHANNELS, PeriodEnd)[0].parts_reached == 16


def test_a_jump_in_time_is_a_new_period(log: Log) -> None:
    with log.writer() as writer:
        feed(writer, pictures(0, 60), sound(0, 2))
        feed(writer, pictures(0, 60, at_s=Fraction(3_600)), sound(0, 2, at_s=Fraction(3_600)))
    assert len(log.all(CHANNELS, Period)) == 2
    check_unbroken(log)


def test_a_plan_written_while_a_channel_runs_is_followed(log: Log) -> None:
    link = Link(log.settings)
    with log.writer(link=link) as writer:
        feed(writer, pictures(0, 25), sound(0, 1))
        plan = Plan(channel="news", level=Level.PARTS, gops_per_segment=1, decision=7)
        link.send_now(PLANS, log.all(CHANNELS, Period)[0].pool, "news", plan)
        until(lambda: link.registry.gops_per_segment("news") == 1)
        feed(writer, pictures(25, 176), sound(1, 7))
    link.close()
    lengths = {c.msn: c.gop_count for c in log.all(MEDIA, Chunk)}
    assert lengths == {0: 4, 1: 1, 2: 1, 3: 1}
    check_unbroken(log)


def test_a_foreign_record_of_plans_goes_to_rejects_with_its_bytes_and_the_writer_goes_on(log: Log) -> None:
    link = Link(log.settings)
    try:
        link.send_now(PLANS, 0, "news", MediaMark(channel="news", life="l", kind=MarkKind.PERIOD_START, period=0))
        link.send_now(PLANS, 1, "news", Plan(channel="news", level=Level.PARTS, gops_per_segment=2))
    finally:
        link.close()
    with log.writer() as writer:
        feed(writer, pictures(0, 51), sound(0, 2))
    ((partition, _, reject),) = log.read(REJECTS)
    assert (partition, reject.source_topic, reject.error) == (0, PLANS.name(log.settings.kafka), "a MediaMark in plans")
    assert Codec().decode(reject.payload).channel == "news"
    assert {gop.gop_count for gop in log.all(GOPS, Gop)} == {2}


def test_a_second_writer_of_a_channel_ends_the_first(log: Log) -> None:
    first = log.writer()
    feed(first, pictures(0, 30))
    second = log.writer()
    feed(second, pictures(0, 30))

    def is_seen() -> bool:
        first._link.registry.gops_per_segment("news")
        newest = first._link.registry.newest("news")
        return newest is not None and newest.period == 1

    until(is_seen)
    with pytest.raises(SupersededError, match="another writer took over"):
        feed(first, pictures(30, 60))
    first.close()
    second.close()


def test_a_writer_that_is_overtaken_while_it_writes_loses_nothing_that_stands_before_the_mark(log: Log) -> None:
    first = log.writer()
    feed(first, pictures(0, 130), sound(0, 5))
    second = log.writer()
    # Three GOPs more, and a segment, before the second has its first frame.
    feed(first, pictures(130, 200), sound(5, 8))
    first.flush()
    with second:
        feed(second, pictures(0, 50), sound(0, 2))
    first.close()
    ends: list[PeriodEnd] = log.all(CHANNELS, PeriodEnd)
    assert [(end.parts_reached, end.next_msn) for end in ends] == [(16, 2), (4, 3)]
    check_unbroken(log)


@pytest.mark.parametrize("is_paired", [False, True])
def test_who_comes_between_the_mark_of_another_and_its_period_begins_none_of_that_number(
    log: Log, monkeypatch: pytest.MonkeyPatch, *, is_paired: bool
) -> None:
    first = log.writer(is_paired=is_paired)
    feed(first, pictures(0, 30), sound(0, 1))
    first.flush()
    first.close()
    second, third = log.writer(is_paired=is_paired), log.writer(is_paired=is_paired)
    start, end_period, wait_for = PeriodLog.start, PeriodLog.end_period, registry.Registry.wait_for
    written: list[tuple[Period, int]] = []
    ended: list[Past] = []

    def end_late(self: PeriodLog, past: Past) -> UnixMs:
        if self.life != second.life:
            return end_period(self, past)
        ended.append(past)
        return UnixMs(time.time_ns() // 1_000_000)

    def start_late(self: PeriodLog, *given: Any, **named: Any) -> tuple[Period, int]:
        if self.life != second.life:
            return start(self, *given, **named)

        def come(registry: registry.Registry, channel: str, number: int, *, timeout_s: float) -> bool:
            if not written:
                end_period(self, ended[0])
                written.append(start(self, *given, **named))
            return wait_for(registry, channel, number, timeout_s=timeout_s)

        with monkeypatch.context() as patch:
            patch.setattr(registry.Registry, "wait_for", come)
            with pytest.raises(SupersededError) if is_paired else nullcontext():
                feed(third, pictures(0, 30), sound(0, 1))
        return written[0]

    monkeypatch.setattr(PeriodLog, "end_period", end_late)
    monkeypatch.setattr(PeriodLog, "start", start_late)
    with nullcontext() if is_paired else pytest.raises(SupersededError):
        for at in range(1 if is_paired else TOLD_WITHIN_S):  # it hears of the other's period when it comes
            feed(second, pictures(30 * at, 30 * at + 30), sound(at, at + 1))
            second.flush()
    last = [first, second] if is_paired else [first, second, third]
    assert [period.life for period in log.all(CHANNELS, Period)] == [writer.life for writer in last]
    with last[-1]:
        feed(last[-1], pictures(30, 60), sound(1, 2))
    check_unbroken(log)
    for writer in (second, third):
        writer.close()


def test_of_two_that_begin_a_new_channel_at_once_the_first_has_it(log: Log) -> None:
    first, second = log.writer(), log.writer()
    first._periods.mark(None)  # and its period is on its way
    with pytest.raises(RetryableError, match="another writer begins channel news"):
        feed(second, pictures(0, 30), sound(0, 1))
    assert not log.all(CHANNELS, Period)
    first.close()
    second.close()


def test_finecut_end_ends_no_channel_that_somebody_began_just_then(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    dead = log.writer()
    feed(dead, pictures(0, 60), sound(0, 2))
    dead.flush()
    dead.close()
    late = log.writer()

    def begins(*_: object, **__: object) -> None:
        feed(late, pictures(0, 60), sound(0, 2))

    monkeypatch.setattr(end, "await_silence", begins)
    with pytest.raises(UserError, match="news was begun anew at this moment"):
        end.run(log.settings, "news")
    assert not any(each.channel_ended for each in log.all(CHANNELS, PeriodEnd))
    late.close()
    monkeypatch.setattr(end, "await_silence", lambda *_, **__: None)
    assert end.run(log.settings, "news") == 0
    assert log.all(CHANNELS, PeriodEnd)[-1].channel_ended


def test_channels_of_one_process_have_media_partitions_of_their_own(log: Log, recording: Path) -> None:
    player = play(log, recording, "a", "b", "c", "d")
    until(lambda: all(log.all(GOPS, Gop, channel) for channel in "abcd"))
    player.send_signal(signal.SIGTERM)
    assert player.wait() == 0
    assert {log.all(CHANNELS, Period, channel)[0].media_partition for channel in "abcd"} == {0, 1, 2, 3}
    for channel in "abcd":
        check_unbroken(log, channel)


def test_kafka_away_for_a_while_is_bridged_by_the_queue(own_kafka: LocalBroker) -> None:
    log = Log(own_kafka)
    with log.writer() as writer:
        feed(writer, pictures(0, 50), sound(0, 2))
        own_kafka.kill()
        feed(writer, pictures(50, 250), sound(2, 10))
        own_kafka.start()
        feed(writer, pictures(250, 300), sound(10, 12))
    assert len(log.all(CHANNELS, Period)) == 1
    assert len(log.all(GOPS, Gop)) == 12
    check_unbroken(log)


def test_kafka_away_for_longer_than_the_queue_holds_is_an_error_and_the_queue_stays_bounded(own_kafka: LocalBroker) -> None:
    log = Log(own_kafka, queue_bytes_max=20_000, queue_wait_ms=300, retry_ms=100)
    link = Link(log.settings)
    writer, outlasting = log.writer(link=link), Bridge(lambda: log.writer("sport"), retry_ms=100)
    for each in (writer, outlasting):
        feed(each, pictures(0, 50), sound(0, 2))
    link.flush()
    outlasting.flush()
    own_kafka.kill()
    with pytest.raises(RetryableError, match="took nothing for 300 ms"):
        feed(writer, pictures(50, 25 * 200), sound(2, 200))
    assert link.queued_bytes <= 20_000
    waiting, lost = link.queued_bytes, float(metrics.LOST._value.get())
    link.close()
    assert float(metrics.LOST._value.get()) - lost == waiting > 0
    # What outlasts it says what is lost, and goes on in a new period: nothing is a silent hole.
    outages, lost = float(metrics.OUTAGES._value.get()), float(metrics.LOST._value.get())
    with capture_logs() as told:
        feed(outlasting, pictures(50, 25 * 200), sound(2, 200))
        own_kafka.start()
        until(outlasting.poll)
    feed(outlasting, pictures(25 * 300, 25 * 302), sound(300, 302))
    with outlasting:
        pass
    assert float(metrics.OUTAGES._value.get()) - outages == 1
    back = next(line for line in told if line["event"] == "kafka_back")
    assert back["lost_bytes"] == float(metrics.LOST._value.get()) - lost > 20_000
    assert [period.period for period in log.all(CHANNELS, Period, "sport")] == [0, 1]
    check_unbroken(log, "sport")


def test_a_record_that_is_not_delivered_is_an_error_at_a_later_call(own_kafka: LocalBroker) -> None:
    log = Log(own_kafka)
    settings = log.settings.model_copy(update={"kafka": log.settings.kafka.model_copy(update={"delivery_timeout_ms": 3_000})})
    link = Link(settings)
    writer = log.writer(link=link)
    feed(writer, pictures(0, 50), sound(0, 2))
    own_kafka.kill()
    feed(writer, pictures(50, 60))

    def fails() -> bool:
        try:
            writer.poll(0.05)
        except RetryableError as error:
            return "did not acknowledge a record" in str(error)
        return False

    until(fails)
    link.close()


def test_what_waits_for_too_long_leaves_no_hole_before_what_is_written(own_kafka: LocalBroker) -> None:
    log = Log(own_kafka)
    limits = {"delivery_timeout_ms": 3_500, "request_timeout_ms": 1_500}
    settings = log.settings.model_copy(update={"kafka": log.settings.kafka.model_copy(update=limits)})
    link = Link(settings)
    writer = log.writer(link=link)
    feed(writer, pictures(0, 50), sound(0, 2))
    link.flush()
    own_kafka.send_signal(signal.SIGSTOP)
    paused_s = time.monotonic()
    for second in range(2, 6):
        feed(writer, pictures(25 * second, 25 * second + 25), sound(second, second + 1))
        time.sleep(0.5)  # so that some wait for too long and others do not
    while time.monotonic() < paused_s + 4.2:
        time.sleep(0.05)
    own_kafka.send_signal(signal.SIGCONT)
    until(lambda: bool(log.all(MEDIA, Chunk)) and log.all(MEDIA, Chunk)[-1].gop == 5)
    for track in ("v0", "a0"):
        indexes = [chunk.index for chunk in log.all(MEDIA, Chunk) if chunk.track == track]
        assert indexes == list(range(len(indexes)))
    link.close()


def test_no_kafka_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "ANSWER_S", 0.5)
    with pytest.raises(UserError, match=r"no Kafka answers at 127\.0\.0\.1:1"):
        Link(Settings(kafka=KafkaSettings(bootstrap_servers="127.0.0.1:1")))


def test_missing_topics_are_named(kafka: LocalBroker) -> None:
    with pytest.raises(UserError, match=r"topic nowhere\.channels does not exist"):
        Link(Settings(kafka=KafkaSettings(bootstrap_servers=kafka.bootstrap, topic_prefix="nowhere.")))


def test_a_file_that_is_no_video_makes_no_channel(log: Log, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no film\n" * 50)
    with pytest.raises(UserError, match="is no video"):
        run(log.settings, str(tmp_path / "notes.txt"), ["news"])
    assert not log.read(MEDIA)
    assert not log.read(CHANNELS)


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(UserError, match=f"port {port}"):
            run(Settings(ingest=IngestSettings(metrics_port=port)), str(tmp_path), ["news"])


def test_a_file_is_encoded_to_its_end_and_ends_its_channel(log: Log, tmp_path: Path) -> None:
    assert run(log.settings, str(make_clip(tmp_path / "clip.mp4", seconds=3)), ["news"]) == 0
    assert log.all(CHANNELS, PeriodEnd)[-1].channel_ended
    assert len(log.all(GOPS, Gop)) == 3
    check_unbroken(log)


def test_a_channel_that_is_being_written_is_taken_over_on_purpose_only(log: Log, recording: Path, tmp_path: Path) -> None:
    first = play(log, recording, "news")
    until(lambda: len(log.all(GOPS, Gop)) >= 1)
    clip = str(make_clip(tmp_path / "clip.mp4", seconds=1))
    patient = log.settings.model_copy(update={"ingest": IngestSettings(standby_ms=10_000)})
    with pytest.raises(UserError, match="channel news is being written by another encoder"):
        run(patient, clip, ["news"])
    with pytest.raises(UserError, match="channel news is being written by another encoder"):
        end.run(patient, "news")
    assert first.poll() is None
    assert len({period.life for period in log.all(CHANNELS, Period)}) == 1
    assert run(log.settings, clip, ["news"], take_over=True) == 0
    assert first.wait() != 0
    assert len({period.life for period in log.all(CHANNELS, Period)}) == 2
    check_unbroken(log)

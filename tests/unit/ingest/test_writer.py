"""What a writer puts into the log, whatever its encoder does; the broker is a list."""

from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from types import SimpleNamespace

import pytest
from structlog.testing import capture_logs

from schemas.errors import SupersededError, UserError
from schemas.records import Level, MarkKind, MediaMark, Track
from schemas.settings import IngestSettings, KafkaSettings, MediaSettings, Settings
from schemas.topics import MEDIA, Topic
from schemas.units import Ticks, UnixMs
from streams.ingest import metrics, ownership, producer, watch
from streams.ingest.history import Others
from streams.ingest.producer import ChannelWriter
from streams.ingest.samples import Sample
from tests.unit.ingest.fakes import IDR, RATE, START_UNIX_MS, FakeLink, feed, make_tracks, pictures, sound


@pytest.fixture(scope="module")
def tracks() -> tuple[Track, ...]:
    return make_tracks()


@pytest.fixture
def link() -> FakeLink:
    return FakeLink(Settings(kafka=KafkaSettings(), media=MediaSettings(), ingest=IngestSettings()))


def make_writer(link: FakeLink, tracks: tuple[Track, ...], channel: str = "news", gop_frames: int = 25) -> ChannelWriter:
    return ChannelWriter(
        link.settings, channel=channel, tracks=tracks, frame_rate=RATE, gop_frames=gop_frames, idle_level=Level.PARTS, link=link
    )


def test_the_mark_and_the_period_stand_before_the_first_chunk(link: FakeLink, tracks: tuple[Track, ...]) -> None:
    feed(make_writer(link, tracks), pictures(0, 50), sound(0, 2))
    assert [topic for topic, _ in link.sent[:3]] == ["media", "channels", "media"]
    assert (link.marks()[0].kind, link.periods()[0].first_offset) == (MarkKind.PERIOD_START, 0)
    assert link.periods()[0].anchor_unix_ms == link.periods()[0].zero_unix_ms


def test_a_gop_is_indexed_once_with_all_its_chunks(link: FakeLink, tracks: tuple[Track, ...]) -> None:
    feed(make_writer(link, tracks), pictures(0, 76), sound(0, 3))
    gops = link.gops()
    assert [gop.gop for gop in gops] == [0, 1, 2]
    for gop in gops:
        for track in gop.tracks:
            held = [c for c in link.chunks(track.track) if c.gop == gop.gop]
            assert (track.chunk_count, track.size) == (len(held), sum(len(c.payload) for c in held))
            assert track.duration_ticks == sum(c.duration_ticks for c in held)


@pytest.mark.parametrize(
    ("idle_level", "is_watched", "is_noted"), [(Level.OFF, False, True), (Level.OFF, True, False), (Level.SEGMENTS, False, False)]
)
def test_who_ends_a_channel_that_nobody_had_packaged_is_told_how_to_have_it(
    tracks: tuple[Track, ...], idle_level: Level, is_watched: bool, is_noted: bool
) -> None:
    link = FakeLink(Settings(idle_level=idle_level))
    link.registry.is_watched = is_watched
    writer = ChannelWriter(link.settings, channel="news", tracks=tracks, frame_rate=RATE, gop_frames=25, link=link)
    with capture_logs() as lines, writer:
        feed(writer, pictures(0, 50), sound(0, 2))
    (ended,) = (line for line in lines if line["event"] == "channel_ended")
    assert ("--idle-level segments" in ended.get("note", "")) is is_noted


def test_a_plan_takes_effect_at_the_next_segment(link: FakeLink, tracks: tuple[Track, ...]) -> None:
    writer = make_writer(link, tracks)
    feed(writer, pictures(0, 25), sound(0, 1))
    link.registry.plan = 1
    feed(writer, pictures(25, 151), sound(1, 6))
    stamps = list(dict.fromkeys((c.msn, c.first_gop, c.gop_count) for c in link.chunks()))
    assert stamps == [(0, 0, 4), (1, 4, 1), (2, 5, 1)]


@pytest.mark.parametrize("step_s", [Fraction(30), Fraction(-1), Fraction(1, 4)])
def test_a_jump_in_time_opens_a_new_period_that_runs_on(link: FakeLink, tracks: tuple[Track, ...], step_s: Fraction) -> None:
    with make_writer(link, tracks) as writer:
        feed(writer, pictures(0, 60), sound(0, 2))
        feed(writer, pictures(75, 126, at_s=step_s), sound(3, 5, at_s=step_s))
    assert [p.period for p in link.periods()] == [0, 1]
    first, second = link.periods()
    assert link.marks()[1].parts_reached == link.ends()[0].parts_reached == 4
    assert (second.first_msn, second.discontinuity) == (1, 1)
    assert second.anchor_unix_ms >= first.anchor_unix_ms + 2_000
    assert [c.gop for c in link.chunks() if c.period == 1][:1] == [0]


def test_small_steps_of_the_clock_are_smoothed_over(link: FakeLink, tracks: tuple[Track, ...]) -> None:
    writer = make_writer(link, tracks)
    feed(writer, pictures(0, 50), sound(0, 2))
    feed(writer, pictures(50, 100, at_s=Fraction(1, 20)), sound(2, 4, at_s=Fraction(1, 20)))
    assert len(link.periods()) == 1
    chunks = link.chunks()
    assert all(a.start_ticks + a.duration_ticks == b.start_ticks for a, b in pairwise(chunks))


def test_a_channel_that_jumps_at_once_leaves_its_number_and_discontinuity_to_the_next(link: FakeLink, tracks: tuple[Track, ...]) -> None:
    writer = make_writer(link, tracks)
    feed(writer, pictures(0, 3))
    feed(writer, pictures(0, 25, at_s=Fraction(100)), sound(0, 1, at_s=Fraction(100)))
    assert (link.periods()[1].first_msn, link.periods()[1].discontinuity) == (0, 0)


def test_a_silent_track_is_left_out_of_a_new_period_and_taken_back(link: FakeLink, tracks: tuple[Track, ...]) -> None:
    writer = make_writer(link, tracks)
    feed(writer, pictures(0, 250), sound(0, 2))
    assert [t.track for t in link.periods()[1].tracks] == ["v0"]
    feed(writer, pictures(250, 300), sound(10, 12))
    assert [t.track for t in link.periods()[2].tracks] == ["v0", "a0"]


def test_the_end_names_what_every_track_reached(link: FakeLink, tracks: tuple[Track, ...]) -> None:
    with make_writer(link, tracks) as writer:
        feed(writer, pictures(0, 63), sound(0, 2))
    assert link.marks()[-1].kind is MarkKind.CHANNEL_END
    assert (link.ends()[-1].parts_reached, link.ends()[-1].channel_ended, link.ends()[-1].next_msn) == (4, True, 1)


def test_an_error_leaves_the_channel_open_for_the_next_writer(link: FakeLink, tracks: tuple[Track, ...]) -> None:
    with pytest.raises(UserError), make_writer(link, tracks) as writer:
        feed(writer, pictures(0, 30, gop=60), pictures(30, 60, gop=50))
    assert not link.ends()


def test_two_writers_of_one_name_do_not_go_on_together(link: FakeLink, tracks: tuple[Track, ...]) -> None:
    writer = make_writer(link, tracks)
    feed(writer, pictures(0, 30))
    link.registry.taken_over = True
    with pytest.raises(SupersededError):
        feed(writer, pictures(30, 60))


class Clock:
    """The writer's clock, in the hand of a test."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s = 1_000.0
        monkeypatch.setattr(watch, "time", SimpleNamespace(monotonic=lambda: self.now_s))


def stalled() -> float:
    return float(metrics.STALLED._value.get())


def test_an_encoder_that_stalls_is_told_once_and_again_when_it_goes_on(
    link: FakeLink, tracks: tuple[Track, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, before = Clock(monkeypatch), stalled()
    writer = make_writer(link, tracks)
    feed(writer, pictures(0, 25), sound(0, 1))
    with capture_logs() as told:
        clock.now_s += link.settings.ingest.silence_ms / 1_000
        writer.poll()
        assert (stalled() - before, told) == (0, [])
        clock.now_s += 0.001
        writer.poll()
        writer.poll()
        assert stalled() - before == 1
        feed(writer, pictures(25, 26))
        assert stalled() - before == 0
    assert [(line["event"], line["channel"]) for line in told] == [("encoder_stalled", "news"), ("encoder_resumed", "news")]
    assert told[0]["silent_ms"] == link.settings.ingest.silence_ms + 1


def test_a_channel_that_is_let_go_while_its_encoder_is_silent_counts_as_stalled_no_longer(
    link: FakeLink, tracks: tuple[Track, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, before = Clock(monkeypatch), stalled()
    with make_writer(link, tracks) as writer:
        feed(writer, pictures(0, 25), sound(0, 1))
        clock.now_s += 60
        writer.poll()
        assert stalled() - before == 1
    assert stalled() - before == 0


@pytest.mark.parametrize("name", ["../news", "News", "a/b", "", "-x", "x" * 64])
def test_a_name_that_is_no_id_is_refused(link: FakeLink, tracks: tuple[Track, ...], name: str) -> None:
    with pytest.raises(UserError, match="is not an id"):
        make_writer(link, tracks, channel=name)


def test_an_encoder_without_the_promised_key_frames_is_told(link: FakeLink, tracks: tuple[Track, ...]) -> None:
    with pytest.raises(UserError, match="fixed GOP of 25 frames"):
        feed(make_writer(link, tracks), pictures(0, 60, gop=50))


def test_a_gop_longer_than_the_target_is_refused(link: FakeLink, tracks: tuple[Track, ...]) -> None:
    with pytest.raises(UserError, match="longer than the target"):
        make_writer(link, tracks, gop_frames=250)


def test_a_chunk_shorter_than_an_audio_frame_is_refused(link: FakeLink, tracks: tuple[Track, ...]) -> None:
    link.settings = link.settings.model_copy(update={"media": MediaSettings(chunks_per_part=25)})
    slow = replace(tracks[1], frame_ticks=Ticks(2_048))
    with pytest.raises(UserError, match="longer than the shortest chunk"):
        make_writer(link, (tracks[0], slow))


def test_a_track_nobody_announced_is_refused(link: FakeLink, tracks: tuple[Track, ...]) -> None:
    with pytest.raises(UserError, match="no track 'v9'"):
        make_writer(link, tracks).write("v9", Sample(Ticks(0), IDR, sync=True))


@pytest.mark.parametrize("has_pictures", [True, False])
def test_an_encoder_that_falls_behind_for_good_is_anchored_anew_without_losing_its_numbers(
    link: FakeLink, tracks: tuple[Track, ...], monkeypatch: pytest.MonkeyPatch, has_pictures: bool
) -> None:
    clock = {"now": START_UNIX_MS}
    monkeypatch.setattr(producer, "_steady_ms", lambda: clock["now"] - START_UNIX_MS)
    with make_writer(link, tracks[:1] if has_pictures else tracks[1:]) as writer:
        for at, track, sample in pictures(0, 25 * 70) if has_pictures else sound(0, 70):
            # Its seconds are 4 % longer than the broker's.
            clock["now"] = link.now = START_UNIX_MS + round(at * 1_040)
            writer.write(track, sample)
    first, second = link.periods()
    assert second.first_msn == link.ends()[0].next_msn
    # Media rule 6: more than a second off for a whole window of 30 s.
    assert 1_000 < second.anchor_unix_ms - first.anchor_unix_ms - link.ends()[0].parts_reached * 500 < 2_500


def test_a_period_is_anchored_to_the_time_its_first_frame_came_also_if_its_mark_is_acknowledged_late(
    link: FakeLink, tracks: tuple[Track, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(producer, "_steady_ms", lambda: link.now - START_UNIX_MS)
    writer, send_now = make_writer(link, tracks), link.send_now
    feed(writer, pictures(0, 50), sound(0, 2))

    def slowly(topic: Topic, partition: int, key: str, record: object) -> tuple[int, UnixMs]:
        offset, at = send_now(topic, partition, key, record)
        # As where its leader waited for replicas that were away.
        link.now += 13_000 if isinstance(record, MediaMark) else 0
        return offset, at

    monkeypatch.setattr(link, "send_now", slowly)
    link.now = came = link.periods()[0].anchor_unix_ms + 60_000
    feed(writer, pictures(0, 25, at_s=Fraction(100)), sound(0, 1, at_s=Fraction(100)))
    assert link.periods()[1].anchor_unix_ms == pytest.approx(came, abs=10)


def test_media_that_comes_ahead_of_its_time_is_alarming_and_no_reason_for_a_period(
    link: FakeLink, tracks: tuple[Track, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = {"now": START_UNIX_MS}
    monkeypatch.setattr(producer, "_steady_ms", lambda: clock["now"] - START_UNIX_MS)
    with make_writer(link, tracks[:1], channel="ahead") as writer:
        for at, track, sample in pictures(0, 25 * 40):
            clock["now"] = link.now = START_UNIX_MS + round(at * 500)
            writer.write(track, sample)
    assert len(link.periods()) == 1
    assert metrics.CLOCK_ALARM.labels(channel="ahead")._value.get() == 1


@pytest.mark.parametrize("set_by_ms", [600_000, -600_000])
def test_a_clock_of_the_host_that_is_off_or_set_while_it_runs_changes_no_period_and_alarms_nobody(
    link: FakeLink, tracks: tuple[Track, ...], monkeypatch: pytest.MonkeyPatch, set_by_ms: int
) -> None:
    passed = {"ms": 0}
    # Ten minutes off from the beginning, and set by ten more in the middle.
    monkeypatch.setattr(producer, "_now", lambda: UnixMs(START_UNIX_MS + set_by_ms * (1 + (passed["ms"] > 20_000)) + passed["ms"]))
    monkeypatch.setattr(producer, "_steady_ms", lambda: passed["ms"])
    with make_writer(link, tracks[:1], channel=f"set{set_by_ms > 0:d}") as writer:
        for at, track, sample in pictures(0, 25 * 60):
            passed["ms"] = round(at * 1_000)
            link.now = START_UNIX_MS + passed["ms"]
            writer.write(track, sample)
    [period] = link.periods()
    assert 0 < period.anchor_unix_ms - START_UNIX_MS <= 10
    assert metrics.CLOCK_ALARM.labels(channel=f"set{set_by_ms > 0:d}")._value.get() == 0


@pytest.mark.parametrize(("late_ms", "early_s"), [(2_300, 0.3), (2_900, 0.0)])
def test_a_period_that_follows_closely_begins_where_the_last_ended(
    link: FakeLink, tracks: tuple[Track, ...], late_ms: int, early_s: float
) -> None:
    writer = make_writer(link, tracks)
    feed(writer, pictures(0, 50), sound(0, 2))
    first = link.periods()[0]
    link.now = first.anchor_unix_ms + late_ms
    feed(writer, pictures(0, 25, at_s=Fraction(100)), sound(0, 1, at_s=Fraction(100)))
    gap_ms = link.periods()[1].anchor_unix_ms - first.anchor_unix_ms - 2_000
    assert gap_ms == pytest.approx(0 if early_s else late_ms - 2_000, abs=5)
    assert writer.early_s == pytest.approx(early_s, abs=0.005)


def test_a_writer_that_was_overtaken_does_not_end_what_another_goes_on_with(link: FakeLink, tracks: tuple[Track, ...]) -> None:
    writer = make_writer(link, tracks)
    for _, track, sample in pictures(0, 60):
        writer.write(track, sample)
    link.registry.taken_over = True
    with pytest.raises(SupersededError), writer:
        pass
    assert not link.ends()


def test_a_writer_that_wrote_nothing_does_not_end_what_another_began_since(
    link: FakeLink, tracks: tuple[Track, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    idle, other = make_writer(link, tracks), make_writer(link, tracks)
    for _, track, sample in pictures(0, 60):
        other.write(track, sample)
    monkeypatch.setattr(link.registry, "newest", lambda _: link.periods()[-1])
    with pytest.raises(SupersededError):
        idle.end()
    assert not link.ends()


def test_of_all_that_others_wrote_while_a_channel_paused_only_the_last_seconds_are_read(
    link: FakeLink, tracks: tuple[Track, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def others_since(*_: object, offset: int, **__: object) -> Others:
        asked.append(offset)
        return Others(taken_at=None, next_offset=offset, gop=0)

    monkeypatch.setattr(ownership, "offset_at", lambda *_: 9_000)
    monkeypatch.setattr(ownership, "others_since", others_since)
    with make_writer(link, tracks[:1]) as writer:
        for _, track, sample in pictures(0, 60):
            writer.write(track, sample)
        for _ in range(10_000):  # another channel of the partition
            link.send(MEDIA, 3, "other", None)
        for _, track, sample in pictures(0, 60, at_s=Fraction(7_200)):
            writer.write(track, sample)
    assert [period.period for period in link.periods()] == [0, 1]
    assert asked == [9_000]

"""Text of sources and pushes, on the grid of the media, which never waits for it."""

from collections.abc import Iterable
from dataclasses import replace
from fractions import Fraction
from io import BytesIO
from pathlib import Path

import av
import pytest

from packager import webvtt
from packager.boxes import check_chunk
from schemas.errors import RejectedError, UserError
from schemas.records import Level, Track
from schemas.settings import IngestSettings, KafkaSettings, MediaSettings, Settings
from schemas.units import Ticks
from streams.ingest.assembly import Assembly
from streams.ingest.cmaf import build_chunk
from streams.ingest.codecs import text_track
from streams.ingest.encoder import Encoder
from streams.ingest.fragments import FragmentReader, Init, Samples
from streams.ingest.init import InitSegment
from streams.ingest.ladder import Rendition
from streams.ingest.producer import ChannelWriter
from streams.ingest.samples import Sample
from streams.ingest.text import BOX_BYTES_MAX, EMPTY, Cue, init_segment, make_cue, read_cues
from tests.unit.ingest.fakes import RATE, FakeLink, feed, make_tracks, pictures, sound
from tests.unit.ingest.pushes import Picture, push
from tests.unit.ingest.subtitled import subtitled

SMALL = (Rendition(track="v0", width=32, height=18, bitrate_bps=30_000),)
TEXT = text_track(0, "ger", RATE)


@pytest.fixture(scope="module")
def tracks() -> tuple[Track, ...]:
    return (*make_tracks(), TEXT)


@pytest.fixture
def link() -> FakeLink:
    return FakeLink(Settings(kafka=KafkaSettings(), media=MediaSettings(), ingest=IngestSettings()))


def make_writer(link: FakeLink, tracks: tuple[Track, ...]) -> ChannelWriter:
    return ChannelWriter(link.settings, channel="news", tracks=tracks, frame_rate=RATE, gop_frames=25, idle_level=Level.PARTS, link=link)


def cue(start: float, end: float, text: str) -> Cue:
    made = make_cue(Fraction(start), Fraction(end), text)
    assert made is not None
    return made


def shown(link: FakeLink, track: str = "t0") -> list[str]:
    """Times and text of the cues of all chunks, as a reader of WebVTT has them."""
    init = next(t.init for t in link.periods()[0].tracks if t.track == track)
    text = webvtt.render(b"".join(chunk.payload for chunk in link.chunks(track)), init).decode()
    return [block.replace("\n", " ") for block in text.rstrip("\n").split("\n\n")[1:]]


def test_text_of_a_source_comes_on_the_clock_of_its_pictures_and_in_every_turn(tmp_path: Path) -> None:
    cues: list[tuple[str, float, float]] = []
    with Encoder(str(subtitled(tmp_path)), loop=True, ladder=SMALL, preset="ultrafast", has_text=True) as encoder:
        assert [(t.track, t.is_text, t.language) for t in encoder.tracks] == [
            ("v0", False, "und"),
            ("a0", False, "und"),
            ("t0", True, "ger"),
        ]
        for item in encoder.samples():
            if item and isinstance(item[1], Cue):
                cues.append((item[1].box.partition(b"payl")[2].decode(), float(item[1].start), float(item[1].end)))
            if len(cues) == 4:
                break
    one, two = "one &amp; two", "line\nline"
    assert cues == [(one, 1.0, 2.2), (two, 2.5, 3.0), (one, 5.0, 6.2), (two, 6.5, 7.0)]


def test_every_chunk_of_pictures_has_one_of_text_whether_there_is_any_or_none(link: FakeLink, tracks: tuple[Track, ...]) -> None:
    writer = make_writer(link, tracks)
    feed(writer, pictures(0, 76), sound(0, 3))
    texts, videos = link.chunks("t0"), link.chunks("v0")
    assert [(c.index, c.gop, c.part, c.ends_part, c.ends_gop, c.msn) for c in texts] == [
        (c.index, c.gop, c.part, c.ends_part, c.ends_gop, c.msn) for c in videos
    ]
    assert [(c.start_ticks, c.duration_ticks) for c in texts] == [(c.start_ticks, c.duration_ticks) for c in videos]
    for chunk in texts:
        check_chunk(chunk, TEXT)
        assert chunk.payload.endswith(EMPTY)
    assert [gop.gop for gop in link.gops()] == [0, 1, 2]


def test_a_cue_keeps_its_time_however_many_chunks_it_lasts(link: FakeLink, tracks: tuple[Track, ...]) -> None:
    writer = make_writer(link, tracks)
    writer.write_cue("t0", cue(0.3, 2.02, "long"))
    writer.write_cue("t0", cue(1.0, 1.1, "short"))
    feed(writer, pictures(0, 76), sound(0, 3))
    assert shown(link) == ["00:00:00.300 --> 00:00:02.020 long", "00:00:01.000 --> 00:00:01.100 short"]


def test_another_demuxer_finds_samples_that_cover_every_instant(link: FakeLink, tracks: tuple[Track, ...]) -> None:
    writer = make_writer(link, tracks)
    writer.write_cue("t0", cue(0.3, 1.5, "text"))
    feed(writer, pictures(0, 51), sound(0, 2))
    with av.open(BytesIO(TEXT.init + b"".join(chunk.payload for chunk in link.chunks("t0"))), "r") as container:
        packets = [(p.pts or 0, p.duration or 0, b"text" in bytes(p)) for p in container.demux() if p.size]
        assert container.streams[0].language == "ger"
    assert [start for start, _, _ in packets] == [0, *(start + duration for start, duration, _ in packets[:-1])]
    assert [25_000 * 0.3 <= start < 25_000 * 1.5 for start, _, _ in packets] == [has for _, _, has in packets]


def test_late_text_is_shown_later_and_in_order(link: FakeLink, tracks: tuple[Track, ...]) -> None:
    writer = make_writer(link, tracks)
    feed(writer, pictures(0, 51), sound(0, 2))
    # A fragment of 2 s that comes when its 2 s are over.
    for second in (0, 1, 2, 3):
        writer.write_cue("t0", cue(second, second + 0.9, f"cue {second}"))
    feed(writer, pictures(51, 151), sound(2, 6))
    assert shown(link) == [
        "00:00:02.000 --> 00:00:02.900 cue 0", "00:00:03.000 --> 00:00:03.900 cue 1",
        "00:00:04.000 --> 00:00:04.900 cue 2", "00:00:05.000 --> 00:00:05.900 cue 3",
    ]  # fmt: skip


def test_text_later_than_a_whole_target_is_left_out(link: FakeLink, tracks: tuple[Track, ...]) -> None:
    writer = make_writer(link, tracks)
    feed(writer, pictures(0, 201), sound(0, 8))
    writer.write_cue("t0", cue(1, 2, "old"))
    writer.write_cue("t0", cue(8, 8.5, "new"))
    feed(writer, pictures(201, 276), sound(8, 11))
    assert shown(link) == ["00:00:08.000 --> 00:00:08.500 new"]


def test_text_goes_on_in_a_new_period(link: FakeLink, tracks: tuple[Track, ...]) -> None:
    writer = make_writer(link, tracks)
    feed(writer, pictures(0, 51), sound(0, 2))
    later = Fraction(100)
    writer.write_cue("t0", cue(100.5, 101, "again"))
    feed(writer, pictures(0, 51, at_s=later), sound(0, 2, at_s=later))
    periods = link.periods()
    assert [track.track for track in periods[1].tracks] == ["v0", "a0", "t0"]
    chunks = [chunk for chunk in link.chunks("t0") if chunk.period == 1]
    start_ms = periods[1].tracks[2].start_ticks // 25
    first = next(webvtt.samples(chunk.payload) for chunk in chunks if b"again" in chunk.payload)
    begins = next(start for start, _, data in first if b"again" in data)
    assert begins // 25 == start_ms + 500


def test_text_alone_is_no_channel_and_a_cue_needs_its_track(link: FakeLink, tracks: tuple[Track, ...]) -> None:
    with pytest.raises(UserError, match="neither picture nor sound"):
        make_writer(link, (TEXT,))
    with pytest.raises(UserError, match="no text track 't9'"):
        make_writer(link, tracks).write_cue("t9", cue(0, 1, "lost"))


def test_no_caption_is_longer_than_its_track_carries() -> None:
    long = cue(0, 1, "&" * 5_000)
    assert len(long.box) < BOX_BYTES_MAX
    assert long.box.endswith(b"&amp;")


def test_the_longest_chunk_of_text_fits_into_a_message(link: FakeLink, tracks: tuple[Track, ...]) -> None:
    writer = make_writer(link, tracks)
    for number in range(300):
        box = b"\0\0\4\0vttc" + f"{number:04}".encode() + bytes(1_012)
        writer.write_cue("t0", Cue(start=Fraction(number, 1_000), end=Fraction(20), box=box))
    feed(writer, pictures(0, 26), sound(0, 1))
    assert max(len(chunk.payload) for chunk in link.chunks("t0")) < 900_000


def pushed_text(cues: Iterable[tuple[int, int, bytes]], *, timescale: int = 1_000) -> bytes:
    """What an encoder pushes: a fragment for each sample."""
    init = init_segment(timescale, "deu")
    made = [
        build_chunk(
            [Sample(Ticks(start), data, sync=True)], track_id=1, index=number, start_ticks=Ticks(start), frame_ticks=Ticks(duration)
        )
        for number, (start, duration, data) in enumerate(cues)
    ]
    return init + b"".join(made)


def assembled(text: bytes, *, seconds: int = 5) -> tuple[Assembly, FragmentReader]:
    video = BytesIO()
    push(video, [Picture()], seconds=seconds)
    assembly = Assembly()
    for name, data in (("v0", video.getvalue()), ("t0", text)):
        for piece in FragmentReader().feed(data):
            if isinstance(piece, Init):
                assembly.announce(name, piece.tracks[1])
            elif isinstance(piece, Samples):
                assembly.add(name, piece.samples, piece.durations)
    return assembly, FragmentReader()


def test_pushed_text_is_cut_again_at_the_chunks_and_reads_back_the_same(link: FakeLink) -> None:
    box = cue(0, 1, "pushed").box
    assembly, _ = assembled(pushed_text([(0, 500, EMPTY), (500, 1_500, box), (2_000, 300, EMPTY), (2_300, 500, box), (2_800, 900, EMPTY)]))
    shape = assembly.shape()
    assert shape is not None
    assert [(t.track, t.is_text, t.language) for t in shape.tracks] == [("v0", False, "und"), ("t0", True, "deu")]
    writer = make_writer(link, shape.tracks)
    for name, held in assembly.cues():
        writer.write_cue(name, held)
    for name, sample in assembly.release(shape):
        writer.write(name, sample)
    assert len(link.chunks("t0")) == len(link.chunks("v0"))
    assert shown(link) == ["00:00:00.500 --> 00:00:02.000 pushed", "00:00:02.300 --> 00:00:02.800 pushed"]


def test_a_track_of_text_that_sends_nothing_holds_no_channel_up() -> None:
    assembly, _ = assembled(pushed_text([]))
    shape = assembly.shape()
    assert shape is not None
    assert [track.track for track in shape.tracks] == ["v0", "t0"]


def test_samples_that_are_no_text_and_endless_cues_are_refused() -> None:
    for data in (b"not boxes at all", b"\0\0\4\1vttc" + bytes(1_017)):
        with pytest.raises(RejectedError):
            list(read_cues([Sample(Ticks(0), data, sync=True)], [100], 1_000))


def test_an_init_segment_of_text_says_so() -> None:
    read = InitSegment(TEXT.init)
    assert (read.is_text, read.codec, read.timescale, read.language) == (True, "wvtt", 25_000, "ger")
    assert not replace(TEXT, codec="mp4a.40.2").is_text

"""What other encoders push: read as it comes, fitted together, or refused with a reason."""

import asyncio
import struct
import threading
from collections.abc import Sequence
from fractions import Fraction
from io import BytesIO
from itertools import pairwise

import pytest
from aiohttp import StreamReader
from aiohttp.base_protocol import BaseProtocol

from schemas.errors import RejectedError
from schemas.records import TrackKind
from schemas.settings import Settings
from streams.ingest import pushed as pushed_module
from streams.ingest.assembly import Assembly, Shape
from streams.ingest.fragments import End, FragmentReader, Init, Piece, Samples
from streams.ingest.http import next_bytes
from streams.ingest.init import InitSegment
from streams.ingest.producer import ChannelWriter
from streams.ingest.pushed import PushedChannel
from streams.ingest.samples import Sample
from tests.unit.ingest.fakes import FakeLink
from tests.unit.ingest.pushes import Picture, Sound, push

RATES = [Fraction(24), Fraction(25), Fraction(30_000, 1_001), Fraction(30), Fraction(50), Fraction(60)]


def pushed(*tracks: Picture | Sound, seconds: int = 3, flags: str = "cmaf+frag_keyframe+frag_discont") -> bytes:
    target = BytesIO()
    push(target, tracks, seconds=seconds, flags=flags)
    return target.getvalue()


def read(data: bytes, *, step: int = 1 << 20) -> list[Piece]:
    reader = FragmentReader()
    return [piece for at in range(0, len(data), step) for piece in reader.feed(data[at : at + step])]


def assemble(data: Sequence[bytes]) -> tuple[Assembly, Shape | None]:
    """Tracks named in the order they come."""
    assembly, names = Assembly(), iter(f"t{n}" for n in range(9))
    for stream in data:
        own: dict[int, str] = {}
        for piece in read(stream):
            if isinstance(piece, Init):
                own = {number: next(names) for number in sorted(piece.tracks)}
                for number, init in piece.tracks.items():
                    assembly.announce(own[number], init)
            elif isinstance(piece, Samples):
                assembly.add(own[piece.number], piece.samples, piece.durations)
    return assembly, assembly.shape()


def write(data: Sequence[bytes]) -> FakeLink:
    """The channel that these pushes become."""
    assembly, shape = assemble(data)
    assert shape is not None
    settings = Settings()
    link = FakeLink(settings)
    with ChannelWriter(
        settings, channel="news", tracks=shape.tracks, frame_rate=shape.frame_rate, gop_frames=shape.gop_frames, link=link
    ) as writer:
        for track, sample in assembly.release(shape):
            writer.write(track, sample)
    return link


def samples_of(data: bytes, number: int = 1) -> list[Sample]:
    return [sample for piece in read(data) if isinstance(piece, Samples) and piece.number == number for sample in piece.samples]


def test_a_stream_reads_the_same_in_whatever_pieces_it_comes() -> None:
    data = pushed(Picture(b_frames=2), Sound())
    assert read(data) == read(data, step=7) == read(data, step=1_000)
    assert isinstance(read(data)[0], Init)
    assert isinstance(read(data)[-1], End)


@pytest.mark.parametrize("rate", RATES, ids=str)
def test_frame_rate_and_gop_are_found_as_they_come(rate: Fraction) -> None:
    gop = round(2 * rate)
    _, shape = assemble([pushed(Picture(rate=rate, gop=gop), Sound(), seconds=5)])
    assert shape is not None
    assert (shape.frame_rate, shape.gop_frames) == (rate, gop)
    assert [track.kind for track in shape.tracks] == [TrackKind.VIDEO, TrackKind.AUDIO]
    assert shape.tracks[1].language == "deu"


@pytest.mark.parametrize(("codec", "named"), [("libx264", "avc1."), ("libx265", "hev1."), ("libsvtav1", "av01.0.")])
def test_codecs_are_passed_through_sample_for_sample(codec: str, named: str) -> None:
    data = pushed(Picture(codec=codec, b_frames=2 if codec == "libx264" else 0), seconds=3)
    link = write([data])
    assert link.periods()[0].tracks[0].codec.startswith(named)
    sent = [sample for chunk in link.chunks("t0") for sample in samples_of(data_of(link, chunk.payload))]
    pushed_samples = samples_of(data)
    assert len(sent) >= 50
    assert [(s.data, s.composition_ticks) for s in sent] == [(s.data, s.composition_ticks) for s in pushed_samples[: len(sent)]]


def data_of(link: FakeLink, payload: bytes) -> bytes:
    return link.periods()[0].tracks[0].init + payload


def test_fragments_of_a_gop_are_cut_again_into_parts_and_chunks() -> None:
    link = write([pushed(Picture(), Sound(), seconds=4)])
    assert [len(samples_of(data_of(link, c.payload))) for c in link.chunks("t0")[:4]] == [6, 6, 6, 7]
    assert len(link.gops()) >= 2


def test_a_muxed_stream_becomes_one_init_segment_for_each_track() -> None:
    init = read(pushed(Picture(), Picture(size=(96, 54)), Sound(language="eng"), Sound(language="deu")))[0]
    assert isinstance(init, Init)
    tracks = [InitSegment(data) for _, data in sorted(init.tracks.items())]
    assert [(t.width, t.language) for t in tracks] == [(64, "und"), (96, "und"), (0, "eng"), (0, "deu")]


def test_renditions_from_several_connections_begin_at_the_first_key_frame_that_all_have() -> None:
    link = write([pushed(Picture(), seconds=5), pushed(Picture(size=(96, 54), first=50), seconds=3), pushed(Sound(), seconds=5)])
    period = link.periods()[0]
    assert {track.track for track in period.tracks} == {"t0", "t1", "t2"}
    first = {track: link.chunks(track)[0] for track in ("t0", "t1")}
    assert {chunk.start_ticks / 12_800 for chunk in first.values()} == {0.0}
    assert samples_of(data_of(link, first["t0"].payload))[0].data == samples_of(pushed(Picture(), seconds=5))[50].data


def test_a_channel_of_sound_alone_is_cut_by_its_frames() -> None:
    link = write([pushed(Sound(language="eng"), Sound(language="deu"), seconds=4)])
    assert {track.language for track in link.periods()[0].tracks} == {"eng", "deu"}
    assert all(a.start_ticks + a.duration_ticks == b.start_ticks for a, b in pairwise(link.chunks("t0")))
    assert len(link.gops()) >= 2


@pytest.mark.parametrize(
    ("tracks", "reason"),
    [
        ((Picture(), Picture(gop=50)), "one fixed GOP"),
        ((Picture(), Picture(rate=Fraction(50), gop=50)), "one frame rate"),
        ((Picture(), Picture(first=7)), "280 ms beside"),
        ((Picture(rate=Fraction(24_000, 1_001), gop=24, timescale=90_000),), "no whole ticks of its timescale 90000: use 24000"),
    ],
)
def test_pushes_that_do_not_fit_are_refused_with_what_to_change(tracks: tuple[Picture, ...], reason: str) -> None:
    with pytest.raises(RejectedError, match=reason):
        assemble([pushed(track, seconds=5) for track in tracks])


def test_a_push_whose_frames_have_no_duration_is_refused() -> None:
    with pytest.raises(RejectedError, match="have no duration"):
        assemble([without_durations(pushed(Picture(), seconds=3))])


def without_durations(data: bytes) -> bytes:
    """The same with a duration of 0 for each sample, wherever it stands (ISO/IEC 14496-12, 8.8.3, 8.8.7, 8.8.8)."""
    made = bytearray(data)
    for name in (b"trex", b"tfhd", b"trun"):
        at = made.find(name)
        while at >= 0:
            flags, place = int.from_bytes(made[at + 5 : at + 8]), at + 8
            if name == b"trex":
                made[place + 8 : place + 12] = bytes(4)
            elif name == b"tfhd" and flags & 0x8:
                place += 4 + 8 * bool(flags & 0x1) + 4 * bool(flags & 0x2)
                made[place : place + 4] = bytes(4)
            elif name == b"trun" and flags & 0x100:
                count, size = int.from_bytes(made[place : place + 4]), 4 * (flags & 0xF00).bit_count()
                place += 4 + 4 * bool(flags & 0x1) + 4 * bool(flags & 0x4)
                for sample in range(count):
                    made[place + sample * size : place + sample * size + 4] = bytes(4)
            at = made.find(name, at + 4)
    return bytes(made)


def test_a_push_without_key_frames_is_refused_after_a_while() -> None:
    with pytest.raises(RejectedError, match="no two key frames within 20 s"):
        assemble([pushed(Picture(rate=Fraction(10), gop=999), seconds=22)])


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "not a fragmented MP4 stream"),
        (pushed(Picture(), seconds=1, flags="frag_keyframe+empty_moov+omit_tfhd_offset"), None),
        (pushed(Picture(), seconds=1, flags="frag_keyframe+empty_moov"), "absolute offsets"),
        (pushed(Picture(), seconds=2)[1_000:], "box|cannot be read"),
    ],
    ids=["text", "relative", "absolute", "middle"],
)
def test_what_is_no_cmaf_is_refused(data: bytes, reason: str | None) -> None:
    if reason is None:
        assert samples_of(data)
        return
    with pytest.raises(RejectedError, match=reason):
        read(data)


def test_a_plain_file_is_refused_and_not_passed_over() -> None:
    """As FFmpeg writes it by default: the media first, one moov at the end."""
    plain = struct.pack(">I4s4sI", 16, b"ftyp", b"isom", 512) + struct.pack(">I4s", 8, b"free") + struct.pack(">I4s8x", 16, b"mdat")
    with pytest.raises(RejectedError, match="plain MP4 file; FFmpeg makes fragments with -movflags"):
        list(FragmentReader().feed(plain))


def test_fragments_before_their_init_segment_are_refused() -> None:
    data = pushed(Picture(), seconds=2)
    with pytest.raises(RejectedError, match="before the init segment"):
        read(data[data.index(b"moof") - 4 :])


def test_a_request_that_pauses_is_waited_for_and_a_channel_that_was_let_go_takes_no_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pushed_module, "RELEASE_S", 0.2)
    over = threading.Event()
    channel = PushedChannel(Settings(), "news", expected=frozenset(), idle_level=None, ended=lambda *_: over.set())
    connection = channel.connect("v0")
    assert channel.put(connection, b"") is None
    assert not over.wait(0.8)
    assert channel.put(connection, b"") is None
    assert channel.finish(connection) is None
    assert over.wait(10)
    for late in (connection, channel.connect("v0")):
        refusal = channel.put(late, b"frames")
        assert refusal is not None
        assert (refusal.status, refusal.retry_after_ms > 0) == (503, True)


async def test_what_an_encoder_sent_that_hung_up_at_once_is_read_to_its_end() -> None:
    content = StreamReader(BaseProtocol(asyncio.get_running_loop()), 2**16, loop=asyncio.get_running_loop())
    content.feed_data(b"all of it")
    content.feed_eof()
    content.set_exception(ConnectionResetError())
    assert [await next_bytes(content), await next_bytes(content)] == [b"all of it", b""]

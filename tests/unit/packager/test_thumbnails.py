"""JPEGs of real pictures."""

import errno
from dataclasses import replace
from functools import cache
from io import BytesIO
from typing import cast

import av
import pytest
from av.container.input import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from packager import thumbnails
from packager.cuts import CutPicture
from packager.thumbnails import jpeg
from schemas.errors import RejectedError
from schemas.records import Thumbnails
from schemas.timeline import picture_track
from schemas.units import Msn, Ticks, UnixMs
from tests.builders import make_period

WIDTH, HEIGHT, FRAMES = 320, 180, 5


@cache
def encoded(codec: str) -> tuple[bytes, bytes]:
    """An init segment and one chunk: grey pictures, each lighter than the one before."""
    out = BytesIO()
    options = {"movflags": "empty_moov+default_base_moof+frag_keyframe"}
    with av.open(out, "w", format="mp4", options=options) as container:
        stream = cast(VideoStream, container.add_stream(codec, rate=25))
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.options = {"preset": "ultrafast", "tune": "zerolatency", "x265-params": "log-level=none"}
        for number in range(FRAMES):
            frame = VideoFrame(WIDTH, HEIGHT, "gray")
            frame.planes[0].update(bytes([60 + 30 * number]) * (frame.planes[0].line_size * HEIGHT))
            frame.pts = number
            container.mux(stream.encode(frame.reformat(format="yuv420p")))
        container.mux(stream.encode(None))
    data = out.getvalue()
    moof, mdat = data.index(b"moof") - 4, data.index(b"mdat") - 4
    return data[:moof], data[moof : mdat + int.from_bytes(data[mdat : mdat + 4], "big")]


def cut(codec: str = "libx264", **fields: object) -> CutPicture:
    init, chunk = encoded(codec)
    plain = make_period()
    period = replace(
        plain,
        tracks=(replace(plain.tracks[0], init=init), *plain.tracks[1:]),
        thumbnails=Thumbnails(track="thumb0", source="v0", width=160, height=90),
    )
    track = picture_track(period)
    assert track is not None
    made = CutPicture(
        period=period, track=track, msn=Msn(0), start_ticks=Ticks(0), duration_ticks=Ticks(1), durable_unix_ms=UnixMs(0), pieces=(chunk,)
    )
    return replace(made, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_a_thumbnail_is_the_first_picture_in_the_size_wanted(codec: str) -> None:
    with cast(InputContainer, av.open(BytesIO(jpeg(cut(codec))), format="jpeg_pipe")) as image:
        picture = next(image.decode(video=0))
    assert (picture.width, picture.height) == (160, 90)
    assert abs(bytes(picture.reformat(format="gray").planes[0])[0] - 60) < 20


def test_the_same_chunk_gives_the_same_bytes() -> None:
    assert jpeg(cut()) == jpeg(cut())


def test_a_finer_quantiser_gives_a_larger_picture() -> None:
    fine = replace(cut().period, thumbnails=Thumbnails(track="thumb0", source="v0", width=160, height=90, quality=2))
    assert jpeg(cut(period=fine)) != jpeg(cut())


def test_what_cannot_be_decoded_is_refused_in_words() -> None:
    _, chunk = encoded("libx264")
    at = chunk.index(b"mdat") + 4
    with pytest.raises(RejectedError, match=r"cannot be decoded|no picture"):
        jpeg(cut(pieces=(chunk[:at] + bytes(len(chunk) - at),)))


def test_a_codec_that_this_build_cannot_decode_is_refused_and_ends_no_packager(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thumbnails, "_decoder", lambda _: ("of-another-build", b""))
    with pytest.raises(RejectedError, match="cannot be decoded"):
        jpeg(cut())


@pytest.mark.parametrize("place", ["_encoded", "_decoder"])
def test_what_lacks_memory_is_no_fault_of_the_picture(monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    def lacks(*_: object) -> None:
        raise av.error.MemoryError(errno.ENOMEM, "Cannot allocate memory")

    monkeypatch.setattr(thumbnails, place, lacks)
    with pytest.raises(MemoryError):
        jpeg(cut())


def test_a_picture_that_cannot_be_encoded_is_refused_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thumbnails, "PIXELS", "of-another-build")
    with pytest.raises(RejectedError, match="cannot be made a thumbnail"):
        jpeg(cut())

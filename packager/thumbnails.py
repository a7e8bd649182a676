"""Thumbnails: the first picture of a segment as a JPEG; the only importer of PyAV in the packager."""

from fractions import Fraction
from functools import lru_cache
from io import BytesIO

import av
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation

from packager.boxes import read_chunk, read_init
from packager.cuts import CutPicture
from schemas.errors import RejectedError
from schemas.records import Thumbnails
from schemas.timeline import source_track

# Full range, as JPEG is defined (JFIF).
PIXELS = "yuvj420p"
# One picture knows no rate.
TIME_BASE = Fraction(1, 25)
# What the libraries raise for what they cannot do; a codec that this build lacks is a ValueError.
CANNOT = (av.FFmpegError, ValueError)
# Channels at once of which the decoder's configuration is kept.
INITS_MAX = 256


def jpeg(cut: CutPicture) -> bytes:
    """
    The thumbnail of a segment, the same bytes from the same libraries: its first picture, scaled and encoded by fixed settings.

    Raises:
        RejectedError: The first chunk of the segment holds no picture that can be decoded.
    """
    made = cut.period.thumbnails
    if made is None:
        raise ValueError(f"no thumbnails are wanted of period {cut.period.period} of {cut.period.channel}")
    picture = _first_picture(source_track(cut.period, made).init, b"".join(cut.pieces))
    try:
        return _encoded(picture, made)
    except MemoryError:  # of the libraries, too: it says nothing of the picture
        raise
    except CANNOT as error:
        raise RejectedError(f"the first picture cannot be made a thumbnail: {error}") from error


def _encoded(picture: VideoFrame, made: Thumbnails) -> bytes:
    encoder = VideoCodecContext.create("mjpeg", "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = made.width, made.height, PIXELS, TIME_BASE
    encoder.thread_count = 1
    encoder.qmin = encoder.qmax = made.quality  # no rate control: the bytes depend on the picture alone
    encoder.options = {"flags": "+bitexact"}
    scaled = picture.reformat(width=made.width, height=made.height, format=PIXELS, interpolation=Interpolation.AREA)
    scaled.pts = 0
    return b"".join(bytes(packet) for packet in (*encoder.encode(scaled), *encoder.encode(None)))


def _first_picture(init: bytes, chunk: bytes) -> VideoFrame:
    """The picture of the first sample: the container is read by ourselves, since probing it would cost five times the decoding."""
    start, end = read_chunk(chunk, read_init(init)).first_sample
    try:
        codec, extradata = _decoder(init)
        decoder = av.CodecContext.create(codec, "r")
        if not isinstance(decoder, VideoCodecContext):
            raise RejectedError(f"{codec} is no video")
        decoder.extradata, decoder.thread_count = extradata, 1
        frames = [*decoder.decode(av.Packet(chunk[start:end])), *decoder.decode(None)]
    except MemoryError:
        raise
    except CANNOT as error:
        raise RejectedError(f"the first picture cannot be decoded: {error}") from error
    if not frames:
        raise RejectedError("the first sample is no picture")
    return frames[0]


@lru_cache(INITS_MAX)
def _decoder(init: bytes) -> tuple[str, bytes]:
    """Decoder of a track and its configuration, as the init segment says."""
    with av.open(BytesIO(init), format="mp4") as container:
        if not container.streams.video:
            raise RejectedError("the init segment has no video")
        context = container.streams.video[0].codec_context
        return context.codec.name, bytes(context.extradata or b"")

"""Tracks as `ChannelWriter` wants them."""

from fractions import Fraction

from schemas.errors import RejectedError, UserError
from schemas.records import Track, TrackKind
from schemas.units import Ticks
from streams.ingest.init import InitSegment


def describe_track(
    track: str,
    kind: TrackKind,
    *,
    init: bytes,
    frame: Fraction,
    bandwidth_bps: int,
    width: int = 0,
    height: int = 0,
    sample_rate_hz: int = 0,
    audio_channels: int = 0,
    language: str = "und",
    closed_captions: bool | None = None,
) -> Track:
    """
    A track as `ChannelWriter` wants it; timescale and codec are read from its init segment.

    Args:
        init: ``ftyp`` and ``moov`` of one track.
        frame: Seconds of one coded frame: 1/25, or 1024/48000 for AAC.
        bandwidth_bps: Declared peak bit rate.
        closed_captions: Whether its pictures carry CEA-608 or CEA-708 captions; leave it out if you do not know.

    Raises:
        UserError: The init segment cannot be read, or a frame is no whole number of its ticks.
    """
    try:
        read = InitSegment(init)
        ticks = frame * read.timescale
        if ticks.denominator != 1:
            raise RejectedError(f"a frame of {frame} s is no whole number of ticks at {read.timescale} per second")
        return Track(
            track=track,
            kind=kind,
            codec=read.codec,
            timescale=read.timescale,
            frame_ticks=Ticks(ticks.numerator),
            start_ticks=Ticks(0),
            bandwidth_bps=bandwidth_bps,
            init=init,
            width=width,
            height=height,
            sample_rate_hz=sample_rate_hz,
            audio_channels=audio_channels,
            language=language,
            closed_captions=closed_captions,
        )
    except RejectedError as error:
        raise UserError(f"track {track}: {error}", do="write the init segment with one track and an exact timescale") from error

"""One coded frame on its way from an encoder to a chunk."""

from dataclasses import dataclass

from schemas.units import Ticks


@dataclass(frozen=True, slots=True)
class Sample:
    """
    One coded frame.

    Attributes:
        time_ticks: Decode time on the encoder's clock, in the track's timescale; one origin for all tracks of a channel.
        data: Bytes as they stand in MP4 (H.264 and HEVC with length-prefixed NAL units).
        sync: Whether decoding can start here (H.264, HEVC: an IDR); every sample of audio.
        composition_ticks: Presentation minus decode time; 0 without B-frames.
    """

    time_ticks: Ticks
    data: bytes
    sync: bool
    composition_ticks: int = 0

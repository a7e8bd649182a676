"""The encoders of one track, H.264 and AAC: frames in, samples out, and the init segment that goes with them."""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import Any

import av
from av.audio.codeccontext import AudioCodecContext
from av.audio.frame import AudioFrame
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType, VideoFrame
from av.video.reformatter import VideoReformatter

from schemas.records import Track, TrackKind
from schemas.units import Ticks
from streams.ingest.init import InitSegment
from streams.ingest.ladder import (
    AUDIO_BITRATE_BPS,
    AUDIO_FRAME,
    AUDIO_PEAK_BPS,
    AUDIO_RATE_HZ,
    BUFFER,
    MAXRATE,
    Rendition,
    gop_frames_of,
    timescale_of,
)
from streams.ingest.nal import has_idr, length_prefixed
from streams.ingest.samples import Sample
from streams.ingest.text import PEAK_BPS, init_segment
from streams.ingest.tracks import describe_track

AUDIO_TRACK = "a0"
# 480 lines and below: Main is decoded everywhere.
MAIN_HEIGHT_MAX = 480


class VideoEncoder:
    """One rendition in H.264: closed GOPs of fixed length, no B-frames, parameter sets in band before each IDR."""

    def __init__(self, rendition: Rendition, rate: Fraction, *, preset: str) -> None:
        gop = gop_frames_of(rate)
        options = {
            "preset": preset,
            "tune": "zerolatency",
            "profile": "main" if rendition.height <= MAIN_HEIGHT_MAX else "high",
            "b": str(rendition.bitrate_bps),
            "maxrate": str(int(rendition.bitrate_bps * MAXRATE)),
            "bufsize": str(int(rendition.bitrate_bps * BUFFER)),
            # In-band parameter sets let another encoder go on under the same init segment.
            "a53cc": "0",
            "x264-params": f"keyint={gop}:min-keyint={gop}:scenecut=0:open-gop=0:repeat-headers=1",
        }
        context = av.CodecContext.create("libx264", "w")
        assert isinstance(context, VideoCodecContext)  # noqa: S101
        self._context = context
        self._shape(context, rendition, rate)
        # One thread each: renditions run side by side, and each frame leaves in few codec slices.
        context.thread_count, context.options = 1, options
        # Now rather than at the first frame, whose arrival dates the whole period.
        context.open()
        self._rendition, self._reformatter = rendition, VideoReformatter()
        init = _Header()
        with av.open(init, "w", format="mp4", options=HEADER | {"video_track_timescale": str(timescale_of(rate))}) as container:
            stream = container.add_stream("libx264", rate=rate, options=options)
            self._shape(stream.codec_context, rendition, rate)
            container.start_encoding()
        self.track: Track = describe_track(
            rendition.track,
            TrackKind.VIDEO,
            init=init.whole(),
            frame=1 / rate,
            bandwidth_bps=rendition.peak_bps,
            width=rendition.width,
            height=rendition.height,
            closed_captions=False,
        )
        self._time_base = 1 / rate

    def encode(self, number: int, frame: VideoFrame) -> Iterator[Sample]:
        """Samples that are ready after this frame."""
        scaled = self._reformatter.reformat(frame, self._rendition.width, self._rendition.height, "yuv420p")
        # What the frame was in the source must not force what it becomes here.
        scaled.pict_type = PictureType.NONE
        scaled.pts, scaled.time_base = number, self._time_base
        return self._samples(self._context.encode(scaled))

    def finish(self) -> Iterator[Sample]:
        """The rest."""
        return self._samples(self._context.encode(None))

    def _samples(self, packets: Iterable["Packet[Any]"]) -> Iterator[Sample]:
        for packet in packets:
            assert packet.dts is not None and packet.pts is not None  # noqa: S101, PT018
            data = length_prefixed(bytes(packet))
            frame_ticks = self.track.frame_ticks
            yield Sample(Ticks(packet.dts * frame_ticks), data, has_idr(data), (packet.pts - packet.dts) * frame_ticks)

    @staticmethod
    def _shape(context: VideoCodecContext, rendition: Rendition, rate: Fraction) -> None:
        context.width, context.height, context.pix_fmt = rendition.width, rendition.height, "yuv420p"
        context.time_base, context.framerate = 1 / rate, rate


class AudioEncoder:
    """Stereo AAC-LC."""

    def __init__(self) -> None:
        context = av.CodecContext.create("aac", "w")
        assert isinstance(context, AudioCodecContext)  # noqa: S101
        self._context = context
        context.sample_rate, context.layout, context.format = AUDIO_RATE_HZ, "stereo", "fltp"
        context.bit_rate, context.time_base = AUDIO_BITRATE_BPS, Fraction(1, AUDIO_RATE_HZ)
        init = _Header()
        with av.open(init, "w", format="mp4", options=HEADER) as container:
            stream = container.add_stream("aac", rate=AUDIO_RATE_HZ)
            stream.codec_context.layout, stream.codec_context.bit_rate = "stereo", AUDIO_BITRATE_BPS
            container.start_encoding()
        self.track: Track = describe_track(
            AUDIO_TRACK,
            TrackKind.AUDIO,
            init=init.whole(),
            frame=Fraction(AUDIO_FRAME, AUDIO_RATE_HZ),
            bandwidth_bps=AUDIO_PEAK_BPS,
            sample_rate_hz=AUDIO_RATE_HZ,
            audio_channels=2,
        )

    def encode(self, number: int, frame: AudioFrame) -> Iterator[Sample]:
        """Samples that are ready after this frame."""
        frame.pts = number
        return self._samples(self._context.encode(frame))

    def finish(self) -> Iterator[Sample]:
        """The rest."""
        return self._samples(self._context.encode(None))

    @staticmethod
    def _samples(packets: Iterable["Packet[Any]"]) -> Iterator[Sample]:
        for packet in packets:
            # The first packet holds the encoder's run-up before time 0, nothing to hear.
            if packet.pts is not None and packet.pts >= 0:
                yield Sample(Ticks(packet.pts), bytes(packet), sync=True)


def text_track(number: int, language: str, rate: Fraction) -> Track:
    """
    The track of a source's stream of text, in ticks that every frame of the pictures is a whole number of.

    Args:
        number: Among the streams of text.
        language: As ISO 639-2.
        rate: Pictures per second.
    """
    timescale = timescale_of(rate)
    init = init_segment(timescale, language)
    language = InitSegment(init).language
    return describe_track(f"t{number}", TrackKind.AUDIO, init=init, frame=Fraction(1, timescale), bandwidth_bps=PEAK_BPS, language=language)


# cmaf: one track, no edit list, brand cmfc; the header is written before any frame.
HEADER = {"movflags": "cmaf+frag_keyframe+default_base_moof+skip_trailer", "use_editlist": "0"}


class _Header:
    """What a muxer writes before the first frame."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def write(self, piece: bytes) -> int:
        self._pieces.append(bytes(piece))
        return len(piece)

    def whole(self) -> bytes:
        return b"".join(self._pieces)

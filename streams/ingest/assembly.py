"""What pushed tracks have in common, found out from their first GOP: tracks, frame rate, GOP, and where they begin (pure)."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction

from schemas.errors import RejectedError
from schemas.records import Track, TrackKind
from streams.ingest.init import InitSegment
from streams.ingest.ladder import nearest_rate
from streams.ingest.nal import has_idr
from streams.ingest.samples import Sample
from streams.ingest.text import PEAK_BPS, Cue, read_cues
from streams.ingest.tracks import describe_track

# Nothing is held longer than this for a second key frame: a GOP is no longer than a segment.
HELD_S_MAX = 20
HELD_BYTES_MAX = 256 * 2**20
# A declared frame rate and real durations may differ by the rounding of the timescale.
RATE_TOLERANCE = Fraction(1, 1_000)
# Peak over the rate of the first GOP, where the init segment declares none.
PEAK = 1.5
# ATSC A/53 part 4: the identifier of captions in the user data of pictures; encoders that carry them do so from the first picture on.
CAPTIONS = b"\xb5\x001GA94"
# Cues of a track held until the channel begins.
CUES_MAX = 1_000
# GOPs of a channel without pictures are cut this long.
AUDIO_GOP_S = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """
    What a `ChannelWriter` wants to know.

    Attributes:
        tracks: Tracks.
        frame_rate: Frames per second of the pictures, or of the sound where there are none.
        gop_frames: Frames from one key frame to the next.
        start: Instant, in seconds of the encoder's clock, at which all pictures have a key frame.
    """

    tracks: tuple[Track, ...]
    frame_rate: Fraction
    gop_frames: int
    start: Fraction


@dataclass(slots=True)
class _Pushed:
    """One track so far."""

    track: str
    init: bytes
    read: InitSegment
    samples: list[Sample] = field(default_factory=list)
    durations: Counter[int] = field(default_factory=Counter)
    size: int = 0

    @property
    def is_video(self) -> bool:
        return self.read.kind is TrackKind.VIDEO

    @property
    def frame_ticks(self) -> int:
        ticks = self.durations.most_common(1)[0][0]
        if ticks < 1:
            raise RejectedError(f"the frames of track {self.track} have no duration: give one in trun, tfhd or trex")
        return ticks

    @property
    def frame(self) -> Fraction:
        """Seconds of a frame, by its most common duration."""
        return Fraction(self.frame_ticks, self.read.timescale)

    def seconds(self, sample: Sample) -> Fraction:
        return Fraction(sample.time_ticks, self.read.timescale)

    @property
    def syncs(self) -> list[int]:
        """Indices of the key frames."""
        return [index for index, sample in enumerate(self.samples) if self._is_sync(sample)]

    def _is_sync(self, sample: Sample) -> bool:
        if self.read.is_avc or self.read.is_hevc:
            return has_idr(sample.data, hevc=self.read.is_hevc)
        return sample.sync


@dataclass(slots=True)
class _PushedText:
    """One track of text so far: it may be silent, and nothing waits for it."""

    track: Track
    cues: list[Cue] = field(default_factory=list)


class Assembly:
    """Holds the tracks of a channel until it is known how they fit together."""

    def __init__(self) -> None:
        self._tracks: dict[str, _Pushed] = {}
        self._texts: dict[str, _PushedText] = {}

    @property
    def tracks(self) -> frozenset[str]:
        """Tracks announced."""
        return frozenset({*self._tracks, *self._texts})

    def announce(self, track: str, init: bytes) -> None:
        """
        A track and its init segment.

        Raises:
            RejectedError: The init segment is none, or of a codec that we do not know.
        """
        read = InitSegment(init)
        if read.is_text:
            bandwidth, frame = read.bandwidth_bps or PEAK_BPS, Fraction(1, read.timescale)
            language = read.language
            described = describe_track(track, read.kind, init=init, frame=frame, bandwidth_bps=bandwidth, language=language)
            self._texts[track] = _PushedText(described)
        else:
            self._tracks[track] = _Pushed(track, init, read)

    def add(self, track: str, samples: tuple[Sample, ...], durations: tuple[int, ...]) -> None:
        """
        Samples of a track announced before.

        Raises:
            RejectedError: No second key frame came for too long, or samples of text are none.
        """
        if track in self._texts:
            text = self._texts[track]
            text.cues = [*text.cues, *read_cues(samples, durations, text.track.timescale)][-CUES_MAX:]
            return
        held = self._tracks[track]
        held.samples += samples
        held.durations.update(durations)
        held.size += sum(len(sample.data) for sample in samples)
        span = held.seconds(held.samples[-1]) - held.seconds(held.samples[0])
        if span > HELD_S_MAX or sum(other.size for other in self._tracks.values()) > HELD_BYTES_MAX:
            raise RejectedError(self._why_not(held))

    def _why_not(self, longest: _Pushed) -> str:
        late = sorted(held.track for held in self._tracks.values() if not held.samples)
        if late:
            return f"track {', '.join(late)} was announced and sends nothing, {HELD_S_MAX} s after track {longest.track} began"
        poor = sorted(held.track for held in self._tracks.values() if held.is_video and len(held.syncs) < 2)
        return f"no two key frames within {HELD_S_MAX} s of track {', '.join(poor) or longest.track}: set a fixed GOP of 1 to 4 s"

    def shape(self) -> Shape | None:
        """
        How the tracks fit together; None while too little of them is there.

        Raises:
            RejectedError: They do not: the reason says what to change at the encoder.
        """
        if not self._tracks or any(not held.samples for held in self._tracks.values()):
            return None
        videos = [held for held in self._tracks.values() if held.is_video]
        if not videos:
            return self._of_sound()
        if any(len(held.syncs) < 2 for held in videos):
            return None
        rate, gop = _rate(videos[0]), _gop(videos[0])
        for other in videos[1:]:
            if (_rate(other), _gop(other)) != (rate, gop):
                raise RejectedError(
                    f"track {videos[0].track} has GOPs of {gop} frames at {float(rate):g}/s, track {other.track} of {_gop(other)} at "
                    f"{float(_rate(other)):g}/s: encode all renditions with one frame rate and one fixed GOP"
                )
        start = max(held.seconds(held.samples[held.syncs[0]]) for held in videos)
        for held in videos:
            # Half a frame is rounding between timescales.
            near = [abs(held.seconds(held.samples[index]) - start) for index in held.syncs]
            if held.seconds(held.samples[-1]) < start:
                return None
            if min(near) > 1 / rate / 2:
                raise RejectedError(
                    f"the key frames of track {held.track} lie {round(float(min(near)) * 1_000)} ms beside those of the others: "
                    "force key frames at the same instants in all renditions"
                )
        return self._shape(rate, gop, start)

    def _of_sound(self) -> Shape:
        first = next(iter(self._tracks.values()))
        start = max(held.seconds(held.samples[0]) for held in self._tracks.values())
        return self._shape(1 / first.frame, max(1, round(AUDIO_GOP_S / first.frame)), start)

    def _shape(self, rate: Fraction, gop: int, start: Fraction) -> Shape:
        tracks = tuple(self._track(held) for held in sorted(self._tracks.values(), key=lambda held: (not held.is_video, held.track)))
        tracks += tuple(text.track for _, text in sorted(self._texts.items()))
        return Shape(tracks=tracks, frame_rate=rate, gop_frames=gop, start=start)

    def _track(self, held: _Pushed) -> Track:
        span = max(held.frame, held.seconds(held.samples[-1]) - held.seconds(held.samples[0]) + held.frame)
        read = held.read
        return describe_track(
            held.track,
            read.kind,
            init=held.init,
            frame=held.frame,
            bandwidth_bps=read.bandwidth_bps or round(float(held.size * 8 / span) * PEAK),
            width=read.width,
            height=read.height,
            sample_rate_hz=read.sample_rate_hz,
            audio_channels=read.audio_channels,
            language=read.language,
            closed_captions=any(CAPTIONS in sample.data for sample in held.samples) if held.is_video else None,
        )

    def cues(self) -> Iterator[tuple[str, Cue]]:
        """The cues held, track by track."""
        return ((track, cue) for track, text in self._texts.items() for cue in text.cues)

    def release(self, shape: Shape) -> Iterator[tuple[str, Sample]]:
        """The samples held, from the common start on, in the order of their times; those before it are of no use to anybody."""
        held = [
            (pushed.seconds(sample), not pushed.is_video, pushed.track, sample)
            for pushed in self._tracks.values()
            for sample in pushed.samples
            if pushed.seconds(sample) >= shape.start - pushed.frame / 2
        ]
        for pushed in self._tracks.values():
            pushed.samples.clear()
        for _, _, track, sample in sorted(held, key=lambda each: each[:3]):
            yield track, sample


def _rate(held: _Pushed) -> Fraction:
    """Frames per second, as one of the usual rates."""
    rate = nearest_rate(1 / held.frame)
    if abs(rate * held.frame - 1) > RATE_TOLERANCE:
        raise RejectedError(
            f"track {held.track} has {float(1 / held.frame):.3f} frames/s, which is no usual rate: encode at a constant one"
        )
    if rate * held.frame != 1:
        raise RejectedError(
            f"track {held.track} has {float(rate):.5g} frames/s, which are no whole ticks of its timescale {held.read.timescale}: "
            f"use {rate.numerator if rate.denominator > 1 else 12_800} (FFmpeg: -video_track_timescale)"
        )
    return rate


def _gop(held: _Pushed) -> int:
    syncs = held.syncs
    return syncs[1] - syncs[0]

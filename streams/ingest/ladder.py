"""Which renditions a source gets (pure)."""

from dataclasses import dataclass
from fractions import Fraction

# x264's own bounds: a second never takes more than this over the wanted rate, and its buffer is this share of a second.
MAXRATE = Fraction(6, 5)
BUFFER = Fraction(3, 5)
# moof and mdat headers of video chunks, at most.
OVERHEAD = Fraction(103, 100)
AUDIO_BITRATE_BPS = 96_000
# AAC at 96 kb/s with its chunk headers stays below this over half a target duration.
AUDIO_PEAK_BPS = 140_000
AUDIO_RATE_HZ = 48_000
AUDIO_FRAME = 1_024
# Rates that cameras and files really have; anything else is brought to the nearest.
FRAME_RATES = (
    *(Fraction(rate) for rate in (10, 12, 15, 20)),
    Fraction(24_000, 1_001), Fraction(24), Fraction(25), Fraction(30_000, 1_001), Fraction(30),
    Fraction(50), Fraction(60_000, 1_001), Fraction(60),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Rendition:
    """
    One video track of the ladder.

    Attributes:
        track: Track id.
        width: Pixels, even.
        height: Pixels, even.
        bitrate_bps: Mean bit rate.
    """

    track: str
    width: int
    height: int
    bitrate_bps: int

    @property
    def peak_bps(self) -> int:
        """
        Bit rate that no two seconds exceed: the rate control's maximum and one buffer more.

        >>> Rendition(track="v0", width=640, height=360, bitrate_bps=800_000).peak_bps
        1236000
        """
        return int(self.bitrate_bps * (MAXRATE + BUFFER / 2) * OVERHEAD)


LADDER = (
    Rendition(track="v0", width=640, height=360, bitrate_bps=800_000),
    Rendition(track="v1", width=854, height=480, bitrate_bps=1_400_000),
    Rendition(track="v2", width=1280, height=720, bitrate_bps=2_800_000),
)


def fit(ladder: tuple[Rendition, ...], *, width: int, height: int) -> tuple[Rendition, ...]:
    """
    The renditions no larger than a source, in its shape; a source smaller than all gets the smallest in its own size.

    Args:
        width: Displayed width of the source (square pixels).
        height: Its height.

    >>> [(r.track, r.width, r.height) for r in fit(LADDER, width=1280, height=720)]
    [('v0', 640, 360), ('v1', 854, 480), ('v2', 1280, 720)]
    >>> [(r.track, r.width, r.height) for r in fit(LADDER, width=176, height=144)]
    [('v0', 176, 144)]
    """
    fitting = [r for r in ladder if r.height <= height] or [_sized(ladder[0], width, height, height)]
    return tuple(_sized(r, width, height, r.height) for r in fitting)


def _sized(rendition: Rendition, width: int, height: int, wanted: int) -> Rendition:
    # 4:2:0 halves both sides.
    sides = _even(Fraction(wanted * width, height)), _even(Fraction(wanted))
    return Rendition(track=rendition.track, width=sides[0], height=sides[1], bitrate_bps=rendition.bitrate_bps)


def _even(size: Fraction) -> int:
    return max(2, 2 * round(size / 2))


def nearest_rate(rate: Fraction | None) -> Fraction:
    """
    The usual frame rate nearest to a source's; 25 if it does not say.

    >>> nearest_rate(Fraction(2997, 100)), nearest_rate(None)
    (Fraction(30000, 1001), Fraction(25, 1))
    """
    return min(FRAME_RATES, key=lambda usual: abs(usual - rate)) if rate else Fraction(25)


def timescale_of(rate: Fraction) -> int:
    """
    Ticks per second in which a frame is a whole number of ticks.

    >>> timescale_of(Fraction(25)), timescale_of(Fraction(30_000, 1_001))
    (25000, 30000)
    """
    return rate.numerator if rate.numerator >= 10_000 else rate.numerator * 1_000


def gop_frames_of(rate: Fraction) -> int:
    """
    Frames of a GOP of about one second.

    >>> gop_frames_of(Fraction(24_000, 1_001))
    24
    """
    return round(rate)


def loop_gops(rate: Fraction, *, seconds: float, has_audio: bool) -> int:
    """
    GOPs of a recording that can be repeated for ever: near the wanted length, and a whole number of audio frames.

    >>> loop_gops(Fraction(25), seconds=22, has_audio=True)
    24
    """
    gop = gop_frames_of(rate) / rate
    step = (gop * AUDIO_RATE_HZ / AUDIO_FRAME).denominator if has_audio else 1
    return max(1, round(Fraction(seconds) / gop / step)) * step

"""Who watches what, and when: sessions as origins would count them."""

from dataclasses import dataclass
from random import Random

from schemas.records import ChannelDemand
from schemas.units import UnixMs

SESSIONS_MAX = 40
STAY_MS = (6_000, 30_000)
AWAY_MS = (2_000, 25_000)


@dataclass(frozen=True, kw_only=True, slots=True)
class Crowd:
    """
    Sessions that come and go together.

    Attributes:
        come: When.
        leave: When.
        whole: Those that fetch whole segments.
        parts: Those that fetch parts.
    """

    come: UnixMs
    leave: UnixMs
    whole: int
    parts: int


class Audience:
    """The viewers of one origin."""

    def __init__(self, channels: list[str], *, start: UnixMs, end: UnixMs, rng: Random) -> None:
        """
        Args:
            channels: Channels there are.
            start: When the first may come.
            end: When nobody comes any more.
            rng: Draws them.
        """
        self._crowds = {channel: _crowds(start, end, rng) for channel in channels}

    def __call__(self, channel: str, at: UnixMs) -> ChannelDemand | None:
        """What an origin sees of a channel in the second that ends now; None: nobody."""
        crowd = next((c for c in self._crowds[channel] if c.come <= at < c.leave), None)
        if crowd is None:
            return None
        joins = crowd.whole + crowd.parts if at - crowd.come < 1_000 else 0
        return ChannelDemand(
            channel=channel, whole_sessions=crowd.whole, part_sessions=crowd.parts, joins=joins, requests=2 * (crowd.whole + crowd.parts)
        )


def _crowds(start: UnixMs, end: UnixMs, rng: Random) -> list[Crowd]:
    crowds, at = [], start
    while at < end:
        come = UnixMs(at + rng.randint(*AWAY_MS))
        at = UnixMs(come + rng.randint(*STAY_MS))
        crowds.append(Crowd(come=come, leave=at, whole=rng.randint(1, SESSIONS_MAX), parts=rng.randint(0, SESSIONS_MAX)))
    return crowds

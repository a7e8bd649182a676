"""``finecut end``: the end of a channel whose encoder never returned."""

from fractions import Fraction

import structlog

from schemas.errors import RejectedError, SupersededError, UserError
from schemas.records import check_id
from schemas.settings import Settings
from schemas.timeline import frames_per_gop
from streams.ingest.link import Link
from streams.ingest.occupied import await_silence
from streams.ingest.producer import ChannelWriter

log = structlog.get_logger()


def run(settings: Settings, channel: str, *, take_over: bool = False) -> int:
    """
    Exit status 0 once the channel is ended, at the last part instant that all its tracks reached.

    Args:
        settings: Where the log is.
        channel: The channel.
        take_over: Also from whoever writes it now, who ends; else that is an error.

    Raises:
        UserError: There is no such channel, it has ended, somebody writes it, or Kafka does not answer.
    """
    try:
        check_id(channel, what="channel")
    except RejectedError as error:
        raise UserError(str(error)) from error
    link = Link(settings)
    try:
        period = link.registry.newest(channel)
        if period is None:
            raise UserError(f"there never was a channel {channel}", do="`finecut status` names those that are live")
        end = link.registry.end_of(period)
        if end is not None and end.channel_ended:
            raise UserError(f"channel {channel} has ended already")
        if not take_over:
            await_silence(settings.kafka, [channel], silence_ms=settings.ingest.standby_ms)
        rate = Fraction(period.frame_rate_num, period.frame_rate_den)
        # A writer that takes over and writes nothing: leaving it ends the channel where the log ends.
        with ChannelWriter(settings, channel=channel, tracks=period.tracks, frame_rate=rate, gop_frames=frames_per_gop(period), link=link):
            log.info("channel_taken_over", channel=channel, life=period.life)
    except SupersededError as error:
        raise UserError(f"channel {channel} was begun anew at this moment", do="stop who writes it, then end it") from error
    finally:
        link.close()
    return 0

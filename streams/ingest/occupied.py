"""Whether somebody writes a channel now: who would take it over without meaning to is told, and one that fell silent is waited for."""

import time
from collections.abc import Sequence

import structlog
from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from schemas.errors import RejectedError, UserError
from schemas.records import MarkKind, MediaMark
from schemas.registry import codec_of
from schemas.settings import KafkaSettings
from schemas.topics import MEDIA
from streams.ingest.reading import ANSWER_S, ERRORS, KafkaAwayError, make_consumer, offset_at
from streams.ingest.registry import Registry

log = structlog.get_logger()

LOOK_S = 0.1


def await_silence(kafka: KafkaSettings, channels: Sequence[str], *, silence_ms: int) -> None:
    """
    Returns once nobody has written to any of the channels for a time: at once where nobody did lately, or who did ended the channel.

    Raises:
        UserError: Somebody writes.
        KafkaAwayError: Kafka does not answer.
    """
    registry = Registry(kafka, lambda *_: None)  # what it rejects is told by who writes
    try:
        registry.start()
        periods = [period for channel in channels if (period := registry.newest(channel))]
        ends = {period.channel: registry.end_of(period) for period in periods}
    finally:
        registry.close()
    live = {period.channel: period.media_partition for period in periods if not ((end := ends[period.channel]) and end.channel_ended)}
    if live:
        since = time.time_ns() // 1_000_000 - silence_ms
        places = [TopicPartition(MEDIA.name(kafka), partition, offset_at(kafka, MEDIA, partition, since)) for partition in {*live.values()}]
        consumer = make_consumer(kafka)
        try:
            consumer.assign(places)
            _watch(kafka, consumer, _Writers(kafka, set(live)), unread={place.partition for place in places}, silence_ms=silence_ms)
        finally:
            consumer.close()


class _Writers:
    """Who wrote to channels, by channel; who ended one writes it no more."""

    def __init__(self, kafka: KafkaSettings, channels: set[str]) -> None:
        self.lives: dict[str, str] = {}
        self._codec = codec_of(kafka)
        self._channels = channels

    def take(self, message: Message) -> str | None:
        """The channel that a record shows to be written."""
        channel = bytes(message.key() or b"").decode(errors="replace")
        if channel not in self._channels:
            return None
        try:
            record = self._codec.decode_chunk_header(message.value() or b"")
        except RejectedError:
            return None  # whoever packages this partition writes it to `rejects`
        if isinstance(record, MediaMark) and record.kind is MarkKind.CHANNEL_END:
            self._channels.discard(channel)
            self.lives.pop(channel, None)
            return None
        self.lives[channel] = record.life
        return channel


def _watch(kafka: KafkaSettings, consumer: Consumer, writers: _Writers, *, unread: set[int], silence_ms: int) -> None:
    until_s = time.monotonic() + ANSWER_S
    while unread:
        if time.monotonic() > until_s:
            raise KafkaAwayError(kafka.bootstrap_servers, "it stopped answering")
        _read(consumer, writers, unread)
    if writers.lives:
        log.info("silence_awaited", channels=sorted(writers.lives), silence_ms=silence_ms)
    until_s = time.monotonic() + silence_ms / 1_000
    while time.monotonic() < until_s and writers.lives:
        if channel := _read(consumer, writers, unread):
            raise UserError(
                f"channel {channel} is being written by another encoder, run {writers.lives[channel]}",
                do="stop that one, name another channel, or take this one over on purpose with --take-over: then that one ends",
            )


def _read(consumer: Consumer, writers: _Writers, unread: set[int]) -> str | None:
    """The channel that the next record shows to be written, if one comes soon."""
    message = consumer.poll(LOOK_S)
    if message is None:
        return None
    error = message.error()
    if error is None:
        return writers.take(message)
    if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001
        unread.discard(message.partition() or 0)
    elif error.code() in ERRORS:
        raise UserError(f"cannot read the chunks: {error.str()}", do="check the topics: finecut topics verify")
    return None

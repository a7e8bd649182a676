"""The log in Kafka, without one."""

import asyncio

import pytest

from schemas.settings import KafkaSettings
from streams import log
from streams.log import KafkaLog


class _Unheard:
    """A client whose last words nobody acknowledges."""

    async def stop(self) -> None:
        await asyncio.get_running_loop().create_future()


async def test_whoever_closes_the_log_does_not_wait_for_brokers_that_are_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "CLOSE_TIMEOUT_S", 0.05)
    kafka_log = KafkaLog(KafkaSettings())
    kafka_log._producer = kafka_log._asking = _Unheard()
    await asyncio.wait_for(kafka_log.__aexit__(), 30)

"""Two transports that force the order of events in which Faust loses a first record: it is drained before the seek to commits."""

from typing import Any

import aiokafka
from faust.transport import drivers
from faust.transport.drivers import aiokafka as driver

from streams import transport

drivers.TRANSPORTS.aliases.update({"drained-stock": f"{__name__}:Stock", "drained-cured": f"{__name__}:Cured"})
FETCH_S = 10


class Drains:
    """A consumer that takes one record from the partition just before each seek, as the fetcher of a recovering worker may."""

    async def perform_seek(self: Any) -> None:
        await self._thread.call_thread(self._drain)
        await super().perform_seek()  # type: ignore[misc]

    async def _drain(self: Any) -> None:
        consumer: aiokafka.AIOKafkaConsumer = self._thread._ensure_consumer()
        for tp in consumer.assignment():
            if not tp.topic.endswith("-changelog"):
                await consumer.getone(tp)


class StockConsumer(Drains, driver.Consumer):
    pass


class CuredConsumer(Drains, transport.Consumer):
    pass


class Stock(driver.Transport):
    Consumer = StockConsumer


class Cured(transport.Transport):
    Consumer = CuredConsumer

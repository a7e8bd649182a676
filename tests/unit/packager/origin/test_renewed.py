"""An origin's producer that can take nothing more."""

from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from packager.origin import renewed
from packager.origin.renewed import Renewed


class Producer:
    """Takes records until it is told an error."""

    made: list["Producer"]

    def __init__(self, settings: dict[str, Any]) -> None:
        self.settings, self.taken, self.error = settings, list[str](), 0
        self.is_purged = self.is_served = False
        Producer.made.append(self)

    def produce(self, topic: str) -> None:
        if self.error:
            raise KafkaException(KafkaError(self.error))
        self.taken.append(topic)

    def purge(self) -> None:
        self.is_purged = True

    def poll(self, timeout_s: float) -> int:
        self.is_served = self.is_purged
        return 0


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Producer]:
    Producer.made = []
    monkeypatch.setattr(renewed, "Producer", Producer)
    return Producer.made


def test_a_producer_that_failed_for_ever_is_followed_by_another_which_takes_the_record(made: list[Producer]) -> None:
    producer = Renewed({"acks": "all"})
    producer.produce("first")
    made[0].error = KafkaError._FATAL
    producer.produce("second")
    assert [one.taken for one in made] == [["first"], ["second"]]
    assert made[0].is_served, "what waited in it is told to whoever sent it"
    assert made[1].settings == {"acks": "all"}


def test_any_other_error_is_the_callers_business(made: list[Producer]) -> None:
    producer = Renewed({})
    made[0].error = KafkaError.MSG_SIZE_TOO_LARGE
    with pytest.raises(KafkaException):
        producer.produce("large")
    assert len(made) == 1

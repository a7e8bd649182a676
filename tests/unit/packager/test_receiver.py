"""What a packager knows of the channels of its pool; no broker."""

import pytest

from packager.receiver import Receiver
from schemas.topics import period_end_key, period_key
from tests.builders import make_period


@pytest.fixture
def receiver() -> Receiver:
    made = Receiver.__new__(Receiver)  # its folds alone: nothing is read
    made.periods = {}
    for channel, number in (("news", 0), ("news", 1), ("sport", 0)):
        made._configure(period_key(channel, number), make_period(channel, period=number))
    return made


def test_a_period_that_is_deleted_is_forgotten_with_its_init_segments(receiver: Receiver) -> None:
    receiver._configure(period_key("news", 0), None)
    assert {channel: list(periods) for channel, periods in receiver.periods.items()} == {"news": [1], "sport": [0]}
    receiver._configure(period_key("sport", 0), None)
    assert list(receiver.periods) == ["news"]


@pytest.mark.parametrize("key", [period_end_key("news", 0), "news", "", "news/", "nobody/3", "news/²", "news/9"])
def test_any_other_tombstone_of_channels_changes_nothing(receiver: Receiver, key: str) -> None:
    receiver._configure(key, None)
    assert {channel: list(periods) for channel, periods in receiver.periods.items()} == {"news": [0, 1], "sport": [0]}

"""Trying a store again, and giving up."""

from collections.abc import Sequence

import pytest

from packager.digest import digest
from packager.publisher import Publisher
from packager.store import Publication
from schemas.errors import ConflictError, RetryableError
from schemas.units import Ms
from tests.fakes import MemoryStore


class FlakyStore(MemoryStore):
    """Refuses some times before it takes an object."""

    def __init__(self, refusals: int) -> None:
        super().__init__()
        self.refusals = refusals

    def create_if_absent(self, name: str, pieces: Sequence[bytes]) -> Publication:
        if self.refusals:
            self.refusals -= 1
            raise RetryableError("the store is full", retry_after_ms=250)
        return super().create_if_absent(name, pieces)


class Clock:
    """Time that passes only while somebody waits."""

    def __init__(self) -> None:
        self.ns = 0

    def wait(self, seconds: float) -> bool:
        self.ns += round(seconds * 1e9)
        return False


def make_publisher(refusals: int, retry_ms: int = 1_000) -> Publisher:
    clock = Clock()
    return Publisher(FlakyStore(refusals), retry_ms=Ms(retry_ms), monotonic_ns=lambda: clock.ns, wait=clock.wait)


def test_an_object_is_described_once_it_is_there() -> None:
    published = make_publisher(0).publish("a/0/v0/0.m4s", [b"ab", b"c"])
    assert (published.name, published.size, published.digest, published.existed) == ("a/0/v0/0.m4s", 3, digest([b"abc"]), False)


def test_a_store_that_recovers_in_time_is_waited_for() -> None:
    published = make_publisher(3).publish("a/0/v0/0.m4s", [b"x"])
    assert (published.attempts, published.publish_us) == (4, 750_000)


def test_all_tries_share_one_deadline() -> None:
    with pytest.raises(RetryableError, match="the store is full; given up after 5 tries in 1000 ms"):
        make_publisher(99).publish("a/0/v0/0.m4s", [b"x"])


def test_a_conflict_is_not_tried_again() -> None:
    publisher = make_publisher(0)
    publisher.publish("a/0/v0/0.m4s", [b"x"])
    with pytest.raises(ConflictError):
        publisher.publish("a/0/v0/0.m4s", [b"y"])


def test_who_closes_does_not_wait_for_the_store() -> None:
    publisher = Publisher(FlakyStore(1), retry_ms=Ms(60_000), wait=lambda _: True)
    with pytest.raises(RetryableError, match="given up after 1 tries"):
        publisher.publish("a/0/v0/0.m4s", [b"x"])

"""What `finecut doctor` does where it may not look."""

from collections.abc import Iterator

from confluent_kafka import KafkaError, KafkaException

from infra.doctor import looked
from infra.finding import Finding, Mark, note
from schemas.errors import UserError


def test_what_this_user_may_not_look_at_is_said_and_what_was_found_before_stays() -> None:
    before = note("a", "b", "c")

    def look() -> Iterator[Finding]:
        yield before
        raise KafkaException(KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED))

    first, refused = looked("topics", look)
    assert first == before
    assert (refused.what, refused.mark) == ("topics", Mark.NOTE)
    assert "not looked at" in refused.found
    assert "a user that may" in refused.do


def test_what_is_not_there_to_be_looked_at_is_said_with_what_to_do() -> None:
    def look() -> Iterator[Finding]:
        raise UserError("no topic", do="make it")
        yield

    assert list(looked("packagers", look)) == [note("packagers", "not looked at: no topic", "make it")]

"""Topics made and checked in a real Kafka."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from confluent_kafka.admin import AdminClient

from infra.kafka import LocalBroker
from infra.topics import as_json, ensure, reach, verify, wanted_topics
from schemas.errors import UserError
from schemas.settings import KafkaSettings, Settings
from schemas.topics import TOPICS

Prefixed = Callable[[str], Settings]


@pytest.fixture
def prefixed(kafka: LocalBroker) -> Prefixed:
    """Settings for the session's broker whose topics nobody else uses."""
    return lambda prefix: Settings(
        kafka=KafkaSettings(bootstrap_servers=kafka.bootstrap, topic_prefix=prefix, pool_count=2, media_partition_count=3)
    )


def test_topics_that_were_made_are_as_they_should_be(prefixed: Prefixed) -> None:
    settings = prefixed("made.")
    admin, wanted = reach(settings.kafka), wanted_topics(settings)
    made = ensure(admin, wanted, replication_factor=1)
    assert set(made) == {topic.name for topic in wanted}
    assert {topic.name(settings.kafka) for topic in TOPICS} <= set(made)
    assert verify(admin, wanted) == ()
    assert '"made.decisions"' in as_json(admin, wanted)


def test_making_topics_twice_changes_nothing(prefixed: Prefixed) -> None:
    settings = prefixed("twice.")
    admin, wanted = reach(settings.kafka), wanted_topics(settings)
    ensure(admin, wanted, replication_factor=1)
    assert ensure(admin, wanted, replication_factor=1) == ()


def test_topics_of_another_shape_are_named_with_what_differs(prefixed: Prefixed) -> None:
    settings = prefixed("other.")
    admin, wanted = reach(settings.kafka), wanted_topics(settings)
    crooked = [
        replace(topic, partitions=topic.partitions + 1, config={**topic.config, "message.timestamp.type": "CreateTime"})
        if topic.name == "other.gops"
        else topic
        for topic in wanted
        if topic.name != "other.plans"
    ]
    ensure(admin, crooked, replication_factor=1)
    assert [str(difference) for difference in verify(admin, wanted)] == [
        "other.gops: message.timestamp.type is CreateTime, not LogAppendTime",
        "other.gops: partitions is 3, not 2",
        "other.plans does not exist",
    ]
    with pytest.raises(UserError, match="topics differ from what the settings say"):
        ensure(admin, wanted, replication_factor=1)


def test_a_cluster_that_is_too_small_for_the_copies_asked_is_named(prefixed: Prefixed) -> None:
    settings = prefixed("copies.")
    with pytest.raises(UserError, match=r"Kafka does not create copies\."):
        ensure(reach(settings.kafka), wanted_topics(settings), replication_factor=3)


def test_a_cluster_that_does_not_answer_is_named_with_what_to_do() -> None:
    with pytest.raises(UserError, match=r"(?s)no Kafka answers at 127\.0\.0\.1:9.*finecut up"):
        reach(KafkaSettings(bootstrap_servers="127.0.0.1:9"), timeout_s=0.5)


def test_records_of_all_topics_are_stamped_by_the_broker(prefixed: Prefixed, kafka: LocalBroker) -> None:
    settings = prefixed("stamped.")
    contract = [topic for topic in wanted_topics(settings) if topic.name in {t.name(settings.kafka) for t in TOPICS}]
    assert {topic.config["message.timestamp.type"] for topic in contract} == {"LogAppendTime"}
    assert AdminClient({"bootstrap.servers": kafka.bootstrap}).list_topics(timeout=5).brokers

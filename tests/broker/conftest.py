"""Topics for tests on the shared broker."""

from collections.abc import Callable
from uuid import uuid4

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from infra.kafka import LocalBroker

MakeTopic = Callable[..., str]


@pytest.fixture
def make_topic(kafka: LocalBroker) -> MakeTopic:
    """`make_topic(partitions=1, **config)` creates a topic nobody else uses and returns its name; dots in config keys as underscores."""
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})

    def make(partitions: int = 1, **config: str) -> str:
        name = f"test-{uuid4().hex[:12]}"
        topic = NewTopic(name, partitions, 1, config={key.replace("_", "."): value for key, value in config.items()})
        admin.create_topics([topic])[name].result(30)
        return name

    return make

"""Create or verify the topics in Kafka, from `schemas.topics`."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, ConfigResource  # type: ignore[attr-defined]  # re-exported, not in __all__
from confluent_kafka.cimpl import NewTopic

from schemas.errors import UnreachableError, UserError
from schemas.settings import KafkaSettings, Settings
from schemas.topics import TOPICS

REACH_S = 5.0
ANSWER_S = 30.0
# Why a broker that is there does not talk to us.
REFUSALS = frozenset({KafkaError._AUTHENTICATION, KafkaError._SSL})  # noqa: SLF001
POLL_S = 0.02


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """A topic as it should be in Kafka."""

    name: str
    partitions: int
    config: dict[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """
    One way in which a topic is not as it should be.

    Attributes:
        topic: Name in Kafka.
        what: ``partitions`` or the name of a configuration entry.
        wanted: What it should be.
        found: What it is; empty when the topic does not exist.
    """

    topic: str
    what: str
    wanted: str
    found: str

    def __str__(self) -> str:
        return f"{self.topic}: {self.what} is {self.found}, not {self.wanted}" if self.found else f"{self.topic} does not exist"


def reach(kafka: KafkaSettings, *, timeout_s: float = REACH_S) -> AdminClient:
    """
    A client of a cluster that answers.

    Raises:
        UnreachableError: None does.
        UserError: It refuses us.
    """
    told: list[KafkaError] = []
    client: dict[str, Any] = {**kafka.client(), "log_level": 0, "socket.connection.setup.timeout.ms": 2_000, "error_cb": told.append}
    admin = AdminClient(client)
    try:
        admin.list_topics(timeout=timeout_s)
    except KafkaException as error:
        admin.poll(0)
        refused = next((other.str() for other in told if other.code() in REFUSALS), None)
        if refused:
            raise UserError(
                f"Kafka at {kafka.bootstrap_servers} refuses us: {refused}",
                do="correct FINECUT_KAFKA__SECURITY_PROTOCOL, the user and its password, or FINECUT_KAFKA__SSL_CA",
            ) from error
        raise UnreachableError(kafka.bootstrap_servers, _text(error)) from error
    return admin


def wanted_topics(settings: Settings) -> tuple[Wanted, ...]:
    """Every topic as it should be in Kafka: those of the contract, and those behind the tables of the control plane."""
    from streams.tables import changelog_topics

    kafka = settings.kafka
    contract = [Wanted(name=t.name(kafka), partitions=t.partition_count(kafka), config=t.configuration(kafka)) for t in TOPICS]
    behind = [Wanted(name=t.name, partitions=t.partition_count, config=t.configuration) for t in changelog_topics(kafka)]
    return (*contract, *behind)


def create(admin: AdminClient, wanted: Sequence[Wanted], *, replication_factor: int) -> tuple[str, ...]:
    """
    Make the topics that do not exist yet.

    Returns:
        Their names.

    Raises:
        UserError: Kafka refuses one.
    """
    existing = admin.list_topics(timeout=ANSWER_S).topics
    missing = [topic for topic in wanted if topic.name not in existing]
    if not missing:
        return ()
    made = admin.create_topics([NewTopic(t.name, t.partitions, replication_factor, config=t.config) for t in missing])
    for name, future in made.items():
        try:
            future.result(ANSWER_S)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:  # another process made it meanwhile: `verify` judges it
                raise UserError(f"Kafka does not create {name}: {_text(error)}") from error
    names = {topic.name for topic in missing}
    # The controller has them; each broker learns of them a moment later.
    deadline = time.monotonic() + ANSWER_S
    while not names <= admin.list_topics(timeout=ANSWER_S).topics.keys():
        if time.monotonic() > deadline:
            raise UserError(f"Kafka made {', '.join(sorted(names))} but does not show them")
        admin.poll(POLL_S)
    return tuple(topic.name for topic in missing)


def verify(admin: AdminClient, wanted: Sequence[Wanted]) -> tuple[Difference, ...]:
    """How the cluster's topics differ from what they should be; empty when all is well."""
    existing = admin.list_topics(timeout=ANSWER_S).topics
    there = [topic for topic in wanted if topic.name in existing]
    configs = describe(admin, [topic.name for topic in there])
    found = [Difference(topic=t.name, what="topic", wanted="there", found="") for t in wanted if t.name not in existing]
    for topic in there:
        partitions = len(existing[topic.name].partitions)
        if partitions != topic.partitions:
            found.append(Difference(topic=topic.name, what="partitions", wanted=str(topic.partitions), found=str(partitions)))
        found += [
            Difference(topic=topic.name, what=what, wanted=value, found=configs[topic.name].get(what, "unset"))
            for what, value in topic.config.items()
            if configs[topic.name].get(what) != value
        ]
    return tuple(sorted(found, key=lambda difference: (difference.topic, difference.what)))


def describe(admin: AdminClient, names: Sequence[str]) -> dict[str, dict[str, str]]:
    """Configuration of existing topics, by name."""
    if not names:
        return {}
    answers = admin.describe_configs([ConfigResource(ConfigResource.Type.TOPIC, name) for name in names])
    return {resource.name: {key: entry.value for key, entry in future.result(ANSWER_S).items()} for resource, future in answers.items()}


def ensure(admin: AdminClient, wanted: Sequence[Wanted], *, replication_factor: int) -> tuple[str, ...]:
    """
    Make what is missing and check the rest.

    Returns:
        Names of the topics made.

    Raises:
        UserError: A topic that exists is not as it should be, or Kafka refuses one.
    """
    made = create(admin, wanted, replication_factor=replication_factor)
    differences = verify(admin, [topic for topic in wanted if topic.name not in made])
    if differences:
        raise UserError(
            "topics differ from what the settings say:\n  " + "\n  ".join(map(str, differences)),
            do="change the settings, alter or delete the topics, or choose another FINECUT_KAFKA__TOPIC_PREFIX",
        )
    return made


def as_json(admin: AdminClient, wanted: Sequence[Wanted]) -> str:
    """Partitions and configuration of the topics as they are, as JSON."""
    existing = admin.list_topics(timeout=ANSWER_S).topics
    there = [topic for topic in wanted if topic.name in existing]
    configs = describe(admin, [topic.name for topic in there])
    plain = {
        topic.name: {
            "partitions": len(existing[topic.name].partitions),
            "replicas": len(existing[topic.name].partitions[0].replicas),
            "config": {key: configs[topic.name].get(key) for key in topic.config},
        }
        for topic in there
    }
    return json.dumps(plain, indent=2)


def _text(error: KafkaException) -> str:
    return str(error.args[0].str())

"""What each part may do on a secured cluster, as Kafka's access rules: what it needs and nothing else."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from confluent_kafka import KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined] # what it exports it does not say
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from schemas.errors import UserError
from schemas.settings import KafkaSettings
from schemas.topics import (
    ASSIGNMENTS,
    CHANNELS,
    DECISIONS,
    DEMAND,
    FORECASTS,
    GOPS,
    HEARTBEATS,
    MEDIA,
    PARTS,
    PLANS,
    REJECTS,
    REPORTS,
    SCALING,
    TOPICS,
    Topic,
)

ANSWER_S = 10.0


@dataclass(frozen=True, kw_only=True)
class Rules:
    """
    What a part does.

    Attributes:
        reads: Topics that it reads.
        writes: Topics that it writes.
        is_worker: Whether it is a Faust worker: a member of its group, with topics behind its tables.
    """

    reads: tuple[Topic, ...] = ()
    writes: tuple[Topic, ...] = ()
    is_worker: bool = False


RULES: Mapping[str, Rules] = {
    "encoder": Rules(reads=(MEDIA, CHANNELS, GOPS, PLANS), writes=(MEDIA, CHANNELS, GOPS, REJECTS)),
    "control": Rules(
        reads=(CHANNELS, GOPS, DEMAND, HEARTBEATS, FORECASTS, DECISIONS, PLANS, ASSIGNMENTS, REPORTS, SCALING),
        writes=(CHANNELS, FORECASTS, DECISIONS, PLANS, ASSIGNMENTS, REPORTS, SCALING, REJECTS),
        is_worker=True,
    ),
    "packager": Rules(reads=(MEDIA, CHANNELS, ASSIGNMENTS, HEARTBEATS), writes=(HEARTBEATS, PARTS, REPORTS, REJECTS)),
    "origin": Rules(reads=(CHANNELS, PARTS, REPORTS), writes=(DEMAND, REJECTS)),
    "reader": Rules(reads=tuple(TOPICS)),
}


def bindings(kafka: KafkaSettings, rules: Rules, user: str) -> Iterator[AclBinding]:
    """Kafka's rules that allow a user of any host what a part does."""
    from streams.tables import app_id

    for topics, operation in ((rules.reads, AclOperation.READ), (rules.writes, AclOperation.WRITE)):
        for topic in topics:
            yield _allow(ResourceType.TOPIC, topic.name(kafka), ResourcePatternType.LITERAL, operation, user)
    for name in sorted({topic.name(kafka) for topic in (*rules.reads, *rules.writes)}):
        yield _allow(ResourceType.TOPIC, name, ResourcePatternType.LITERAL, AclOperation.DESCRIBE_CONFIGS, user)
    # Clients that read by offset belong to no group, but librdkafka looks for its coordinator.
    yield _allow(ResourceType.GROUP, "*", ResourcePatternType.LITERAL, AclOperation.DESCRIBE, user)
    if rules.is_worker:
        yield _allow(ResourceType.GROUP, app_id(kafka), ResourcePatternType.PREFIXED, AclOperation.READ, user)
        for operation in (AclOperation.READ, AclOperation.WRITE):
            yield _allow(ResourceType.TOPIC, f"{app_id(kafka)}-", ResourcePatternType.PREFIXED, operation, user)


def _allow(kind: ResourceType, name: str, pattern: ResourcePatternType, operation: AclOperation, user: str) -> AclBinding:
    return AclBinding(kind, name, pattern, f"User:{user}", "*", operation, AclPermissionType.ALLOW)


def allow(admin: AdminClient, kafka: KafkaSettings, rules: Rules, user: str) -> Iterator[str]:
    """
    Make the rules, and say each.

    Raises:
        UserError: The cluster has no access rules, or we may not make any.
    """
    for binding, future in admin.create_acls(list(bindings(kafka, rules, user))).items():
        try:
            future.result(ANSWER_S)
        except KafkaException as error:
            raise UserError(
                f"Kafka does not make the rule that {_text(binding)}: {error.args[0].str()}",
                do="use a user that may alter the cluster, on brokers with an authorizer",
            ) from error
        yield _text(binding)


def _text(binding: AclBinding) -> str:
    kind, operation = ResourceType(binding.restype), AclOperation(binding.operation)
    return f"{binding.principal} may {operation.name.lower()} {kind.name.lower()} {binding.name}"

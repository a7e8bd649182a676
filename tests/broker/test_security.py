"""A cluster that asks for TLS, a user and rights: the whole line runs, each part with what its role may do and nothing else."""

import json
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import trustme
from confluent_kafka import KafkaError, Producer
from confluent_kafka.admin import (  # type: ignore[attr-defined] # what it exports it does not say
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from infra import state
from infra.access import RULES, allow
from infra.doctor import examine
from infra.kafka import LocalBroker
from infra.kafka.broker import Runtime
from infra.kafka.ports import free_ports
from infra.processes import Child, Supervisor
from infra.status import describe
from infra.topics import ensure, reach, wanted_topics
from packager.receiver import Receiver
from schemas.codec import Codec
from schemas.errors import DisplacedError, UserError
from schemas.records import Level
from schemas.settings import KafkaSettings, Settings
from schemas.topics import DECISIONS, HEARTBEATS, Topic
from tests.broker.test_ingest import until
from tests.builders_control import a_heartbeat
from tests.line import ANSWER_S, Line, whole_line

PASSWORD = "swordfish-0"  # noqa: S105
ROUNDS = 4_096
# What may be done by each kind of process.
ROLES = {"encode": "encoder", "control": "control", "packager": "packager", "origin": "origin"}


@dataclass(frozen=True, kw_only=True)
class Secured:
    """A broker with a plain door for its keeper and a guarded one for everybody else."""

    broker: LocalBroker
    port: int
    ca: Path

    def settings(self, user: str, *, password: str = PASSWORD, prefix: str = "guarded.") -> KafkaSettings:
        return KafkaSettings(topic_prefix=prefix, pool_count=2, media_partition_count=2, bootstrap_servers=f"127.0.0.1:{self.port}",
                             security_protocol="SASL_SSL", sasl_username=user, sasl_password=password, ssl_ca=self.ca)  # fmt: skip

    def keeper(self) -> AdminClient:
        return AdminClient({"bootstrap.servers": self.broker.bootstrap})

    def add_user(self, name: str) -> None:
        proof = UserScramCredentialUpsertion(name, ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, ROUNDS), PASSWORD.encode())
        keeper = self.keeper()
        for done in keeper.alter_user_scram_credentials([proof]).values():
            done.result(10)


@pytest.fixture(scope="module")
def secured(kafka_runtime: Runtime, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    folder = tmp_path_factory.mktemp("secured")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    issued = authority.issue_cert("127.0.0.1")
    key = load_pem_private_key(issued.private_key_pem.bytes(), None)
    chain = b"".join(blob.bytes() for blob in issued.cert_chain_pems)
    (folder / "broker.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + chain)
    ports = free_ports()
    plain, guarded, controller = next(ports), next(ports), next(ports)
    listeners = f"PLAINTEXT://127.0.0.1:{plain},GUARDED://127.0.0.1:{guarded},CONTROLLER://127.0.0.1:{controller}"
    overrides = {
        "listeners": listeners,
        "advertised.listeners": listeners,
        "controller.quorum.bootstrap.servers": f"127.0.0.1:{controller}",
        "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,GUARDED:SASL_SSL",
        "inter.broker.listener.name": "PLAINTEXT",
        "sasl.enabled.mechanisms": "SCRAM-SHA-512",
        "listener.name.guarded.scram-sha-512.sasl.jaas.config": "org.apache.kafka.common.security.scram.ScramLoginModule required;",
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(folder / "broker.pem"),
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS",
    }
    with LocalBroker(folder / "kafka", kafka_runtime, port=plain, overrides=overrides) as broker:
        yield Secured(broker=broker, port=guarded, ca=folder / "ca.pem")


def test_the_whole_line_runs_over_tls_each_part_as_a_user_with_the_rights_of_its_role(secured: Secured, tmp_path: Path) -> None:
    secured.add_user("line")
    kafka = secured.settings("line", prefix="line.")
    keeper = secured.keeper()
    for name, role in RULES.items():
        secured.add_user(name)
        for user in (name, "line"):
            assert all(f"User:{user} may" in line for line in allow(keeper, kafka, role, user))
    makes = AclBinding(
        ResourceType.TOPIC, "line.", ResourcePatternType.PREFIXED, "User:line", "*", AclOperation.CREATE, AclPermissionType.ALLOW
    )
    for made in keeper.create_acls([makes]).values():
        made.result(10)
    guarded: dict[str, Any] = {
        "KAFKA__BOOTSTRAP_SERVERS": kafka.bootstrap_servers, "KAFKA__TOPIC_PREFIX": kafka.topic_prefix,
        "KAFKA__SECURITY_PROTOCOL": "SASL_SSL", "KAFKA__SASL_USERNAME": "line", "KAFKA__SASL_PASSWORD": PASSWORD,
        "KAFKA__SSL_CA": secured.ca,
    }  # fmt: skip
    start = Supervisor.start

    def start_as_its_role(self: Supervisor, name: str, role: str, arguments: Sequence[str], **how: Any) -> Child:
        environment = {**(how.pop("environment", None) or {}), "FINECUT_KAFKA__SASL_USERNAME": ROLES.get(role, "line")}
        return start(self, name, role, arguments, environment=environment, **how)

    with mock.patch.object(Supervisor, "start", start_as_its_role), whole_line(secured.broker, tmp_path, packagers=1, **guarded) as line:
        line.play("news", idle=Level.PARTS)
        assert ROLES.keys() <= {child.role for child in line.run.supervisor.children.values()}
        line.goes_on("news")
        assert line.get("/news/hls/v0.m3u8")[0] == 200
        where = {place: text for place, text in everything_told(line) if PASSWORD in text}
        assert where == {}


def everything_told(line: Line) -> Iterator[tuple[str, str]]:
    """What people and other processes get to see of a run: logs, files for other commands, command lines, metrics, status, doctor."""
    for log in (line.run.directory / "logs").glob("*.log"):
        yield log.name, log.read_text(errors="replace")
    run = state.read(line.run.settings.state_dir)
    assert run is not None
    yield "word left for other commands", repr(run)
    yield "status", json.dumps(describe(run))
    yield "doctor", repr(list(examine()))
    yield "settings, printed", f"{line.run.settings!r} {line.run.settings}"
    for process in run.processes:
        yield f"command line of {process.name}", Path(f"/proc/{process.pid}/cmdline").read_text()
    for name, url in run.addresses.items():
        if name.endswith("metrics"):
            yield name, urllib.request.urlopen(url, timeout=ANSWER_S).read().decode()  # noqa: S310  # our own http address
    yield "metrics of the origin", line.get("/metrics")[1]


def test_a_role_may_read_and_write_what_is_its_own_and_nothing_else(secured: Secured) -> None:
    secured.add_user("carol")
    kafka, keeper = secured.settings("carol"), secured.keeper()
    ensure(keeper, wanted_topics(Settings(kafka=kafka)), replication_factor=1)
    list(allow(keeper, kafka, RULES["packager"], "carol"))

    def write(topic: Topic, value: bytes = b"x", key: bytes = b"") -> KafkaError | None:
        told: list[KafkaError | None] = []
        producer = Producer({**kafka.client(), "acks": "all"})  # one that was refused once remembers it
        producer.produce(topic.name(kafka), value, key, partition=0, on_delivery=lambda error, _: told.append(error))
        assert producer.flush(20) == 0
        return told[0]

    # Brokers learn of new rules a moment later.
    until(lambda: write(HEARTBEATS) is None)
    codec, receiver = Codec(), Receiver(kafka, Codec(), pool=0, packager_id="p1", life="older")
    for life in ("older", "younger"):
        beat = codec.encode(a_heartbeat("p1", life=life))
        assert write(HEARTBEATS, beat, b"p1") is None
    with pytest.raises(DisplacedError, match="life younger"), closing(receiver):
        until(lambda: receiver.read(0.1) is None)
    refused = write(DECISIONS)
    assert refused is not None
    assert refused.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED


def test_a_wrong_password_is_said_in_one_sentence(secured: Secured) -> None:
    secured.add_user("dave")
    with pytest.raises(UserError, match=r"refuses us: .*Authentication failed"):
        reach(secured.settings("dave", password="wrong"))  # noqa: S106


def test_brokers_that_are_not_who_they_say_are_not_spoken_to(secured: Secured, tmp_path: Path) -> None:
    trustme.CA().cert_pem.write_to_path(tmp_path / "other.pem")
    secured.add_user("erin")
    settings = secured.settings("erin").model_copy(update={"ssl_ca": tmp_path / "other.pem"})
    with pytest.raises(UserError, match="certificate verify failed"):
        reach(settings)

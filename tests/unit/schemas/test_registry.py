"""The registry client against an HTTP server that answers as Confluent-compatible registries do."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from schemas.errors import UserError
from schemas.records import MarkKind, MediaMark
from schemas.registry import HttpRegistry, codec_of
from schemas.settings import KafkaSettings

MARK = MediaMark(channel="news", life="l", kind=MarkKind.CHANNEL_END, period=2)


class Handler(BaseHTTPRequestHandler):
    """Numbers schemas by subject, from 1."""

    schemas: list[tuple[str, str]]

    def do_POST(self) -> None:
        subject = self.path.split("/")[2]
        entry = (subject, json.loads(self.rfile.read(int(self.headers["Content-Length"])))["schema"])
        if entry not in self.schemas:
            self.schemas.append(entry)
        self.answer(200, {"id": self.schemas.index(entry) + 1})

    def do_GET(self) -> None:
        number = int(self.path.split("/")[3])
        if number > len(self.schemas):
            self.answer(404, {"error_code": 40403, "message": "Schema not found"})
        else:
            self.answer(200, {"schema": self.schemas[number - 1][1]})

    def answer(self, status: int, body: dict[str, object]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args: object) -> None:
        """Tests are quiet."""


@pytest.fixture
def registry() -> Iterator[str]:
    Handler.schemas = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_record_is_registered_under_its_full_name_and_read_by_another_process(registry: str) -> None:
    kafka = KafkaSettings(schema_registry_url=registry)
    framed = codec_of(kafka).encode(MARK)
    assert framed[:5] == b"\x00\x00\x00\x00\x01"
    assert Handler.schemas[0][0] == "finecut.MediaMark"
    assert codec_of(kafka).decode(framed) == MARK


def test_without_a_registry_records_describe_themselves() -> None:
    assert codec_of(KafkaSettings()).encode(MARK)[:2] == b"\xc3\x01"


def test_an_unknown_id_is_said_with_the_answer_of_the_registry(registry: str) -> None:
    with pytest.raises(UserError, match="40403"):
        HttpRegistry(registry).schema_of(7)


def test_a_registry_that_is_away_is_said_with_what_to_do() -> None:
    with pytest.raises(UserError, match="FINECUT_KAFKA__SCHEMA_REGISTRY_URL"):
        HttpRegistry("http://127.0.0.1:9").id_of("MediaMark", "{}")

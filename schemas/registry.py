"""A Confluent-compatible schema registry over HTTP: ids by record name, schemas by id."""

import json
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from schemas.codec import Codec
from schemas.errors import UserError
from schemas.settings import KafkaSettings

TIMEOUT_S = 10
MEDIA_TYPE = "application/vnd.schemaregistry.v1+json"
NAMESPACE = "finecut"


class HttpRegistry:
    """
    Registers each record once under its full name (RecordNameStrategy: a topic of ours carries several records).

    Args:
        url: Address of the registry.
    """

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")

    def id_of(self, name: str, schema: str) -> int:
        """
        Id of a record's schema; registers it if it is new.

        Raises:
            UserError: The registry does not answer, or refuses the schema as incompatible.
        """
        return int(self._call(f"/subjects/{NAMESPACE}.{name}/versions", {"schema": schema})["id"])

    def schema_of(self, schema_id: int) -> str:
        """
        Text of the schema with an id.

        Raises:
            UserError: The registry does not answer or does not know the id.
        """
        return str(self._call(f"/schemas/ids/{schema_id}")["schema"])

    def _call(self, path: str, body: dict[str, str] | None = None) -> dict[str, Any]:
        data = json.dumps(body).encode() if body else None
        request = Request(self._url + path, data=data, headers={"Content-Type": MEDIA_TYPE, "Accept": MEDIA_TYPE})  # noqa: S310
        try:
            with urlopen(request, timeout=TIMEOUT_S) as reply:  # noqa: S310
                answer: dict[str, Any] = json.load(reply)
                return answer
        except HTTPError as error:
            said = error.read().decode(errors="replace")[:300]
            raise UserError(f"the schema registry at {self._url} answers {error.code} to {path}: {said}", do="see its log") from error
        except (URLError, TimeoutError, ValueError) as error:
            raise UserError(
                f"the schema registry at {self._url} does not answer: {error}",
                do="correct FINECUT_KAFKA__SCHEMA_REGISTRY_URL, or leave it empty for Avro single-object encoding",
            ) from error


def codec_of(kafka: KafkaSettings) -> Codec:
    """The codec that the settings ask for: framed for their registry, or self-describing without one."""
    return Codec(HttpRegistry(kafka.schema_registry_url) if kafka.schema_registry_url else None)

"""What was asked of an origin and what it answered, in memory and in a file."""

import json
import lzma
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

HEAD_BYTES = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Exchange:
    """
    One request and its answer.

    Attributes:
        sent_ms: Unix time of the request.
        first_ms: Unix time of the first byte of the body.
        done_ms: Unix time of its last byte.
        url: Absolute, with its query.
        status: Of the answer; 0 when there was none.
        headers: Of the answer, names in lower case.
        body: As it was after decompression.
        method: GET or HEAD.
        version: Of HTTP, as answered.
        error: Why the answer is missing or short; empty if it is whole.
    """

    sent_ms: int
    first_ms: int
    done_ms: int
    url: str
    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    method: str = "GET"
    version: str = "HTTP/1.1"
    error: str = ""

    @property
    def place(self) -> str:
        """The URL without its query."""
        return self.url.partition("?")[0]

    @property
    def query(self) -> dict[str, str]:
        """Arguments of the URL."""
        return dict(parse_qsl(urlsplit(self.url).query, keep_blank_values=True))


def save(exchanges: Iterable[Exchange], path: Path) -> None:
    """Write exchanges to a file; equal bodies are kept once, parts and the segments made of them nearly so."""
    bodies: dict[bytes, int] = {}
    entries = []
    for exchange in exchanges:
        entry = asdict(exchange)
        entry["body"] = bodies.setdefault(exchange.body, len(bodies))
        entries.append(entry)
    head = json.dumps({"sizes": [len(body) for body in bodies], "exchanges": entries}, separators=(",", ":")).encode()
    path.write_bytes(lzma.compress(len(head).to_bytes(HEAD_BYTES) + head + b"".join(bodies), preset=6))


def load(path: Path) -> list[Exchange]:
    """
    Exchanges of a file written by `save`.

    Raises:
        ValueError: The file is none.
    """
    try:
        data = lzma.decompress(path.read_bytes())
        at = HEAD_BYTES + int.from_bytes(data[:HEAD_BYTES])
        head = json.loads(data[HEAD_BYTES:at])
        bodies = []
        for size in head["sizes"]:
            bodies.append(data[at : at + size])
            at += size
        return [Exchange(**(entry | {"body": bodies[entry["body"]]})) for entry in head["exchanges"]]
    except (lzma.LZMAError, ValueError, KeyError, IndexError, TypeError) as error:
        raise ValueError(f"{path} is no recording: {error}") from error

"""
Bytes to records and back: the only importer of fastavro.

A record travels in Avro single-object encoding (two marker bytes, the CRC-64-AVRO fingerprint of its schema, the body), or
in Confluent framing (a zero byte, the registry's id, the body) when a registry is given; both are read at any time. The
payload of a chunk is its last field, so that its header is read without touching the bytes.
"""

import base64
import dataclasses
import io
import json
import struct
import types
import typing
from collections.abc import Callable
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import fastavro
from fastavro.schema import fingerprint, parse_schema, to_parsing_canonical_form

from schemas import records
from schemas.errors import RejectedError

FOLDER = Path(__file__).parent / "avro"
RELEASED = FOLDER / "released"
SINGLE_OBJECT = b"\xc3\x01"
CONFLUENT = struct.Struct(">bI")
HEADER_SIZE = 10
# The fields of a chunk before its payload, and its length: three ids of at most 63 characters, a life, and integers of at most 10 bytes.
HEAD_SIZE_MAX = 512
# What fastavro raises on bytes that are not a record of the schema.
FOREIGN = (EOFError, IndexError, KeyError, ValueError, TypeError, OverflowError, MemoryError, struct.error)
# The same but for want of memory, which is no fault of the chunk: of its header nothing large is read.
FOREIGN_HEADER = tuple(kind for kind in FOREIGN if kind is not MemoryError)

RECORDS: tuple[type[Any], ...] = (
    records.Chunk,
    records.MediaMark,
    records.Period,
    records.PeriodEnd,
    records.Gop,
    records.Demand,
    records.Forecasts,
    records.Heartbeat,
    records.Parts,
    records.Reports,
    records.Packaging,
    records.Void,
    records.Plan,
    records.Assignment,
    records.Scaling,
    records.Decision,
    records.Reject,
    records.TableRow,
)


class Registry(Protocol):
    """Ids of schemas in a Confluent-compatible registry."""

    def id_of(self, name: str, schema: str) -> int:
        """Id under which the schema of a record is registered."""
        ...

    def schema_of(self, schema_id: int) -> str:
        """Text of the schema with this id."""
        ...


def file_name(record: type[Any]) -> str:
    """
    Name of a record's schema file.

    >>> file_name(records.MediaMark)
    'media_mark.avsc'
    """
    return "".join(f"_{c.lower()}" if c.isupper() and i else c.lower() for i, c in enumerate(record.__name__)) + ".avsc"


def schema_text(record: type[Any]) -> str:
    """Text of the schema of a record as committed."""
    return (FOLDER / file_name(record)).read_text()


@dataclasses.dataclass(frozen=True, slots=True)
class _Schema:
    record: type[Any]
    parsed: Any
    text: str
    prefix: bytes

    @classmethod
    def read(cls, record: type[Any], text: str) -> "_Schema":
        raw = json.loads(text)
        digest = fingerprint(to_parsing_canonical_form(raw), "CRC-64-AVRO")
        return cls(record, parse_schema(raw), text, SINGLE_OBJECT + bytes.fromhex(digest))


@cache
def _current() -> dict[type[Any], _Schema]:
    return {record: _Schema.read(record, schema_text(record)) for record in RECORDS}


@cache
def _writers() -> dict[bytes, _Schema]:
    """Every schema a stored record may have been written with: the released ones and today's."""
    names = {record.__name__: record for record in RECORDS}
    released = [path.read_text() for path in sorted(RELEASED.glob("*/*.avsc"))]
    old = [_Schema.read(names[json.loads(text)["name"]], text) for text in released]
    return {schema.prefix: schema for schema in [*old, *_current().values()]}


@cache
def _chunk_header(text: str) -> Any:
    raw = json.loads(text)
    if raw["fields"][-1]["name"] != "payload":
        raise ValueError("the payload must be the last field of a chunk")
    # Bytes are their length and then themselves: read as a number, they are not touched.
    return parse_schema({**raw, "fields": [*raw["fields"][:-1], {"name": "payload", "type": "long"}]})


def _identity(value: Any) -> Any:
    return value


def _is_optional(kind: Any) -> bool:
    return typing.get_origin(kind) in {types.UnionType, typing.Union}  # `NewType | None` is the latter


def _inner(kind: Any) -> Any:
    """The type inside ``X | None`` or ``tuple[X, ...]``, else the type."""
    if _is_optional(kind):
        return next(t for t in typing.get_args(kind) if t is not types.NoneType)
    return typing.get_args(kind)[0] if typing.get_origin(kind) is tuple else kind


@cache
def _to_plain(kind: Any) -> Callable[[Any], Any]:
    """Function from a value of a type to what fastavro writes."""
    if _is_optional(kind):
        inner = _to_plain(_inner(kind))
        return lambda value: None if value is None else inner(value)
    if typing.get_origin(kind) is tuple:
        each = _to_plain(_inner(kind))
        return list if each is _identity else lambda value: [each(v) for v in value]
    if dataclasses.is_dataclass(kind):
        fields = [(name, _to_plain(hint)) for name, hint in typing.get_type_hints(kind).items()]
        return lambda value: {name: turn(getattr(value, name)) for name, turn in fields}
    return _identity


@cache
def _from_plain(kind: Any) -> Callable[[Any], Any]:
    """Function from what fastavro read to a value of a type."""
    if _is_optional(kind):
        inner = _from_plain(_inner(kind))
        return lambda value: None if value is None else inner(value)
    if typing.get_origin(kind) is tuple:
        each = _from_plain(_inner(kind))
        return tuple if each is _identity else lambda value: tuple(each(v) for v in value)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        turns = {n: t for n, h in typing.get_type_hints(kind).items() if (t := _from_plain(h)) is not _identity}
        return lambda value: kind(**{n: turns[n](v) if n in turns else v for n, v in value.items()})
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind
    return _identity


@cache
def _from_text(kind: Any) -> Callable[[Any], Any]:
    """Function from what JSON holds to what fastavro reads: base64 becomes bytes."""
    if kind is bytes:
        return base64.b64decode
    if _is_optional(kind) or typing.get_origin(kind) is tuple:
        each = _from_text(_inner(kind))
        if each is _identity:
            return _identity
        return (lambda value: None if value is None else each(value)) if _is_optional(kind) else (lambda value: [each(v) for v in value])
    if dataclasses.is_dataclass(kind):
        turns = {n: t for n, h in typing.get_type_hints(kind).items() if (t := _from_text(h)) is not _identity}
        return (lambda value: {n: turns[n](v) if n in turns else v for n, v in value.items()}) if turns else _identity
    return _identity


def to_plain(value: Any) -> Any:
    """A record or any frozen dataclass of ours as dicts, lists and scalars; enums stay strings, bytes stay bytes."""
    return _to_plain(typing.cast(typing.Hashable, type(value)))(value)


def from_plain(kind: type[Any], plain: Any) -> Any:
    """
    The inverse of `to_plain`.

    >>> reached = records.PeriodEnd(channel="a", period=0, parts_reached=4, next_msn=records.Msn(2), channel_ended=False)
    >>> from_plain(records.PeriodEnd, to_plain(reached)) == reached
    True
    """
    return _from_plain(typing.cast(typing.Hashable, kind))(plain)


def to_json(value: Any) -> bytes:
    """A record or any frozen dataclass of ours as one line of JSON; bytes become base64."""
    return json.dumps(to_plain(value), default=_json_bytes, separators=(",", ":")).encode()


def from_json(kind: type[Any], parsed: Any) -> Any:
    """
    The inverse of `to_json`, from what ``json.loads`` makes of its line.

    >>> row = records.TableRow(offset=3, at_unix_ms=records.UnixMs(0), record=b"row")
    >>> from_json(records.TableRow, json.loads(to_json(row))) == row
    True
    """
    return from_plain(kind, _from_text(typing.cast(typing.Hashable, kind))(parsed))


def _json_bytes(value: Any) -> str:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    raise TypeError(f"no JSON for {type(value).__name__}")


class Codec:
    """Encodes and decodes every record of the contract."""

    def __init__(self, registry: Registry | None = None) -> None:
        """
        Args:
            registry: Where ids come from when records are to be framed for a Confluent-compatible registry.
        """
        self._registry = registry
        self._by_id: dict[int, _Schema] = {}
        self._prefix: dict[type[Any], bytes] = {}

    def encode(self, record: Any) -> bytes:
        """
        The framed bytes of a record.

        >>> mark = records.MediaMark(channel="a", life="x", kind=records.MarkKind.PERIOD_START, period=0)
        >>> Codec().decode(Codec().encode(mark)) == mark
        True
        """
        kind = type(record)
        out = io.BytesIO()
        out.write(self._prefix_of(kind))
        fastavro.schemaless_writer(out, _current()[kind].parsed, _to_plain(typing.cast(typing.Hashable, kind))(record))
        return out.getvalue()

    def decode(self, data: bytes) -> Any:
        """
        The record in framed bytes.

        Raises:
            RejectedError: The bytes are not a record of any schema known here.
        """
        schema, start = self._schema(data)
        source = io.BytesIO(data)
        source.seek(start)
        reader = _current()[schema.record].parsed
        try:
            plain = fastavro.schemaless_reader(source, schema.parsed, reader if schema.parsed is not reader else None)
            if source.tell() != len(data):
                raise RejectedError(f"{len(data) - source.tell()} bytes follow the record")
            return _from_plain(typing.cast(typing.Hashable, schema.record))(plain)
        except FOREIGN as error:
            raise RejectedError(f"not a whole {schema.record.__name__}: {type(error).__name__} {error}".rstrip()) from error

    def decode_chunk_header(self, data: bytes) -> records.Chunk | records.MediaMark:
        """
        A chunk with an empty payload, read from the first bytes alone, or the mark that stands in its place.

        Raises:
            RejectedError: The bytes begin with neither.
        """
        return self._chunk(data, is_whole=False)

    def decode_chunk(self, data: bytes) -> records.Chunk | records.MediaMark:
        """
        A chunk, or the mark that stands in its place; its payload is a view of the data, as good as bytes to who reads, cuts or writes it.

        A chunk is copied no more than it must be: at 90 kB that takes longer than all the rest of its decoding.

        Raises:
            RejectedError: The bytes are neither.
        """
        return self._chunk(data, is_whole=True)

    def _chunk(self, data: bytes, *, is_whole: bool) -> records.Chunk | records.MediaMark:
        schema, start = self._schema(data)
        if schema.record is records.MediaMark:
            return typing.cast(records.MediaMark, self.decode(data))
        if schema.record is not records.Chunk:
            raise RejectedError(f"a {schema.record.__name__} where a chunk is expected")
        try:
            written, wanted = _chunk_header(schema.text), _chunk_header(_current()[records.Chunk].text)
            head = io.BytesIO(data[start : start + HEAD_SIZE_MAX])
            plain: Any = fastavro.schemaless_reader(head, written, wanted if wanted is not written else None)
            payload = memoryview(data)[start + head.tell() :] if is_whole else b""
            if is_whole and plain["payload"] != len(payload):
                raise RejectedError(f"not a whole Chunk: a payload of {plain['payload']} bytes, {len(payload)} are there")
            plain["payload"] = payload
            return records.Chunk(**plain)
        except FOREIGN_HEADER as error:
            raise RejectedError(f"not the header of a chunk: {type(error).__name__} {error}".rstrip()) from error

    def _prefix_of(self, kind: type[Any]) -> bytes:
        prefix = self._prefix.get(kind)
        if prefix is None:
            schema = _current().get(kind)
            if schema is None:
                raise TypeError(f"{kind.__name__} is no record of its own: no .avsc of that name")
            prefix = schema.prefix
            if self._registry:
                prefix = CONFLUENT.pack(0, self._registry.id_of(kind.__name__, schema.text))
            self._prefix[kind] = prefix
        return prefix

    def _schema(self, data: bytes) -> tuple[_Schema, int]:
        schema = _writers().get(data[:HEADER_SIZE])
        if schema:
            return schema, HEADER_SIZE
        if self._registry and len(data) >= CONFLUENT.size and data[0] == 0:
            return self._registered(CONFLUENT.unpack_from(data)[1]), CONFLUENT.size
        raise RejectedError(f"unknown schema: the record begins with {data[:HEADER_SIZE].hex() or 'nothing'}")

    def _registered(self, schema_id: int) -> _Schema:
        schema = self._by_id.get(schema_id)
        if schema is None:
            assert self._registry is not None  # noqa: S101
            text = self._registry.schema_of(schema_id)
            names = {record.__name__: record for record in RECORDS}
            record = names.get(json.loads(text).get("name", ""))
            if record is None:
                raise RejectedError(f"schema {schema_id} of the registry is none of ours")
            schema = self._by_id[schema_id] = _Schema.read(record, text)
        return schema
